"""`add_worker_jobs`: many events in one call, as if they were added one after the other."""

import json
import random
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import psycopg2

from slayq_tw.client import Event, send_events
from slayq_tw.sqlfiles import script
from tests.application import ApplicationTestCase
from tests.roles import connect_as, make_role

ARGUMENTS = {
    "identifiers": "text", "payloads": "json", "queue_names": "text", "run_ats": "timestamptz",
    "max_attempts": "integer", "job_keys": "text", "priorities": "integer", "flags": "json", "job_key_modes": "text",
}  # fmt: skip
ONE = "SELECT public.add_worker_job(%s, %s, %s, %s, %s, %s, %s, ARRAY(SELECT json_array_elements_text(%s::json)), %s)"
STATE = """
SELECT task.identifier, lane.queue_name, job.payload::text, job.priority, job.attempts, job.max_attempts,
       job.last_error, job.key, job.revision, job.flags, job.locked_at IS NOT NULL, job.run_at, job.created_at,
       job.updated_at, ARRAY(SELECT wait.event FROM slayq._private_waiting_on AS wait WHERE wait.job_id = job.id),
       EXISTS (SELECT FROM slayq._private_references AS reference WHERE reference.job_id = job.id)
  FROM graphile_worker._private_jobs AS job
  JOIN graphile_worker._private_tasks AS task ON task.id = job.task_id
  LEFT JOIN graphile_worker._private_job_queues AS lane ON lane.id = job.job_queue_id
"""
Spec = tuple[Any, ...]


class BulkTestCase(ApplicationTestCase):
    """Events are tuples of `add_worker_job`'s arguments, the flags as a JSON array."""

    def add(self, specs: list[Spec], app: Any = None) -> None:
        """All in one call."""
        columns = [list(column) for column in zip(*specs, strict=True)]
        casts = ", ".join(f"%s::text[]::{kind}[]" for kind in ARGUMENTS.values())
        texts = [[None if value is None else str(value) for value in column] for column in columns]
        (app or self.app).rows(f"SELECT public.add_worker_jobs({casts})", *texts)

    def spec(self, identifier: Any = "mail", payload: Any = "{}", **more: Any) -> Spec:
        names = ["queue_name", "run_at", "max_attempts", "job_key", "priority", "flags", "job_key_mode"]
        return (identifier, payload, *(more.pop(name, None) for name in names))


class OneAfterTheOtherTests(BulkTestCase):
    """The effect is that of single calls."""

    def some_spec(self, chance: random.Random, number: int) -> Spec:
        pick = chance.choice
        return (
            pick(["mail", "mail", "post", "new"]),
            pick(["[1]", "[2]", '{"event":"e","cache":{}}', f'{{"n":{number}}}', r'{"x":"\u0000"}', None]),
            pick([None, None, "lane", "new lane"]),
            pick([None, None, "2030-01-01T00:00:00Z"]),
            pick([None, 1, 7]),
            pick([None, None, "k1", "k2", "k3", "k4", "job-1", f"only {number}", f"only {number}"]),
            pick([None, -3, 5]),
            pick([None, "[]", '["f","g","f"]', r'["é"]']),
            pick([None, "replace", "preserve_run_at", "unsafe_dedupe"]),
        )

    def outcome(self, specs: list[Spec], *, in_bulk: bool) -> list[tuple[str, ...]]:
        """All rows afterwards, of a transaction that is rolled back; times from its own on are relative."""
        self.app.rows("BEGIN")
        if in_bulk:
            self.add(specs)
        else:
            for spec in specs:
                self.app.rows(ONE, *spec)
        now = self.app.value("SELECT now()")
        rows = self.app.rows(STATE)
        self.app.rows("ROLLBACK")

        def comparable(value: Any) -> str:
            is_soon = isinstance(value, datetime) and timedelta() <= value - now < timedelta(days=1)
            return f"now + {value - now}" if is_soon else str(value)

        return sorted(tuple(map(comparable, row)) for row in rows)

    def test_same_rows(self) -> None:
        """Random events, keys that stand twice and holders of every kind: the same rows, waits and references."""
        for key, state in (
            ("k1", "attempts = 0"),
            ("k2", "attempts = 2, last_error = 'no', payload = '{\"event\":\"e\"}'"),
            ("k3", "attempts = max_attempts"),
            ("k4", "attempts = 1, locked_at = now() - interval '1 hour', locked_by = 'w'"),
        ):
            self.app.rows(
                *(ONE, *self.spec("mail", "[0]", job_key=key, queue_name="lane", run_at="2031-01-01"))
            )
            self.app.wait(key)
            self.app.rows(f"UPDATE graphile_worker._private_jobs SET {state} WHERE key = %s", key)
        for seed in range(120):
            chance = random.Random(seed)
            specs = [self.some_spec(chance, number) for number in range(chance.randrange(1, 12))]
            self.assertEqual(self.outcome(specs, in_bulk=True), self.outcome(specs, in_bulk=False), specs)

    def test_order(self) -> None:
        """Events without a key have their ids in the order in which they stand."""
        self.add([self.spec(payload=str(n), queue_name="lane") for n in range(500)])
        self.assertEqual([job.payload for job in self.app.jobs()], [str(n) for n in range(500)])

    def test_announced_once(self) -> None:
        """One call, one notice, with their number; none for nothing."""
        listener = self.application()
        listener.rows('LISTEN "jobs:insert"')
        self.add([self.spec(job_key=key) for key in ("a", None, "b", None)])
        self.app.rows("SELECT public.add_worker_jobs('{}'), public.add_worker_jobs(NULL)")
        listener.rows("SELECT 1")
        self.assertEqual(
            [json.loads(notice.payload)["count"] for notice in listener.connection.notifies], [4]
        )

    def test_defaults(self) -> None:
        """Arrays that are left out mean the defaults; numbering that does not begin at 1 means nothing."""
        self.app.rows("""SELECT public.add_worker_jobs('[7:8]={mail,post}', '[0:1]={"1","2"}'::json[])""")
        self.assertEqual(
            [(job.task, job.payload, job.max_attempts, job.key) for job in self.app.jobs()],
            [("mail", "1", 25, None), ("post", "2", 25, None)],
        )


