"""`slayq_tw.watch`."""

from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.errors import DatabaseUnavailable
from slayq_tw.watch import INTERVAL, UnservedWatch


class UnservedWatchTests(SynchronousTestCase):
    """One line when jobs begin to wait, one when they no longer do."""

    def test_each_change_is_logged_once(self) -> None:
        """An identifier is named when it appears, when it is gone, and when it is back."""
        answers = [["old"], ["new", "old"], ["new", "old"], ["new"], ["new", "old"]]
        clock = Clock()

        async def unserved() -> list[str]:
            return answers.pop(0)

        watch = UnservedWatch(unserved, clock)
        seen = []
        with capturedLogs() as events:
            watch.startService()
            for _ in range(5):
                seen.append([(event["event"], event["identifier"]) for event in events])
                events.clear()
                clock.advance(INTERVAL if answers else 0)
        watch.stopService()
        self.assertEqual(
            seen,
            [
                [("identifier_unserved", "old")],
                [("identifier_unserved", "new")],
                [],
                [("identifier_served", "old")],
                [("identifier_unserved", "old")],
            ],
        )

    def test_database_away(self) -> None:
        """A look that fails is no news, and the next one is taken."""
        looks = []
        clock = Clock()

        async def unserved() -> list[str]:
            looks.append(None)
            raise DatabaseUnavailable("gone")

        watch = UnservedWatch(unserved, clock)
        watch.startService()
        clock.advance(INTERVAL)
        watch.stopService()
        self.assertEqual(len(looks), 2)
