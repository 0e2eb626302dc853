"""`slayq_tw.upcoming`: when the queues are looked at next."""

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.upcoming import Upcoming
from tests.fakes import a_job


class UpcomingTests(SynchronousTestCase):
    """Told by claims, on a clock that starts at 100 s."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(100.0)
        self.looks: list[float] = []
        self.upcoming = Upcoming(lambda: self.looks.append(round(self.clock.seconds(), 3)), self.clock)
        self.upcoming.startService()

    def told(self, due_in: float | None, next_lane: int = 0) -> None:
        self.upcoming.told(due_in, next_lane, self.upcoming.steps)

    def test_due(self) -> None:
        """A look when the next job is due, and one only."""
        self.told(0.7)
        self.clock.pump([0.69, 0.01, 5.0])
        self.assertEqual(self.looks, [100.7])

    def test_earliest(self) -> None:
        """The earliest of what was told: claims of other queues know nothing of it."""
        for due_in in (0.7, 0.4, 0.9, None):
            self.told(due_in)
        self.clock.pump([0.39, 0.01, 0.3, 0.2, 1.0])
        self.assertEqual(self.looks, [100.4])

    def test_at_once(self) -> None:
        """What has become due since the claim looked is found a moment later, not in the same turn."""
        self.told(-0.2)
        self.clock.advance(0.0)
        self.assertEqual(self.looks, [])
        self.clock.advance(0.005)
        self.assertEqual(self.looks, [100.005])

    def test_in_vain(self) -> None:
        """While jobs are only put off, looks are a quarter of a second apart; the first delivery ends that."""
        ends: list[Deferred[None] | None] = [None, succeed(None)]
        work = self.upcoming.following(lambda job: ends.pop(0))
        self.assertIsNone(work(a_job(1)))
        self.told(0.01)
        self.clock.advance(0.24)
        self.assertEqual(self.looks, [])
        self.clock.advance(0.01)
        self.assertEqual(self.looks, [100.25])
        self.assertIsNotNone(work(a_job(2)))
        self.told(0.01)
        self.clock.advance(0.01)
        self.assertEqual(self.looks, [100.25, 100.26])

    def test_far_away(self) -> None:
        """What is due later than the next usual looks needs no timer."""
        self.told(30.0)
        self.told(None)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stopped(self) -> None:
        """After the stop nothing is looked at, whatever a late claim tells."""
        self.told(0.3)
        self.upcoming.stopService()
        self.told(0.3)
        self.told(None, 17)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_lanes_left(self) -> None:
        """A walk over the lanes goes on a tenth of a second later, where it ended; claims until then walk none."""
        self.assertEqual((self.upcoming.after_lane, self.upcoming.steps), (0, 2000))
        self.told(None, 2017)
        self.assertEqual((self.upcoming.after_lane, self.upcoming.steps), (2017, 0))
        self.told(None, 0)  # of a claim that walked none
        self.assertEqual(self.upcoming.after_lane, 2017)
        self.clock.advance(0.1)
        self.assertEqual((self.looks, self.upcoming.steps), ([100.1], 2000))
        self.told(None, 0)
        self.assertEqual((self.upcoming.after_lane, self.upcoming.steps), (0, 2000))
