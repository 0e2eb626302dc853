"""`add_worker_job`: what it hands to Graphile Worker, and what it adds."""

import json
import math
from typing import Any

import psycopg2

from tests.application import ApplicationTestCase, JobRow

STUB = """
ALTER FUNCTION graphile_worker.add_job(text, json, text, timestamptz, integer, text, integer, text[], text)
  RENAME TO real_add_job;
CREATE SEQUENCE public.tries;
CREATE FUNCTION graphile_worker.add_job(
  identifier text, payload json = NULL, queue_name text = NULL, run_at timestamptz = NULL, max_attempts integer = NULL,
  job_key text = NULL, priority integer = NULL, flags text[] = NULL, job_key_mode text = 'replace'
) RETURNS graphile_worker._private_jobs LANGUAGE plpgsql AS $$
DECLARE
  nothing graphile_worker._private_jobs;
BEGIN
  IF nextval('public.tries') <= {failures} THEN
    RETURN nothing;
  END IF;
  RETURN graphile_worker.real_add_job(identifier, payload, queue_name, run_at, max_attempts, job_key, priority, flags,
                                      job_key_mode);
END
$$
"""
"""Makes add_job answer with nulls that many times."""


class ArgumentTests(ApplicationTestCase):
    """The arguments mean what add_job's mean."""

    def test_all_arguments(self) -> None:
        """All nine arrive, by name and by position."""
        by_position = [
            "mail",
            '{"a" : 1}',
            "lane",
            "2030-01-01T00:00:00Z",
            7,
            "k1",
            -3,
            ["f", "g"],
            "preserve_run_at",
        ]
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
        self.app.rows("SELECT public.add_worker_job(%s, %s, %s, %s, %s, %s, %s, %s, %s)", *by_position)
        by_position[5] = "k2"
        self.app.call("add_worker_job", **dict(zip(names, by_position, strict=True)))
        stored = self.app.rows(
            """
            SELECT job.payload::text, queue.queue_name, job.run_at = '2030-01-01T00:00:00Z', job.max_attempts,
                   job.priority, job.flags
              FROM graphile_worker._private_jobs AS job
              JOIN graphile_worker._private_job_queues AS queue ON queue.id = job.job_queue_id
            """
        )
        self.assertEqual(stored, [('{"a" : 1}', "lane", True, 7, -3, {"f": True, "g": True})] * 2)

    def test_defaults(self) -> None:
        """Everything but the identifier may be left out, or null."""
        self.app.call("add_worker_job", identifier="mail")
        self.app.rows("SELECT public.add_worker_job('mail', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)")
        for job in self.app.jobs():
            self.assertEqual((job.payload, job.key, job.attempts, job.max_attempts), ("{}", None, 0, 25))
            self.assertLessEqual(job.due, 0)

    def test_null_mode_replaces(self) -> None:
        """A null job_key_mode means replace."""
        for at in ("2030-01-01", "2031-01-01"):
            self.app.send("order", key="k", run_at=at, job_key_mode=None)
        self.assertEqual(
            self.app.value("SELECT run_at = '2031-01-01' FROM graphile_worker._private_jobs"), True
        )

    def test_preserve_run_at(self) -> None:
        """preserve_run_at is passed on."""
        for at in ("2030-01-01", "2031-01-01"):
            self.app.send("order", key="k", run_at=at, job_key_mode="preserve_run_at")
        self.assertEqual(
            self.app.value("SELECT run_at = '2030-01-01' FROM graphile_worker._private_jobs"), True
        )

    def test_unsafe_dedupe(self) -> None:
        """unsafe_dedupe leaves even a locked job alone, its waits too, and notes nothing."""
        self.app.send("order", key="k")
        self.app.wait("k")
        self.app.claim()
        self.app.send("other", key="k", job_key_mode="unsafe_dedupe", more=',"cache":{}')
        (job,) = self.app.jobs()
        self.assertEqual((job.key, job.locked, job.attempts, job.revision), ("k", True, 1, 1))
        self.assertIn('"order"', job.payload)
        self.assertEqual(
            (self.app.waits(), self.app.value("SELECT count(*) FROM slayq._private_references")), (1, 0)
        )

    def test_unknown_mode(self) -> None:
        """A mode that does not exist is Graphile Worker's error."""
        with self.assertRaises(psycopg2.Error) as caught:
            self.app.send("order", key="k", job_key_mode="merge")
        self.assertEqual(caught.exception.pgcode, "GWBKM")

    def test_announced(self) -> None:
        """One call, one notice."""
        listener = self.application()
        listener.rows('LISTEN "jobs:insert"')
        self.app.send("order", key="k")
        listener.rows("SELECT 1")
        self.assertEqual(len(listener.connection.notifies), 1)
        self.app.send("order", key="k", job_key_mode="unsafe_dedupe")  # which changes nothing
        listener.rows("SELECT 1")
        self.assertEqual(len(listener.connection.notifies), 1)

    def test_past_add_job(self) -> None:
        """Once function and lane are known, add_job has no part in it, whoever holds the key."""
        self.app.send("order", queue_name="lane")
        self.app.rows(STUB.format(failures=1000))
        for mode in ("replace", "preserve_run_at", "unsafe_dedupe"):
            for state in ("attempts = 0", "attempts = max_attempts", "attempts = 1, locked_at = now()"):
                self.app.rows(f"UPDATE graphile_worker._private_jobs SET {state}")
                self.app.send("order", key="k", queue_name="lane", job_key_mode=mode)
        self.assertIs(self.app.value("SELECT is_called FROM public.tries"), False)


