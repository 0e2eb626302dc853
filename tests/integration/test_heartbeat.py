"""`slayq_tw.heartbeat`: when it beats, whom it takes for dead, and what it does about itself.

The table of daemons is a real one, the clock is in the test's hand.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from slayq_tw import whereabouts
from slayq_tw.errors import DatabaseError, DatabaseUnavailable
from slayq_tw.heartbeat import INTERVAL, LEAVE_TIMEOUT, RETRY, Heartbeat
from slayq_tw.sqlfiles import named_queries
from tests.blocking import BlockingDatabase, finish
from tests.postgres import migrated_database

NAMES = {text: name for name, text in named_queries("daemons.sql").items()}
US, OTHER = "pool-us", "pool-other"

# As they are promised, and not what the code says.
SURE_FOR = 8.0
DEAD_AFTER = 10.0
LONGEST_GAP = 6.0
MARGIN = 2.0
"""Seconds that a daemon is unsure of itself before anybody can take it for dead: what it has just begun has gone out."""


class Table:
    """A `Database` with the table of daemons, which may be away, refuse, or take its time.

    Attributes:
        said: when what was said, and with what.
        trouble: what each beat fails with.
        refusal: the same for recoveries.
        hangs: what each beat waits for before it is said.
    """

    reachable = True

    def __init__(self, case: SynchronousTestCase, clock: Clock) -> None:
        self._clock = clock
        self._database = BlockingDatabase(migrated_database(case))
        case.addCleanup(self._database.close)
        self.said: list[tuple[float, str, Mapping[str, Any]]] = []
        self.trouble: Exception | None = None
        self.refusal: Exception | None = None
        self.hangs: Deferred[None] = succeed(None)

    def moments(self, what: str) -> list[float]:
        return [moment for moment, name, _ in self.said if name == what]

    async def urgent_query(self, sql: str, given: Mapping[str, Any], *, timeout: float) -> Any:
        self.said.append((self._clock.seconds(), NAMES[sql], given))
        await self.hangs
        if self.trouble is not None:
            raise self.trouble
        return await self._database.query(sql, given, timeout=timeout)

    async def query(self, sql: str, given: Mapping[str, Any], *, timeout: float) -> Any:
        self.said.append((self._clock.seconds(), NAMES[sql], given))
        if self.refusal is not None:
            raise self.refusal
        return await self._database.query(sql, given, timeout=timeout)

    def put(self, worker: str, number: int, place: str | None = None, process: str | None = None) -> None:
        """Another daemon enters, or beats."""
        self._run(
            "INSERT INTO slayq._private_daemons (worker, beat, place, process) VALUES (%s, %s, %s, %s)"
            " ON CONFLICT (worker) DO UPDATE SET beat = excluded.beat",
            worker,
            number,
            place,
            process,
        )

    def drop(self, worker: str) -> None:
        """Somebody took the row away."""
        self._run("DELETE FROM slayq._private_daemons WHERE worker = %s", worker)

    def workers(self) -> set[str]:
        """Whose rows are there."""
        return {row[0] for row in self._run("SELECT worker FROM slayq._private_daemons")}

    def _run(self, sql: str, *given: Any) -> list[tuple[Any, ...]]:
        return finish(self._database.query(sql, given))


class HeartbeatTestCase(SynchronousTestCase):
    """A heartbeat that has entered and beats."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.table = Table(self, self.clock)
        self.holds_jobs = False
        self.handed_back: list[bool] = []  # whether our row was there again already
        self.recovered = 0
        table: Any = self.table
        self.heartbeat = Heartbeat(
            table, US, self.clock, lambda: self.holds_jobs, self.note_recovery, self.note_death
        )
        self.successResultOf(Deferred.fromCoroutine(self.heartbeat.enter()))
        self.heartbeat.startService()
        self.addCleanup(lambda: self.assertEqual(self.clock.getDelayedCalls(), []))
        self.addCleanup(self.heartbeat.stopService)

    def note_recovery(self) -> None:
        self.recovered += 1

    def note_death(self) -> None:
        self.handed_back.append(US in self.table.workers())

    def another(self, number: int = 7, place: str | None = None, process: str | None = None) -> None:
        self.table.put(OTHER, number, place, process)

    def pass_time(self, seconds: float, step: float = 0.05) -> None:
        self.clock.pump([step] * round(seconds / step))


