"""Announcements that a stranger sends, who may log in and nothing more: false ones, and many."""

from urllib.parse import urlsplit

from slayq_tw.echo import CHANNEL
from slayq_tw.listener import JOBS_CHANNEL, MIGRATE_CHANNEL
from tests.e2e.case import EndToEndCase
from tests.e2e.test_storms import cpu_of
from tests.postgres import ask
from tests.processes import ROOT, Child, Daemon, program, python_environment
from tests.waiting import after

RATE = 10_000
"""Announcements a second."""
SECONDS = 2.0
MOST_CPU = 0.2
"""Of a core, while they come and nothing else happens."""
EVENTS_PER_SECOND = 50
FALSE = '{"migrationNumber":999,"breaking":true,"n":{n}}'
FLOODS = (
    (JOBS_CHANNEL, '{"r":{n},"count":1}'),
    (JOBS_CHANNEL, '{"r":{n},"count":-1}'),
    (JOBS_CHANNEL, '{"r":{n},"x":"' + 1000 * "x" + '","count":-1}'),
    (MIGRATE_CHANNEL, FALSE),
    (CHANNEL, "{n}"),
)


class FloodTests(EndToEndCase):
    """One daemon, and a role that may connect to its database."""

    def stranger(self) -> str:
        """The URL with which he logs in."""
        role = self.make_role("stranger", "LOGIN")
        parts = urlsplit(self.url)
        return parts._replace(netloc=f"{role}@{parts.hostname}:{parts.port}").geturl()

    def flood(self, url: str, channel: str, payload: str) -> Child:
        arguments = [url, channel, payload, str(RATE), str(SECONDS)]
        return Child(self, [program("python"), "-m", "tests.flood", *arguments], python_environment(), ROOT)

    async def test_false_migration(self) -> None:
        """Nothing follows from the word of somebody: the database is asked, and says that nothing has changed."""
        daemon = self.daemon()
        await self.receiver.ready()
        await daemon.ready()
        ask(self.stranger(), "SELECT pg_notify(%s, %s)", MIGRATE_CHANNEL, FALSE.replace("{n}", "1"))
        self.send("mail")
        await self.receiver.wait_for(1)
        await after(0.5)
        self.assertEqual(await daemon.stop(), 0)
        self.assertNotIn("schema_too_new", "\n".join(daemon.lines))

    async def test_floods(self) -> None:
        """Whatever channel is flooded, the daemon stays nearly idle, and delivers."""
        await self.receiver.ready()
        daemon = self.daemon()
        await daemon.ready()
        url = self.stranger()
        for channel, payload in FLOODS:
            with self.subTest(f"{channel} {payload[:30]}"):
                share, sent = await self.idle_flood(daemon, url, channel, payload)
                self.assertGreater(sent, RATE * SECONDS * 0.5)  # or the machine is too busy to tell
                self.assertLess(share, MOST_CPU)
        for channel, payload in (FLOODS[0], FLOODS[3]):
            await self.deliver_through(url, channel, payload)
        self.assertEqual(await daemon.stop(), 0)

    async def idle_flood(self, daemon: Daemon, url: str, channel: str, payload: str) -> tuple[float, int]:
        """Which share of a core it takes, and how many announcements there were."""
        before = cpu_of(daemon)
        flood = self.flood(url, channel, payload)
        await flood.wait_for_end()
        share = (cpu_of(daemon) - before) / SECONDS
        return share, int(flood.lines[-1])

    async def deliver_through(self, url: str, channel: str, payload: str) -> None:
        """At least nine of ten events that are sent during a flood arrive during it."""
        before = len(self.receiver.seen())
        flood = self.flood(url, channel, payload)
        sent = 0
        while flood.output.ended is None and sent < EVENTS_PER_SECOND * SECONDS * 0.8:
            self.send("general")
            sent += 1
            await after(1 / EVENTS_PER_SECOND)
        delivered = len(self.receiver.seen()) - before
        self.assertGreaterEqual(delivered, 0.9 * sent)
        await flood.wait_for_end()