class KeylessTests(ApplicationTestCase):
    """An event without a key is stored without add_job where that is possible, and as add_job would have stored it."""

    CALLS: tuple[dict[str, Any], ...] = (
        {},
        {"payload": None},
        {"payload": '{ "a": [1, 1.50] }'},
        {"payload": "[1]"},
        {"queue_name": "lane"},
        {"queue_name": "new lane"},
        {"identifier": "new function"},
        {"identifier": "another", "queue_name": "another lane"},
        {"run_at": "2030-01-01T00:00:00Z", "priority": -7, "max_attempts": 3},
        {"flags": ["f", "g", "f"]},
        {"flags": []},
        {"flags": [None]},
        {"job_key_mode": "preserve_run_at"},
        {"job_key_mode": "unsafe_dedupe"},
        {"job_key_mode": "merge"},
        {"job_key_mode": None},
        {"max_attempts": 0},
        {"max_attempts": 40_000},
        {"priority": -40_000},
        {"queue_name": "q" * 200},
        {"identifier": "i" * 200},
        {"identifier": None},
        {"run_at": "infinity"},
    )

    def test_as_add_job_stores_it(self) -> None:
        """Every column is the same, and every error."""
        for call in ({}, {"queue_name": "lane"}):
            self.app.call("add_worker_job", **{"identifier": "mail", **call})
        stored = 0
        for call in self.CALLS:
            # Each is tried in a transaction of its own that is not kept, so neither finds what the other has made.
            with self.subTest(**call):
                ours, theirs = (
                    self.outcome(function, {"identifier": "mail", **call})
                    for function in ("public.add_worker_job", "graphile_worker.add_job")
                )
                self.assertEqual(ours, theirs)
                stored += isinstance(ours, dict)
        self.assertEqual(stored, len(self.CALLS) - 7)  # three numbers, two lengths, two nulls are refused

    def outcome(self, function: str, arguments: dict[str, Any]) -> dict[str, Any] | tuple[str, str | None]:
        """The stored row and its notices, or the error, of a transaction that is rolled back."""
        given = ", ".join(f"{name} => %s" for name in arguments)
        self.app.rows("BEGIN")
        try:
            self.app.rows(f"SELECT {function}({given})", *arguments.values())
            return dict(
                self.app.value(
                    """
                SELECT to_jsonb(job) - 'id' - 'task_id' - 'job_queue_id'
                       || jsonb_build_object('function', task.identifier, 'lane', lane.queue_name,
                                             'text', job.payload::text)
                  FROM graphile_worker._private_jobs AS job
                  JOIN graphile_worker._private_tasks AS task ON task.id = job.task_id
                  LEFT JOIN graphile_worker._private_job_queues AS lane ON lane.id = job.job_queue_id
                 WHERE job.created_at = now()
                """
                )
            ) | {"created_at": None, "updated_at": None, "run_at": arguments.get("run_at")}
        except psycopg2.Error as error:
            return type(error).__name__, error.diag.constraint_name
        finally:
            self.app.rows("ROLLBACK")

    def test_past_add_job(self) -> None:
        """Once function and lane are known, add_job has no part in it."""
        self.app.send("order", queue_name="lane")
        self.app.rows(STUB.format(failures=1000))
        self.app.send("order")
        self.app.send("order", queue_name="lane")
        self.assertEqual(
            (len(self.app.jobs()), self.app.value("SELECT is_called FROM public.tries")), (3, False)
        )

    def test_announced(self) -> None:
        """One call, one notice, as Graphile Worker words it; also of two calls in one transaction."""
        self.app.send("order")
        listener = self.application()
        listener.rows('LISTEN "jobs:insert"')
        self.app.rows("BEGIN")
        self.app.send("order")
        self.app.send("order")
        self.app.rows("COMMIT")
        listener.rows("SELECT 1")
        self.assertEqual(
            [json.loads(notice.payload)["count"] for notice in listener.connection.notifies], [1, 1]
        )


