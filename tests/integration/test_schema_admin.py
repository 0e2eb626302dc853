"""`remove_job` and the administrative functions, by the numbers of the conformance list."""

from tests.integration.schema_case import Row, SchemaCase

OLD = "locked_at = now() - interval '4 hours 1 second', locked_by = 'w'"
LIVE = "locked_at = now() - interval '3 hours 59 minutes', locked_by = 'w'"


class RemoveTests(SchemaCase):
    """`remove_job`."""

    def remove(self, key: str | None) -> Row:
        return self.row("SELECT * FROM graphile_worker.remove_job(%s)", key)

    def test_removed(self) -> None:
        """Unlocked, failed and long-locked jobs are deleted, and that is announced (item 34)."""
        listener = self.listening()
        for state in ("attempts = 0", "attempts = 25", OLD):
            job = self.add(job_key="k")
            self.change(job["id"], state)
            self.assertEqual(self.remove("k")["id"], job["id"])
            self.assertIsNone(self.job(job["id"]))
        self.assertEqual(self.notices(listener), [1, -1] * 3)

    def test_running(self) -> None:
        """A running one loses key and attempts, without notice (item 34)."""
        job = self.add(job_key="k")
        self.change(job["id"], LIVE)
        listener = self.listening()
        removed = self.remove("k")
        self.assertEqual((removed["id"], removed["key"], removed["attempts"]), (job["id"], None, 25))
        self.assertEqual(removed["locked_by"], "w")
        self.assertEqual(self.notices(listener), [])

    def test_nothing(self) -> None:
        """An unknown key, and a null one, give a row of nulls (item 34)."""
        for key in ("unknown", None):
            self.assertEqual(set(self.remove(key).values()), {None})


class AdminTests(SchemaCase):
    """What may be done to a list of jobs."""

    def three(self) -> tuple[int, int, int]:
        """A free job, a running one, and one whose lock is old."""
        free, live, old = (self.add(queue_name="q")["id"] for _ in range(3))
        self.change(live, LIVE)
        self.change(old, OLD)
        return free, live, old

    def ids(self, statement: str, *parameters: object) -> set[int]:
        return {row["id"] for row in self.rows(statement, *parameters)}

    def test_running_jobs_are_left_alone(self) -> None:
        """Running ones are skipped, old locks are no hindrance and stay (item 35)."""
        free, live, old = self.three()
        before = self.job(live)
        ids = [free, live, old, 999, free]
        self.assertEqual(
            self.ids("SELECT * FROM graphile_worker.reschedule_jobs(%s::bigint[], priority => 7)", ids),
            {free, old},
        )
        self.assertEqual(
            self.ids("SELECT * FROM graphile_worker.permanently_fail_jobs(%s::bigint[], 'no')", ids),
            {free, old},
        )
        stored = self.job(old)
        assert stored is not None
        self.assertEqual((stored["priority"], stored["last_error"], stored["locked_by"]), (7, "no", "w"))
        self.assertEqual(
            self.ids("SELECT * FROM graphile_worker.complete_jobs(%s::bigint[])", ids), {free, old}
        )
        self.assertEqual(self.job(live), before)
        self.assertEqual(self.ids("SELECT * FROM graphile_worker.complete_jobs(NULL)"), set())

    def test_texts(self) -> None:
        """The default text of a failure, and an empty one (item 36)."""
        for message, expected in ((None, "Manually marked as failed"), ("", "")):
            job = self.add()
            failed = self.row(
                "SELECT * FROM graphile_worker.permanently_fail_jobs(%s, %s)", [job["id"]], message
            )
            self.assertEqual((failed["last_error"], failed["attempts"]), (expected, failed["max_attempts"]))
            self.assertEqual(failed["run_at"], job["run_at"])

    def test_reschedule(self) -> None:
        """Null arguments leave their columns alone; attempts are not compared with the maximum (item 37)."""
        job = self.add(priority=3, max_attempts=5)
        self.change(job["id"], "attempts = 2, last_error = 'no'")
        moved = self.row("SELECT * FROM graphile_worker.reschedule_jobs(%s, attempts => 9)", [job["id"]])
        self.assertEqual(
            [
                moved[name]
                for name in ("run_at", "priority", "attempts", "max_attempts", "last_error", "revision")
            ],
            [job["run_at"], 3, 9, 5, "no", 0],
        )
        self.assertFalse(moved["is_available"])
        everything = self.row(
            "SELECT * FROM graphile_worker.reschedule_jobs(%s, '2030-01-01T00:00:00Z', 0, 0, 30)", [job["id"]]
        )
        self.assertEqual(
            [everything[name] for name in ("priority", "attempts", "max_attempts", "is_available")],
            [0, 0, 30, True],
        )
        state, _ = self.refused("SELECT graphile_worker.reschedule_jobs(%s, priority => 40000)", [job["id"]])
        self.assertEqual(state, "22003")

    def test_force_unlock(self) -> None:
        """Exactly the named workers' locks are cleared, on jobs and queues, and nothing else moves (item 38)."""
        mine, other = self.add(queue_name="mine"), self.add(queue_name="other")
        for job, worker in ((mine, "pool-1"), (other, "pool-2")):
            self.change(job["id"], f"locked_at = now(), locked_by = '{worker}', attempts = 1")
            self.rows(
                "UPDATE graphile_worker._private_job_queues SET locked_at = now(), locked_by = %s WHERE id = %s",
                worker,
                job["job_queue_id"],
            )
        before = self.job(mine["id"])
        self.rows("SELECT graphile_worker.force_unlock_workers(NULL)")
        self.assertEqual(self.job(mine["id"]), before)
        self.rows("SELECT graphile_worker.force_unlock_workers(ARRAY['pool-1', 'pool-3'])")
        after, kept = self.job(mine["id"]), self.job(other["id"])
        assert before is not None and after is not None and kept is not None
        self.assertEqual(
            {name for name in before if before[name] != after[name]},
            {"locked_at", "locked_by", "is_available"},
        )
        self.assertEqual(kept["locked_by"], "pool-2")
        queues = self.rows("SELECT queue_name, locked_by FROM graphile_worker._private_job_queues ORDER BY 1")
        self.assertEqual([row["locked_by"] for row in queues], [None, "pool-2"])


class ViewTests(SchemaCase):
    """The view `jobs`."""

    def test_columns(self) -> None:
        """Names, order and types of its columns (item 39)."""
        columns = self.rows(
            "SELECT attname || ' ' || format_type(atttypid, atttypmod) AS text FROM pg_attribute"
            " WHERE attrelid = 'graphile_worker.jobs'::regclass AND attnum > 0 ORDER BY attnum"
        )
        self.assertEqual(
            [row["text"] for row in columns],
            [
                "id bigint",
                "queue_name text",
                "task_identifier text",
                "priority smallint",
                "run_at timestamp with time zone",
                "attempts smallint",
                "max_attempts smallint",
                "last_error text",
                "created_at timestamp with time zone",
                "updated_at timestamp with time zone",
                "key text",
                "locked_at timestamp with time zone",
                "locked_by text",
                "revision integer",
                "flags jsonb",
            ],
        )

    def test_rows(self) -> None:
        """A job without a queue has no name of one (item 39)."""
        self.add("a")
        self.add("b", queue_name="q")
        rows = self.rows("SELECT task_identifier, queue_name FROM graphile_worker.jobs ORDER BY id")
        self.assertEqual([tuple(row.values()) for row in rows], [("a", None), ("b", "q")])
