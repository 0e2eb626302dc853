"""Events that are not announced, beside others that are: the daemon finds them soon all the same."""

import json
import time
from typing import Any

import psycopg2

from tests.e2e.case import EndToEndCase

USED_UP = """
SELECT setval('slayq._private_announced',
              (date_part('epoch', clock_timestamp()) * 1000000)::bigint + {used})
"""
SOON = 0.2
"""Seconds; the look that the daemon takes anyway comes after half a second on average."""


class LeftOutTests(EndToEndCase):
    """A transaction that stores an event, is not announced, and is committed after those that are."""

    async def test_committed_later(self) -> None:
        """It is found within a fraction of a second, each time, and not with the look of each second."""
        await self.receiver.ready()
        daemon = self.daemon()
        await daemon.ready()
        self.send("mail")
        await self.receiver.wait_for(1)
        late, prompt = self.connect(), self.connect()
        waits = []
        for n in range(8):
            self.add_unannounced(late, 10 + n)
            with prompt.cursor() as cursor:
                cursor.execute(USED_UP.format(used=951_000))
                self.add(cursor, 100 + n)
            await self.arrives(100 + n)
            began = time.monotonic()
            late.cursor().execute("COMMIT")
            await self.arrives(10 + n)
            waits.append(time.monotonic() - began)
        self.assertLess(max(waits), SOON, waits)
        self.assertEqual(await daemon.stop(), 0)

    def add_unannounced(self, connection: Any, n: int) -> None:
        """Store an event in a transaction that stays open and has nothing to announce."""
        while True:
            with connection.cursor() as cursor:
                cursor.execute("BEGIN")
                cursor.execute(USED_UP.format(used=1_000_000))
                began = time.monotonic()
                self.add(cursor, n)
                if time.monotonic() - began < 0.0015:
                    return
                cursor.execute("ROLLBACK")

    def add(self, cursor: Any, n: int) -> None:
        payload = {"url": f"{self.receiver.url}/ok", "retry": 0, "event": "mail/test", "data": {"n": n}}
        cursor.execute("SELECT public.add_worker_job('mail', %s)", [json.dumps(payload)])

    async def arrives(self, n: int) -> None:
        def has_arrived() -> bool:
            return n in {record["body"]["data"]["n"] for record in self.receiver.seen()}

        await self.receiver.until(has_arrived, f"event {n}")

    def connect(self) -> Any:
        connection = psycopg2.connect(self.url)
        connection.autocommit = True
        self.addCleanup(connection.close)
        return connection
