"""`add_job` and `add_jobs`, by the numbers of the conformance list."""

import json
import threading
from typing import Any

import psycopg2

from tests.integration.schema_case import SchemaCase

SPEC = "(%s, %s, %s, NULL, NULL, %s, NULL, NULL)::graphile_worker.job_spec"
MANY = f"SELECT * FROM graphile_worker.add_jobs(ARRAY[{SPEC}, {SPEC}]::graphile_worker.job_spec[])"

ONE = (
    "SELECT * FROM graphile_worker.add_jobs(ARRAY[('t', %s, NULL, NULL, NULL, %s, NULL, NULL)"
    "::graphile_worker.job_spec])"
)


class ColumnTests(SchemaCase):
    """What may not be written."""

    def test_identities(self) -> None:
        """No id, and not is_available, can be given (item 12)."""
        always = "428C9"
        generated = always if self.connection.server_version >= 140000 else "42601"
        for table, columns, values, expected in (
            ("_private_jobs", "id, task_id", "1, 1", always),
            ("_private_tasks", "id, identifier", "1, 'x'", always),
            ("_private_job_queues", "id, queue_name", "1, 'x'", always),
            ("_private_jobs", "task_id, is_available", "1, true", generated),
        ):
            state, _ = self.refused(f"INSERT INTO graphile_worker.{table} ({columns}) VALUES ({values})")
            self.assertEqual(state, expected)

    def test_security(self) -> None:
        """Row level security on the private tables only, no policies, no triggers (item 11)."""
        secured = self.rows(
            "SELECT relname FROM pg_class WHERE relnamespace = 'graphile_worker'::regnamespace AND relrowsecurity"
            " AND NOT relforcerowsecurity ORDER BY 1"
        )
        self.assertEqual(
            [row["relname"] for row in secured],
            ["_private_job_queues", "_private_jobs", "_private_known_crontabs", "_private_tasks"],
        )
        self.assertEqual(self.rows("SELECT * FROM pg_policies WHERE schemaname = 'graphile_worker'"), [])
        self.assertEqual(
            self.rows(
                "SELECT 1 FROM pg_trigger JOIN pg_class ON tgrelid = pg_class.oid"
                " WHERE relnamespace = 'graphile_worker'::regnamespace AND NOT tgisinternal"
            ),
            [],
        )

    def test_one_function_of_a_name(self) -> None:
        """Seven functions, none overloaded (item 7)."""
        names = self.rows("SELECT proname FROM pg_proc WHERE pronamespace = 'graphile_worker'::regnamespace")
        self.assertEqual(
            sorted(row["proname"] for row in names),
            [
                "add_job",
                "add_jobs",
                "complete_jobs",
                "force_unlock_workers",
                "permanently_fail_jobs",
                "remove_job",
                "reschedule_jobs",
            ],
        )


