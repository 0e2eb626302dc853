"""The database goes away and comes back."""

from urllib.parse import urlsplit

from tests.e2e.case import SAMPLE, EndToEndCase
from tests.postgres import ask
from tests.proxy import Proxy
from tests.waiting import after


class OutageTests(EndToEndCase):
    """A daemon whose way to the database goes through a proxy."""

    def setUp(self) -> None:
        super().setUp()
        self.proxy = Proxy.before(self, self.url)
        self.proxied_url = self.proxy.url

    async def test_delivered_during_an_outage(self) -> None:
        """A delivery that ends while the database is away is recorded when it is back, and not made again."""
        await self.receiver.ready()
        daemon = self.daemon(SLAY_Q_DATABASE_URL=self.proxied_url)
        await daemon.ready()
        self.send("mail", "/slow/500", n=1)
        await self.receiver.wait_for(1, "begin")
        await self.proxy.refuse()  # type: ignore[misc]
        await self.receiver.wait_for(1, "end")
        await daemon.wait_for_line("results_waiting")
        self.proxy.let_through()
        await daemon.wait_for_line("results_written")
        self.send("mail", "/ok", n=2)
        await self.receiver.wait_for(2)
        self.assertEqual([record["body"]["data"]["n"] for record in self.receiver.seen()], [1, 2])
        self.assertEqual(await daemon.stop(), 0)
        self.assertEqual(self.jobs(), [])

    async def test_log(self) -> None:
        """An outage is one line when it begins and one when it ends, whatever is tried meanwhile, for all queues."""
        daemon = self.daemon(SLAY_Q_DATABASE_URL=self.proxied_url)
        await daemon.ready()
        before = len(daemon.lines)
        await self.proxy.refuse()  # type: ignore[misc]
        await daemon.wait_for_line("database_unreachable")
        await after(4.0)  # some ten attempts of each connection, and as many claims
        self.proxy.let_through()
        await daemon.wait_for_line("database_connection_restored")
        await daemon.wait_for_line("database_connection_restored")
        await after(4.0)  # until the last one is back
        # The cron tick tells for itself that it waits, if a minute begins meanwhile.
        told = [line for line in daemon.lines[before:] if "#debug" not in line and " cron_" not in line]
        self.assertEqual(len(told), 2, told)
        self.assertIn("database_unreachable: ", told[0])
        self.assertIn("database_connection_restored: ", told[1])

    async def test_cut_again_and_again(self) -> None:
        """Connections that are cut under load lose nothing and double nothing: lost claims are handed back (item 62)."""
        await self.receiver.ready()
        daemon = self.daemon(SLAY_Q_DATABASE_URL=self.proxied_url)
        await daemon.ready()
        self.sql(
            "SELECT public.add_worker_job('general', json_build_object('url', %s::text, 'retry', 0,"
            " 'event', 'e', 'data', json_build_object('n', n))) FROM generate_series(0, 399) AS n",
            f"{self.receiver.url}/slow/2",
        )
        for count in range(50, 400, 50):
            await self.receiver.wait_for(count)
            self.proxy.cut()
        await self.receiver.wait_for(400)
        self.assertEqual(await daemon.stop(), 0)
        arrived = sorted(record["body"]["data"]["n"] for record in self.receiver.seen())
        self.assertEqual(arrived, list(range(400)))
        self.assertEqual(self.jobs(), [])

    async def test_database_that_comes_late(self) -> None:
        """A database that is not there yet is waited for."""
        await self.receiver.ready()
        await self.proxy.refuse()  # type: ignore[misc]
        daemon = self.daemon(SLAY_Q_DATABASE_URL=self.proxied_url)
        await daemon.wait_for_line("database_waiting")
        self.proxy.let_through()
        await daemon.ready()

    async def test_read_only_at_the_start(self) -> None:
        """So is one that may only be read for the moment, and it is said why."""
        name, elsewhere = self.url.rpartition("/")[2], urlsplit(self.url)._replace(path="/template1").geturl()
        ask(elsewhere, f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
        daemon, other = self.daemon(), self.daemon()
        for one in (daemon, other):
            self.assertIn("read-only", await one.wait_for_line("database_waiting"))
        self.assertEqual(await other.stop(patience=5), 0)  # the waiting does not hold up a stop
        ask(elsewhere, f'ALTER DATABASE "{name}" RESET default_transaction_read_only')
        await daemon.ready()

    async def test_stop_during_an_outage(self) -> None:
        """Results that cannot be written are counted in the log; the stop is in time all the same."""
        await self.receiver.ready()
        daemon = self.daemon({**SAMPLE, "grace": 0.2}, SLAY_Q_DATABASE_URL=self.proxied_url)
        await daemon.ready()
        self.send("mail", "/slow/100", n=1)
        await self.receiver.wait_for(1, "begin")
        await self.proxy.refuse()  # type: ignore[misc]
        await self.receiver.wait_for(1, "end")
        await daemon.wait_for_line("results_waiting")
        self.assertEqual(await daemon.stop(patience=10), 0)
        self.assertTrue(any("results_lost: 1" in line for line in daemon.lines), daemon.lines)

    async def test_stop_with_half_open_connections(self) -> None:
        """Neither does a stop wait for statements that get no answer: the next daemon sees to what they may have done."""
        await self.receiver.ready()
        daemon = self.daemon({**SAMPLE, "grace": 1}, SLAY_Q_DATABASE_URL=self.proxied_url)
        await daemon.ready()
        self.proxy.swallow()
        self.send("mail", n=1)
        await daemon.wait_for_line("database_connection_lost")  # by then a claim is under way
        self.assertEqual(await daemon.stop(patience=8), 0)
        self.assertFalse([line for line in daemon.lines if "Traceback" in line or "stop_failed" in line])
        await self.daemon(SLAY_Q_DATABASE_URL=self.url).ready()
        await self.receiver.wait_for(1)
