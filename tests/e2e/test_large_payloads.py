"""Payloads of megabytes, many at once, harm nobody but themselves."""

import json
import re
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.web.resource import Resource
from twisted.web.server import Site

from tests.e2e.case import EndToEndCase

MEGABYTE = 10**6
LARGE = 10
"""Megabytes of a large payload; with its quotes it is below the limit."""
BAD, GOOD, TOO_LARGE, SMALL = 30, 8, 2, 40
MEMORY = 300
"""Megabytes that the daemon may have had at its peak. It starts with 60; the payloads together are 420."""
QUEUES = {"queues": {"general": {"concurrency": 10}, "mail": {"concurrency": 4}}}


class Counter(Resource):
    """Answers 200, and counts bytes of bodies."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []
        self.enough: Deferred[None] = Deferred()

    def render_POST(self, request: Any) -> bytes:
        """Count."""
        request.content.seek(0, 2)
        self.sizes.append(request.content.tell())
        if len(self.sizes) == GOOD + SMALL:
            self.enough.callback(None)
        return b"ok"


class LargePayloadTests(EndToEndCase):
    """A queue full of them."""

    def add(self, queue: str, count: int, members: str, megabytes: int) -> None:
        """Add jobs whose data is a string of that length: one is made in the database, where it takes little room, and
        then copied as it lies there.
        """
        self.sql(
            "WITH added AS MATERIALIZED (SELECT (graphile_worker.add_job("
            "        %s, (left(%s, -1) || ',\"data\":\"' || repeat('x', %s) || '\"}')::json)).id)"
            " SELECT id FROM added",
            queue,
            members,
            megabytes * MEGABYTE,
        )
        self.sql(
            "INSERT INTO graphile_worker._private_jobs (task_id, payload)"
            " SELECT task_id, payload FROM (SELECT * FROM graphile_worker._private_jobs ORDER BY id DESC LIMIT 1) AS last"
            "  CROSS JOIN generate_series(2, %s)",
            count,
        )

    async def test_many_at_once(self) -> None:
        """Large bad ones fail for good with their reason, large good ones and all small ones arrive, within bounds."""
        counter = Counter()
        port = reactor.listenTCP(0, Site(counter), interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        url = f"http://127.0.0.1:{port.getHost().port}/"
        good = json.dumps({"url": url, "retry": 0, "event": "e"})
        daemon = self.daemon(QUEUES, SLAY_Q_CRON_URL="http://127.0.0.1:9/")
        await daemon.ready()  # the schema is there
        await daemon.stop()
        self.add("general", BAD, '{"url":"/","retry":0,"event":"e"}', LARGE)
        self.add("general", TOO_LARGE, good, 20)
        self.add("general", GOOD, good, LARGE)
        self.add("general", SMALL // 2, good, 0)
        self.add("mail", SMALL // 2, good, 0)
        daemon = self.daemon(QUEUES, SLAY_Q_CRON_URL="http://127.0.0.1:9/")
        await daemon.ready()
        await counter.enough.addTimeout(120, reactor)
        await daemon.until(
            lambda: sum("job_failed_for_good" in line for line in daemon.lines) == BAD + TOO_LARGE, "failures"
        )
        peak = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{daemon.pid}/status").read_text())
        assert peak is not None
        self.assertEqual(await daemon.stop(), 0)
        self.assertLess(int(peak[1]) * 1024 / MEGABYTE, MEMORY)
        self.assertEqual(sum(size > LARGE * MEGABYTE for size in counter.sizes), GOOD)
        self.assertEqual(
            self.sql(
                r"SELECT regexp_replace(last_error, 'has 200000\d\d ', 'has … '), count(*)::int, bool_and(attempts = max_attempts), bool_and(locked_at IS NULL)"
                "  FROM graphile_worker.jobs WHERE task_identifier <> 'cronQueue' GROUP BY 1 ORDER BY 1"
            ),
            [
                (
                    "payload has … bytes, more than the 16777216 that max_payload_mb allows",
                    TOO_LARGE,
                    True,
                    True,
                ),
                ("payload.url is not an absolute http:// or https:// URL", BAD, True, True),
            ],
        )
