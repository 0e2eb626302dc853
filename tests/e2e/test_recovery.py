"""Daemons that die, or seem to."""

import re
import time

from tests.e2e.case import EndToEndCase
from tests.proxy import Proxy
from tests.waiting import after, until

CONCURRENCY = 4
GENERAL = {"queues": {"general": {"concurrency": CONCURRENCY}}}


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
        """A daemon that is suspended for long is taken for dead, and says so when it goes on. Nothing is lost or left,
        and nothing delivered twice but what was under way: what it had claimed ahead it does not begin any more.
        """
        await self.receiver.ready()
        first, second = self.daemon(GENERAL), self.daemon(GENERAL)
        await first.ready()
        await second.ready()
        self.sql(
            "SELECT public.add_worker_job('general', json_build_object('url', %s::text, 'retry', 0,"
            " 'event', 'e', 'data', json_build_object('n', n))) FROM generate_series(1, 1500) AS n",
            f"{self.receiver.url}/slow/10",
        )
        await self.receiver.wait_for(300)
        first.signal("STOP")
        begun = time.monotonic()
        await after(1.0)  # for a claim of its that was under way
        locked = self.sql(
            "SELECT locked_by, (payload -> 'data' ->> 'n')::integer FROM graphile_worker._private_jobs"
            " WHERE locked_by IS NOT NULL"
        )
        said = await second.wait_for_line("its heartbeat has stood still for 10 s", patience=20)
        await until(lambda: self.jobs() == [], "end")
        self.assertLess(time.monotonic() - begun, 15.0)
        match = re.search(r"(\d+) jobs that it held", said)
        assert match is not None
        # Of functions that take 10 ms, hardly any job is claimed ahead; what becomes of those is test_poller's.
        self.assertGreater(int(match[1]), 0, "nothing was under way, so nothing is tested")
        delivered = [record["body"]["data"]["n"] for record in self.receiver.seen()]
        self.assertEqual(set(delivered), set(range(1, 1501)))
        first.signal("CONT")
        await first.wait_for_line("declared_dead")
        self.assertEqual(await first.stop(), 0)
        self.assertEqual(await second.stop(), 0)
        # What had begun, and of which nothing had been written yet when it was suspended, goes out now: it is under way.
        late = [record["body"]["data"]["n"] for record in self.receiver.seen()[len(delivered) :]]
        self.assertLessEqual(len(late), CONCURRENCY)
        self.assertEqual(len(set(late)), len(late))
        held = {n for worker, n in locked if f" {worker} is dead" in said}
        self.assertEqual(len(held), int(match[1]))
        self.assertLessEqual(set(late), held)
        self.assertEqual(self.jobs(), [])
        self.assertEqual(self.sql("SELECT * FROM slayq._private_daemons"), [])

    async def test_long_delivery_through_an_outage(self) -> None:
        """A living daemon's delivery is not made twice, though the database was away for longer than a death takes."""
        await self.receiver.ready()
        proxy = Proxy.before(self, self.url)
        daemons = [self.daemon(GENERAL, SLAY_Q_DATABASE_URL=proxy.url) for _ in range(2)]
        for daemon in daemons:
            await daemon.ready()
        self.send("general", "/slow/28000", n=1)
        await self.receiver.wait_for(1, "begin")
        await proxy.refuse()  # type: ignore[misc]
        await after(20.0)
        proxy.let_through()
        await self.receiver.wait_for(1)
        await until(lambda: self.jobs() == [], "result in the table")
        for daemon in daemons:
            self.assertEqual(await daemon.stop(), 0)
            self.assertFalse(
                [line for line in daemon.lines if "declared_dead" in line or "recovered" in line]
            )
        self.assertEqual(len(self.receiver.seen()), 1)