class NullAnswerTests(ApplicationTestCase):
    """add_job answers with nulls when it did not store the job."""

    def test_tried_again(self) -> None:
        """The call is repeated until it is stored."""
        self.app.rows(STUB.format(failures=3))
        self.app.send("order", key="k")
        self.assertEqual(
            (len(self.app.jobs()), self.app.value("SELECT last_value FROM public.tries")), (1, 4)
        )

    def test_given_up(self) -> None:
        """A job that cannot be stored is an error that says a retry of the transaction may help."""
        self.app.rows(STUB.format(failures=1000))
        with self.assertRaises(psycopg2.errors.SerializationFailure) as caught:
            self.app.send("order", key="the key")
        self.assertIn("the key", caught.exception.diag.message_primary)
        self.assertLess(self.app.value("SELECT last_value FROM public.tries"), 100)

    def test_taken_during_the_call(self) -> None:
        """A worker that is about to take the job under the key does not swallow the call."""
        self.app.send("order", key="k")
        self.app.rows("BEGIN")
        job = self.app.claim()
        adding = self.blocked(lambda app: app.send("order", key="k", run_at="tomorrow"))
        self.app.rows("COMMIT")
        adding.result()
        assert job is not None
        self.assertEqual(self.app.job(job.id).key, None)
        self.assertGreater(self.app.keyed("k").due, 0)


class IncarnationTests(ApplicationTestCase):
    """Waits belong to the job they were recorded for, not to its key."""

    def wait_for_both(self) -> None:
        self.app.send("order", key="k", run_at="tomorrow")
        self.app.wait("k")
        self.app.call("wait_for_invocation", _invoker_job_key="k", _target_job_key="t", _step_name="s")
        self.assertEqual(self.app.waits(), 2)

    def test_replaced_in_place(self) -> None:
        """A job replaced in place, in either mode, waits for nothing any more."""
        for mode in ("replace", "preserve_run_at", None):
            self.wait_for_both()
            self.app.send("other", key="k", run_at="tomorrow", job_key_mode=mode)
            self.assertEqual(self.app.waits(), 0)
            self.app.fire()
            self.app.call("trigger_waiting_invoker", _job_key="t", _result="1")
            self.assertNotIn("cache", self.app.keyed("k").payload)
            self.app.rows("DELETE FROM graphile_worker._private_jobs; DELETE FROM slayq._private_fired")
            self.app.rows("DELETE FROM slayq._private_results")

    def test_replaced_while_locked(self) -> None:
        """The job that takes over the key of a locked one gets nothing that the other waited for."""
        self.wait_for_both()
        self.app.rows("UPDATE graphile_worker._private_jobs SET run_at = now()")
        old = self.app.claim()
        assert old is not None
        self.app.send("order", key="k", run_at="tomorrow")
        self.app.fire()
        self.assertNotIn("cache", self.app.keyed("k").payload)
        self.assertGreater(self.app.keyed("k").due, 0)
        self.assertIn('"step":true', self.app.job(old.id).payload)

    def test_replaced_after_final_failure(self) -> None:
        """Nor does the job that takes over the key of one that failed for good."""
        self.wait_for_both()
        self.app.rows("UPDATE graphile_worker._private_jobs SET attempts = max_attempts")
        self.app.send("order", key="k", run_at="tomorrow")
        self.app.fire()
        self.assertNotIn("cache", self.app.keyed("k").payload)


