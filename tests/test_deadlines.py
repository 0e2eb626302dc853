"""`slayq_tw.deadlines`."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.deadlines import Deadlines


class DeadlinesTests(SynchronousTestCase):
    """Each falls due at its own time, on one timer."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.late: list[str] = []
        self.deadlines: Deadlines[str] = Deadlines(self.clock, self.late.append)

    def test_each_at_its_time(self) -> None:
        """Also a short one that comes after a long one."""
        self.deadlines.add("long", 30.0)
        self.clock.advance(1.0)
        self.deadlines.add("longer", 30.0)
        self.deadlines.add("short", 5.0)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        for seconds, late in ((4.9, []), (0.1, ["short"]), (23.9, ["short"]), (0.1, ["short", "long"])):
            self.clock.advance(seconds)
            self.assertEqual(self.late, late)
        self.clock.advance(1.0)
        self.assertEqual(self.late, ["short", "long", "longer"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_over(self) -> None:
        """What is over is not called for; when all is over, no timer is left."""
        self.deadlines.add("a", 5.0)
        self.deadlines.add("b", 5.0)
        self.deadlines.discard("a", 5.0)
        self.deadlines.discard("a", 5.0)
        self.clock.advance(5.0)
        self.assertEqual(self.late, ["b"])
        self.deadlines.discard("b", 5.0)
        self.deadlines.add("c", 7.0)
        self.deadlines.discard("c", 7.0)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.late, ["b"])

    def test_together(self) -> None:
        """Two that are due at once, and one that is added by the first."""
        deadlines: Deadlines[str] = Deadlines(
            self.clock, lambda key: (self.late.append(key), key == "a" and deadlines.add("c", 1.0))
        )
        deadlines.add("a", 1.0)
        deadlines.add("b", 1.0)
        self.clock.advance(1.0)
        self.assertEqual(self.late, ["a", "b"])
        self.clock.advance(1.0)
        self.assertEqual(self.late, ["a", "b", "c"])
