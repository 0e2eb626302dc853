"""The daemon beside, after and before the real Graphile Worker."""

import json
from typing import Any

from tests.e2e.case import EndToEndCase
from tests.node_peers import NodeWorker, make_schema
from tests.processes import until_any
from tests.upstream import UPSTREAM


class MixedFleetTests(EndToEndCase):
    """One database, workers of both kinds."""

    timeout = 240

    async def test_shared_lane(self) -> None:
        """Jobs of one serial lane never overlap, whoever runs them (item 44); each job runs once."""
        await self.receiver.ready()
        daemon = self.daemon()
        await daemon.ready()
        peers = [NodeWorker(self, release, self.url, "node_task") for release in ("0.16.6", "0.18.0")]
        for peer in peers:
            await peer.ready()
        for n in range(8):
            self.send("mail", "/slow/15", n=n, queue_name="lane")
            self.sql(
                "SELECT graphile_worker.add_job('node_task', '{\"milliseconds\":15}', queue_name => 'lane')"
            )
        await self.receiver.wait_for(8)
        await until_any(peers, lambda: sum(len(peer.did("end")) for peer in peers) >= 8, "8 jobs")
        for peer in peers:
            await peer.stop()  # so that what is finished is written
        self.assertEqual(await daemon.stop(), 0)
        self.assertEqual(self.jobs(), [])
        spans = [self.span(record) for record in self.receiver.in_order()]
        for peer in peers:
            spans += [self.span(record) for record in (*peer.did("begin"), *peer.did("end"))]
        spans.sort()
        under_way = 0
        for _, change, _ in spans:
            under_way += change
            self.assertIn(under_way, (0, 1), spans)
        self.assertEqual(len(self.receiver.seen()), 8)
        self.assertEqual(sum(len(peer.did("begin")) for peer in peers), 8)

    async def test_shared_identifier(self) -> None:
        """An identifier that a Node worker and the daemon both serve: each job is run by one of them."""
        await self.receiver.ready()
        daemon = self.daemon()
        await daemon.ready()
        peer = NodeWorker(self, "0.17.3", self.url, "general")
        await peer.ready()
        payload = {
            "url": f"{self.receiver.url}/slow/5",
            "retry": 0,
            "event": "e",
            "data": {},
            "milliseconds": 5,
        }
        self.sql(
            "SELECT graphile_worker.add_job('general', %s::json) FROM generate_series(1, 100)",
            json.dumps(payload),
        )

        def all_ended() -> bool:
            return len(self.receiver.seen("end")) + len(peer.did("end")) >= 100

        await until_any([self.receiver, peer], all_ended, "100 jobs")
        self.assertEqual(len(self.receiver.seen()) + len(peer.did("begin")), 100)
        ids = [record["body"]["job_key"].removeprefix("job-") for record in self.receiver.seen()]
        ids += [record["begin"] for record in peer.did("begin")]
        self.assertEqual(len(set(ids)), 100)

    async def test_cron_once_a_minute(self) -> None:
        """Two daemons and a Node peer with the same crontab item add one tick between them (items 66, 67)."""
        await self.receiver.ready()
        daemons = [self.daemon() for _ in range(2)]
        for daemon in daemons:
            await daemon.ready()
        url = f"{self.receiver.url}/ok"
        item = f'* * * * * cronQueue ?id=cronQueue&jobKey=cron&max=1 {{url:"{url}",retry:0,event:"cron",data:{{}}}}'
        peer = NodeWorker(self, "0.16.6", self.url, "something_else", crontab=item)
        await peer.ready()
        await self.receiver.until(lambda: bool(self.ticks()), "cron tick", 75)
        (tick,) = self.ticks()
        self.assertLess(tick["at"] % 60_000, 2_000)
        self.assertEqual(
            (tick["verified"], tick["body"]["job_key"], tick["body"]["retry"]), (True, "cron", 1)
        )
        # Whoever else had added one would have done so by the time that another event has gone all the way.
        self.send("mail", "/slow/300")
        await self.receiver.wait_for(1)
        self.assertEqual(len(self.ticks()), 1)
        ((last,),) = self.sql("SELECT last_execution FROM graphile_worker._private_known_crontabs")
        self.assertEqual(last.timestamp() * 1000, tick["at"] // 60_000 * 60_000)

    async def test_over_from_upstream_and_back(self) -> None:
        """A deployment that is swapped from upstream to this daemon and back loses nothing."""
        await self.receiver.ready()
        make_schema("0.16.6", self.url)
        self.sql(UPSTREAM)
        self.send("mail", "/ok", n=1)
        self.send("mail", "/ok", n=2, run_at="2999-01-01T00:00:00Z", job_key="later")
        upstream = NodeWorker(self, "0.16.6", self.url, "mail")
        await upstream.ready()
        await upstream.wait_for(1)
        await upstream.stop()
        self.send("mail", "/ok", n=3)
        role = self.make_role("app", "LOGIN")

        daemon = self.daemon()
        self.assertIn(role, await daemon.wait_for_line("adopted_grants"))
        await daemon.ready()
        (seen,) = await self.receiver.wait_for(1)
        self.assertEqual((seen["body"]["data"]["n"], seen["verified"]), (3, True))
        self.assertEqual(await daemon.stop(), 0)
        self.send("mail", "/ok", n=4)
        self.sql("SELECT public.add_worker_job('mail', payload, run_at => now(), job_key => 'later')"
                 " FROM graphile_worker._private_jobs WHERE key = 'later'")  # fmt: skip

        again = NodeWorker(self, "0.16.6", self.url, "mail")
        await again.ready()
        await again.wait_for(2)
        await again.stop()
        self.assertEqual({record["key"] for record in again.did("end")}, {None, "later"})
        self.assertEqual(self.jobs(), [])
        self.assertIn(
            ("20240110.up.sql",), self.sql("SELECT migration FROM slayq._migrations"), "or it would run again"
        )

    def ticks(self) -> list[dict[str, Any]]:
        """The cron ticks that arrived."""
        records = [json.loads(line) for line in self.receiver.lines if line.startswith('{"type":"begin"')]
        return [record for record in records if record["body"]["event"] == "cron"]

    @staticmethod
    def span(record: dict[str, Any]) -> tuple[int, int, str]:
        """When, and +1 for a begin or −1 for an end; ends sort before begins of the same millisecond."""
        begins = record.get("type") == "begin" or "begin" in record
        return record["at"], 1 if begins else -1, json.dumps(record)