class ClientRetryTests(ApplicationTestCase):
    """A function threw: its client re-adds the job with its cache and without a time."""

    def attempt(self, number: int, key: str | None = "k", max_attempts: int | None = 4) -> JobRow:
        """Add a job and claim it for the last of `number` attempts."""
        self.app.send("order", key=key, max_attempts=max_attempts)
        self.app.rows("UPDATE graphile_worker._private_jobs SET attempts = %s - 1", number)
        job = self.app.claim()
        assert job is not None
        return job

    def retry(
        self, key: str = "k", event: str = "order", more: str = ',"cache":{"a":1}', **arguments: Any
    ) -> JobRow:
        """Re-add it as the client does; the job that is then stored under the key."""
        self.app.send(event, key=key, more=more, **arguments)
        return self.app.keyed(key)

    def assert_next_attempt(self, job: JobRow, attempts: int, max_attempts: int = 25) -> None:
        self.assertEqual((job.attempts, job.max_attempts), (attempts, max_attempts))
        self.assertApproximates(job.due, math.exp(min(attempts, 10)), 2)

    def assert_afresh(self, job: JobRow) -> None:
        self.assertEqual((job.attempts, job.last_error), (0, None))

    def test_while_locked(self) -> None:
        """The new row inherits the attempts, backs off, and takes the call's max_attempts."""
        old = self.attempt(2)
        job = self.retry(max_attempts=6)
        self.assert_next_attempt(job, 2, 6)
        self.assertNotEqual(job.id, old.id)
        self.assertEqual(
            (self.app.job(old.id).attempts, self.app.job(old.id).key, self.app.job(old.id).locked),
            (4, None, True),
        )
        self.assertEqual(job.last_error, "The function failed in the application (attempt 2 of 6)")

    def test_default_max_attempts(self) -> None:
        """25 when the call says nothing, whatever the job had."""
        self.attempt(1)
        self.assert_next_attempt(self.retry(job_key_mode=None), 1)

    def test_delivery_given_up(self) -> None:
        """A function that fails after its delivery was given up: the waiting row is replaced in place."""
        old = self.attempt(3)
        self.app.fail(old)
        job = self.retry(max_attempts=4)
        self.assertEqual(job.id, old.id)
        self.assert_next_attempt(job, 3, 4)

    def test_back_off_is_capped(self) -> None:
        """From the tenth attempt on the delay stays."""
        self.attempt(14, max_attempts=25)
        self.assert_next_attempt(self.retry(), 14)

    def test_last_attempt(self) -> None:
        """The last attempt's failure is final: a failed row that keeps the key and says why."""
        old = self.attempt(4)
        job = self.retry(max_attempts=4)
        self.assertEqual((job.attempts, job.max_attempts, job.key), (4, 4, "k"))
        self.assertEqual(job.last_error, "The function failed in the application (attempt 4 of 4)")
        self.app.complete(old)
        self.app.rows("UPDATE graphile_worker._private_jobs SET run_at = '2020-01-01'")
        self.assertIsNone(self.app.claim())

    def test_after_final_failure(self) -> None:
        """A function that fails after its last delivery was given up fails for good too."""
        old = self.attempt(4)
        self.app.fail(old)
        job = self.retry(max_attempts=4)
        self.assertEqual((job.attempts, job.max_attempts, job.key), (4, 4, "k"))
        self.assertIsNotNone(job.last_error)

    def test_to_the_end(self) -> None:
        """A function that always throws is run max_attempts times, with retry 1, 2, 3."""
        self.app.send("order", key="k", max_attempts=3)
        seen = []
        while job := self.app.claim():
            seen.append(job.attempts)
            self.retry(max_attempts=3)
            self.app.complete(job)
            self.app.rows("UPDATE graphile_worker._private_jobs SET run_at = now()")
        self.assertEqual(seen, [1, 2, 3])
        self.assertEqual(len(self.app.jobs()), 1)

    def test_keyless(self) -> None:
        """`job-<id>` is the keyless job of that id: superseded like the holder of a key."""
        old = self.attempt(2, key=None)
        job = self.retry(f"job-{old.id}", max_attempts=4)
        self.assert_next_attempt(job, 2, 4)
        superseded = self.app.job(old.id)
        self.assertEqual(
            (superseded.key, superseded.locked, superseded.attempts), (None, True, superseded.max_attempts)
        )
        self.app.complete(old)
        self.assertEqual(len(self.app.jobs()), 1)

    def test_keyless_delivery_given_up(self) -> None:
        """The keyless row that waits for its next attempt becomes the keyed one, instead of running beside it."""
        old = self.attempt(2, key=None)
        self.app.fail(old)
        job = self.retry(f"job-{old.id}")
        self.assertEqual(job.id, old.id)
        self.assert_next_attempt(job, 2)

    def test_keyless_step(self) -> None:
        """A keyless job's step that sleeps supersedes it as well, and starts afresh."""
        old = self.attempt(2, key=None)
        job = self.retry(f"job-{old.id}", run_at="tomorrow")
        self.assert_afresh(job)
        self.assertEqual(self.app.job(old.id).attempts, self.app.job(old.id).max_attempts)

    def test_key_of_a_keyed_job(self) -> None:
        """`job-<id>` does not stand for a job that has a key."""
        old = self.attempt(1, key="k")
        self.assert_afresh(self.retry(f"job-{old.id}"))
        self.assertEqual(self.app.job(old.id).key, "k")

    def test_keys_that_look_alike(self) -> None:
        """An application's own key of that form never touches a job that is another's."""
        old = self.attempt(1, key=None)
        for key in (
            f"job-0{old.id}",
            f"job-{old.id}x",
            "job-",
            "job--1",
            "job-99999999999999999999",
            f"Job-{old.id}",
        ):
            self.assert_afresh(self.retry(key))
        own = f"job-{old.id}"
        for more, event, identifier in (
            ("", "order", "mail"),
            (',"cache":null', "order", "mail"),
            (',"cache":{}', "other", "mail"),
            (',"cache":{}', "order", "post"),
        ):
            payload = f'{{"event":"{event}"{more}}}'
            self.app.call("add_worker_job", identifier=identifier, payload=payload, job_key=own)
            self.assert_afresh(self.app.keyed(own))
            self.app.rows("DELETE FROM graphile_worker._private_jobs WHERE key = %s", own)
        self.assertEqual(self.app.job(old.id).attempts, 1)

    def test_keyless_that_never_ran(self) -> None:
        """Nor a keyless job that was not delivered yet."""
        self.app.send("order")
        (old,) = self.app.jobs()
        self.assert_afresh(self.retry(f"job-{old.id}"))
        self.assertEqual(self.app.job(old.id).key, None)

    def test_every_other_re_add_starts_afresh(self) -> None:
        """A time, another mode, no cache, another event or identifier: none of these is a function that threw."""
        others: list[tuple[str, dict[str, Any]]] = [
            ("a step that sleeps", {"run_at": "tomorrow"}),
            ("a time in the past", {"run_at": "2020-01-01"}),
            ("preserve_run_at", {"job_key_mode": "preserve_run_at"}),
            ("no cache", {"more": ""}),
            ("a null cache", {"more": ',"cache":null'}),
            ("a list", {"more": ',"cache":[]'}),
            ("another event", {"event": "other"}),
        ]
        for name, arguments in others:
            for locked in (True, False):
                old = self.attempt(2)
                if not locked:
                    self.app.fail(old)
                job = self.retry(**arguments)
                self.assertEqual((job.attempts, job.last_error), (0, None), name)
                self.app.rows("DELETE FROM graphile_worker._private_jobs")

    def test_another_identifier(self) -> None:
        """The same event in another queue is another job."""
        self.attempt(2)
        self.app.call(
            "add_worker_job", identifier="post", payload='{"event":"order","cache":{}}', job_key="k"
        )
        self.assert_afresh(self.app.keyed("k"))

    def test_never_ran(self) -> None:
        """A job that was not delivered yet is just replaced."""
        self.app.send("order", key="k")
        self.assert_afresh(self.retry())

    def test_without_events(self) -> None:
        """Two payloads that name no event are not the same event."""
        self.app.call("add_worker_job", identifier="mail", payload="{}", job_key="k")
        self.app.claim()
        self.app.call("add_worker_job", identifier="mail", payload='{"cache":{}}', job_key="k")
        self.assert_afresh(self.app.keyed("k"))

    def test_unreadable_members(self) -> None:
        """Payloads that Postgres cannot read are recognised by the members that matter."""
        self.app.send("order", key="k", more=r',"data":"\u0000"')
        self.app.claim()
        self.assert_next_attempt(self.retry(more=r',"data":"\ud800","c\u0061che":{"x":"\u0000"}'), 1)
