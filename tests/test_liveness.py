"""`slayq_tw.liveness` and `slayq_tw.whereabouts`: who is dead."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from slayq_tw import whereabouts
from slayq_tw.liveness import Beat, Liveness

SERVER = datetime(2026, 11, 24, tzinfo=UTC)
LOOK = 2.0
DEAD_AFTER = 10.0
LONGEST_GAP = 6.0
"""As they are promised, and not what the code says."""


class LivenessTests(SynchronousTestCase):
    """Seen to stand still, for long enough, without interruption."""

    def setUp(self) -> None:
        self.liveness = Liveness()
        self.now = 1000.0
        self.server = SERVER

    def look(self, after: float = LOOK, **beats: int) -> list[str]:
        self.now += after
        self.liveness.look(
            [Beat(worker, number, None, None) for worker, number in beats.items()], self.server, self.now
        )
        return [beat.worker for beat in self.liveness.dead(self.now)]

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

    def test_gap(self) -> None:
        """Six seconds without a look are still watched, and more are not."""
        for gap, dead in ((LONGEST_GAP, ["a"]), (LONGEST_GAP + 0.1, [])):
            self.setUp()
            self.look(a=5)
            self.look(LONGEST_GAP - 1, a=5)
            self.assertEqual(self.look(gap, a=5), dead, gap)

    def test_between_looks(self) -> None:
        """It is known when the next one will be dead; who has not looked for long does not know it."""
        self.look(a=5)
        self.look(a=5, b=1)
        death = self.now - LOOK + DEAD_AFTER
        self.assertEqual(self.liveness.next_death(self.now), death)
        self.now = death - LONGEST_GAP
        self.look(0, a=5, b=1)
        self.assertEqual([beat.worker for beat in self.liveness.dead(death)], ["a"])
        self.assertEqual(self.liveness.next_death(death), death + LOOK)
        self.assertEqual(self.liveness.dead(death + LOOK), [])

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

    def test_hidden(self) -> None:
        """One whose files cannot be read, because others' processes are hidden or too many files are open, may run."""
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        self.addCleanup(child.communicate)
        name = whereabouts.process(child.pid)
        itself = os.getpid()
        stat = whereabouts._stat
        self.patch(whereabouts, "_stat", lambda number: stat(number) if number == itself else None)
        self.assertFalse(whereabouts.is_gone(self.place, name))
        self.assertFalse(whereabouts.is_gone(self.place, f"{child.pid} 1"))

    def test_another_namespaces_view(self) -> None:
        """A `/proc` in which this process has another number tells nothing."""
        folder = Path(self.mktemp())
        (folder / "sys/kernel/random").mkdir(parents=True)
        (folder / "sys/kernel/random/boot_id").write_text("boot\n")
        (folder / "1").mkdir()
        (folder / "1/ns").mkdir()
        (folder / "1/ns/pid").symlink_to("pid:[1]")
        (folder / "self").symlink_to("1")
        self.patch(whereabouts, "PROC", folder)
        self.assertIsNone(whereabouts.here())
        (folder / "self").unlink()
        (folder / "1").rename(folder / str(os.getpid()))
        (folder / "self").symlink_to(str(os.getpid()))
        self.assertEqual(whereabouts.here(), f"{os.uname().nodename} boot pid:[1]")

    def test_same_id(self) -> None:
        """The id may be another process's by now: then it began at another time."""
        self.assertTrue(whereabouts.is_gone(self.place, f"{os.getpid()} 1"))

    def test_nothing_is_proved(self) -> None:
        """About another machine or container, or when something is unknown."""
        for place, name in (
            ("elsewhere", "1 1"),
            (None, "1 1"),
            (self.place, None),
            (self.place, "x 1"),
            (self.place, "0 1"),
        ):
            self.assertFalse(whereabouts.is_gone(place, name))
        self.patch(whereabouts, "PROC", whereabouts.PROC / "nothing")
        self.assertIsNone(whereabouts.here())
        self.assertFalse(whereabouts.is_gone(self.place, "1 1"))
