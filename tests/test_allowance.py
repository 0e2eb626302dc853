"""`slayq_tw.allowance`."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.allowance import LONGEST, REMEMBERED_FOR, USUAL, Allowances


class AllowancesTests(SynchronousTestCase):
    """How much time the next attempt gets."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000.0)
        self.allowances = Allowances(self.clock)

    def in_vain(self) -> float:
        """The next attempt gets no answer; how much time it had."""
        seconds = self.allowances.of("claim")
        self.allowances.too_short("claim", seconds)
        return seconds

    def test_half_open(self) -> None:
        """An attempt that was in vain says nothing, once the next one is quick."""
        self.assertEqual(self.in_vain(), USUAL)
        self.assertEqual(self.allowances.of("claim"), 2 * USUAL)
        self.assertEqual(self.allowances.of("complete"), USUAL)
        self.allowances.took("claim", 0.001)
        self.assertEqual(self.allowances.of("claim"), USUAL)

    def test_slow_server(self) -> None:
        """Twice as much each time, and in the end as much as any statement."""
        self.assertEqual([self.in_vain() for _ in range(6)], [4.0, 8.0, 16.0, LONGEST, LONGEST, LONGEST])

    def test_slow_now_and_then(self) -> None:
        """What has taken long once has the time for it for a while, however quick the others are."""
        self.in_vain()
        self.allowances.took("claim", 6.0)
        self.allowances.took("claim", 0.001)
        self.allowances.took("claim", 2.5)
        self.assertEqual(self.allowances.of("claim"), 12.0)
        self.clock.advance(REMEMBERED_FOR)
        self.assertEqual(self.allowances.of("claim"), USUAL)

    def test_never_beyond(self) -> None:
        """However long it took."""
        self.allowances.took("claim", 29.0)
        self.assertEqual(self.allowances.of("claim"), LONGEST)
