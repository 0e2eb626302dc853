"""How much a claim takes when payloads are large."""

from typing import Any

import psycopg2
from twisted.trial.unittest import SynchronousTestCase

from tests.postgres import migrated_database

MEGABYTE = 10**6
BOUND = 16 * 2**20


class ClaimBytesTests(SynchronousTestCase):
    """`slayq._private_claim_jobs`."""

    def setUp(self) -> None:
        self.connection = psycopg2.connect(migrated_database(self))
        self.connection.autocommit = True
        self.addCleanup(self.connection.close)
        self.sql("INSERT INTO slayq._private_daemons (worker) VALUES ('pool-test')")

    def sql(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    def add(self, identifier: str, size: int, count: int, *, lane: str | None = None) -> None:
        """Add jobs with payloads of about that many bytes. One is made, the others are its copies as it lies there."""
        self.sql(
            "SELECT graphile_worker.add_job(%s, json_build_object('data', repeat('x', %s)), %s)",
            identifier,
            size,
            lane,
        )
        self.sql(
            "INSERT INTO graphile_worker._private_jobs (task_id, job_queue_id, payload)"
            " SELECT task_id, job_queue_id, payload"
            "   FROM (SELECT * FROM graphile_worker._private_jobs ORDER BY id DESC LIMIT 1) AS last"
            "  CROSS JOIN generate_series(2, %s)",
            count,
        )

    def claim(self, **limits: int) -> dict[tuple[str, int | None], int]:
        """Claim for one group each; how many came, by identifier and length of the payload in whole megabytes."""
        tasks = dict(self.sql("SELECT identifier, id FROM graphile_worker._private_tasks"))
        rows = self.sql(
            "SELECT task.identifier, octet_length(job.payload) / 1000000, count(*)::integer"
            "  FROM slayq._private_claim_jobs(%s, %s, %s, 'pool-test', %s, %s, 0, 2000) AS job"
            "  JOIN graphile_worker._private_tasks AS task ON task.id = job.task_id GROUP BY 1, 2",
            [tasks[name] for name in limits],
            list(range(len(limits))),
            list(limits.values()),
            BOUND,
            BOUND,
        )
        return {(identifier, length): count for identifier, length, count in rows}

    def test_beside_a_queue_of_large_ones(self) -> None:
        """The small jobs of another queue are taken as if the large ones were not there."""
        self.add("large", 10 * MEGABYTE, 50)
        self.add("mail", 100, 500)
        for _ in range(2):
            self.assertEqual(self.claim(large=300, mail=100), {("large", 10): 2, ("mail", 0): 100})

    def test_until_the_bytes_are_used_up(self) -> None:
        """A queue gets what it asks for, up to the bound and the payload that reaches it."""
        self.add("large", 5 * MEGABYTE, 5)
        self.add("large", MEGABYTE, 40)
        self.assertEqual(self.claim(large=300), {("large", 5): 4})
        self.assertEqual(self.claim(large=300), {("large", 5): 1, ("large", 1): 12})
        self.assertEqual(self.claim(large=5), {("large", 1): 5})

    def test_all_large(self) -> None:
        """The oldest come first; no queue waits for ever."""
        for name in "abcd":
            self.add(name, 10 * MEGABYTE, 2)
        taken: dict[tuple[str, int | None], int] = {}
        for _ in range(4):
            claimed = self.claim(a=9, b=9, c=9, d=9)
            self.assertEqual(sum(claimed.values()), 2, claimed)
            for what, count in claimed.items():
                taken[what] = taken.get(what, 0) + count
        self.assertEqual(taken, {(name, 10): 2 for name in "abcd"})

    def test_too_large(self) -> None:
        """It is claimed, so that it fails for good, and not read."""
        self.add("large", 20 * MEGABYTE, 2)
        self.assertEqual(self.claim(large=300), {("large", None): 1})
        self.assertEqual(self.claim(large=300), {("large", None): 1})
        self.assertEqual(self.claim(large=300), {})

    def test_small_when_compressed(self) -> None:
        """What takes up little room counts as what it is."""
        self.add("mail", 150_000, 300)
        ((size,),) = self.sql("SELECT max(pg_column_size(payload)) FROM graphile_worker._private_jobs")
        self.assertLess(size, 2000)
        taken = self.claim(mail=300)[("mail", 0)] * 150_000
        self.assertTrue(BOUND - MEGABYTE < taken < BOUND + MEGABYTE, taken)

    def test_unequal_queues(self) -> None:
        """A queue may use what others leave of the bound: what is less than it was not cut short."""
        for name in "abcd":
            self.add(name, 100, 1)
        self.add("large", MEGABYTE, 14)
        self.assertEqual(self.claim(a=9, b=9, c=9, d=9, large=300)[("large", 1)], 14)

    def test_lanes(self) -> None:
        """The first job of each lane, within the same bounds."""
        for lane in "abcd":
            self.add("large", 7 * MEGABYTE, 2, lane=lane)
        self.assertEqual(self.claim(large=300), {("large", 7): 3})
        self.assertEqual(self.claim(large=300), {("large", 7): 1})
        self.assertEqual(self.claim(large=300), {})
