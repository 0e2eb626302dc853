"""`slayq_tw.pace`."""

from collections.abc import Sequence

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.errors import DatabaseUnavailable
from slayq_tw.jobs import Job
from slayq_tw.pace import FASTEST, SLOWEST, Pace, interval
from tests.fakes import a_job


class IntervalTests(SynchronousTestCase):
    """The rule."""

    def test_rule(self) -> None:
        """Fast for half a second, then a tenth of the time since the last work, and a second at most."""
        self.assertEqual(
            [interval(idle) for idle in (0.0, 0.5, 1.0, 5.0, 10.0, 3600.0)], [0.05, 0.05, 0.1, 0.5, 1.0, 1.0]
        )


class PaceTests(SynchronousTestCase):
    """Who is woken when."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.wakes: list[float] = []
        self.announced = False
        self.pace = Pace(lambda: self.announced, lambda: self.wakes.append(self.clock.seconds()), self.clock)
        self.found: Deferred[list[Job]] = succeed([])
        self.claim = self.pace.noting(self.answer)
        self.pace.startService()
        self.addCleanup(lambda: self.assertEqual(self.clock.getDelayedCalls(), []))
        self.addCleanup(self.pace.stopService)

    def answer(self, names: Sequence[str], limit: int) -> Deferred[list[Job]]:
        self.assertEqual((names, limit), (["mail"], 3))
        return self.found

    def pass_time(self, seconds: float) -> None:
        self.clock.pump([0.01] * round(seconds / 0.01))

    def work(self) -> None:
        self.found = succeed([a_job(1)])
        self.assertEqual(self.successResultOf(self.claim(["mail"], 3)), [a_job(1)])

    def test_slows_down(self) -> None:
        """After the start it is fast; an idle daemon is soon left to the pollers' own interval."""
        self.pass_time(0.5)
        self.assertGreaterEqual(len(self.wakes), 8)
        self.pass_time(12.0)
        self.assertLessEqual(len(self.wakes), 45)
        self.wakes.clear()
        self.pass_time(30.0)
        self.assertEqual(self.wakes, [])

    def test_work_quickens(self) -> None:
        """A claim that finds jobs is followed by a look within 50 ms, however slow the pace was."""
        self.pass_time(60.0)
        self.wakes.clear()
        self.pass_time(0.3)  # in the middle of a long wait
        self.work()
        self.pass_time(FASTEST + 0.01)
        self.assertEqual(len(self.wakes), 1)

    def test_empty_claims_do_not(self) -> None:
        """A claim that finds nothing, or fails, changes nothing."""
        self.pass_time(60.0)
        self.wakes.clear()
        self.assertEqual(self.successResultOf(self.claim(["mail"], 3)), [])
        self.found = fail(DatabaseUnavailable("gone"))
        self.failureResultOf(self.claim(["mail"], 3), DatabaseUnavailable)
        self.pass_time(SLOWEST * 3)
        self.assertEqual(self.wakes, [])

    def test_announced(self) -> None:
        """Where jobs are announced nobody is woken, and again as soon as they are not."""
        self.announced = True
        self.work()
        self.pass_time(0.4)
        self.assertEqual(self.wakes, [])
        self.announced = False
        self.pass_time(0.1)
        self.assertTrue(self.wakes)

    def test_busy_without_pause(self) -> None:
        """Claims that follow each other closely do not put the next look off for ever."""
        for _ in range(20):
            self.work()
            self.pass_time(0.03)
        self.assertGreaterEqual(len(self.wakes), 8)

    def test_stop(self) -> None:
        """Stopping wakes nobody any more, also when a claim is answered after it; doing it twice is harmless."""
        self.pace.stopService()
        self.work()
        self.pass_time(5.0)
        self.assertEqual(self.wakes, [])
