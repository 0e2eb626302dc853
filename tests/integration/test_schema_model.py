"""Random sequences of calls on our schema and on the real 0.18.0's, side by side: the rows must be the same."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg2
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.sqlfiles import named_queries
from tests.node_peers import make_schema
from tests.postgres import bring_up_to_date, empty_database, migrated_database

JOBS = named_queries("jobs.sql")
SWEEP = named_queries("housekeeping.sql")["sweep"]
KEYS = st.sampled_from([None, "k1", "k2", "k3"])
MODES = st.sampled_from([None, "replace", "preserve_run_at", "unsafe_dedupe"])
QUEUES = st.sampled_from([None, None, "q1", "q2"])
PAYLOADS = st.sampled_from([None, "{}", '{"b":1, "a":[]}', "[1]", '[{"y":1,"x":2}]', "null", '"text"'])
TIMES = st.sampled_from([None, "2020-01-01T00:00:00Z", "2030-01-01T00:00:00Z"])
PRIORITIES = st.sampled_from([None, -1, 0, 2])
ATTEMPTS = st.sampled_from([None, 1, 2, 25])
FLAGS = st.sampled_from([None, ["a"], ["b", "a", "b"]])
PICK = st.integers(0, 7)
STATE = """
SELECT job.id, task.identifier, queue.queue_name, payload::text, priority, attempts, max_attempts, last_error, key,
       job.locked_by, revision, flags, job.is_available, run_at, queue.locked_by AS lane, updated_at > created_at
  FROM graphile_worker._private_jobs AS job
  JOIN graphile_worker._private_tasks AS task ON task.id = task_id
  LEFT JOIN graphile_worker._private_job_queues AS queue ON queue.id = job_queue_id
 ORDER BY job.id
