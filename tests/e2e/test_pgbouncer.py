"""The daemon behind PgBouncer in transaction mode."""

import statistics
import time
from collections import Counter

from slayq_tw import health
from tests.e2e.case import EndToEndCase
from tests.pgbouncer import PgBouncer
from tests.processes import Daemon
from tests.waiting import until


class PgBouncerTests(EndToEndCase):
    """Everything works through the pooler; only the daemons go through it, the test itself does not."""

    def setUp(self) -> None:
        super().setUp()
        self.pooler = PgBouncer(self, self.url)

    async def pooled(self, **environment: str) -> Daemon:
        """A daemon that claims jobs."""
        daemon = self.daemon(
            arguments=["--health-file=health"], SLAY_Q_DATABASE_URL=self.pooler.url, **environment
        )
        await daemon.ready()
        return daemon

    def arrived(self) -> Counter[int]:
        """How often each event was delivered."""
        return Counter(record["body"]["data"]["n"] for record in self.receiver.seen())

    async def test_an_empty_database(self) -> None:
        """Two daemons that start together on an empty database deliver every event once, and say once what is silent."""
        await self.receiver.ready()
        daemons = [self.daemon(SLAY_Q_DATABASE_URL=self.pooler.url) for _ in range(2)]
        for daemon in daemons:
            await daemon.ready()
            await daemon.wait_for_line("listen_silent")
        for n in range(60):
            self.send("mail" if n % 2 else "general", "/slow/5", n=n)
        await self.receiver.wait_for(60)
        for daemon in daemons:
            self.assertEqual(await daemon.stop(), 0)
            self.assertEqual(sum("listen_silent" in line for line in daemon.lines), 1)
        self.assertEqual(self.arrived(), Counter(range(60)))
        self.assertEqual(self.jobs(), [])
        self.assertNotIn("when not linked", self.pooler.log())

    async def test_pace(self) -> None:
        """One event after the other is found soon, though nothing announces it; the daemon is well."""
        await self.receiver.ready()
        daemon = await self.pooled()
        await daemon.wait_for_line("listen_silent")
        delays = []
        for n in range(10):
            ((added,),) = self.sql("SELECT extract(epoch FROM clock_timestamp())::float8")
            self.send("mail", n=n)
            records = await self.receiver.wait_for(n + 1)
            delays.append(records[-1]["at"] / 1000 - added)
        # A daemon that looks once a second takes half a second on average.
        self.assertLess(statistics.median(delays[1:]), 0.25, delays)
        path = str(daemon.folder / "health")
        await until(lambda: health.read(path)["state"] == "running", "the file's next turn")
        self.assertIsNone(health.check(path, time.time()))
        self.assertEqual(health.read(path)["database"], "reachable")

    async def test_a_direct_listener(self) -> None:
        """With SLAY_Q_LISTEN_URL announcements arrive; four connections are the pooler's, one is not."""
        await self.receiver.ready()
        daemon = await self.pooled(SLAY_Q_LISTEN_URL=self.url)
        self.send("mail", n=1)
        await self.receiver.wait_for(1)
        self.assertEqual(await daemon.stop(), 0)
        self.assertFalse(any("listen_silent" in line for line in daemon.lines), daemon.lines)
        clients = [line for line in self.pooler.log().splitlines() if "login attempt" in line]
        self.assertEqual(len(clients), 4)

    async def test_pooler_restarts(self) -> None:
        """A pooler that is restarted under load loses nothing."""
        await self.receiver.ready()
        daemon = await self.pooled()
        for n in range(80):
            self.send("general", "/slow/20", n=n)
        await self.receiver.wait_for(30)
        self.pooler.stop()
        self.pooler.start()
        await self.receiver.wait_for(80)
        self.assertEqual(await daemon.stop(), 0)
        self.assertEqual(set(self.arrived()), set(range(80)))
        self.assertEqual(self.jobs(), [])

    async def test_bad_listen_url(self) -> None:
        """A listener's URL that cannot be read ends the start; one that leads nowhere does not. Neither is shown."""
        daemon = self.daemon(SLAY_Q_LISTEN_URL="postgresql://u:tell-tale@h:x/db")
        self.assertEqual(await daemon.wait_for_end(), 1)
        self.assertTrue(any(line.startswith("SLAY_Q_LISTEN_URL: ") for line in daemon.lines), daemon.lines)
        other = await self.pooled(SLAY_Q_LISTEN_URL="postgresql://u:tell-tale@127.0.0.1:9/db")
        await other.wait_for_line("listen_unreachable")
        self.assertEqual(await other.stop(), 0)
        self.assertNotIn("tell-tale", "".join([*daemon.lines, *other.lines]))