class AddTests(SchemaCase):
    """New jobs."""

    def test_defaults(self) -> None:
        """A bare job has the documented defaults, and is due at its transaction's time (item 13)."""
        self.rows("BEGIN")
        job = self.add()
        now = self.row("SELECT now() AS now")["now"]
        self.rows("COMMIT")
        self.assertEqual(
            {name: job[name] for name in ("payload", "priority", "max_attempts", "attempts", "revision")},
            {"payload": "{}", "priority": 0, "max_attempts": 25, "attempts": 0, "revision": 0},
        )
        self.assertEqual(
            [job[name] for name in ("key", "job_queue_id", "flags", "locked_at", "last_error")], [None] * 5
        )
        self.assertEqual(job["run_at"], now)

    def test_null_payloads(self) -> None:
        """JSON null is kept, SQL null is an empty object (item 14)."""
        self.assertEqual(self.add(payload="null")["payload"], "null")
        self.assertEqual(self.add(payload=None)["payload"], "{}")

    def test_text_is_kept(self) -> None:
        """A payload's text is stored byte for byte (item 15)."""
        for text in ('{ "b" : 1.50,"a":2,"a":3 }', '"x"', "[1 ,2]", r'{"a":"\u0000"}'):
            self.assertEqual(self.add(payload=text)["payload"], text)

    def test_arguments(self) -> None:
        """All nine arguments arrive by position and by name; a jsonb payload is no json (item 16)."""
        values = ("t", '{"n":1}', "lane", "2030-01-01T00:00:00Z", 7, "k1", -3, ["f"], "replace")
        names = [
            "identifier",
            "payload",
            "queue_name",
            "run_at",
            "max_attempts",
            "job_key",
            "priority",
            "flags",
            "job_key_mode",
        ]
        by_position = self.row(
            "SELECT * FROM graphile_worker.add_job(%s, %s, %s, %s, %s, %s, %s, %s, %s)", *values
        )
        by_name = self.add(**dict(zip(names, (*values[:5], "k2", *values[6:]), strict=True)))
        for name in ("task_id", "job_queue_id", "run_at", "max_attempts", "priority", "flags"):
            self.assertEqual(by_position[name], by_name[name], name)
        self.assertEqual(
            (by_name["max_attempts"], by_name["priority"], by_name["flags"]), (7, -3, {"f": True})
        )
        self.assertEqual(self.refused("SELECT graphile_worker.add_job('t', '{}'::jsonb)")[0], "42883")

    def test_limits(self) -> None:
        """Each violation has its code and constraint (item 17)."""
        for arguments, expected in (
            ({"identifier": "x" * 129}, ("23514", "tasks_identifier_check")),
            ({"identifier": None}, ("23502", None)),
            ({"queue_name": "x" * 129}, ("23514", "job_queues_queue_name_check")),
            ({"job_key": ""}, ("23514", "jobs_key_check")),
            ({"job_key": "x" * 513}, ("23514", "jobs_key_check")),
            ({"max_attempts": 0}, ("23514", "jobs_max_attempts_check")),
            ({"max_attempts": 32768}, ("22003", None)),
            ({"priority": -32769}, ("22003", None)),
            ({"job_key": "k", "job_key_mode": "other"}, ("GWBKM", None)),
            ({"flags": ["a", None]}, ("22023", None)),
        ):
            given: dict[str, Any] = {"identifier": "t", **arguments}
            named = ", ".join(f"{name} => %s" for name in given)
            self.assertEqual(
                self.refused(f"SELECT graphile_worker.add_job({named})", *given.values()), expected, arguments
            )
        self.add("é" * 128, queue_name="", job_key="é" * 512)  # characters, not bytes

    def test_mode_without_key(self) -> None:
        """Without a key any mode is accepted (item 18)."""
        self.assertEqual(self.add(job_key_mode="nonsense")["revision"], 0)

    def test_flags(self) -> None:
        """Repeated flags are one, no flags are null (item 27)."""
        self.assertEqual(self.add(flags=["a", "a", "b"])["flags"], {"a": True, "b": True})
        self.assertIsNone(self.add(flags=[])["flags"])

    def test_identities_are_not_used_up(self) -> None:
        """A thousand jobs of a known task and queue use up no id of either (item 31)."""
        self.add(queue_name="q")
        before = self.row("SELECT last_value FROM graphile_worker.tasks_id_seq")
        queues = self.row("SELECT last_value FROM graphile_worker.job_queues_id_seq")
        self.rows("SELECT graphile_worker.add_job('t', queue_name => 'q') FROM generate_series(1, 1000)")
        self.assertEqual(self.row("SELECT last_value FROM graphile_worker.tasks_id_seq"), before)
        self.assertEqual(self.row("SELECT last_value FROM graphile_worker.job_queues_id_seq"), queues)

    def test_rolled_back(self) -> None:
        """A transaction that is rolled back leaves no job and no notice (item 33)."""
        listener = self.listening()
        self.rows("BEGIN")
        job = self.add()
        self.rows("ROLLBACK")
        self.assertIsNone(self.job(job["id"]))
        self.assertEqual(self.notices(listener), [])


