"""`slayq_tw.loop`."""

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.loop import SupervisedLoop


class Broken(Exception):
    """Raised by the work of a test."""


class SupervisedLoopTests(SynchronousTestCase):
    """One turn after the other, whatever happens in them."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.turns: list[Deferred[None]] = []
        self.loop = SupervisedLoop(self.work, 1.0, self.clock, "test")
        self.addCleanup(lambda: self.assertEqual(self.clock.getDelayedCalls(), []))

    async def work(self) -> None:
        turn: Deferred[None] = Deferred()
        self.turns.append(turn)
        await turn

    def end_turn(self) -> None:
        self.turns[-1].callback(None)

    def test_interval(self) -> None:
        """The first turn is taken at once, the next ones after the interval."""
        self.loop.start()
        self.assertEqual(len(self.turns), 1)
        self.end_turn()
        self.clock.advance(0.9)
        self.assertEqual(len(self.turns), 1)
        self.clock.advance(0.1)
        self.assertEqual(len(self.turns), 2)
        self.end_turn()
        self.successResultOf(self.loop.stop())

    def test_turns_do_not_overlap(self) -> None:
        """A turn that outlasts the interval is not joined by another."""
        self.loop.start()
        self.clock.pump([1.0, 1.0, 1.0])
        self.assertEqual(len(self.turns), 1)
        self.end_turn()
        self.clock.advance(1.0)
        self.assertEqual(len(self.turns), 2)
        self.end_turn()
        self.successResultOf(self.loop.stop())

    def test_wake_between_turns(self) -> None:
        """A wake takes a turn at once."""
        self.loop.start()
        self.end_turn()
        self.loop.wake()
        self.assertEqual(len(self.turns), 2)
        self.end_turn()
        self.successResultOf(self.loop.stop())

    def test_wakes_during_a_turn(self) -> None:
        """Any number of wakes during a turn lead to one more, right after it."""
        self.loop.start()
        self.loop.wake()
        self.loop.wake()
        self.assertEqual(len(self.turns), 1)
        self.end_turn()
        self.assertEqual(len(self.turns), 2)
        self.end_turn()
        self.assertEqual(len(self.turns), 2)
        self.successResultOf(self.loop.stop())

    def test_failure(self) -> None:
        """A turn that fails is logged, and the loop goes on."""
        self.loop.start()
        self.turns[-1].errback(Broken())
        self.assertEqual(len(self.flushLoggedErrors(Broken)), 1)
        self.clock.advance(1.0)
        self.assertEqual(len(self.turns), 2)
        self.end_turn()
        self.successResultOf(self.loop.stop())

    def test_stop_waits(self) -> None:
        """Stopping waits for the turn under way; a wake that came before is forgotten."""
        self.loop.start()
        self.loop.wake()
        stopping, again = self.loop.stop(), self.loop.stop()
        self.assertNoResult(stopping)
        self.end_turn()
        self.successResultOf(stopping)
        self.successResultOf(again)
        self.loop.wake()
        self.clock.advance(5.0)
        self.assertEqual(len(self.turns), 1)