class FaultTests(BulkTestCase):
    """What cannot be stored."""

    def fault(self, *specs: Spec) -> psycopg2.Error:
        with self.assertRaises(psycopg2.Error) as caught:
            self.add(list(specs))
        self.assertEqual(self.app.jobs(), [])
        return caught.exception

    def test_named(self) -> None:
        """The error is add_job's, and says which event; none is stored."""
        good = self.spec(job_key="good")
        for wrong, expected in (
            (self.spec("i" * 129), ("23514", "tasks_identifier_check")),
            (self.spec(None), ("23502", None)),
            (self.spec(queue_name="q" * 129), ("23514", "job_queues_queue_name_check")),
            (self.spec(job_key=""), ("23514", "jobs_key_check")),
            (self.spec(job_key="k" * 513), ("23514", "jobs_key_check")),
            (self.spec(max_attempts=0), ("23514", "jobs_max_attempts_check")),
            (self.spec(max_attempts=32_768), ("22003", None)),
            (self.spec(priority=-32_769), ("22003", None)),
            (self.spec(job_key="k", job_key_mode="merge"), ("GWBKM", None)),
            (self.spec(flags='["a", null]'), ("22023", None)),
            (self.spec(flags='"a"'), ("22023", None)),
        ):
            error = self.fault(good, wrong, good)
            self.assertEqual((error.pgcode, error.diag.constraint_name or None), expected, wrong)
            assert error.diag.message_primary is not None
            self.assertTrue(error.diag.message_primary.startswith("event 2 of 3: "), error)

    def test_lengths(self) -> None:
        """An array that is shorter or longer is named, before anything is stored."""
        for name in list(ARGUMENTS)[1:]:
            for length in (1, 3):
                with self.assertRaises(psycopg2.errors.InvalidParameterValue) as caught:
                    self.app.rows(
                        f"SELECT public.add_worker_jobs(ARRAY['mail', 'mail'], {name} => %s::text[]::{ARGUMENTS[name]}[])",
                        [None] * length,
                    )
                self.assertIn(f"identifiers has 2 elements, {name} has {length}", str(caught.exception))
        self.assertEqual(self.app.jobs(), [])


