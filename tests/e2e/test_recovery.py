"""Daemons that die, or seem to."""

import time

from tests.e2e.case import SAMPLE, EndToEndCase

GENERAL = {"queues": {"general": {"concurrency": 4}}}


class RecoveryTests(EndToEndCase):
    """A dead daemon's jobs are delivered again soon, a living one's are not."""

    async def test_killed_beside_another(self) -> None:
        """What a killed daemon was delivering is delivered by another one within 15 seconds, though it was the last attempt."""
        await self.receiver.ready()
        first = self.daemon(GENERAL)
        await first.ready()
        second = self.daemon({"queues": {"mail": {"concurrency": 1}}})
        await second.ready()
        self.send("general", "/hang", n=1, max_attempts=1, queue_name="lane")
        await self.receiver.wait_for(1, "begin")
        third = self.daemon(GENERAL)
        await third.ready()
        begun = time.monotonic()
        await first.stop("KILL")
        await self.receiver.wait_for(2, "begin", patience=20)
        self.assertLess(time.monotonic() - begun, 15.0)
        self.assertEqual(self.jobs("attempts, max_attempts"), [(1, 1)])
        said = [line for child in (second, third) for line in child.lines if "daemon_recovered" in line]
        self.assertEqual(len(said), 1)

    async def test_killed_and_started_again(self) -> None:
        """The same machine's next daemon need not wait: the process is gone."""
        await self.receiver.ready()
        first = self.daemon()
        await first.ready()
        self.send("mail", "/hang", n=1)
        await self.receiver.wait_for(1, "begin")
        await first.stop("KILL")
        begun = time.monotonic()
        second = self.daemon()
        await self.receiver.wait_for(2, "begin")
        self.assertLess(time.monotonic() - begun, 8.0)
        await second.wait_for_line("its process is gone")

    async def test_suspended(self) -> None:
        """A daemon that is suspended for long is taken for dead, and says so when it goes on; nothing is lost or left."""
        await self.receiver.ready()
        first = self.daemon(GENERAL)
        await first.ready()
        self.send("general", "/slow/3000", n=1)
        await self.receiver.wait_for(1, "begin")
        first.signal("STOP")
        second = self.daemon(SAMPLE)
        await second.ready()
        await second.wait_for_line("daemon_recovered", patience=20)
        await self.receiver.wait_for(2, "begin")
        first.signal("CONT")
        await first.wait_for_line("declared_dead")
        await self.receiver.wait_for(2, "end")
        self.assertEqual(await first.stop(), 0)
        self.assertEqual(await second.stop(), 0)
        self.assertEqual(len(self.receiver.seen()), 2)
        self.assertEqual(self.jobs(), [])
        self.assertEqual(self.sql("SELECT * FROM slayq._private_daemons"), [])
