"""`slayq_tw.logs`."""

import io
import json

from twisted.logger import Logger, LogPublisher
from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.logs import observer


class LogTests(SynchronousTestCase):
    """What an event looks like in each format."""

    def written(self, log_format: str, level: str = "info") -> list[str]:
        """The lines for a few events."""
        stream = io.StringIO()
        publisher = LogPublisher(observer(stream, log_format, level))
        log = Logger("slayq_tw.test", observer=publisher)
        log.debug("{event}", event="quiet")
        log.warn(
            "{event}: job {job_id}\nof {queue}", event="job_failed", job_id=7, queue="mail", thing=object()
        )
        try:
            raise ValueError("broken")
        except ValueError:
            log.failure("{event}", event="bug")
        return stream.getvalue().splitlines()

    def test_json(self) -> None:
        """One object a line, with the event's plain fields, and a failure's traceback inside."""
        records = [json.loads(line) for line in self.written("json")]
        self.assertEqual([record["event"] for record in records], ["job_failed", "bug"])
        first, second = records
        self.assertEqual((first["level"], first["job_id"], first["queue"]), ("warn", 7, "mail"))
        self.assertEqual(first["message"], "job_failed: job 7\nof mail")
        self.assertNotIn("thing", first)
        self.assertRegex(first["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00$")
        self.assertEqual(second["level"], "critical")
        self.assertIn("ValueError: broken", second["traceback"])

    def test_text(self) -> None:
        """A time, the module, and the message."""
        lines = self.written("text")
        self.assertRegex(lines[0], r"^\S+ \[slayq_tw.test#warn\] job_failed: job 7$")

    def test_unprintable(self) -> None:
        """Nothing that a value holds makes a terminal do something, breaks a line of JSON, or cannot be written."""
        hostile = "\x1b[2J\x9b2J\x00\x7f\u202e\u2028\ud800"
        for log_format in ("text", "json"):
            stream = io.StringIO()
            log = Logger("test", observer=LogPublisher(observer(stream, log_format, "info")))
            log.warn("{event}: {text}", event="hostile", text=f"a{hostile}\nb")
            written = stream.getvalue()
            for character in hostile.replace("[2J", "").replace("2J", ""):
                self.assertNotIn(character, written)
            if log_format == "json":
                (line,) = written.splitlines()
                self.assertEqual(json.loads(line)["text"], f"a{hostile}\nb")
            else:
                _, second = written.splitlines()
                self.assertEqual(second, "\tb")  # nobody can write the beginning of a line

    def test_level(self) -> None:
        """Events below the level are left out."""
        self.assertEqual(len(self.written("json", "debug")), 3)
        self.assertEqual(len(self.written("json", "critical")), 1)