class BesideOthersTests(BulkTestCase):
    """Other sessions at the same moment."""

    def test_same_keys(self) -> None:
        """Calls with the same keys, in any order, held and not, do not deadlock, and each key has one job."""
        keys = [f"k{n}" for n in range(40)]
        self.add([self.spec(job_key=key) for key in keys[::2]])

        def send(seed: int) -> None:
            app = self.application()
            chance = random.Random(seed)
            for turn in range(12):
                mine = [*keys, *(f"{turn} {n}" for n in range(40))]
                chance.shuffle(mine)
                self.add([self.spec(payload=f"[{seed}]", job_key=key) for key in mine], app)

        with ThreadPoolExecutor(4) as pool:
            for sending in [pool.submit(send, seed) for seed in range(4)]:
                sending.result()
        jobs = self.app.jobs()
        self.assertEqual(len(jobs), 40 + 12 * 40)
        # No array was lost: each call has added its element.
        self.assertEqual(
            [sorted(json.loads(job.payload)) for job in jobs if job.key and " " in job.key],
            [[0, 1, 2, 3]] * 480,
        )

    def test_new_keys(self) -> None:
        """Nor do calls with the same new keys, in whatever order they stand."""

        def send(*keys: str) -> Any:
            return self.blocked(lambda app: self.add([self.spec(job_key=key) for key in keys], app))

        self.app.rows("SELECT public.add_worker_job('mail')")
        other = self.application()
        other.rows("BEGIN")
        self.add([self.spec(job_key="a")], other)
        first = send("x", "a", "y")
        second = self.application()
        second.rows("SET lock_timeout = '10s'")  # it has nobody to wait for
        self.add([self.spec(job_key=key) for key in ("y", "x")], second)
        other.rows("COMMIT")
        first.result()
        self.assertEqual(sorted(job.key or "" for job in self.app.jobs()), ["", "a", "x", "y"])

    def test_names_are_kept(self) -> None:
        """Until it is committed, whoever deletes names that no job uses is kept out."""
        self.app.rows("BEGIN")
        self.add([self.spec(queue_name="lane"), self.spec(job_key="k")])
        locked = self.app.rows(
            "SELECT relation::regclass::text FROM pg_locks WHERE mode = 'RowExclusiveLock' AND pid = pg_backend_pid()"
            " AND relation::regclass::text LIKE 'graphile_worker.\\_private\\___%%s' ORDER BY 1"
        )
        self.app.rows("ROLLBACK")
        self.assertLessEqual(
            {"graphile_worker._private_tasks", "graphile_worker._private_job_queues"},
            {name for (name,) in locked},
        )


class GrantTests(BulkTestCase):
    """Who may call it."""

    def test_who_may_add_one(self) -> None:
        """When it is made it goes to those who may call add_worker_job, and to nobody else."""
        sender, other = make_role(self, self.app), make_role(self, self.app)
        self.app.rows(f"GRANT EXECUTE ON FUNCTION public.add_worker_job TO {sender} WITH GRANT OPTION")
        self.app.rows("DROP FUNCTION public.add_worker_jobs")
        self.app.rows(
            "CREATE FUNCTION public.add_worker_jobs(jobs jsonb) RETURNS integer LANGUAGE sql AS 'SELECT 7'"
        )
        self.app.rows(script("migrations", "0020_add_worker_jobs.sql").replace("SET LOCAL", "SET"))
        connect_as(self, self.app, sender).rows("SELECT public.add_worker_jobs(ARRAY['mail'])")
        stranger = connect_as(self, self.app, other)
        with self.assertRaises(psycopg2.errors.InsufficientPrivilege):
            stranger.rows("SELECT public.add_worker_jobs(ARRAY['mail'])")
        # Somebody's own function of that name is left alone, with its grants.
        self.assertEqual(stranger.value("SELECT public.add_worker_jobs('{}'::jsonb)"), 7)
        self.app.rows("SELECT slayq._private_grant_execute('{}')")
        self.assertEqual(stranger.value("SELECT public.add_worker_jobs('{}'::jsonb)"), 7)

    def test_client(self) -> None:
        """The client's send_events uses it where it is there and may be called, and does without where not."""
        role = make_role(self, self.app)
        self.app.rows(f"GRANT EXECUTE ON FUNCTION public.add_worker_job, public.add_worker_jobs TO {role}")
        sender = connect_as(self, self.app, role)
        events = [
            Event("a", {"n": n}, queue="mail", endpoint="http://app.test/", key=f"k{n % 2}", flags=["f"])
            for n in range(3)
        ]
        for change in (
            "SELECT 1",
            f"REVOKE ALL ON FUNCTION public.add_worker_jobs FROM {role}",
            "DROP FUNCTION public.add_worker_jobs",
        ):
            self.app.rows(change)
            self.app.rows("DELETE FROM graphile_worker._private_jobs")
            send_events(sender.connection, events)
            self.assertEqual(
                [(job.key, job.revision) for job in self.app.jobs()], [("k0", 1), ("k1", 0)], change
            )
            self.assertIn('"n":2', self.app.keyed("k0").payload)