class KeyTests(SchemaCase):
    """Jobs under a key that is taken."""

    def test_replace(self) -> None:
        """A fresh job takes all the new call's values, defaults included, and keeps id and created_at (item 19)."""
        old = self.add(
            job_key="k", payload='{"a":1}', priority=5, max_attempts=3, queue_name="q", flags=["f"]
        )
        new = self.add("other", job_key="k")
        self.assertEqual((new["id"], new["created_at"], new["revision"]), (old["id"], old["created_at"], 1))
        self.assertEqual(
            [new[name] for name in ("payload", "priority", "max_attempts", "job_queue_id", "flags")],
            ["{}", 0, 25, None, None],
        )
        self.assertNotEqual(new["task_id"], old["task_id"])

    def test_preserve_run_at(self) -> None:
        """It keeps run_at of a fresh job, not of one that has been tried; both start anew (item 20)."""
        first = self.add(job_key="k", run_at="2030-01-01T00:00:00Z")
        kept = self.add(job_key="k", run_at="2031-01-01T00:00:00Z", job_key_mode="preserve_run_at")
        self.assertEqual((kept["id"], kept["run_at"]), (first["id"], first["run_at"]))
        self.change(first["id"], "attempts = 2, last_error = 'no'")
        moved = self.add(job_key="k", run_at="2031-01-01T00:00:00Z", job_key_mode="preserve_run_at")
        self.assertEqual((moved["id"], moved["run_at"].year), (first["id"], 2031))
        self.assertEqual((moved["attempts"], moved["last_error"]), (0, None))

    def test_failed_for_good(self) -> None:
        """A job without attempts left stays, without its key, beside a new one (item 21)."""
        old = self.add(job_key="k")
        self.change(old["id"], "attempts = max_attempts, last_error = 'no'")
        for mode in ("replace", "preserve_run_at"):
            new = self.add(job_key="k", job_key_mode=mode)
            self.assertNotEqual(new["id"], old["id"])
        stored = self.job(old["id"])
        assert stored is not None
        self.assertEqual((stored["key"], stored["attempts"], stored["last_error"]), (None, 25, "no"))

    def test_locked(self) -> None:
        """A job that runs, however long, runs on without key and attempts, beside a new one (items 22, 23)."""
        for age in ("0", "5 hours"):
            old = self.add(job_key="k", payload='{"a":1}')
            self.change(old["id"], f"locked_at = now() - interval '{age}', locked_by = 'w', attempts = 1")
            new = self.add(job_key="k", payload='{"a":2}')
            stored = self.job(old["id"])
            assert stored is not None
            self.assertEqual(
                (stored["key"], stored["attempts"], stored["locked_by"], stored["payload"]),
                (None, 25, "w", '{"a":1}'),
            )
            self.assertEqual((new["key"], new["attempts"], new["locked_by"]), ("k", 0, None))
            self.rows("DELETE FROM graphile_worker._private_jobs")

    def test_unsafe_dedupe(self) -> None:
        """Only revision and updated_at move, whatever state the job is in; new names become known (item 24)."""
        for number, state in enumerate(
            ("attempts = 0", "locked_at = now(), locked_by = 'w'", "attempts = 25")
        ):
            old = self.add(job_key=f"k{number}", payload='{"a":1}')
            self.change(old["id"], state)
            before = self.job(old["id"])
            new = self.add(
                f"task {number}", job_key=f"k{number}", queue_name=f"q {number}", job_key_mode="unsafe_dedupe"
            )
            assert before is not None
            self.assertEqual(
                {name for name in before if before[name] != new[name]}, {"revision", "updated_at"}
            )
            self.assertEqual(new["revision"], 1)
            self.row("SELECT 1 FROM graphile_worker._private_tasks WHERE identifier = %s", f"task {number}")
            self.row("SELECT 1 FROM graphile_worker._private_job_queues WHERE queue_name = %s", f"q {number}")

    def test_arrays(self) -> None:
        """Arrays are joined in order, in jsonb's form; anything else replaces (items 25, 26)."""
        self.add(job_key="k", payload='[{"b":1, "a":2}]')
        self.assertEqual(self.add(job_key="k", payload="[1.50]")["payload"], '[{"a": 2, "b": 1}, 1.50]')
        self.assertEqual(self.add(job_key="k", payload='{"x":1}')["payload"], '{"x":1}')
        self.assertEqual(self.add(job_key="k", payload="[1]")["payload"], "[1]")
        self.assertEqual(self.add(job_key="k")["payload"], "{}")

    def test_twice_in_one_call(self) -> None:
        """A key that stands twice in one call fails, and nothing is added (item 28)."""
        state, _ = self.refused(MANY, "t", "{}", None, "k", "t", "{}", None, "k")
        self.assertEqual(state, "21000")
        self.assertEqual(self.rows("SELECT * FROM graphile_worker.jobs"), [])


