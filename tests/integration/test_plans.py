"""The plans of the statements that run for every batch, where statistics mislead: how much they read, and by what."""

from typing import Any

import psycopg2
from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.sqlfiles import named_queries
from tests.postgres import migrated_database

JOBS = 100_000
JOB_TABLE = "_private_jobs"
QUERIES = named_queries("jobs.sql")


class PlanTests(SynchronousTestCase):
    """A hundred thousand jobs came since somebody last looked: statistics speak of an empty table."""

    def setUp(self) -> None:
        self.connection = psycopg2.connect(migrated_database(self))
        self.connection.autocommit = True
        self.addCleanup(self.connection.close)
        self.sql("ALTER TABLE graphile_worker._private_jobs SET (autovacuum_enabled = false)")
        self.sql("ALTER TABLE graphile_worker._private_job_queues SET (autovacuum_enabled = false)")
        self.sql("ANALYZE graphile_worker._private_jobs, graphile_worker._private_job_queues")
        self.sql("INSERT INTO graphile_worker._private_tasks (identifier) VALUES ('busy'), ('quiet')")
        self.sql("INSERT INTO slayq._private_daemons (worker) VALUES ('pool-test')")
        self.tasks = dict(self.sql("SELECT identifier, id FROM graphile_worker._private_tasks"))

    def sql(self, statement: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    def fill(self, *, run_at: str = "now()", priority: str = "0", lane: str = "NULL") -> None:
        """Add the jobs to the busy queue; the arguments are SQL, in which `n` counts them."""
        self.sql(
            "INSERT INTO graphile_worker._private_jobs (task_id, run_at, priority, job_queue_id)"
            f" SELECT %s, {run_at}, {priority}, {lane} FROM generate_series(1, {JOBS}) AS n",
            (self.tasks["busy"],),
        )

    def explain(self, name: str, parameters: dict[str, object]) -> tuple[int, int]:
        """Run a statement.

        Returns:
            How many rows it returned, and how many blocks of 8 kB it looked at.
        """
        *before, statement = QUERIES[name].split(";\n")
        self.sql("BEGIN")
        for setting in before:
            self.sql(setting)
        ((plans,),) = self.sql(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", parameters)
        ((sequential,),) = self.sql(
            "SELECT seq_scan FROM pg_stat_xact_user_tables WHERE relname = %s", (JOB_TABLE,)
        )
        self.sql("COMMIT")
        self.assertEqual(sequential, 0, "sequential scans")
        plan = plans[0]["Plan"]
        return plan["Actual Rows"], plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]

    def claim(self, identifier: str, limit: int = 10) -> tuple[int, int]:
        return self.explain(
            "claim_jobs",
            {
                "tasks": [self.tasks[identifier]],
                "groups": [0],
                "limits": [limit],
                "worker": "pool-test",
                "max_bytes": 2**24,
                "max_payload": 2**24,
            },
        )

    def test_adding(self) -> None:
        """An application's session that began with an empty table does not read the full one for each event."""
        add = "SELECT public.add_worker_job('busy', %s), graphile_worker.add_job('busy', %s)"
        payload = ('{"url":"http://app.test/","retry":0,"event":"e"}',) * 2
        for _ in range(10):  # more than it takes until the plans are kept
            self.sql(add, payload)
        self.fill()
        self.sql("BEGIN")
        self.sql(add, payload)
        self.assertEqual(
            self.sql("SELECT seq_tup_read FROM pg_stat_xact_user_tables WHERE relname = %s", (JOB_TABLE,)),
            [(0,)],
        )
        self.sql("COMMIT")

    def test_adding_under_a_key(self) -> None:
        """Nor for each event under a key, be it new, taken, failed or running; nor all the names of lanes, or waits."""
        modes = ("replace", "preserve_run_at", "unsafe_dedupe")
        add = "SELECT public.add_worker_job('busy', '{}', job_key => %s, job_key_mode => %s, queue_name => 'lane 1')"
        add_many = (
            "SELECT public.add_worker_jobs(array_fill('busy'::text, ARRAY[3]), job_keys => %s, job_key_modes => %s,"
            " queue_names => array_fill('lane 1'::text, ARRAY[3]))"
        )
        states = (
            "attempts = 1",
            "attempts = max_attempts",
            "attempts = 1, locked_at = now(), locked_by = 'w'",
        )
        rare = [f"UPDATE graphile_worker._private_jobs SET {state} WHERE key = 'key 7'" for state in states]
        tables = (
            "graphile_worker._private_jobs, graphile_worker._private_job_queues, slayq._private_waiting_on"
        )
        self.sql("SELECT public.add_worker_job('busy', queue_name => 'lane 1')")
        self.sql("DELETE FROM graphile_worker._private_jobs")
        self.sql(f"VACUUM {tables}")  # known to be empty, as they are in a quiet hour
        for _ in range(10):
            for mode in modes:
                self.sql(add, ("key 7", mode))
                for state in rare:
                    self.sql(state)
                    self.sql(add, ("key 7", mode))
                self.sql(add_many, (["key 7", "key 8", "key 9"], [mode] * 3))
            self.sql("DELETE FROM graphile_worker._private_jobs")
        self.fill()
        self.sql("UPDATE graphile_worker._private_jobs SET key = 'key ' || id")
        self.sql(
            "INSERT INTO graphile_worker._private_job_queues (queue_name)"
            " SELECT 'lane ' || n FROM generate_series(2, 20000) AS n"
        )
        self.sql(
            "INSERT INTO slayq._private_waiting_on (job_id, expires_at)"
            " SELECT id, now() + interval '1 hour' FROM graphile_worker._private_jobs"
        )
        self.sql(
            "UPDATE graphile_worker._private_jobs SET key = 'key 7' WHERE id = (SELECT max(id) FROM graphile_worker._private_jobs)"
        )
        for mode in modes:
            for state in ("SELECT 1", *rare):
                self.sql(state)
                self.sql("BEGIN")
                before = self.read_whole()
                self.sql(add, ("key 7", mode))
                self.sql(add, ("new key", mode))
                self.sql(add_many, (["key 7", "another key", "new key"], [mode] * 3))
                self.assertLess(self.read_whole() - before, 100, (mode, state))
                self.sql("ROLLBACK")

    def read_whole(self) -> int:
        """How many rows sequential scans have read so far, of any table."""
        ((rows,),) = self.sql("SELECT sum(seq_tup_read)::bigint FROM pg_stat_xact_user_tables")
        return int(rows)

    def test_empty_queue_beside_a_full_one(self) -> None:
        """A claim for the quiet queue reads next to nothing."""
        self.fill()
        self.claim("quiet")  # the first one of a connection reads the catalogue
        rows, blocks = self.claim("quiet")
        self.assertEqual(rows, 0)
        self.assertLess(blocks, 30)

    def test_full_queue(self) -> None:
        """A claim reads about as many rows as it takes."""
        self.fill()
        rows, blocks = self.claim("busy", 100)
        self.assertEqual(rows, 100)
        self.assertLess(blocks, 100 * 40)

    def test_future_jobs(self) -> None:
        """Jobs that are not due cost nothing, whatever their priorities."""
        self.fill(run_at="now() + n * interval '1 day'", priority="mod(n, 5)")
        self.claim("busy")
        rows, blocks = self.claim("busy")
        self.assertEqual(rows, 0)
        self.assertLess(blocks, 100)

    def test_future_jobs_in_a_lane(self) -> None:
        """Nor do they in a lane."""
        self.sql("INSERT INTO graphile_worker._private_job_queues (queue_name) VALUES ('lane')")
        ((lane,),) = self.sql("SELECT id FROM graphile_worker._private_job_queues")
        self.fill(run_at="now() + n * interval '1 day'", priority="mod(n, 5)", lane=str(lane))
        self.claim("busy")
        rows, blocks = self.claim("busy")
        self.assertEqual(rows, 0)
        self.assertLess(blocks, 100)

    def test_lanes(self) -> None:
        """Long lanes: one job of each is looked at."""
        self.sql(
            "INSERT INTO graphile_worker._private_job_queues (queue_name) SELECT 'lane ' || n FROM generate_series(1, 100) n"
        )
        ((first,),) = self.sql("SELECT min(id) FROM graphile_worker._private_job_queues")
        self.fill(lane=f"{first} + (n - 1) / {JOBS // 100}")
        rows, blocks = self.claim("busy", 50)
        self.assertEqual(rows, 50)
        self.assertLess(blocks, 100 * 20 + 50 * 40)

    def test_ends(self) -> None:
        """Completing, failing and handing back go to their rows directly."""
        self.fill()
        ids = [
            number
            for (number,) in self.sql("SELECT id FROM graphile_worker._private_jobs ORDER BY id LIMIT 30")
        ]
        common = {
            "worker": "pool-test",
            "claimed": "{" + ",".join(["2026-11-24T12:00:00+00:00"] * 10) + "}",
            "lanes": "{" + ",".join(["NULL"] * 10) + "}",
            "revisions": "{" + ",".join(["0"] * 10) + "}",
            "errors": ["e"] * 10,
            "delays": [0.0] * 10,
            "finals": [False] * 10,
            "waits": "{" + ",".join(["20"] * 10) + "}",
        }
        for number, name in enumerate(("complete_jobs", "fail_jobs", "release_jobs")):
            some = ids[number * 10 : number * 10 + 10]
            self.sql(
                "UPDATE graphile_worker._private_jobs SET locked_by = 'pool-test', locked_at = %s WHERE id = ANY (%s)",
                ("2026-11-24T12:00:00+00:00", some),
            )
            rows, blocks = self.explain(name, common | {"ids": "{" + ",".join(map(str, some)) + "}"})
            self.assertEqual(rows, 10, name)
            self.assertLess(blocks, 10 * 60, name)

    def test_recall(self) -> None:
        """So does bringing back what was put off."""
        self.fill(run_at="'2030-01-01T00:00:00Z'")
        ids = self.sql("SELECT id FROM graphile_worker._private_jobs ORDER BY id LIMIT 100")
        rows, blocks = self.explain(
            "recall_jobs",
            {
                "ids": "{" + ",".join(str(number) for (number,) in ids) + "}",
                "times": "{" + ",".join(["2030-01-01T00:00:00+00:00"] * 100) + "}",
                "places": "{" + ",".join(map(str, range(-99, 1))) + "}",
            },
        )
        self.assertEqual(rows, 100)
        self.assertLess(blocks, 100 * 60)
