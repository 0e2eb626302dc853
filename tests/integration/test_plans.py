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

    def fill(
        self,
        identifier: str = "busy",
        *,
        run_at: str = "now()",
        priority: str = "0",
        lane: str = "NULL",
        count: int = JOBS,
    ) -> None:
        """Add the jobs to a queue; the arguments are SQL, in which `n` counts them."""
        self.sql(
            "INSERT INTO graphile_worker._private_jobs (task_id, run_at, priority, job_queue_id)"
            f" SELECT %s, {run_at}, {priority}, {lane} FROM generate_series(1, {count}) AS n",
            (self.tasks[identifier],),
        )

    def lanes(self, count: int) -> int:
        """Make serial queues; the id of the first, which the others follow."""
        self.sql(
            "INSERT INTO graphile_worker._private_job_queues (queue_name) SELECT 'lane ' || n"
            f" FROM generate_series(1, {count}) AS n"
        )
        ((first,),) = self.sql("SELECT min(id) FROM graphile_worker._private_job_queues")
        return int(first)

    def warm_claim(self, identifier: str, limit: int = 10) -> tuple[int, int]:
        """As `claim`, by a session that has its plans: the first one of a connection reads the catalogue."""
        self.sql("BEGIN")
        self.sql(QUERIES["claim_jobs"], self.request(identifier, limit))
        self.sql("ROLLBACK")
        return self.claim(identifier, limit)

    def explain(self, name: str, parameters: dict[str, object]) -> tuple[int, int]:
        """Run a statement.

        Returns:
            How many rows it returned, and how many blocks of 8 kB it looked at.
        """
        *before, statement = QUERIES[name].split(";\n")
        self.sql("BEGIN")
        for setting in before:
            self.sql(setting)
        before_it = self.sequential_scans()
        ((plans,),) = self.sql(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", parameters)
        sequential = self.sequential_scans() - before_it
        self.sql("COMMIT")
        self.assertEqual(sequential, 0, "sequential scans")
        plan = plans[0]["Plan"]
        return plan["Actual Rows"], plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]

    def sequential_scans(self) -> int:
        """Of the job table, by this session, those of earlier transactions that are not reported yet included."""
        ((count,),) = self.sql(
            "SELECT seq_scan FROM pg_stat_xact_user_tables WHERE relname = %s", (JOB_TABLE,)
        )
        return int(count)

    def request(self, identifier: str, limit: int) -> dict[str, object]:
        return {
            "tasks": [self.tasks[identifier]],
            "groups": [0],
            "limits": [limit],
            "worker": "pool-test",
            "max_bytes": 2**24,
            "max_payload": 2**24,
            "after_lane": 0,
            "steps": 2000,
            "texts": True,
        }

    def claim(self, identifier: str, limit: int = 10) -> tuple[int, int]:
        rows, blocks = self.explain("claim_jobs", self.request(identifier, limit))
        return rows - 1, blocks  # one row tells of the next claim

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
        self.fill(run_at="now() + n * interval '1 day'", priority="mod(n, 5)", lane=str(self.lanes(1)))
        self.claim("busy")
        rows, blocks = self.claim("busy")
        self.assertEqual(rows, 0)
        self.assertLess(blocks, 100)

    def test_lanes(self) -> None:
        """Long lanes: one job of each is looked at."""
        self.fill(lane=f"{self.lanes(100)} + (n - 1) / {JOBS // 100}")
        rows, blocks = self.claim("busy", 50)
        self.assertEqual(rows, 50)
        self.assertLess(blocks, 100 * 20 + 50 * 40)

    def statistics(self, shape: str) -> None:
        """What Postgres knows of the table."""
        if shape == "analysed":
            self.sql("ANALYZE graphile_worker._private_jobs, graphile_worker._private_job_queues")
        elif shape == "vacuumed":  # knows how many rows there are, and nothing of them
            self.sql("VACUUM graphile_worker._private_jobs, graphile_worker._private_job_queues")

    def test_hot_task(self) -> None:
        """One task's backlog beside another's future jobs, whatever the statistics say."""
        self.fill()
        self.fill("quiet", run_at="now() + interval '1 day'")
        for shape in ("stale", "analysed", "vacuumed"):
            self.statistics(shape)
            rows, blocks = self.warm_claim("quiet", 30)
            self.assertEqual(rows, 0)
            self.assertLess(blocks, 60, shape)
            rows, blocks = self.warm_claim("busy", 30)
            self.assertEqual(rows, 30)
            self.assertLess(blocks, 30 * 50, shape)

    def test_priorities(self) -> None:
        """Five thousand priorities: the lowest ones come first, and only as many are read."""
        self.fill(priority="mod(n * 7, 5000) - 2500")
        for shape in ("stale", "analysed", "vacuumed"):
            self.statistics(shape)
            rows, blocks = self.warm_claim("busy", 30)
            self.assertEqual(rows, 30)
            self.assertLess(blocks, 30 * 60, shape)
        ((worst,),) = self.sql(
            "SELECT max(priority) FROM graphile_worker._private_jobs WHERE locked_at IS NOT NULL"
        )
        self.assertEqual(worst, -2500 + 90 // (JOBS // 5000))

    def test_future_priorities(self) -> None:
        """Jobs that are not due cost nothing, though they have five thousand priorities; a few due ones are found."""
        self.fill(run_at="now() + n * interval '1 hour'", priority="mod(n, 5000)")
        self.fill(priority="4000 + n", count=3)
        for shape in ("stale", "analysed", "vacuumed"):
            self.statistics(shape)
            rows, blocks = self.warm_claim("busy", 30)
            self.assertEqual(rows, 3)
            self.assertLess(blocks, 400, shape)
            self.sql(
                "UPDATE graphile_worker._private_jobs SET locked_at = NULL, attempts = 0 WHERE locked_at IS NOT NULL"
            )

    def test_future_lanes(self) -> None:
        """A lane for each user, with a job that is due tomorrow: neither its queue's claims nor another's read them."""
        self.fill(run_at="now() + interval '1 day'", lane=f"{self.lanes(JOBS)} + n - 1")
        self.fill("quiet", count=1)
        for shape in ("stale", "analysed", "vacuumed"):
            self.statistics(shape)
            rows, blocks = self.warm_claim("busy", 30)
            self.assertEqual(rows, 0)
            self.assertLess(blocks, 60, shape)
            rows, blocks = self.warm_claim("quiet", 30)
            self.assertEqual(rows, 1)
            self.assertLess(blocks, 200, shape)
            self.sql(
                "UPDATE graphile_worker._private_jobs SET locked_at = NULL, attempts = 0 WHERE locked_at IS NOT NULL"
            )

    def test_due_lanes(self) -> None:
        """The same, all due: a claim reads about as many as it takes."""
        self.fill(lane=f"{self.lanes(JOBS)} + n - 1")
        for shape in ("stale", "analysed", "vacuumed"):
            self.statistics(shape)
            rows, blocks = self.warm_claim("busy", 50)
            self.assertEqual(rows, 50)
            self.assertLess(blocks, 50 * 100, shape)

    def test_long_lane_before_many(self) -> None:
        """One long lane comes before all others, of which most have future jobs: claims go on until the due ones are found."""
        first = self.lanes(10_001)
        self.fill(run_at="now() - interval '1 hour'", lane=str(first))
        self.fill(run_at="now() + interval '1 day'", lane=f"{first} + n", count=10_000)
        self.fill(lane=f"{first} + n * 2500", count=4)
        request = self.request("busy", 30)
        found: list[int] = []
        for _ in range(6):
            rows = self.sql(QUERIES["claim_jobs"], request)
            found += [row[8] for row in rows if row[0] is not None]
            rows_read = self.explain("claim_jobs", request | {"steps": 0})[1]
            self.assertLess(rows_read, 3000)
            request["after_lane"] = rows[-1][-1]
        self.assertEqual(sorted(found), [first, *(first + n * 2500 for n in (1, 2, 3, 4))])

    def test_cancelling(self) -> None:
        """A cancellation finds what it cancels among a hundred thousand of the same event."""
        self.sql(
            "INSERT INTO graphile_worker._private_jobs (task_id, payload)"
            " SELECT %s, json_build_object('event', 'e', 'data', json_build_object('to', 'ada', 'user', n))"
            f" FROM generate_series(1, {JOBS}) AS n",
            (self.tasks["busy"],),
        )
        call = "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT public.cancel_pending_tasks('e', 'user', %s)"
        for shape in ("stale", "analysed", "vacuumed"):
            self.statistics(shape)
            for user in ("7", "8"):  # the first one of a connection reads the catalogue
                ((plans,),) = self.sql(call, (user + shape,))
            self.assertLess(
                plans[0]["Plan"]["Shared Hit Blocks"] + plans[0]["Plan"]["Shared Read Blocks"], 60, shape
            )
        ((plans,),) = self.sql(call, ("7",))
        self.assertLess(plans[0]["Plan"]["Shared Hit Blocks"] + plans[0]["Plan"]["Shared Read Blocks"], 400)
        self.assertEqual(self.sql("SELECT count(*) FROM graphile_worker._private_jobs"), [(JOBS - 1,)])

    def test_unserved(self) -> None:
        """Nor are the jobs of served tasks, and future ones, read to find out which identifiers nobody serves."""
        self.fill()
        self.fill("quiet", run_at="now() + interval '1 day'")
        rows, blocks = self.explain("unserved_identifiers", {"tasks": [self.tasks["busy"]]})
        self.assertEqual(rows, 0)
        self.assertLess(blocks, 40)

    def test_ends(self) -> None:
        """Completing, failing and handing back go to their rows directly."""
        self.fill()
        ids = [
            number
            for (number,) in self.sql("SELECT id FROM graphile_worker._private_jobs ORDER BY id LIMIT 30")
        ]
        common = {
            "worker": "pool-test",
            "claimed": "{" + ",".join(["1795521600000000"] * 10) + "}",
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
