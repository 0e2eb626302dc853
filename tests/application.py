"""`Application`: plays the application, its client and a worker against the database, in plain SQL."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import psycopg2
from psycopg2 import sql
from twisted.trial.unittest import SynchronousTestCase

from tests.postgres import migrated_database

RECEIVER = "http://app.test/slay-q"

FUNCTIONS = {
    "add_worker_job": "identifier payload queue_name run_at max_attempts job_key priority flags job_key_mode",
    "add_worker_jobs": "identifiers payloads queue_names run_ats max_attempts job_keys priorities flags job_key_modes",
    "wait_for_worker_event": "_job_key _event _match_key _match_value _step_name _expires_at",
    "wait_for_invocation": "_invoker_job_key _target_job_key _step_name",
    "trigger_waiting_invoker": "_job_key _result",
    "trigger_waiting_workers": "_event _match_key _match_value",
    "cancel_pending_tasks": "event matchkey matchval",
}
"""The functions in public, each with the names of its arguments in order."""


class JobRow(NamedTuple):
    """A job as it stands in the table. `due` is seconds from now, negative when it is due."""

    id: int
    task: str
    payload: str
    key: str | None
    attempts: int
    max_attempts: int
    due: float
    locked: bool
    last_error: str | None
    revision: int


class Application:
    """One autocommit connection.

    Args:
        url: of a migrated database.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.connection = psycopg2.connect(url)
        self.connection.autocommit = True

    def rows(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run a statement and return its rows."""
        with self.connection.cursor() as cursor:
            cursor.execute(statement, parameters or None)
            return list(cursor.fetchall()) if cursor.description else []

    def value(self, statement: str, *parameters: Any) -> Any:
        """The one value of the one row that a statement returns."""
        ((value,),) = self.rows(statement, *parameters)
        return value

    def call(self, function: str, **arguments: Any) -> None:
        """Call one of the functions in public by named arguments, as PostgREST does."""
        pairs = [
            sql.SQL("{} => {}").format(sql.Identifier(name), sql.Placeholder(name)) for name in arguments
        ]
        statement = sql.SQL("SELECT public.{}({})").format(
            sql.Identifier(function), sql.SQL(", ").join(pairs)
        )
        with self.connection.cursor() as cursor:
            cursor.execute(statement, arguments)

    def send(self, event: str, *, key: str | None = None, more: str = "", **arguments: Any) -> None:
        """Add a job for an event in queue `mail`; `more` is payload text, for example `,"cache":{}`."""
        payload = f'{{"url":"{RECEIVER}","retry":3,"event":"{event}"{more}}}'
        self.call("add_worker_job", identifier="mail", payload=payload, job_key=key, **arguments)

    def wait(self, key: str, value: str = "1", step: str | None = "step", expires: str = "1 hour") -> None:
        """The job with that key waits for the event `paid` whose `id` is `value`."""
        expires_at = self.value("SELECT clock_timestamp() + %s::interval", expires)
        self.call(
            "wait_for_worker_event", _job_key=key, _event="paid", _match_key="id", _match_value=value,
            _step_name=step, _expires_at=expires_at,
        )  # fmt: skip

    def fire(self, value: str = "1") -> None:
        """The event `paid` with that `id`."""
        self.call("trigger_waiting_workers", _event="paid", _match_key="id", _match_value=value)

    def claim(self) -> JobRow | None:
        """Take the next due job as a worker does."""
        claimed = self.rows(
            """
            UPDATE graphile_worker._private_jobs
               SET attempts = attempts + 1, locked_at = clock_timestamp(), locked_by = 'worker-1'
             WHERE id = (SELECT id FROM graphile_worker._private_jobs
                          WHERE is_available = true AND run_at <= clock_timestamp()
                          ORDER BY priority, run_at, id LIMIT 1 FOR UPDATE SKIP LOCKED)
            RETURNING id
            """
        )
        return self.job(claimed[0][0]) if claimed else None

    def complete(self, job: JobRow) -> None:
        """The delivery was answered."""
        self.rows("DELETE FROM graphile_worker._private_jobs WHERE id = %s", job.id)

    def fail(self, job: JobRow, error: str = "status 500") -> None:
        """The delivery failed: back-off, lock cleared."""
        self.rows(
            """
            UPDATE graphile_worker._private_jobs
               SET last_error = %s, locked_at = NULL, locked_by = NULL,
                   run_at = greatest(now(), run_at) + exp(least(attempts, 10)) * interval '1 second'
             WHERE id = %s AND locked_by = 'worker-1'
            """,
            error,
            job.id,
        )

    def jobs(self, where: str = "true", *parameters: Any) -> list[JobRow]:
        """The jobs that satisfy an SQL condition on `job`, by id."""
        found = self.rows(
            f"""
            SELECT job.id, task.identifier, job.payload::text, job.key, job.attempts, job.max_attempts,
                   extract(epoch FROM job.run_at - clock_timestamp())::float8, job.locked_at IS NOT NULL,
                   job.last_error, job.revision
              FROM graphile_worker._private_jobs AS job
              JOIN graphile_worker._private_tasks AS task ON task.id = job.task_id
             WHERE {where}
             ORDER BY job.id
            """,
            *parameters,
        )
        return [JobRow(*row) for row in found]

    def job(self, number: int) -> JobRow:
        """The job with that id."""
        (job,) = self.jobs("job.id = %s", number)
        return job

    def keyed(self, key: str) -> JobRow:
        """The job that holds that key."""
        (job,) = self.jobs("job.key = %s", key)
        return job

    def waits(self) -> int:
        """How many waits for events and results are recorded."""
        count: int = self.value(
            "SELECT (SELECT count(*) FROM slayq._private_waiting_on) + (SELECT count(*) FROM slayq._private_invoker)"
        )
        return count

    def close(self) -> None:
        """Close the connection; twice is harmless."""
        self.connection.close()


class ApplicationTestCase(SynchronousTestCase):
    """A migrated database of the test's own, and an application on it."""

    def setUp(self) -> None:
        self.url = migrated_database(self)
        self.app = self.application()

    def application(self) -> Application:
        """One more connection, closed at the end of the test."""
        app = Application(self.url)
        self.addCleanup(app.close)
        return app

    def blocked(self, act: Callable[[Application], Any]) -> "Future[Any]":
        """Start `act(application)` on a connection of its own, and return when it waits for somebody's lock."""
        app = self.application()
        pool = ThreadPoolExecutor(1)
        self.addCleanup(pool.shutdown)
        future = pool.submit(act, app)
        while not future.done():
            if self.app.value(
                "SELECT cardinality(pg_blocking_pids(%s)) > 0", app.connection.info.backend_pid
            ):
                return future
        future.result()
        raise AssertionError("it did not wait for anybody")
