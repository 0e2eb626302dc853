"""`slayq_tw.heartbeat`: when it beats, whom it takes for dead, and what it does about itself."""

from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from slayq_tw import whereabouts
from slayq_tw.errors import DatabaseError, DatabaseUnavailable
from slayq_tw.heartbeat import INTERVAL, LEAVE_TIMEOUT, RETRY, SURE_FOR, Heartbeat
from slayq_tw.liveness import DEAD_AFTER, LONGEST_GAP
from slayq_tw.sqlfiles import named_queries

NAMES = {text: name for name, text in named_queries("daemons.sql").items()}
SERVER = datetime(2026, 11, 24, tzinfo=UTC)
US = "pool-us"


class Table:
    """A `Database` with the table of daemons in it, which may be away or refuse."""

    reachable = True

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.rows: dict[str, list[Any]] = {}  # beat, place, process
        self.said: list[tuple[float, str, Mapping[str, Any]]] = []
        self.trouble: Exception | None = None
        self.refusal: Exception | None = None  # of recoveries
        self.hangs: Deferred[None] = succeed(None)

    def moments(self, what: str) -> list[float]:
        return [moment for moment, name, _ in self.said if name == what]

    async def urgent_query(self, sql: str, given: Mapping[str, Any], *, timeout: float) -> Any:
        name = NAMES[sql]
        self.said.append((self.clock.seconds(), name, given))
        await self.hangs
        if self.trouble is not None:
            raise self.trouble
        worker = given["worker"]
        if name == "leave":
            self.rows.pop(worker, None)
            return []
        if name == "enter":
            self.rows[worker] = [given["beat"], given["place"], given["process"]]
        elif worker in self.rows:
            self.rows[worker][0] = given["beat"]
        return [(one, *row, SERVER) for one, row in self.rows.items()]

    async def query(self, sql: str, given: Mapping[str, Any], *, timeout: float) -> Any:
        name = NAMES[sql]
        self.said.append((self.clock.seconds(), name, given))
        if self.refusal is not None:
            raise self.refusal
        if self.rows.get(given["worker"], [None])[0] != given["beat"]:
            return []
        del self.rows[given["worker"]]
        return [(given["worker"], [1, 2], 0, None)]


class HeartbeatTestCase(SynchronousTestCase):
    """A heartbeat that has entered and beats."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.table = Table(self.clock)
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
        self.handed_back.append(US in self.table.rows)

    def another(self, number: int = 7, place: str | None = None, process: str | None = None) -> None:
        self.table.rows["pool-other"] = [number, place, process]

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
            self.pass_time(10)
        self.assertFalse(self.heartbeat.sure)
        self.assertEqual([event["event"] for event in events], ["heartbeat_missing"])
        self.table.trouble = None
        self.pass_time(RETRY + 0.1)
        self.assertTrue(self.heartbeat.sure)
        self.assertLess(SURE_FOR, DEAD_AFTER)

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
        del self.table.rows[US]
        with capturedLogs() as events:
            self.pass_time(2 * INTERVAL)
        self.assertEqual([event["event"] for event in events], ["declared_dead"])
        self.assertEqual(self.handed_back, [False])
        self.assertIn(US, self.table.rows)


class LeavingTests(HeartbeatTestCase):
    """What becomes of its row."""

    def test_clean(self) -> None:
        """Nobody needs to wait for a daemon that holds nothing."""
        self.successResultOf(self.heartbeat.stopService())
        self.assertEqual(self.table.rows, {})

    def test_holds_jobs(self) -> None:
        """What it holds is for others to return."""
        self.holds_jobs = True
        self.successResultOf(self.heartbeat.stopService())
        self.assertIn(US, self.table.rows)

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
