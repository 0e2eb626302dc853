"""`slayq_tw.housekeeping`: when what is done, and what is said of it. The statements are in integration."""

from collections.abc import Iterable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.configcheck import HousekeepingConfig
from slayq_tw.errors import DatabaseUnavailable
from slayq_tw.housekeeping import (
    BATCH,
    COLLECT_EVERY,
    FIRST_WITHIN,
    LOOK_INTERVAL,
    MAX_BATCHES,
    ROUND_INTERVAL,
    SHOWN_IDS,
    HousekeepingService,
    Swept,
)

NOTHING = Swept(0, 0, 0, [])


class RecordingHousekeeping:
    """A `Housekeeping` that notes what is asked and when, and answers from a table; an exception is raised."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.asked: list[tuple[float, str]] = []
        self.answers: dict[str, list[Any]] = {}
        self.defaults = {
            "sweep": NOTHING,
            "identifiers_of": {},
            "delete_failed": 0,
            "collect_queues": 0,
            "collect_tasks": [],
            "recover_queues": [],
        }

    async def _answer(self, name: str) -> Any:
        self.asked.append((self._clock.seconds(), name))
        given = self.answers.get(name)
        answer = given.pop(0) if given else self.defaults[name]
        if isinstance(answer, Deferred):
            answer = await answer
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def sweep(self) -> Any:
        """As Housekeeping's."""
        return await self._answer("sweep")

    async def identifiers_of(self, ids: Iterable[int]) -> Any:
        """As Housekeeping's."""
        return await self._answer("identifiers_of")

    async def delete_failed(self, days: float) -> Any:
        """As Housekeeping's."""
        return await self._answer("delete_failed")

    async def collect_queues(self) -> Any:
        """As Housekeeping's."""
        return await self._answer("collect_queues")

    async def collect_tasks(self) -> Any:
        """As Housekeeping's."""
        return await self._answer("collect_tasks")

    async def recover_queues(self) -> Any:
        """As Housekeeping's."""
        return await self._answer("recover_queues")


class HousekeepingTestCase(SynchronousTestCase):
    """A clock, and a service whose chance is given."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.housekeeping = RecordingHousekeeping(self.clock)
        self.addCleanup(lambda: self.assertEqual(self.clock.getDelayedCalls(), []))

    def start(self, config: HousekeepingConfig | None = None, chance: float = 0.0) -> HousekeepingService:
        service = HousekeepingService(
            self.housekeeping,  # type: ignore[arg-type]
            config or HousekeepingConfig(collect_queues=False),
            self.clock,
            lambda: chance,
        )
        service.startService()
        self.addCleanup(service.stopService)
        return service

    def pass_time(self, seconds: float) -> None:
        """Let time pass in steps no longer than the loop's."""
        for _ in range(round(seconds / LOOK_INTERVAL)):
            self.clock.advance(LOOK_INTERVAL)

    def named(self) -> list[str]:
        return [name for _, name in self.housekeeping.asked]

    def times(self, name: str = "sweep") -> list[float]:
        return [at for at, asked in self.housekeeping.asked if asked == name]


class ScheduleTests(HousekeepingTestCase):
    """Rounds come at random moments within the bounds of section 5.9 (item 53)."""

    def test_earliest(self) -> None:
        """With the smallest chance: at once, then every 8 minutes."""
        self.start(chance=0.0)
        self.pass_time(ROUND_INTERVAL[0] * 2)
        self.assertEqual(self.times(), [0.0, 480.0, 960.0])

    def test_latest(self) -> None:
        """With the largest: within the first minute, then within 10 minutes."""
        self.start(chance=0.999999)
        self.pass_time(FIRST_WITHIN + 2 * ROUND_INTERVAL[1])
        first, second, third = self.times()
        self.assertTrue(FIRST_WITHIN - 2 * LOOK_INTERVAL < first <= FIRST_WITHIN, first)
        for interval in (second - first, third - second):
            self.assertTrue(ROUND_INTERVAL[1] - 2 * LOOK_INTERVAL < interval <= ROUND_INTERVAL[1], interval)

    def test_after_an_error(self) -> None:
        """A round that fails is logged, and the next one comes as usual."""
        self.housekeeping.answers["sweep"] = [DatabaseUnavailable("gone")]
        with capturedLogs() as events:
            self.start()
        self.assertEqual([(e["event"], e["reason"]) for e in events], [("housekeeping_put_off", "gone")])
        self.pass_time(ROUND_INTERVAL[0])
        self.assertEqual(self.times(), [0.0, 480.0])

    def test_a_bug(self) -> None:
        """Neither does any other exception end the rounds."""
        self.housekeeping.answers["sweep"] = [ZeroDivisionError()]
        self.start()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.pass_time(ROUND_INTERVAL[0])
        self.assertEqual(self.times(), [0.0, 480.0])

    def test_collections(self) -> None:
        """Collection and deletion come with the first round, and then with every sixth."""
        self.start(HousekeepingConfig(delete_failed_after=30, collect_queues=True, collect_tasks=True))
        everything = ["sweep", "delete_failed", "recover_queues", "collect_queues", "collect_tasks"]
        self.assertEqual(self.named(), everything)
        self.pass_time(ROUND_INTERVAL[0] * COLLECT_EVERY)
        self.assertEqual(self.named(), everything + ["sweep"] * (COLLECT_EVERY - 1) + everything)

    def test_defaults(self) -> None:
        """Unasked, nothing is deleted but the names of queues without jobs."""
        self.start(HousekeepingConfig())
        self.assertEqual(self.named(), ["sweep", "recover_queues", "collect_queues"])

    def test_one_failure_of_many(self) -> None:
        """A chore that fails does not keep the next from being done."""
        self.housekeeping.answers["delete_failed"] = [DatabaseUnavailable("gone")]
        self.start(HousekeepingConfig(delete_failed_after=1))
        self.assertEqual(self.named(), ["sweep", "delete_failed", "recover_queues", "collect_queues"])

    def test_stop(self) -> None:
        """A stop waits for the statement under way; nothing is begun after it."""
        sweeping: Deferred[Swept] = Deferred()
        self.housekeeping.answers["sweep"] = [sweeping]
        service = self.start(HousekeepingConfig())
        stopping = service.stopService()
        self.assertNoResult(stopping)
        sweeping.callback(Swept(BATCH, 0, 0, []))
        self.successResultOf(stopping)
        self.pass_time(ROUND_INTERVAL[1])
        self.assertEqual(self.named(), ["sweep"])

    def test_restart(self) -> None:
        """A service that was stopped can be started again."""
        service = self.start()
        self.successResultOf(service.stopService())
        service.startService()
        self.assertEqual(len(self.times()), 2)