"""
RESET = """
TRUNCATE graphile_worker._private_jobs, graphile_worker._private_job_queues, graphile_worker._private_tasks
RESTART IDENTITY CASCADE;
INSERT INTO graphile_worker._private_tasks (identifier) VALUES ('t1'), ('t2');
INSERT INTO slayq._private_daemons (worker) VALUES ('pool-w') ON CONFLICT DO NOTHING;
"""
Call = Callable[[Any], Any]


class SideBySide(RuleBasedStateMachine):
    """The same calls on both. `cursors` is set by the test."""

    cursors: list[Any]

    def __init__(self) -> None:
        super().__init__()
        self.claimed: list[list[tuple[Any, ...]]] = []  # what was claimed, on each side
        for cursor in self.cursors:
            cursor.execute(RESET)

    def both(self, statement: str, *parameters: Any) -> list[Any]:
        """Run a statement on both: their rows, or both errors' codes, which must be the same."""
        answers: list[Any] = []
        for cursor in self.cursors:
            try:
                cursor.execute(statement, parameters or None)
                answers.append(cursor.fetchall() if cursor.description else [])
            except psycopg2.Error as error:
                answers.append(error.pgcode)
        ours, theirs = answers
        if isinstance(ours, str) or isinstance(theirs, str):
            assert ours == theirs, (statement, parameters, answers)
        return answers

    def some_id(self, pick: int) -> int:
        self.cursors[0].execute("SELECT id FROM graphile_worker._private_jobs ORDER BY id")
        ids = [row[0] for row in self.cursors[0].fetchall()]
        return ids[pick % len(ids)] if ids else 1

    @rule(
        identifier=st.sampled_from(["t1", "t2"]),
        payload=PAYLOADS,
        queue=QUEUES,
        at=TIMES,
        most=ATTEMPTS,
        key=KEYS,
        priority=PRIORITIES,
        flags=FLAGS,
        mode=MODES,
    )
    def add_job(self, identifier: str, payload: Any, queue: Any, at: Any, most: Any, key: Any, priority: Any,
                flags: Any, mode: Any) -> None:  # fmt: skip
        """One job, in every mode."""
        self.both(
            "SELECT id, revision FROM graphile_worker.add_job(%s, %s, %s, %s, %s, %s, %s, %s, %s)",
            identifier, payload, queue, at, most, key, priority, flags, mode,
        )  # fmt: skip

    @rule(spec=st.tuples(PAYLOADS, QUEUES, KEYS), times=st.integers(0, 2), preserve=st.booleans())
    def add_jobs(self, spec: tuple[Any, Any, Any], times: int, preserve: bool) -> None:
        """None, one, or two equal ones, which fail on both if they have a key. (Different ones get their ids in no
        particular order.)
        """
        specs = [spec] * times
        records = [
            {"identifier": "t1", "payload": None if payload is None else json.loads(payload), "queue_name": queue,
             "job_key": key}
            for payload, queue, key in specs
        ]  # fmt: skip
        self.both(
            "SELECT count(*) FROM graphile_worker.add_jobs(ARRAY(SELECT spec FROM"
            " json_populate_recordset(NULL::graphile_worker.job_spec, %s) AS spec), %s)",
            json.dumps(records),
            preserve,
        )

    @rule(key=KEYS)
    def remove(self, key: Any) -> None:
        self.both("SELECT id FROM graphile_worker.remove_job(%s)", key)

    @rule(limit=st.integers(1, 3))
    def claim(self, limit: int) -> None:
        """Claim by our own statement, on both."""
        parameters = {
            "tasks": [1, 2],
            "groups": [0, 0],
            "limits": [limit, limit],
            "worker": "pool-w",
            "max_bytes": 2**24,
            "max_payload": 2**24,
            "after_lane": 0,
            "steps": 2000,
            "texts": True,
        }
        rows = []
        for cursor in self.cursors:
            cursor.execute(JOBS["claim_jobs"], parameters)
            rows.append(sorted(row for row in cursor.fetchall() if row[0] is not None))
        self.claimed += zip(*rows, strict=True)  # type: ignore[arg-type]

    def end(self, pick: int, query: str, **more: list[Any]) -> None:
        """End a claimed job on both."""
        if not self.claimed:
            return
        pair = self.claimed.pop(pick % len(self.claimed))
        for cursor, row in zip(self.cursors, pair, strict=True):
            claim = {
                "ids": [row[0]],
                "lanes": [row[8]],
                "claimed": [row[9]],
                "revisions": [row[10]],
            }
            cursor.execute(JOBS[query], {"worker": "pool-w", **claim, **more})

    @rule(pick=PICK)
    def complete(self, pick: int) -> None:
        self.end(pick, "complete_jobs")

    @rule(pick=PICK, final=st.booleans())
    def fail(self, pick: int, final: bool) -> None:
        self.end(pick, "fail_jobs", errors=["no"], delays=[0.0], finals=[final])

    @rule(pick=PICK, wait=st.sampled_from([None, 100.0]))
    def release(self, pick: int, wait: float | None) -> None:
        self.end(pick, "release_jobs", waits=[wait])

    @rule(pick=PICK, at=TIMES, priority=PRIORITIES, attempts=st.sampled_from([None, 0, 3]), most=ATTEMPTS)
    def reschedule(self, pick: int, at: Any, priority: Any, attempts: Any, most: Any) -> None:
        ids = [self.some_id(pick)]
        self.both("SELECT id FROM graphile_worker.reschedule_jobs(%s::bigint[], %s, %s, %s, %s)", ids, at, priority,
                  attempts, most)  # fmt: skip

    @rule(pick=PICK, message=st.sampled_from([None, "", "by hand"]))
    def permanently_fail(self, pick: int, message: Any) -> None:
        ids = [self.some_id(pick)]
        self.both("SELECT id FROM graphile_worker.permanently_fail_jobs(%s::bigint[], %s)", ids, message)

    @rule(pick=PICK)
    def complete_by_hand(self, pick: int) -> None:
        self.both("SELECT id FROM graphile_worker.complete_jobs(%s::bigint[])", [self.some_id(pick)])

    @rule()
    def force_unlock(self) -> None:
        self.both("SELECT graphile_worker.force_unlock_workers(ARRAY['pool-w'])")

    @rule()
    def grow_old(self) -> None:
        """Every lock becomes five hours old: its holder no longer knows it by its time."""
        self.both("UPDATE graphile_worker._private_jobs SET locked_at = locked_at - interval '5 hours'")
        self.both("UPDATE graphile_worker._private_job_queues SET locked_at = locked_at - interval '5 hours'")

    @rule()
    def sweep(self) -> None:
        for cursor in self.cursors:
            cursor.execute(SWEEP, {"tick": "cronQueue", "batch": 100})

    @invariant()
    def same_rows(self) -> None:
        """Everything is equal; what is counted from now may differ by the time between the two calls."""
        ours, theirs = self.both(STATE)
        assert len(ours) == len(theirs), (ours, theirs)
        for our_row, their_row in zip(ours, theirs, strict=True):
            assert [_comparable(value) for value in our_row] == [_comparable(value) for value in their_row]
            for one, other in zip(our_row, their_row, strict=True):
                if isinstance(one, datetime) and isinstance(other, datetime):
                    chance = max(one - datetime.now(UTC), timedelta()) / 10  # of a failed attempt's wait
                    assert abs(one - other) < timedelta(seconds=20) + chance, (one, other)


def _comparable(value: Any) -> Any:
    """A value; a time that is near to now only as such."""
    if not isinstance(value, datetime):
        return value
    return "about now" if abs(value - datetime.now(UTC)) < timedelta(days=1) else value


class ModelTests(SynchronousTestCase):
    """0.18.0 is the model."""

    def test_random_sequences(self) -> None:
        """Any sequence of calls leaves the same rows in both schemas."""
        theirs = empty_database(self)
        make_schema("0.18.0", theirs)
        bring_up_to_date(theirs)  # which leaves their functions as they are
        cursors = []
        for url in (migrated_database(self), theirs):
            connection = psycopg2.connect(url)
            connection.autocommit = True
            self.addCleanup(connection.close)
            cursors.append(connection.cursor())
        machine = type("Machine", (SideBySide,), {"cursors": cursors})
        run_state_machine_as_test(  # type: ignore[no-untyped-call]
            machine,
            settings=settings(
                max_examples=40,
                stateful_step_count=40,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
