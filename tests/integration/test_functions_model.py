"""Random calls of `add_worker_job` beside one that leaves all storing to add_job: everything must be the same."""

from itertools import product
from typing import Any

import psycopg2
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule, run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.sqlfiles import script
from tests.integration.test_schema_model import FLAGS, MODES, PAYLOADS, QUEUES, TIMES, SideBySide
from tests.postgres import migrated_database

EVENTS = st.sampled_from(
    [
        '{"event":"e"}', '{"event":"f"}', '{"event":"e","cache":{}}', '{"event":"e","cache":{"a":1}}',
        r'{"event":"e","cache":{"a":"\u0000"}}', '{"event":"f","cache":[]}', r'[1, "\u0000"]',
    ]
)  # fmt: skip
KEYS = st.sampled_from([None, "k1", "k1", "k2", "job-1", "job-2", "job-x"])
WRONG = st.sampled_from(
    [
        {"identifier": None}, {"identifier": "i" * 129}, {"queue_name": "q" * 129}, {"job_key": ""},
        {"job_key": "k" * 513}, {"max_attempts": 0}, {"max_attempts": 32_768}, {"priority": -32_769},
        {"flags": ["a", None]}, {"job_key_mode": "merge"}, {"run_at": "infinity"},
    ]
)  # fmt: skip
AFRESH = """
DELETE FROM graphile_worker._private_jobs;
DELETE FROM graphile_worker._private_job_queues;
DELETE FROM graphile_worker._private_tasks WHERE identifier = 'new';
DELETE FROM slayq._private_references;
SELECT setval('graphile_worker.jobs_id_seq1', 1, false)
"""
WAITS = """
SELECT 'event', job_id::text, event, step_name FROM slayq._private_waiting_on
 UNION ALL
SELECT 'result', job_id::text, job_key, step_name FROM slayq._private_invoker
 UNION ALL
SELECT 'reference', job_id::text, delivery_id::text, NULL FROM slayq._private_references
 ORDER BY 1, 2, 3, 4
"""


class Beside(SideBySide):
    """`cursors` are those of the function as it is, and of the other."""

    def __init__(self) -> None:
        super().__init__()
        for cursor in self.cursors:
            cursor.execute("TRUNCATE slayq._private_references, slayq._private_fired, slayq._private_results")

    def call(self, **arguments: Any) -> None:
        """Call both: both store, or both raise the same error."""
        given_names = ", ".join(f"{name} => %s" for name in arguments)
        outcomes = []
        for cursor in self.cursors:
            try:
                cursor.execute(f"SELECT public.add_worker_job({given_names})", list(arguments.values()))
                outcomes.append(None)
            except psycopg2.Error as error:
                outcomes.append((error.pgcode, error.diag.constraint_name, error.diag.message_primary))
        assert outcomes[0] == outcomes[1], (arguments, outcomes)
        if outcomes[0] is not None:  # which may have used up an id
            ids = self.both("SELECT last_value FROM graphile_worker.jobs_id_seq1")
            self.both("SELECT setval('graphile_worker.jobs_id_seq1', %s)", max(ids)[0][0])

    @rule(
        identifier=st.sampled_from(["t1", "t1", "t2", "new"]),
        payload=PAYLOADS | EVENTS,
        queue=QUEUES,
        at=st.none() | TIMES,
        key=KEYS,
        flags=FLAGS,
        mode=MODES,
    )
    def send(
        self, identifier: str, payload: Any, queue: Any, at: Any, key: Any, flags: Any, mode: Any
    ) -> None:
        """One event, in every mode."""
        self.call(
            identifier=identifier, payload=payload, queue_name=queue, run_at=at, job_key=key, flags=flags,
            job_key_mode=mode, max_attempts=3,
        )  # fmt: skip

    @rule(key=KEYS, payload=EVENTS, mode=MODES, fault=WRONG)
    def send_what_is_wrong(self, key: Any, payload: Any, mode: Any, fault: Any) -> None:
        """One fault. (Of two, either may be told.)"""
        arguments = {"identifier": "t1", "payload": payload, "job_key": key, "job_key_mode": mode}
        self.call(**arguments | fault)

    @rule(key=KEYS, step=st.sampled_from(["a", "b"]))
    def wait(self, key: Any, step: str) -> None:
        """Wait for an event and for a result, if there is such a job."""
        self.both(
            "SELECT public.wait_for_worker_event(%s, 'paid', 'id', '1', %s, now() + '1 hour')", key, step
        )
        self.both("SELECT public.wait_for_invocation(%s, 'target', %s)", key, step)

    @rule()
    def fire(self) -> None:
        """What somebody may wait for."""
        self.both("SELECT public.trigger_waiting_workers('paid', 'id', '1')")

    @invariant()
    def same_waits(self) -> None:
        """The waits and the references are those of the same jobs."""
        ours, theirs = self.both(WAITS)
        assert ours == theirs, (ours, theirs)


