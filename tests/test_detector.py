"""`slayq_tw.detector`: how soon a connection is tried again."""

from itertools import islice

from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.detector import RECONNECT_MAX_DELAY, _delays
from slayq_tw.heartbeat import INTERVAL
from slayq_tw.liveness import DEAD_AFTER


class DelayTests(SynchronousTestCase):
    """However long the outage was."""

    def test_bounded(self) -> None:
        """A daemon beats again before another one, who was back at once, takes it for dead."""
        first, *others = islice(_delays(), 50)
        self.assertEqual(first, 0.0)
        self.assertLessEqual(max(others), RECONNECT_MAX_DELAY)
        self.assertLess(2 * RECONNECT_MAX_DELAY + INTERVAL, DEAD_AFTER)