class WatchingTests(HeartbeatTestCase):
    """What happens to the others."""

    def test_on_time(self) -> None:
        """Nobody is dead before ten seconds after it was seen to beat, and then at once, not at the next look."""
        self.pass_time(0.3)
        self.another()
        self.pass_time(INTERVAL + DEAD_AFTER + 1)
        (recovery,) = self.table.moments("recover")
        seen = min(moment for moment in self.table.moments("beat") if moment > 0.3)
        self.assertAlmostEqual(recovery, seen + DEAD_AFTER, delta=0.06)
        self.assertEqual(self.recovered, 1)

    def test_living(self) -> None:
        """One that beats, however slowly, is left alone."""
        for number in range(20):
            self.another(number)
            self.pass_time(DEAD_AFTER - INTERVAL - 0.1)
        self.assertEqual(self.table.moments("recover"), [])

    def test_outage(self) -> None:
        """After an outage everybody gets the whole time again."""
        self.another()
        self.pass_time(DEAD_AFTER - 1)
        self.table.trouble = DatabaseUnavailable("away")
        self.pass_time(2 * DEAD_AFTER)
        self.table.trouble = None
        back = self.clock.seconds()
        self.pass_time(DEAD_AFTER - 0.1)
        self.assertEqual(self.table.moments("recover"), [])
        self.pass_time(RETRY + 0.2)
        (recovery,) = self.table.moments("recover")
        self.assertGreaterEqual(recovery, back + DEAD_AFTER)

    def test_suspended_watcher(self) -> None:
        """One that was suspended itself has not watched."""
        self.another()
        self.pass_time(DEAD_AFTER - INTERVAL)
        self.clock.advance(LONGEST_GAP + 1)
        self.pass_time(DEAD_AFTER - INTERVAL)
        self.assertEqual(self.table.moments("recover"), [])

    def test_process_that_is_gone(self) -> None:
        """Who was seen to end on this machine need not be waited for."""
        self.another(1, whereabouts.here(), "1 1")
        self.pass_time(INTERVAL + 0.1)
        self.assertEqual((len(self.table.moments("recover")), self.recovered), (1, 1))

    def test_recovery_that_is_refused(self) -> None:
        """It is tried again at each look; the dead is no less dead for that."""
        self.another()
        self.table.refusal = DatabaseError("deadlock", "40P01")
        with capturedLogs() as events:
            self.pass_time(DEAD_AFTER + INTERVAL + 1)
        self.table.refusal = None
        self.pass_time(INTERVAL)
        self.assertEqual(self.recovered, 1)
        self.assertEqual({event["event"] for event in events}, {"recovery_put_off"})
        first, *_, last = self.table.moments("recover")
        self.assertLessEqual(last - first, 2 * INTERVAL)

    def test_recovery_without_an_answer(self) -> None:
        """That is an outage."""
        self.another()
        self.table.refusal = DatabaseUnavailable("lost")
        self.pass_time(DEAD_AFTER + INTERVAL + 1)
        self.table.refusal = None
        (recovery,) = self.table.moments("recover")
        self.pass_time(DEAD_AFTER - INTERVAL)
        self.assertEqual(self.table.moments("recover"), [recovery])


class BeatingTests(HeartbeatTestCase):
    """What the others see, and what it thinks of itself."""

    def test_beats(self) -> None:
        """Every two seconds or slower, never the same number twice."""
        self.pass_time(20)
        moments = self.table.moments("beat")
        self.assertGreaterEqual(min(later - sooner for sooner, later in pairwise(moments)), 2.0)
        numbers = [given["beat"] for _, _, given in self.table.said]
        self.assertEqual(numbers, list(range(1, len(numbers) + 1)))

    def test_sure(self) -> None:
        """While beats fail it is not sure of its claims for long, and says so once; the next beat makes it sure."""
        self.pass_time(1)
        self.table.trouble = DatabaseUnavailable("away")
        with capturedLogs() as events:
            self.pass_time(SURE_FOR - 1.1)
            self.assertTrue(self.heartbeat.sure)
            self.assertEqual(events, [])
            self.pass_time(0.2)
            self.assertFalse(self.heartbeat.sure)
            self.pass_time(10)
        self.assertEqual([event["event"] for event in events], ["heartbeat_missing"])
        self.table.trouble = None
        self.pass_time(RETRY + 0.1)
        self.assertTrue(self.heartbeat.sure)
        self.assertGreaterEqual(DEAD_AFTER - SURE_FOR, MARGIN)

    def test_suspended(self) -> None:
        """After a suspension it is not sure before it has asked: an answer from before it says nothing about now."""
        self.table.hangs = Deferred()
        self.pass_time(INTERVAL + 0.1)
        self.clock.advance(DEAD_AFTER)
        self.table.hangs.callback(None)
        self.assertFalse(self.heartbeat.sure)
        self.pass_time(INTERVAL)
        self.assertTrue(self.heartbeat.sure)

    def test_declared_dead(self) -> None:
        """What has not begun goes back before it enters again; it says so once."""
        self.pass_time(1)
        self.table.drop(US)
        with capturedLogs() as events:
            self.pass_time(2 * INTERVAL)
        self.assertEqual([event["event"] for event in events], ["declared_dead"])
        self.assertEqual(self.handed_back, [False])
        self.assertIn(US, self.table.workers())

    def test_marked_as_dead(self) -> None:
        """The same where its row is still there, because some of its jobs could not be returned yet."""
        self.pass_time(1)
        self.table.put(US, -3)
        with capturedLogs() as events:
            self.pass_time(2 * INTERVAL)
        self.assertEqual([event["event"] for event in events], ["declared_dead"])


class LeavingTests(HeartbeatTestCase):
    """What becomes of its row."""

    def test_clean(self) -> None:
        """Nobody needs to wait for a daemon that holds nothing."""
        self.successResultOf(self.heartbeat.stopService())
        self.assertEqual(self.table.workers(), set())

    def test_holds_jobs(self) -> None:
        """What it holds is for others to return."""
        self.holds_jobs = True
        self.successResultOf(self.heartbeat.stopService())
        self.assertIn(US, self.table.workers())

    def test_database_that_hangs(self) -> None:
        """The stop does not wait for long."""
        self.table.hangs = Deferred()
        self.pass_time(INTERVAL + 0.1)
        stopping = self.heartbeat.stopService()
        self.assertNoResult(stopping)
        self.clock.advance(LEAVE_TIMEOUT)
        self.successResultOf(stopping)
        self.assertEqual(self.table.moments("leave"), [])
        self.table.hangs.callback(None)

    def test_stopped_twice(self) -> None:
        """Harmless."""
        self.successResultOf(self.heartbeat.stopService())
        self.successResultOf(self.heartbeat.stopService())