HOLDERS = {
    "none": "key = NULL",
    "fresh": "revision = 3",
    "tried": "attempts = 2, last_error = 'no'",
    "failed for good": "attempts = max_attempts, last_error = 'no'",
    "locked": "attempts = 1, locked_at = now(), locked_by = 'pool-w'",
    "locked for the last time": "attempts = max_attempts, locked_at = now(), locked_by = 'pool-w'",
    "locked long ago": "attempts = 1, locked_at = now() - interval '5 hours', locked_by = 'pool-w'",
}
"""What may hold the key: what is changed in a job with everything set."""
NEW = (
    {},
    {"payload": '{"event":"e","cache":{}}'},
    {"payload": '{"event":"e","cache":{}}', "run_at": "2030-01-01T00:00:00Z"},
    {"payload": "[2]", "queue_name": "q2", "max_attempts": 2, "priority": 3, "flags": ["g"]},
    {"identifier": "t2", "payload": '{"event":"e","cache":{}}'},
    {"identifier": "new", "queue_name": "new"},
)
"""What is added under it."""


class BesideAddJobTests(SynchronousTestCase):
    """The function as it is, and as migration 0006 made it."""

    def test_each_holder(self) -> None:
        """Every kind of call meets every kind of holder: the same rows, waits, references and errors."""
        machine = self.machine()()
        for holder, old, mode, new in product(
            HOLDERS,
            ('{"event":"e"}', "[1]"),
            (None, "replace", "preserve_run_at", "unsafe_dedupe", "merge"),
            NEW,
        ):
            with self.subTest(holder=holder, old=old, mode=mode, new=new):
                machine.both(AFRESH)
                machine.both(
                    "SELECT FROM graphile_worker.add_job('t1', %s, 'q1', '2020-01-01', 7, 'k', -2, ARRAY['f'])",
                    old,
                )
                machine.both(
                    "SELECT public.wait_for_worker_event('k', 'paid', 'id', '1', 's', now() + '1 hour')"
                )
                machine.both("SELECT public.wait_for_invocation('k', 'target', 's')")
                machine.both(f"UPDATE graphile_worker._private_jobs SET {HOLDERS[holder]}")
                machine.both("INSERT INTO slayq._private_references VALUES (1, 1, now(), now())")
                for _ in range(2):
                    machine.call(**{"identifier": "t1", "job_key": "k", "job_key_mode": mode, **new})
                    machine.same_rows()
                    machine.same_waits()

    def test_random_sequences(self) -> None:
        """The same of random sequences of calls, claims and their ends."""
        run_state_machine_as_test(  # type: ignore[no-untyped-call]
            self.machine(),
            settings=settings(
                max_examples=40,
                stateful_step_count=40,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )

    def machine(self) -> type[Beside]:
        """With the two databases."""
        cursors = []
        for before in (False, True):
            connection = psycopg2.connect(migrated_database(self))
            self.addCleanup(connection.close)
            connection.autocommit = True
            cursor = connection.cursor()
            cursors.append(cursor)
            if before:
                text = script("migrations", "0006_add_worker_job.sql")
                _, create, body = text.partition("CREATE OR REPLACE FUNCTION public.add_worker_job(")
                cursor.execute(create + body.partition("\n$$;")[0] + "\n$$")

        return type("Machine", (Beside,), {"cursors": cursors})
