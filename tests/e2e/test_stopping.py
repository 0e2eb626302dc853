"""Signals, and what becomes of the deliveries under way."""

from tests.e2e.case import SAMPLE, EndToEndCase


class StoppingTests(EndToEndCase):
    """It ends with 0, and what it could not finish is handed back uncounted."""

    async def test_finishes_what_is_under_way(self) -> None:
        """SIGTERM during a delivery: it finishes, its result is written, nothing new is claimed, status 0 (item 55)."""
        await self.receiver.ready()
        daemon = self.daemon()
        await daemon.ready()
        self.send("interactions", "/slow/700", n=1)
        self.send("interactions", "/ok", n=2)  # its queue has one slot
        await self.receiver.wait_for(1, "begin")
        self.assertEqual(await daemon.stop("TERM"), 0)
        self.assertEqual([record["body"]["data"]["n"] for record in self.receiver.seen("end")], [1])
        self.assertEqual(self.jobs(), [("interactions", 0, None)])

    async def test_interrupt(self) -> None:
        """SIGINT is the same."""
        await self.receiver.ready()
        daemon = self.daemon()
        await daemon.ready()
        self.assertEqual(await daemon.stop("INT"), 0)

    async def test_grace_ends(self) -> None:
        """What has not ended within the grace period is handed back, with its attempt uncounted."""
        await self.receiver.ready()
        daemon = self.daemon({**SAMPLE, "grace": 0.3})
        await daemon.ready()
        self.send("mail", "/hang")
        await self.receiver.wait_for(1, "begin")
        self.assertEqual(await daemon.stop("TERM"), 0)
        self.assertEqual(self.jobs(), [("mail", 0, None)])

    async def test_second_signal(self) -> None:
        """A second signal does not wait for the grace period."""
        await self.receiver.ready()
        daemon = self.daemon({**SAMPLE, "grace": 3000})
        await daemon.ready()
        self.send("mail", "/hang")
        await self.receiver.wait_for(1, "begin")
        daemon.signal("TERM")
        await daemon.wait_for_line("draining: 1 deliveries")
        self.assertEqual(await daemon.stop("TERM"), 0)
        self.assertEqual(self.jobs(), [("mail", 0, None)])

    async def test_superseded_during_its_delivery(self) -> None:
        """A job whose key was added again meanwhile stays exhausted when it is handed back."""
        await self.receiver.ready()
        daemon = self.daemon({**SAMPLE, "grace": 0.1})
        await daemon.ready()
        self.send("mail", "/hang", n=1, job_key="k")
        await self.receiver.wait_for(1, "begin")
        self.send("mail", "/ok", n=2, job_key="k", run_at="2999-01-01T00:00:00Z")
        self.assertEqual(await daemon.stop("TERM"), 0)
        self.assertEqual(self.jobs("key, attempts, max_attempts"), [(None, 25, 25), ("k", 0, 25)])

    async def test_stop_while_waiting_for_the_database(self) -> None:
        """A daemon that waits for its database ends at once."""
        daemon = self.daemon(SLAY_Q_DATABASE_URL="postgresql://nobody@127.0.0.1:9/nothing")
        await daemon.wait_for_line("database_waiting")
        self.assertEqual(await daemon.stop("TERM"), 0)
