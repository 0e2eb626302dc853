"""Events go in by SQL and arrive at a Node receiver."""

import json
from collections import Counter, defaultdict

from tests.e2e.case import SAMPLE, EndToEndCase

LIMITS = {name: queue["concurrency"] for name, queue in SAMPLE["queues"].items()}
QUEUE_OF = {
    alias: name for name, queue in SAMPLE["queues"].items() for alias in (name, *queue.get("alias", ()))
}


class DeliveryTests(EndToEndCase):
    """Once each, signed, within the limits."""

    async def test_every_event_once(self) -> None:
        """300 events over all queues and aliases arrive once each, verified, and within each queue's limit."""
        await self.receiver.ready()
        daemon = self.daemon()
        await daemon.ready()
        names = list(QUEUE_OF)
        self.send_many(names, 300)
        await self.receiver.wait_for(300)
        self.assert_once_each(300)
        self.assert_within_limits(1)
        self.assertEqual(await daemon.stop(), 0)
        self.assertEqual(self.jobs(), [])

    async def test_two_daemons(self) -> None:
        """Two daemons that start together on an empty database share the work: nothing twice."""
        await self.receiver.ready()
        daemons = [self.daemon() for _ in range(2)]
        for daemon in daemons:
            await daemon.ready()
        self.send_many(list(QUEUE_OF), 200)
        await self.receiver.wait_for(200)
        for daemon in daemons:
            self.assertEqual(await daemon.stop(), 0)
        self.assert_once_each(200)
        self.assert_within_limits(2)
        self.assertEqual(self.jobs(), [])
        for daemon in daemons:
            self.assertTrue(any("job_delivered" in line for line in daemon.lines), daemon.lines)

    async def test_urls(self) -> None:
        """What JavaScript takes for a URL is one here, and Node receives what its own `fetch` would send."""
        url = await self.receiver.ready()
        host = url.removeprefix("http://")
        daemon = self.daemon()
        await daemon.ready()
        for user in ("", "u:p@"):  # directly, and through treq
            for text in (
                f" http://{user}{host}/ok/1 \n",
                f"http:\\\\{user}{host}\\ok\\2",
                f"http:/{user}{host}/ok/\t3 a",
                f"http://{user}{host}/a/../ok/4|[5]'?6|^[7]\\8 %",
                f"http://{user}{host.replace('127.0.0.1', '0x7f.1')}/ok/é",
            ):
                payload = json.dumps({"url": text, "retry": 0, "event": "e"})
                self.sql("SELECT add_worker_job('mail', %s::json)", payload)
        await self.receiver.wait_for(10)
        paths = ["/ok/%C3%A9", "/ok/1", "/ok/2", "/ok/3%20a", "/ok/4|[5]'?6|^[7]\\8%20%"]
        self.assertEqual(sorted(seen["path"] for seen in self.receiver.seen("end")), sorted(2 * paths))
        self.assertEqual(await daemon.stop(), 0)
        self.assertEqual(self.jobs(), [])

    async def test_odd_steps(self) -> None:
        """A step's name is the application's: one called `__proto__` arrives with its result, verified by Node."""
        url = await self.receiver.ready()
        daemon = self.daemon()
        await daemon.ready()
        caches = [
            {"__proto__": {"a": 1}, "nap": True},
            {"constructor": {"prototype": [1]}, "1": 2, "0": 1},
            {"step": {"__proto__": None}},
        ]
        for cache in caches:
            payload = {"url": f"{url}/ok", "retry": 0, "event": "e", "cache": cache}
            self.sql("SELECT add_worker_job('mail', %s::json)", json.dumps(payload))
        await self.receiver.wait_for(len(caches))
        seen = self.receiver.seen("end")
        self.assertEqual([record["verified"] for record in seen], [True] * len(caches))
        for cache in caches:
            self.assertIn(cache, [record["body"]["cache"] for record in seen])
        self.assertEqual(await daemon.stop(), 0)
        self.assertEqual(self.jobs(), [])

    async def test_serial_lane(self) -> None:
        """Events of one lane arrive one after the other, though two queues with free slots send them."""
        await self.receiver.ready()
        for daemon in (self.daemon(), self.daemon()):
            await daemon.ready()
        for n in range(12):
            self.send("mail" if n % 2 else "general", "/slow/20", n=n, queue_name="lane")
        await self.receiver.wait_for(12)
        self.assertEqual({record["concurrent"] for record in self.receiver.seen("begin")}, {1})

    async def test_without_notices(self) -> None:
        """Jobs that nobody announces are found within the poll interval (items 43, 61)."""
        await self.receiver.ready()
        daemon = self.daemon()
        await daemon.ready()
        self.sql(
            "INSERT INTO graphile_worker._private_jobs (task_id, payload) SELECT id, %s::json"
            " FROM graphile_worker._private_tasks WHERE identifier = 'mail'",
            f'{{"url":"{self.receiver.url}/ok","retry":0,"event":"e"}}',
        )
        ((added,),) = self.sql("SELECT extract(epoch FROM created_at)::float8 FROM graphile_worker.jobs")
        (seen,) = await self.receiver.wait_for(1)
        self.assertLess(seen["at"] / 1000 - added, 1.5)

    async def test_lane_is_quick(self) -> None:
        """Thirty jobs of one lane do not wait for polls between them (item 46)."""
        await self.receiver.ready()
        daemon = self.daemon()
        await daemon.ready()
        for n in range(30):
            self.send("mail", "/ok", n=n, queue_name="lane")
        records = await self.receiver.wait_for(30)
        self.assertLess(records[-1]["at"] - records[0]["at"], 10_000)
        self.assertEqual([record["body"]["data"]["n"] for record in records], list(range(30)))

    async def test_killed(self) -> None:
        """After kill -9 a job stays locked; force_unlock_workers makes it run (item 56)."""
        await self.receiver.ready()
        daemon = self.daemon()
        await daemon.ready()
        self.send("mail", "/hang", n=1)
        await self.receiver.wait_for(1, "begin")
        self.assertEqual(await daemon.stop("KILL"), -9)
        ((pool, attempts),) = self.jobs("locked_by, attempts")
        self.assertEqual(attempts, 1)
        self.sql(
            "UPDATE graphile_worker._private_jobs SET payload = replace(payload::text, 'hang', 'ok')::json"
        )
        self.sql("SELECT graphile_worker.force_unlock_workers(ARRAY[%s])", pool)
        await self.daemon().ready()
        _, again = await self.receiver.wait_for(2, "begin")
        self.assertEqual(again["body"]["retry"], 2)

    async def test_failing_receiver(self) -> None:
        """A refused event comes again with the next attempt's number."""
        await self.receiver.ready()
        daemon = self.daemon()
        await daemon.ready()
        self.send("mail", "/fail-once", n=7)
        first, second = await self.receiver.wait_for(2)
        self.assertEqual([first["body"]["retry"], second["body"]["retry"]], [1, 2])
        self.assertGreaterEqual(second["body"]["time"] - first["body"]["time"], 2700)
        await daemon.wait_for_line("500 Internal Server Error")

    async def test_warnings(self) -> None:
        """What an operator must act on is said: the sample secret, an unknown event, a failed job, an unserved queue."""
        await self.receiver.ready()
        daemon = self.daemon()
        await daemon.wait_for_line("sample_secret")
        await daemon.ready()
        self.send("mail", "/status/404")
        await daemon.wait_for_line("event_unknown")
        self.send("mail", "/status/500", max_attempts=1)
        await daemon.wait_for_line("job_failed_for_good")
        self.send("somebody_elses")
        await daemon.wait_for_line("identifier_unserved: jobs wait for 'somebody_elses'")
        self.assertEqual(self.jobs(), [("mail", 1, None), ("somebody_elses", 0, None)])

    def send_many(self, names: list[str], count: int) -> None:
        self.sql(
            """
            SELECT public.add_worker_job(name, json_build_object('url', %s::text || '?' || name, 'retry', 0,
                     'event', name || '/test', 'data', json_build_object('n', n)))
              FROM generate_series(0, %s - 1) AS n
             CROSS JOIN LATERAL (SELECT (%s::text[])[1 + n %% %s] AS name) AS chosen
            """,
            f"{self.receiver.url}/slow/3",
            count,
            names,
            len(names),
        )

    def assert_once_each(self, count: int) -> None:
        records = self.receiver.seen("begin")
        self.assertEqual(sorted(record["body"]["data"]["n"] for record in records), list(range(count)))
        self.assertEqual(
            Counter((record["verified"], record["fresh"]) for record in records), {(True, True): count}
        )

    def assert_within_limits(self, daemons: int) -> None:
        """Follow the requests as they began and ended."""
        under_way: Counter[str] = Counter()
        most: dict[str, int] = defaultdict(int)
        for record in self.receiver.in_order():
            queue = QUEUE_OF[record["body"]["event"].removesuffix("/test")]
            under_way[queue] += 1 if record["type"] == "begin" else -1
            most[queue] = max(most[queue], under_way[queue])
        for queue, limit in LIMITS.items():
            self.assertLessEqual(most[queue], limit * daemons, queue)
            self.assertGreater(most[queue], 0, queue)
