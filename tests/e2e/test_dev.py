"""Development mode as a process, without a single setting."""

import json
import os
import re
import shutil
import socket
import sys
import tempfile
from pathlib import Path

import psycopg2
from twisted.trial.unittest import TestCase

from tests.processes import Child, python_environment

OVER = "Ctrl-C ends it"
"""In the last line that is printed before it only waits."""


class DevelopmentModeTests(TestCase):
    """`slayq dev` and `slayq send`."""

    timeout = 120

    def setUp(self) -> None:
        # Not below pytest's folder, which is closed to the user that runs Postgres for root.
        self.folder = Path(tempfile.mkdtemp(prefix="slayq-test-"))
        self.folder.chmod(0o711)
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.working = self.folder / "working"
        self.temporary = self.folder / "temporary"
        for folder in (self.working, self.temporary):
            folder.mkdir(mode=0o711)

    def slayq(self, *arguments: str) -> Child:
        """Start the command."""
        command = [sys.executable, "-m", "slayq_tw.console", *arguments]
        environment = {**python_environment(), "TMPDIR": str(self.temporary), "PYTHONUNBUFFERED": "1"}
        return Child(self, command, environment, self.working)

    def dev(self, *arguments: str) -> Child:
        """Start development mode, with its data in a folder of the test's."""
        return self.slayq("dev", "--folder", str(self.folder / "data"), "--port", "0", *arguments)

    async def send(self, *arguments: str) -> Child:
        """Send an event, and wait until that is done."""
        child = self.slayq("send", "--folder", str(self.folder / "data"), *arguments)
        await child.wait_for_end()
        return child

    def arrivals(self, child: Child) -> list[str]:
        """The lines of deliveries: queue, event, attempt and so on, without the time."""
        return [" ".join(line.split()[3:]) for line in child.lines if " s  arrived  " in line]

    async def test_once(self) -> None:
        """Every event arrives as it should, signed; it ends with 0 and leaves nothing behind."""
        child = self.slayq("dev", "--once")
        self.assertEqual(await child.wait_for_end(), 0, child.lines)
        self.assertCountEqual(
            [line for line in self.arrivals(child) if " cron " not in line],
            [
                "mail demo/plain attempt 1 verified answered 200",
                "messaging demo/delayed attempt 1 verified answered 200",
                "interactions demo/fails-first attempt 1 verified answered 500 so that it is tried again",
                "interactions demo/fails-first attempt 2 verified answered 200",
                "housekeeping demo/sleeps attempt 1 verified answered 200 after its first step",
                "housekeeping demo/sleeps attempt 1 verified answered 200 after its second step",
                "dispatch demo/alias attempt 1 verified answered 200",
            ],
        )
        self.assertIn("Everything has arrived.", child.lines)
        self.assertEqual(list(self.temporary.iterdir()), [])

    async def test_times(self) -> None:
        """What is due later does not come earlier."""
        child = self.slayq("dev", "--once")
        self.assertEqual(await child.wait_for_end(), 0, child.lines)

        def seconds(event: str) -> list[float]:
            lines = [line for line in child.lines if " s  arrived  " in line and event in line]
            return [float(line.split()[0]) for line in lines]

        self.assertGreaterEqual(seconds("demo/delayed")[0], 2.99)
        first, second = seconds("demo/fails-first")
        self.assertGreaterEqual(second - first, 2.7)
        first, second = seconds("demo/sleeps")
        self.assertGreaterEqual(second - first, 1.99)

    async def test_own_events(self) -> None:
        """It goes on: events of one's own arrive, those that wait are kept, and Ctrl-C ends it with 0."""
        child = self.dev()
        await child.wait_for_line(OVER)
        sent = await self.send("dispatch", "user/welcome", "--data", '{"name": "Ada"}')
        self.assertEqual((sent.output.ended, sent.lines), (0, ["sent user/welcome to dispatch"]))
        await child.wait_for_line("user/welcome")
        self.assertIn("dispatch user/welcome attempt 1 verified answered 200", self.arrivals(child))
        sent = await self.send("mail", "user/later", "--delay", "3600", "--key", "later")
        self.assertEqual(sent.lines, ["sent user/later to mail, due in 3600 s"])
        sent = await self.send("mial", "user/never", "--delay", "7200")
        self.assertEqual(sent.output.ended, 0)
        self.assertCountEqual(
            sent.lines,
            [
                "sent user/never to mial, due in 7200 s",
                "slayq: no queue or alias 'mial' is served there, so the event waits; there are mail, messaging, "
                "dispatch, ready, interactions, reconcile, discord, housekeeping, profile, general",
            ],
        )
        self.assertEqual(await child.stop("INT"), 0)

        again = self.dev()
        url = (await again.wait_for_line("postgresql://")).split()[1]
        connection = psycopg2.connect(url)
        self.addCleanup(connection.close)
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT task_identifier, key FROM graphile_worker.jobs WHERE run_at > now() + '30 min'"
            )
            self.assertCountEqual(cursor.fetchall(), [("mail", "later"), ("mial", None)])
        self.assertEqual(await again.stop("TERM"), 0)

    async def test_own_configuration(self) -> None:
        """The queues are those of the working directory; roles and variables of a real deployment are not used."""
        document = {
            "queues": {"only": {"concurrency": 1}},
            "grant_execute_to": ["no_such_role"],
            "origin_secrets": {"https://app.example": "SLAY_Q_SECRET_APP"},
        }
        (self.working / "slay-config.json").write_text(json.dumps(document))
        (self.working / ".env").write_text(
            "SLAY_Q_DATABASE_URL=postgresql://nobody@127.0.0.1:9/\nSLAY_Q_LISTEN_URL=nowhere\n"
            "SLAY_Q_SECRET_FILE=nowhere\nSLAY_Q_SECRET_PREVIOUS=x\nSLAY_Q_CRON_URL_FILE=nowhere\n"
        )
        child = self.slayq("dev", "--once")
        self.assertEqual(await child.wait_for_end(), 0, child.lines)
        self.assertEqual({line.split()[0] for line in self.arrivals(child)} - {"cronQueue"}, {"only"})

    async def test_cannot_start(self) -> None:
        """What is in the way is said in one line, with status 1, and Postgres does not stay behind."""
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            child = self.slayq("dev", "--folder", str(self.folder / "data"), "--port", str(port))
            self.assertEqual(await child.wait_for_end(), 1)
        self.assertRegex(child.lines[-1], rf"slayq: port {port}: .*; name another with --port")
        (self.working / "slay-config.json").write_text('{"queues": {"mail": {"concurrency": "4"}}}')
        child = self.dev()
        self.assertEqual(await child.wait_for_end(), 1)
        self.assertRegex(child.lines[-1], "slayq: slay-config.json: queues.mail.concurrency: ")
        self.assertFalse((self.folder / "data" / "postgres" / "data" / "postmaster.pid").exists())

    async def test_twice(self) -> None:
        """A second one on the same folder is told so, and the first goes on."""
        child = self.dev()
        await child.wait_for_line(OVER)
        second = self.dev()
        self.assertEqual(await second.wait_for_end(), 1)
        self.assertRegex(second.lines[-1], "slayq: .*: a server runs here already")
        self.assertEqual((await self.send("mail", "user/still")).output.ended, 0)
        await child.wait_for_line("user/still")

    async def test_killed(self) -> None:
        """Postgres does not outlive it, and the next start finds the data in order."""
        child = self.dev()
        await child.wait_for_line(OVER)
        self.assertNotEqual(await child.stop("KILL"), 0)
        again = self.dev()
        await again.wait_for_line(OVER)
        self.assertTrue(re.search("Everything has arrived", "\n".join(again.lines)))
        self.assertEqual(await again.stop("INT"), 0)
        self.assertTrue(os.path.isdir(self.folder / "data"))
