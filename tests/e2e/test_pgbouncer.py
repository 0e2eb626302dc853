"""The daemon behind PgBouncer in transaction mode."""

from collections import Counter

from tests.e2e.case import EndToEndCase
from tests.pgbouncer import PgBouncer


class PgBouncerTests(EndToEndCase):
    """Everything works through the pooler; only the daemons go through it, the test itself does not."""

    def setUp(self) -> None:
        super().setUp()
        self.pooler = PgBouncer(self, self.url)

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
        arrived = Counter(record["body"]["data"]["n"] for record in self.receiver.seen())
        self.assertEqual(arrived, Counter(range(60)))
        self.assertEqual(self.jobs(), [])
