"""`slayq_tw.health`."""

import contextlib
import io
import json
import os
import time
from pathlib import Path

from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.health import INTERVAL, MAX_AGE, HealthService, check, main


class HealthServiceTests(SynchronousTestCase):
    """The file that the daemon keeps."""

    def setUp(self) -> None:
        folder = Path(self.mktemp()).absolute()
        folder.mkdir(parents=True)
        self.path = folder / "health"
        self.clock = Clock()
        self.state = "starting"
        self.reachable = False
        self.health = HealthService(
            str(self.path), self.clock, self.clock.seconds, lambda: self.state, lambda: self.reachable
        )
        self.addCleanup(self.end)

    def end(self) -> None:
        """Stop for good, so that nothing is left for the process's end."""
        self.state = "stopped"
        if self.path.parent.exists():
            self.health.stopService()

    def record(self) -> dict[str, object]:
        """What the file says."""
        found: dict[str, object] = json.loads(self.path.read_text())
        return found

    def test_it_follows_the_daemon(self) -> None:
        """Written at once and every two seconds: time, state, process, database."""
        self.health.startService()
        self.assertEqual(
            self.record(), {"time": 0.0, "state": "starting", "pid": os.getpid(), "database": "away"}
        )
        self.state, self.reachable = "running", True
        self.clock.advance(INTERVAL)
        self.assertEqual(
            self.record(), {"time": INTERVAL, "state": "running", "pid": os.getpid(), "database": "reachable"}
        )
        self.assertEqual(list(self.path.parent.iterdir()), [self.path])

    def test_without_a_database(self) -> None:
        """What is not known is not said."""
        health = HealthService(str(self.path), self.clock, self.clock.seconds, lambda: self.state)
        health.startService()
        self.assertNotIn("database", self.record())
        self.state = "stopped"
        health.stopService()

    def test_draining_is_work(self) -> None:
        """The file stays fresh while deliveries finish, and is removed when the daemon has stopped."""
        self.health.startService()
        self.state = "stopping"
        self.health.stopService()
        for _ in range(10):
            self.clock.advance(INTERVAL)
            self.assertIsNone(check(str(self.path), self.clock.seconds()))
        self.state = "stopped"
        self.clock.advance(INTERVAL)
        self.assertFalse(self.path.exists())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stopped_at_once(self) -> None:
        """A daemon that has nothing to finish leaves nothing behind."""
        self.health.startService()
        self.state = "stopped"
        self.health.stopService()
        self.assertFalse(self.path.exists())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_started_again(self) -> None:
        """A service may be stopped and started."""
        self.health.startService()
        self.state = "stopped"
        self.health.stopService()
        self.state = "running"
        self.health.startService()
        self.assertEqual(self.record()["state"], "running")

    def test_unwritable(self) -> None:
        """A folder that is not there is reported once, and the file is written as soon as it can be."""
        self.path.parent.rmdir()
        with capturedLogs() as events:
            self.health.startService()
            self.clock.pump([INTERVAL] * 3)
        self.assertEqual([event["event"] for event in events], ["health_unwritable"])
        self.assertIsNotNone(check(str(self.path), self.clock.seconds()))
        self.path.parent.mkdir()
        self.clock.advance(INTERVAL)
        self.assertIsNone(check(str(self.path), self.clock.seconds()))


class CheckTests(SynchronousTestCase):
    """What the other process makes of it."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()
        self.path.parent.mkdir(parents=True, exist_ok=True)

    def checked(self, text: str, now: float) -> str | None:
        """The fault of a file with this text."""
        self.path.write_text(text)
        return check(str(self.path), now)

    def test_age(self) -> None:
        """It works as long as the event loop turns."""
        text = '{"time": 1000.0, "state": "running", "pid": 1}'
        self.assertIsNone(self.checked(text, 1000.0 + MAX_AGE))
        self.assertEqual(self.checked(text, 1000.5 + MAX_AGE), "no turn of the event loop for 10 s")

    def test_clock_set_back(self) -> None:
        """A time that lies far ahead is no sign of life."""
        self.assertIsNotNone(self.checked('{"time": 5000.0, "state": "running"}', 1000.0))

    def test_states(self) -> None:
        """Waiting for the database and draining are work; anything else is not."""
        for state in ("starting", "running", "stopping"):
            self.assertIsNone(self.checked(json.dumps({"time": 1, "state": state}), 2))
        self.assertEqual(self.checked('{"time": 1, "state": "stopped"}', 2), "state: stopped")
        self.assertEqual(self.checked('{"time": 1}', 2), "state: None")

    def test_no_health_file(self) -> None:
        """A missing file, or another one, is named."""
        self.assertIn("No such file or directory", check(str(self.path), 0) or "")
        for text in ("", "[]", "{}", '{"time": "now"}', "\x00"):
            self.assertEqual(self.checked(text, 0), f"{self.path}: not a health file")

    def test_command(self) -> None:
        """One line and the exit status."""

        def run(*arguments: str) -> tuple[int, str]:
            output = io.StringIO()
            with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
                return main(arguments), output.getvalue()

        path = str(self.path)
        status, line = run(path)
        self.assertEqual((status, line.count("\n")), (1, 1))
        self.assertTrue(line.startswith(f"not working: {path}"))
        self.path.write_text(json.dumps({"time": time.time(), "state": "running", "database": "away"}))
        self.assertEqual(run(path), (0, "working: running, database away\n"))
        self.path.write_text(json.dumps({"time": time.time() - 60, "state": "running"}))
        self.assertEqual(run(path), (1, "not working: no turn of the event loop for 60 s\n"))
        self.assertEqual(run(), (1, "Usage: slayq health FILE\n"))
