"""`slayq_tw.pace`."""

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.job import Job
from slayq_tw.pace import FASTEST, Pace, interval
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
        self.deliveries: list[Deferred[None]] = []
        self.work = self.pace.following(self.deliver)
        self.pace.startService()
        self.addCleanup(lambda: self.assertEqual(self.clock.getDelayedCalls(), []))
        self.addCleanup(self.pace.stopService)

    def deliver(self, job: Job) -> Deferred[None]:
        self.assertEqual(job, a_job(1))
        self.deliveries.append(Deferred())
        return self.deliveries[-1]

    def test_put_off(self) -> None:
        """A job that is put off is no work: a receiver that is down does not quicken the pace."""
        self.pass_time(60.0)
        self.wakes.clear()
        work = self.pace.following(lambda job: None)
        self.assertIsNone(work(a_job(1)))
        self.pass_time(0.9)
        self.assertEqual(self.wakes, [])

    def pass_time(self, seconds: float) -> None:
        self.clock.pump([0.01] * round(seconds / 0.01))

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
        """A job's beginning and its end are followed by a look within 50 ms, however slow the pace was."""
        for change in (lambda: self.work(a_job(1)), lambda: self.deliveries[-1].callback(None)):
            self.pass_time(60.0)
            self.wakes.clear()
            self.pass_time(0.3)  # in the middle of a long wait
            change()
            self.pass_time(FASTEST + 0.01)
            self.assertEqual(len(self.wakes), 1)

    def test_a_long_delivery(self) -> None:
        """While a receiver takes its time nobody is woken."""
        self.work(a_job(1))
        self.pass_time(60.0)
        self.wakes.clear()
        self.pass_time(60.0)
        self.assertEqual(self.wakes, [])

    def test_passes_through(self) -> None:
        """Who follows sees a delivery's failure, and can cancel it."""
        working = self.work(a_job(1))
        working.cancel()
        self.failureResultOf(working, CancelledError)

    def test_announced(self) -> None:
        """Where jobs are announced nobody is woken, and again as soon as they are not."""
        self.announced = True
        self.work(a_job(1))
        self.pass_time(0.4)
        self.assertEqual(self.wakes, [])
        self.announced = False
        self.pass_time(0.1)
        self.assertTrue(self.wakes)

    def test_busy_without_pause(self) -> None:
        """Jobs that follow each other closely do not put the next look off for ever."""
        for _ in range(20):
            self.work(a_job(1))
            self.pass_time(0.03)
        self.assertGreaterEqual(len(self.wakes), 8)

    def test_thinned_out(self) -> None:
        """After an announcement beside which others were left out, the next looks are after 4, 20 and each 50 ms."""
        self.announced = True
        self.pass_time(60.0)
        self.pace.thinned()
        for looks, milliseconds in enumerate((4, 20, 50, 50, 50)):
            self.clock.advance((milliseconds - 0.5) / 1000)
            self.assertEqual(len(self.wakes), looks)
            self.clock.advance(0.0005 + 1e-6)
            self.assertEqual(len(self.wakes), looks + 1)

    def test_thinned_out_long_ago(self) -> None:
        """A transaction that is committed late waits for a tenth of that time; after ten seconds it is quiet again."""
        self.announced = True
        told = self.clock.seconds()
        self.pace.thinned()
        self.pass_time(10.5)
        gaps = [(later - told, later - at) for at, later in zip(self.wakes, self.wakes[1:], strict=False)]
        self.assertLessEqual(max(gap - max(0.05, since / 10) for since, gap in gaps), 0.011)
        self.assertGreater(self.wakes[-1] - told, 8.5)
        self.wakes.clear()
        self.pass_time(60.0)
        self.assertEqual(self.wakes, [])

    def test_thinned_out_without_pause(self) -> None:
        """Each announcement is itself followed by a look: ours is made up after the last of them."""
        self.announced = True
        for _ in range(100):
            self.pace.thinned()
            self.clock.pump([0.001] * 3)
        self.assertEqual(self.wakes, [])
        self.clock.advance(0.001)
        self.assertEqual(len(self.wakes), 1)

    def test_stop(self) -> None:
        """Stopping wakes nobody any more, also when a delivery ends after it; doing it twice is harmless."""
        self.work(a_job(1))
        self.pace.stopService()
        self.pace.thinned()
        self.deliveries[-1].callback(None)
        self.pass_time(5.0)
        self.assertEqual(self.wakes, [])