class NoticeTests(SchemaCase):
    """What is announced."""

    def test_notices(self) -> None:
        """One notice for each call, with the number of jobs; an empty one for none (items 29, 30)."""
        listener = self.listening()
        self.add()
        self.rows(MANY, "t", "{}", None, None, "t", "{}", "q", "k")
        for nothing in ("NULL", "ARRAY[]::graphile_worker.job_spec[]"):
            self.assertEqual(self.rows(f"SELECT * FROM graphile_worker.add_jobs({nothing})"), [])
        self.add(job_key="k", job_key_mode="unsafe_dedupe")  # nothing new
        self.add(job_key="k2", job_key_mode="unsafe_dedupe")
        self.assertEqual(self.notices(listener), [1, 2, None, None, 1])


class VanishingTests(SchemaCase):
    """Housekeeping deletes a task's row while a call that needs it is under way."""

    def test_keyed(self) -> None:
        """A task that vanishes between two statements of the call is registered again (item 32)."""
        self.assertEqual(self.add_while_the_task_vanishes("replace"), ("late", "k"))

    def test_unsafe_dedupe(self) -> None:
        """In this mode too (item 32)."""
        self.assertEqual(self.add_while_the_task_vanishes("unsafe_dedupe"), ("late", "k"))

    def add_while_the_task_vanishes(self, mode: str) -> tuple[str, str]:
        """Hold a call up in its middle by a row that it waits for; task and key of the job that it then stores."""
        holder, caller = self.connect(), self.connect()
        self.rows("SET statement_timeout = '10s'", on=caller)
        self.add("late")
        # The caller has registered its task when it comes to the queue, or to the job that has its key.
        if mode == "unsafe_dedupe":
            blocked_by = "INSERT INTO graphile_worker._private_job_queues (queue_name) VALUES ('lane')"
        else:
            old = self.add("other", job_key="k")
            self.change(old["id"], "attempts = max_attempts")
            blocked_by = f"SELECT 1 FROM graphile_worker._private_jobs WHERE id = {old['id']} FOR UPDATE"
        self.rows("BEGIN", on=holder)
        self.rows(blocked_by, on=holder)
        answers: list[dict[str, Any]] = []

        def call() -> None:
            answers.extend(
                self.rows(
                    "SELECT id FROM graphile_worker.add_job('late', queue_name => 'lane', job_key => 'k',"
                    " job_key_mode => %s)",
                    mode,
                    on=caller,
                )
            )

        thread = threading.Thread(target=call)
        thread.start()
        self.until_blocked(caller)
        self.rows("DELETE FROM graphile_worker._private_tasks WHERE identifier = 'late'")
        self.rows("COMMIT", on=holder)
        thread.join()
        (answer,) = answers
        stored = self.row("SELECT * FROM graphile_worker.jobs WHERE id = %s", answer["id"])
        return stored["task_identifier"], stored["key"]

    def until_blocked(self, connection: Any) -> None:
        """Wait until a connection waits for a lock."""
        while not self.row(
            "SELECT cardinality(pg_blocking_pids(%s)) > 0 AS blocked", connection.info.backend_pid
        )["blocked"]:
            self.assertFalse(connection.closed)


class ContentionTests(SchemaCase):
    """Many callers and workers on one key."""

    CONNECTIONS = 8
    CALLS = 150

    def test_no_request_is_lost(self) -> None:
        """Eight connections enqueue and claim one key: each request is stored, and stored once (item 32).

        Payloads are arrays, which an update joins, so that every request is to be found in some job.
        """
        errors: list[BaseException] = []

        def enqueue_and_claim(connection: Any, who: int) -> None:
            try:
                for number in range(self.CALLS):
                    self.rows(
                        ONE
                        if number % 2
                        else "SELECT * FROM graphile_worker.add_job('t', %s, job_key => %s)",
                        json.dumps([who * self.CALLS + number]),
                        "k",
                        on=connection,
                    )
                    self.rows(
                        "UPDATE graphile_worker._private_jobs SET locked_at = now(), locked_by = 'w',"
                        " attempts = attempts + 1 WHERE id = (SELECT id FROM graphile_worker._private_jobs"
                        " WHERE is_available = true LIMIT 1 FOR UPDATE SKIP LOCKED)",
                        on=connection,
                    )
            except psycopg2.Error as error:
                errors.append(error)

        threads = [
            threading.Thread(target=enqueue_and_claim, args=(self.connect(), who))
            for who in range(self.CONNECTIONS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(errors, [])
        stored = self.rows(
            "SELECT json_array_elements_text(payload)::integer AS n FROM graphile_worker._private_jobs ORDER BY n"
        )
        self.assertEqual([row["n"] for row in stored], list(range(self.CONNECTIONS * self.CALLS)))
