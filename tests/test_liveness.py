"""`slayq_tw.liveness` and `slayq_tw.whereabouts`: who is dead."""

import os
import subprocess
import sys
from datetime import UTC, datetime

from twisted.trial.unittest import SynchronousTestCase

from slayq_tw import whereabouts
from slayq_tw.liveness import DEAD_AFTER, LONGEST_GAP, Beat, Liveness

SERVER = datetime(2026, 11, 24, tzinfo=UTC)
LOOK = 2.0


class LivenessTests(SynchronousTestCase):
    """Seen to stand still, for long enough, without interruption."""

    def setUp(self) -> None:
        self.liveness = Liveness()
        self.now = 1000.0
        self.server = SERVER

    def look(self, after: float = LOOK, **beats: int) -> list[str]:
        self.now += after
        dead = self.liveness.look(
            [Beat(worker, number, None, None) for worker, number in beats.items()], self.server, self.now
        )
        return [beat.worker for beat in dead]

    def test_standing_still(self) -> None:
        """Dead after ten seconds in which the number stayed the same, not a look earlier; a living one never."""
        self.assertEqual(self.look(a=5, b=1), [])
        looks = int(DEAD_AFTER / LOOK)
        for number in range(1, looks):
            self.assertEqual(self.look(a=5, b=1 + number), [])
        self.assertEqual(self.look(a=5, b=1 + looks), ["a"])

    def test_one_beat(self) -> None:
        """A beat gives the whole time again."""
        self.look(a=5)
        for _ in range(4):
            self.look(a=5)
        self.assertEqual(self.look(a=6), [])
        for _ in range(4):
            self.assertEqual(self.look(a=6), [])
        self.assertEqual(self.look(a=6), ["a"])

    def test_outage(self) -> None:
        """What could not be looked at does not count: not after a failure, a gap, or a restart of the server."""

        def failure() -> None:
            self.liveness.interrupted()

        def gap() -> None:
            self.now += LONGEST_GAP

        def restart() -> None:
            self.server = datetime.now(UTC)

        for outage in (failure, gap, restart):
            self.setUp()
            for _ in range(5):
                self.assertEqual(self.look(a=5), [])
            outage()
            for _ in range(5):
                self.assertEqual(self.look(a=5), [], outage.__name__)
            self.assertEqual(self.look(a=5), ["a"], outage.__name__)

    def test_gone(self) -> None:
        """A daemon that took its row away and came back begins anew."""
        self.look(a=5)
        self.look()
        for _ in range(5):
            self.assertEqual(self.look(a=5), [])
        self.assertEqual(self.look(a=5), ["a"])


class WhereaboutsTests(SynchronousTestCase):
    """Gone, or not known to be."""

    def setUp(self) -> None:
        self.place = whereabouts.here()
        self.assertIsNotNone(self.place)

    def test_this_process(self) -> None:
        """It runs."""
        self.assertFalse(whereabouts.is_gone(self.place, whereabouts.this_process()))

    def test_ended(self) -> None:
        """One that has ended is gone, collected by its parent or not."""
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        name = whereabouts.process(child.pid)
        self.assertFalse(whereabouts.is_gone(self.place, name))
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        self.assertTrue(whereabouts.is_gone(self.place, name))
        child.wait()
        child.stdin.close()  # type: ignore[union-attr]
        self.assertTrue(whereabouts.is_gone(self.place, name))

    def test_same_id(self) -> None:
        """The id may be another process's by now: then it began at another time."""
        self.assertTrue(whereabouts.is_gone(self.place, f"{os.getpid()} 1"))

    def test_nothing_is_proved(self) -> None:
        """About another machine or container, or when something is unknown."""
        for place, name in (("elsewhere", "1 1"), (None, "1 1"), (self.place, None), (self.place, "x 1")):
            self.assertFalse(whereabouts.is_gone(place, name))
        self.patch(whereabouts, "PROC", whereabouts.PROC / "nothing")
        self.assertIsNone(whereabouts.here())
        self.assertFalse(whereabouts.is_gone(self.place, "1 1"))