class ReportTests(HousekeepingTestCase):
    """What an operator is told."""

    def logged(self, config: HousekeepingConfig | None = None) -> list[dict[str, Any]]:
        """What the first round logs."""
        with capturedLogs() as events:
            self.start(config)
        return list(events)

    def test_nothing(self) -> None:
        """Nothing, when there was nothing to do."""
        self.assertEqual(self.logged(HousekeepingConfig(7, collect_tasks=True)), [])

    def test_sweep(self) -> None:
        """How many locks were swept, and which jobs failed for good by it (10.10)."""
        ids = list(range(1, SHOWN_IDS + 10))
        self.housekeeping.answers["sweep"] = [Swept(40, 3, 1, ids)]
        self.housekeeping.answers["identifiers_of"] = [{"mail": len(ids)}]
        swept, ticks, failed = self.logged()
        self.assertEqual((swept["event"], swept["jobs"], swept["queues"]), ("stale_locks_swept", 40, 3))
        self.assertEqual((ticks["event"], ticks["count"]), ("stale_ticks_removed", 1))
        self.assertEqual(
            (
                failed["event"],
                failed["log_level"].name,
                failed["count"],
                failed["identifiers"],
                failed["ids"],
            ),
            ("jobs_failed_by_sweep", "warn", len(ids), {"mail": len(ids)}, ids[:SHOWN_IDS]),
        )

    def test_batches(self) -> None:
        """A full batch is followed by another one, up to a bound; deletions are summed up in one line."""
        self.housekeeping.answers["sweep"] = [Swept(BATCH - 1, 0, 1, []), Swept(0, BATCH, 0, []), NOTHING]
        self.housekeeping.answers["delete_failed"] = [BATCH] * (MAX_BATCHES + 1)
        events = self.logged(HousekeepingConfig(1, collect_queues=False))
        self.assertEqual(self.named(), ["sweep"] * 3 + ["delete_failed"] * MAX_BATCHES)
        self.assertEqual(
            (events[-1]["event"], events[-1]["count"]), ("failed_jobs_deleted", MAX_BATCHES * BATCH)
        )

    def test_interrupted_deletion(self) -> None:
        """What was deleted before an error is reported all the same."""
        self.housekeeping.answers["delete_failed"] = [BATCH, DatabaseUnavailable("gone")]
        events = self.logged(HousekeepingConfig(1, collect_queues=False))
        self.assertEqual([e["event"] for e in events], ["failed_jobs_deleted", "housekeeping_put_off"])
        self.assertEqual(events[0]["count"], BATCH)

    def test_collections(self) -> None:
        """How many names were collected, that it was put off, and what was recovered."""
        self.housekeeping.answers["collect_queues"] = [3]
        self.housekeeping.answers["collect_tasks"] = [None]
        self.housekeeping.answers["recover_queues"] = [["slayq-recovered-7"]]
        recovered, queues, tasks = self.logged(HousekeepingConfig(collect_tasks=True))
        self.assertEqual(
            (recovered["event"], recovered["queues"]), ("queues_recovered", ["slayq-recovered-7"])
        )
        self.assertEqual(
            (queues["event"], queues["count"], queues["what"]), ("collected", 3, "serial queues")
        )
        self.assertEqual((tasks["event"], tasks["what"]), ("collection_put_off", "task identifiers"))
