"""`slayq_tw.client` on a real Postgres. Items are those of the job schema's conformance checklist."""

import json
import select
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from threading import Thread
from typing import Any

import psycopg2
from psycopg2.extras import RealDictCursor
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase

from slayq_tw import client, conninfo
from slayq_tw.client import Event, JobNotStored, NewJob, StoredJob, asynchronous
from slayq_tw.client.adding import TRIES
from slayq_tw.database import Cursor, Database
from tests.postgres import migrated_database

ENDPOINT = "https://app.test/api/slay-q"
PAST = datetime(2020, 1, 1, tzinfo=UTC)
FUTURE = datetime(2999, 1, 1, tzinfo=UTC)


class ClientTestCase(SynchronousTestCase):
    """A connection of the application's, and one that looks and plays the others."""

    def setUp(self) -> None:
        self.url = migrated_database(self)
        self.connection = self.connect()
        self.admin = self.connect()
        self.admin.autocommit = True

    def connect(self, **options: Any) -> Any:
        connection = psycopg2.connect(self.url, **options)
        self.addCleanup(connection.close)
        return connection

    def sql(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with self.admin.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    def row(self, number: int, columns: str) -> tuple[Any, ...] | None:
        rows = self.sql(f"SELECT {columns} FROM graphile_worker._private_jobs WHERE id = %s", number)
        return rows[0] if rows else None

    def added(self, identifier: str = "mail", payload: Any = None, **options: Any) -> StoredJob:
        """A committed job."""
        job = client.add_job(self.connection, identifier, payload, **options)
        self.connection.commit()
        return job

    def lock(self, job: StoredJob, age: str = "0 hours", worker: str = "pool-test") -> None:
        """A worker locked the job, and its queue, so long ago."""
        self.sql(
            "UPDATE graphile_worker._private_jobs SET attempts = attempts + 1, locked_by = %s,"
            " locked_at = now() - %s::interval WHERE id = %s",
            worker,
            age,
            job.id,
        )
        self.sql(
            "UPDATE graphile_worker._private_job_queues SET locked_by = %s, locked_at = now() - %s::interval"
            " WHERE id = (SELECT job_queue_id FROM graphile_worker._private_jobs WHERE id = %s)",
            worker,
            age,
            job.id,
        )

    def notices(self, call: Callable[[], object]) -> list[str]:
        """The payloads on `jobs:insert` that a call and its commit send; `result` is what the call returned."""
        listener = self.connect()
        listener.autocommit = True
        with listener.cursor() as cursor:
            cursor.execute('LISTEN "jobs:insert"; LISTEN the_end')
        self.result: Any = call()
        self.connection.commit()
        self.sql("NOTIFY the_end")
        seen: list[Any] = []
        while not any(notice.channel == "the_end" for notice in seen):
            select.select([listener], [], [])
            listener.poll()
            seen += listener.notifies
            listener.notifies.clear()
        return [notice.payload for notice in seen if notice.channel == "jobs:insert"]

    def counts(self, call: Callable[[], object]) -> list[int]:
        """The counts in them."""
        return [json.loads(payload)["count"] for payload in self.notices(call)]


class SendTests(ClientTestCase):
    """Events."""

    def test_stored(self) -> None:
        """An event is the job that the SlayQ client adds."""
        client.send_event(
            self.connection,
            "mail/welcome",
            {"to": "é😀", "n": 1.5},
            queue="mail",
            endpoint=ENDPOINT,
            key="welcome-1",
            priority=-3,
            retries=4,
            queue_name="lane",
            flags=["b", "a"],
            run_at=FUTURE,
        )
        self.connection.commit()
        (row,) = self.sql(
            "SELECT task.identifier, job.payload::text, queue.queue_name, job.run_at, job.max_attempts, job.key,"
            " job.priority, job.flags::text, job.attempts, job.revision"
            " FROM graphile_worker._private_jobs AS job"
            " JOIN graphile_worker._private_tasks AS task ON task.id = job.task_id"
            " JOIN graphile_worker._private_job_queues AS queue ON queue.id = job.job_queue_id"
        )
        payload = f'{{"url":"{ENDPOINT}","retry":4,"event":"mail/welcome","data":{{"to":"é😀","n":1.5}}}}'
        flags = '{"a": true, "b": true}'
        self.assertEqual(row, ("mail", payload, "lane", FUTURE, 5, "welcome-1", -3, flags, 0, 0))

    def test_defaults(self) -> None:
        """Nothing given is Graphile Worker's default."""
        client.send_event(self.connection, "a", queue="mail", endpoint=ENDPOINT)
        self.connection.commit()
        self.assertEqual(
            self.sql(
                "SELECT job_queue_id, run_at = created_at, max_attempts, key, priority, flags"
                " FROM graphile_worker._private_jobs"
            ),
            [(None, True, 25, None, 0, None)],
        )

    def test_delay(self) -> None:
        """A delay counts from the call on the database's clock, not from the transaction's begin."""
        with self.connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(0.2)")
        ((before,),) = self.sql("SELECT clock_timestamp()")
        client.send_event(
            self.connection, "a", queue="mail", endpoint=ENDPOINT, delay=timedelta(hours=1), key="a"
        )
        client.send_event(self.connection, "b", queue="mail", endpoint=ENDPOINT, delay=0.5, key="b")
        ((after,),) = self.sql("SELECT clock_timestamp()")
        self.connection.commit()
        run_at = dict(self.sql("SELECT key, run_at FROM graphile_worker._private_jobs"))
        self.assertTrue(before <= run_at["a"] - timedelta(hours=1) <= after)
        self.assertTrue(before <= run_at["b"] - timedelta(seconds=0.5) <= after)

    def test_transaction(self) -> None:
        """An event belongs to the caller's transaction: rolled back, it never was (item 33)."""
        self.assertEqual(self.counts(self.sent_and_rolled_back), [])
        self.assertEqual(self.sql("SELECT count(*) FROM graphile_worker._private_jobs"), [(0,)])

    def sent_and_rolled_back(self) -> None:
        client.send_event(self.connection, "a", queue="mail", endpoint=ENDPOINT)
        client.add_job(self.connection, "t")
        self.connection.rollback()

    def test_connection_untouched(self) -> None:
        """Neither a commit nor a setting: autocommit, isolation and the open transaction are as before."""
        self.connection.set_session(isolation_level="REPEATABLE READ")
        client.send_event(self.connection, "a", queue="mail", endpoint=ENDPOINT)
        status = psycopg2.extensions.TRANSACTION_STATUS_INTRANS
        self.assertEqual(self.connection.info.transaction_status, status)
        self.assertFalse(self.connection.autocommit)
        self.assertEqual(self.connection.isolation_level, psycopg2.extensions.ISOLATION_LEVEL_REPEATABLE_READ)
        self.assertEqual(self.sql("SELECT count(*) FROM graphile_worker._private_jobs"), [(0,)])
        self.connection.commit()
        self.assertEqual(self.sql("SELECT count(*) FROM graphile_worker._private_jobs"), [(1,)])

    def test_autocommit(self) -> None:
        """A connection in autocommit works too, and stays so."""
        client.send_event(self.admin, "a", queue="mail", endpoint=ENDPOINT)
        self.assertTrue(self.admin.autocommit)
        self.assertEqual(self.sql("SELECT count(*) FROM graphile_worker._private_jobs"), [(1,)])

    def test_many(self) -> None:
        """Many events have the effect of one after the other; the last one under a key wins."""
        events = [
            Event(
                f"e{n}", n, queue="mail", endpoint=ENDPOINT, key="k" if n in (1, 3) else None, flags=["x"] * n
            )
            for n in range(4)
        ]
        client.send_events(self.connection, events)
        self.connection.commit()
        self.assertEqual(
            self.sql(
                "SELECT payload->>'event', payload->>'data', key, revision, flags::text"
                " FROM graphile_worker._private_jobs ORDER BY 1"
            ),
            [
                ("e0", "0", None, 0, None),
                ("e2", "2", None, 0, '{"x": true}'),
                ("e3", "3", "k", 1, '{"x": true}'),
            ],
        )

    def test_kept_while_delivered(self) -> None:
        """A key whose job is being delivered gets a job of its own."""
        client.send_event(self.connection, "a", 1, queue="mail", endpoint=ENDPOINT, key="k")
        self.connection.commit()
        self.sql("UPDATE graphile_worker._private_jobs SET attempts = 1, locked_at = now(), locked_by = 'x'")
        client.send_event(self.connection, "a", 2, queue="mail", endpoint=ENDPOINT, key="k")
        self.connection.commit()
        self.assertEqual(
            self.sql("SELECT payload->>'data', key, attempts FROM graphile_worker._private_jobs ORDER BY id"),
            [("1", None, 25), ("2", "k", 0)],
        )


class AddTests(ClientTestCase):
    """Jobs for any task."""

    def test_result(self) -> None:
        """What comes back is the row."""
        job = self.added(
            "new_task",
            [1, {"b": None}],
            queue_name="new lane",
            key="k",
            priority=0,
            max_attempts=1,
            flags=["z", "a"],
        )
        ((now, task_id, queue_id),) = self.sql(
            "SELECT created_at, task_id, job_queue_id FROM graphile_worker._private_jobs WHERE id = %s",
            job.id,
        )
        self.assertIsNotNone(task_id and queue_id)
        self.assertEqual(
            job,
            StoredJob(
                job.id, "new_task", "new lane", '[1,{"b":null}]', 0, now, 0, 1, None, now, now, "k", None, None, 0,
                ("a", "z"),
            ),
        )  # fmt: skip

    def test_modes(self) -> None:
        """The three modes are handed on; with `unsafe_dedupe` the names are the existing job's."""
        first = self.added("mail", [1], key="k", run_at=FUTURE, queue_name="lane")
        kept = self.added("mail", [2], key="k", key_mode="preserve_run_at", queue_name="lane")
        self.assertEqual((kept.id, kept.run_at, kept.payload, kept.revision), (first.id, FUTURE, "[1, 2]", 1))
        same = self.added("other", [3], key="k", key_mode="unsafe_dedupe", queue_name="another lane")
        self.assertEqual(
            (same.id, same.identifier, same.queue_name, same.payload, same.revision),
            (first.id, "mail", "lane", "[1, 2]", 2),
        )
        moved = self.added("other", {}, key="k")
        self.assertEqual(
            (moved.id, moved.identifier, moved.queue_name, moved.payload), (first.id, "other", None, "{}")
        )
        self.assertLess(moved.run_at, FUTURE)

    def test_bulk(self) -> None:
        """Each request's own row, in the requests' order, although add_jobs answers in any."""
        jobs = [
            NewJob(
                f"task{n % 3}",
                {"n": n // 7},
                queue_name=f"lane{n % 5}" if n % 2 else None,
                priority=n % 2,
                delay=n % 4 * 60 or None,
                max_attempts=n % 3 + 1,
                key=f"k{n}" if n % 6 == 0 else None,
                flags=["f", f"g{n % 2}"] if n % 3 == 0 else None,
            )
            for n in range(100)
        ]
        self.added("task0")  # known already, as the others are not
        stored = client.add_jobs(self.connection, jobs)
        self.connection.commit()
        self.assertEqual(len({row.id for row in stored}), 100)
        for job, row in zip(jobs, stored, strict=True):
            self.assertEqual(
                (row.identifier, row.payload, row.queue_name, row.priority, row.max_attempts, row.key),
                (job.identifier, job.payload_text, job.queue_name, job.priority, job.max_attempts, job.key),
            )
            self.assertEqual(row.flags, None if job.flags is None else tuple(sorted(job.flags)))
            self.assertEqual(row.run_at > row.created_at + timedelta(seconds=50), job.delay is not None)
            self.assertEqual(self.row(row.id, "payload::text, key"), (row.payload, row.key))

    def test_bulk_notice(self) -> None:
        """A bulk without repeated keys is one call, with one notice (item 30)."""
        self.assertEqual(
            self.counts(
                lambda: client.add_jobs(self.connection, [NewJob("t", key=k) for k in ("a", "b", None)])
            ),
            [3],
        )
        self.assertEqual(self.notices(lambda: client.add_jobs(self.connection, [])), [])

    def test_bulk_with_repeated_keys(self) -> None:
        """Requests with one key act one after the other, where add_jobs itself refuses (item 28)."""
        stored = client.add_jobs(
            self.connection,
            [
                NewJob("t", [1], key="k"),
                NewJob("t", [2], key="k", run_at=FUTURE, key_mode="preserve_run_at"),
                NewJob("t", [3], key="other"),
                NewJob("t", [4], key="k", key_mode="unsafe_dedupe"),
                NewJob("t", [5], key="k"),
            ],
        )
        self.assertEqual(
            [(row.key, row.payload, row.revision) for row in stored],
            [
                ("k", "[1]", 0),
                ("k", "[1, 2]", 1),
                ("other", "[3]", 0),
                ("k", "[1, 2]", 2),
                ("k", "[1, 2, 5]", 3),
            ],
        )
        self.assertEqual(len({row.id for row in stored}), 2)
        self.assertLess(stored[1].run_at, FUTURE)

    def test_dictionary_cursors(self) -> None:
        """A connection whose cursors give dictionaries gets the same answers."""
        connection = self.connect(cursor_factory=RealDictCursor)
        job = client.add_job(connection, "brand new", queue_name="lane", flags=["a"])
        self.assertEqual((job.identifier, job.queue_name, job.flags), ("brand new", "lane", ("a",)))
        self.assertEqual(client.force_unlock_workers(connection, ["pool-x"]), 0)

    def test_database_errors(self) -> None:
        """What the database refuses comes through as the driver's error."""
        self.added(key="k")
        self.sql("ALTER TABLE graphile_worker._private_jobs ADD CHECK (priority < 100)")
        self.assertRaises(psycopg2.errors.CheckViolation, client.add_job, self.connection, "t", priority=100)

    def test_indistinguishable(self) -> None:
        """A job added here is the row that SQL adds, and that Node's client adds by the same call (item 72)."""
        options = [
            {},
            {"queue_name": "lane", "max_attempts": 3, "priority": -2, "flags": ["b", "a", "b"]},
            {"run_at": PAST},
            {"job_key": "KEY", "flags": []},
        ]
        payload = {
            "url": ENDPOINT,
            "retry": 0,
            "event": "é",
            "data": {"a": [1, 2.5, None, "x\u2028"], "b": {}},
        }
        stringified = (
            f'{{"url":"{ENDPOINT}","retry":0,"event":"é","data":{{"a":[1,2.5,null,"x\u2028"],"b":{{}}}}}}'
        )
        for number, option in enumerate(options):
            key = f"by-sql-{number}" if "job_key" in option else None
            self.sql(
                "SELECT graphile_worker.add_job(%s, payload => %s, queue_name => %s, run_at => %s, max_attempts => %s,"
                " job_key => %s, priority => %s, flags => %s::text[], job_key_mode => %s)",
                "mail",
                stringified,
                option.get("queue_name"),
                option.get("run_at"),
                option.get("max_attempts"),
                key,
                option.get("priority"),
                option.get("flags"),
                None,
            )
            ours = {name: value for name, value in option.items() if name != "job_key"}
            self.added("mail", payload, key=f"by-us-{number}" if key else None, **ours)
            if "queue_name" not in option:
                more = {name: value for name, value in ours.items() if name != "max_attempts"}
                with self.connection:
                    client.send_event(
                        self.connection, "é", payload["data"], queue="mail", endpoint=ENDPOINT,
                        key=f"by-event-{number}" if key else None, **more,
                    )  # fmt: skip
                with self.connection:
                    client.add_jobs(
                        self.connection,
                        [NewJob("mail", payload, key=f"in-bulk-{number}" if key else None, **ours)],
                    )
        rows = self.sql(
            "SELECT task_id, job_queue_id, payload::text, priority, attempts, max_attempts, last_error, locked_at,"
            " locked_by, revision, flags::text, is_available, key IS NULL,"
            " CASE WHEN run_at = created_at THEN 'now' ELSE run_at::text END, updated_at = created_at"
            " FROM graphile_worker._private_jobs"
        )
        self.assertEqual(len(rows), 14)
        self.assertEqual(len(set(rows)), len(options))
        self.assertEqual({row[2] for row in rows}, {stringified})


class ContentionTests(ClientTestCase):
    """A keyed add whose job a worker takes at that moment is stored all the same (item 32)."""

    def in_thread(self, call: Callable[[], object]) -> tuple[Thread, list[object]]:
        """Start a call that will wait for a lock, and wait until it does."""
        results: list[object] = []
        thread = Thread(target=lambda: results.append(call()))
        thread.start()
        waiting = (
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        while thread.is_alive() and not self.sql(waiting):
            pass
        return thread, results

    def add_while_claimed(self, add: Callable[[], object]) -> object:
        """A worker holds the row of `k` in an open transaction; the add waits for it; the worker commits."""
        worker = self.connect()
        with worker.cursor() as cursor:
            cursor.execute(
                "UPDATE graphile_worker._private_jobs SET attempts = 1, locked_at = now(), locked_by = 'x'"
                " WHERE key = 'k'"
            )
        thread, results = self.in_thread(add)
        worker.commit()
        thread.join()
        self.connection.commit()
        return results[0]

    def test_claimed_meanwhile(self) -> None:
        """The job is the new holder of the key; the one that the worker took is detached."""
        for add in (
            lambda: client.add_job(self.connection, "t", 2, key="k"),
            lambda: client.add_jobs(self.connection, [NewJob("t", 1), NewJob("t", 2, key="k")])[1],
        ):
            self.sql("DELETE FROM graphile_worker._private_jobs")
            old = self.added("t", 1, key="k")
            job: Any = self.add_while_claimed(add)
            self.assertNotEqual(job.id, old.id)
            self.assertEqual(self.row(job.id, "key, payload::text, attempts, locked_by"), ("k", "2", 0, None))
            self.assertEqual(self.row(old.id, "key, attempts, locked_by"), (None, 25, "x"))

    def test_event_claimed_meanwhile(self) -> None:
        """The same for an event."""
        client.send_event(self.connection, "e", 1, queue="t", endpoint=ENDPOINT, key="k")
        self.connection.commit()
        self.add_while_claimed(
            lambda: client.send_event(self.connection, "e", 2, queue="t", endpoint=ENDPOINT, key="k")
        )
        self.assertEqual(
            self.sql(
                "SELECT payload->>'data', key, locked_by FROM graphile_worker._private_jobs ORDER BY id"
            ),
            [("1", None, "x"), ("2", "k", None)],
        )

    def answer_with_nulls(self, times: int) -> None:
        """Make the functions store nothing the first few times, as those of any Node version may."""
        self.sql(
            "CREATE SEQUENCE calls;"
            "ALTER FUNCTION graphile_worker.add_job RENAME TO add_job_for_real;"
            "ALTER FUNCTION graphile_worker.add_jobs RENAME TO add_jobs_for_real;"
            "CREATE FUNCTION graphile_worker.add_job(identifier text, payload json = NULL, queue_name text = NULL,"
            " run_at timestamptz = NULL, max_attempts int = NULL, job_key text = NULL, priority int = NULL,"
            " flags text[] = NULL, job_key_mode text = 'replace') RETURNS graphile_worker._private_jobs"
            f" LANGUAGE plpgsql AS 'BEGIN IF nextval(''calls'') <= {times} THEN RETURN NULL; END IF;"
            " RETURN graphile_worker.add_job_for_real(identifier, payload, job_key => job_key); END';"
            "CREATE FUNCTION graphile_worker.add_jobs(specs graphile_worker.job_spec[],"
            " job_key_preserve_run_at boolean = false) RETURNS SETOF graphile_worker._private_jobs"
            f" LANGUAGE plpgsql AS 'BEGIN IF nextval(''calls'') <= {times} THEN RETURN QUERY SELECT * FROM"
            " graphile_worker.add_jobs_for_real(ARRAY(SELECT s FROM unnest(specs) AS s WHERE s.job_key IS NULL));"
            " ELSE RETURN QUERY SELECT * FROM graphile_worker.add_jobs_for_real(specs); END IF; END'"
        )

    def test_nulls(self) -> None:
        """An add that was answered with nulls is made again."""
        self.answer_with_nulls(3)
        self.assertIsNotNone(self.row(self.added("t", key="k").id, "id"))

    def test_nulls_in_bulk(self) -> None:
        """In a bulk only what is missing is made again."""
        self.answer_with_nulls(3)
        jobs = [NewJob("t", 1), NewJob("t", 2, key="k"), NewJob("t", 3)]
        stored = client.add_jobs(self.connection, jobs)
        self.connection.commit()
        self.assertEqual([row.payload for row in stored], ["1", "2", "3"])
        self.assertEqual(
            self.sql("SELECT payload::text FROM graphile_worker._private_jobs ORDER BY 1"),
            [("1",), ("2",), ("3",)],
        )

    def test_nulls_for_ever(self) -> None:
        """After a bounded number of tries it is an error, and never a job of nulls."""
        self.answer_with_nulls(10**6)
        self.assertRaises(JobNotStored, client.add_job, self.connection, "t", key="k")
        self.assertEqual(self.sql("SELECT last_value FROM calls"), [(TRIES,)])
        self.assertRaises(JobNotStored, client.add_jobs, self.connection, [NewJob("t", key="k")])


class ChangeTests(ClientTestCase):
    """Removing and the administrative functions."""

    def test_remove(self) -> None:
        """What is not running is deleted, with a notice; what runs loses its key (item 34)."""
        waiting = self.added(key="waiting")
        failed = self.added(key="failed")
        self.sql("UPDATE graphile_worker._private_jobs SET attempts = max_attempts WHERE id = %s", failed.id)
        stale = self.added(key="stale", queue_name="lane")
        self.lock(stale, "5 hours")
        for job in (waiting, failed, stale):
            removing = partial(client.remove_job, self.connection, str(job.key))
            self.assertEqual(self.counts(removing), [-1])
            self.assertEqual(
                (self.result.id, self.result.identifier, self.result.key), (job.id, "mail", job.key)
            )
            self.assertIsNone(self.row(job.id, "id"))
        live = self.added(key="live", max_attempts=3)
        self.lock(live)
        self.assertEqual(self.notices(lambda: client.remove_job(self.connection, "live")), [])
        self.assertEqual(self.row(live.id, "key, attempts, locked_by"), (None, 3, "pool-test"))

    def test_remove_unknown(self) -> None:
        """No job has the key: None, for the database's row of nulls (item 34)."""
        self.assertIsNone(client.remove_job(self.connection, "nobody's"))

    def a_few(self) -> tuple[StoredJob, StoredJob, StoredJob]:
        """A waiting job, one locked now, one locked for five hours."""
        waiting, live, stale = self.added(), self.added(), self.added()
        self.lock(live)
        self.lock(stale, "5 hours")
        return waiting, live, stale

    def ids(self, jobs: Sequence[StoredJob]) -> list[int]:
        return sorted(job.id for job in jobs)

    def test_live_locks_are_respected(self) -> None:
        """Jobs that run are left alone, old locks are acted on and stay (item 35)."""
        waiting, live, stale = self.a_few()
        asked = [waiting.id, live.id, stale.id, stale.id, 10**12]
        before = self.row(live.id, "to_jsonb(_private_jobs)")
        changed = client.reschedule_jobs(self.connection, asked, priority=5)
        self.assertEqual(self.ids(changed), [waiting.id, stale.id])
        failed = client.permanently_fail_jobs(self.connection, asked)
        self.assertEqual(self.ids(failed), [waiting.id, stale.id])
        self.connection.commit()
        self.assertEqual(self.row(stale.id, "priority, attempts, locked_by"), (5, 25, "pool-test"))
        self.assertEqual(self.row(live.id, "to_jsonb(_private_jobs)"), before)
        completed = client.complete_jobs(self.connection, asked)
        self.assertEqual(self.ids(completed), [waiting.id, stale.id])
        self.connection.commit()
        self.assertEqual(self.sql("SELECT id FROM graphile_worker._private_jobs"), [(live.id,)])

    def test_none(self) -> None:
        """No ids, no jobs (item 35)."""
        self.assertEqual(client.complete_jobs(self.connection, []), [])
        self.assertEqual(client.permanently_fail_jobs(self.connection, []), [])
        self.assertEqual(client.reschedule_jobs(self.connection, [], attempts=0), [])

    def test_fail_text(self) -> None:
        """The default text is Graphile Worker's, and an empty one is kept (item 36)."""
        jobs = [self.added() for _ in range(3)]
        texts: tuple[str | None, ...] = (None, "", "no more of it")
        failed = [
            client.permanently_fail_jobs(self.connection, [job.id], text)[0]
            for job, text in zip(jobs, texts, strict=True)
        ]
        self.assertEqual(
            [job.last_error for job in failed], ["Manually marked as failed", "", "no more of it"]
        )
        self.assertEqual({(job.attempts, job.identifier) for job in failed}, {(25, "mail")})

    def test_reschedule(self) -> None:
        """What is not given stays; zero is something; attempts may exceed their maximum (item 37)."""
        job = self.added(priority=7, run_at=FUTURE, max_attempts=3)
        self.sql(
            "UPDATE graphile_worker._private_jobs SET attempts = 3, last_error = 'e' WHERE id = %s", job.id
        )
        (same,) = client.reschedule_jobs(self.connection, [job.id])
        self.assertEqual((same.priority, same.run_at, same.attempts, same.max_attempts), (7, FUTURE, 3, 3))
        (zero,) = client.reschedule_jobs(self.connection, [job.id], priority=0, attempts=0)
        self.assertEqual((zero.priority, zero.attempts, zero.last_error), (0, 0, "e"))
        (beyond,) = client.reschedule_jobs(self.connection, [job.id], attempts=9, max_attempts=4, run_at=PAST)
        self.assertEqual((beyond.attempts, beyond.max_attempts, beyond.run_at), (9, 4, PAST))

    def test_reschedule_announces(self) -> None:
        """What can run now is announced, and nothing else (8.4)."""
        jobs = [self.added(run_at=FUTURE) for _ in range(4)]
        ids = [job.id for job in jobs]
        self.lock(jobs[3], "5 hours")
        self.assertEqual(self.notices(lambda: client.reschedule_jobs(self.connection, ids, priority=1)), [])
        self.assertEqual(
            self.notices(lambda: client.reschedule_jobs(self.connection, ids, delay=timedelta(hours=1))), []
        )
        self.sql("UPDATE graphile_worker._private_jobs SET attempts = max_attempts WHERE id = %s", ids[0])
        self.assertEqual(self.counts(lambda: client.reschedule_jobs(self.connection, ids, delay=0)), [2])
        self.assertEqual(
            self.counts(lambda: client.reschedule_jobs(self.connection, ids[:1], attempts=0)), [1]
        )

    def test_force_unlock(self) -> None:
        """Exactly the given workers' locks are cleared, and nothing else changes (item 38)."""
        dead = [self.added(queue_name="dead lane"), self.added(run_at=PAST)]
        alive = self.added(queue_name="living lane")
        for job in dead:
            self.lock(job, worker="pool-dead")
        self.lock(alive, worker="pool-alive")
        columns = "to_jsonb(_private_jobs) - 'locked_at' - 'locked_by' - 'is_available'"
        before = [self.row(job.id, columns) for job in dead]
        untouched = self.row(alive.id, "to_jsonb(_private_jobs)")
        unlocking = partial(client.force_unlock_workers, self.connection, ["pool-dead", "pool-unknown"])
        self.assertEqual(self.counts(unlocking), [2])
        self.assertEqual(self.result, 2)
        self.assertEqual([self.row(job.id, columns) for job in dead], before)
        for job in dead:
            self.assertEqual(self.row(job.id, "locked_at, locked_by, attempts"), (None, None, 1))
        self.assertEqual(self.row(alive.id, "to_jsonb(_private_jobs)"), untouched)
        self.assertEqual(
            self.sql("SELECT queue_name, locked_by FROM graphile_worker._private_job_queues ORDER BY 1"),
            [("dead lane", None), ("living lane", "pool-alive")],
        )

    def test_force_unlock_nobody(self) -> None:
        """Unknown workers, or none, are no news (item 38)."""
        self.lock(self.added())
        self.assertEqual(
            self.notices(lambda: client.force_unlock_workers(self.connection, ["pool-other"])), []
        )
        self.assertEqual(self.notices(lambda: client.force_unlock_workers(self.connection, [])), [])


class AsynchronousTests(TestCase):
    """The same calls on the daemon's own database layer."""

    def setUp(self) -> "Deferred[None]":
        return Deferred.fromCoroutine(self.open())

    async def open(self) -> None:
        parameters, _ = conninfo.parse(migrated_database(self))
        self.database = Database(parameters, reactor, size=1)
        self.addCleanup(self.database.close)
        await self.database.open()

    async def stored(self) -> list[tuple[Any, ...]]:
        return await self.database.query(
            "SELECT payload->>'event', key, max_attempts FROM graphile_worker._private_jobs ORDER BY id"
        )

    async def test_calls(self) -> None:
        """Each call on the database is a transaction of its own."""
        await asynchronous.send_event(
            self.database,
            "mail/welcome",
            {"n": 1},
            queue="mail",
            endpoint=ENDPOINT,
            key="k",
            retries=2,
            delay=60,
        )
        await asynchronous.send_events(self.database, [Event("b", queue="mail", endpoint=ENDPOINT)])
        self.assertEqual(await self.stored(), [("mail/welcome", "k", 3), ("b", None, 25)])
        job = await asynchronous.add_job(self.database, "fresh", queue_name="lane")
        self.assertEqual((job.identifier, job.queue_name), ("fresh", "lane"))
        (rescheduled,) = await asynchronous.reschedule_jobs(self.database, [job.id], priority=0, delay=0)
        self.assertEqual(rescheduled.id, job.id)
        (failed,) = await asynchronous.permanently_fail_jobs(self.database, [job.id], "why")
        self.assertEqual(failed.last_error, "why")
        self.assertEqual(len(await asynchronous.complete_jobs(self.database, [job.id])), 1)
        removed = await asynchronous.remove_job(self.database, "k")
        self.assertEqual(removed and removed.key, "k")
        self.assertEqual(await asynchronous.force_unlock_workers(self.database, ["pool-x"]), 0)
        bulk = await asynchronous.add_jobs(self.database, [NewJob("a", 1), NewJob("b", 2)])
        self.assertEqual([row.identifier for row in bulk], ["a", "b"])

    async def test_in_a_transaction(self) -> None:
        """On a transaction's cursor an event shares its fate."""

        async def work(cursor: Cursor) -> None:
            await asynchronous.send_event(cursor, "lost", queue="mail", endpoint=ENDPOINT)
            await asynchronous.add_job(cursor, "lost")
            raise ZeroDivisionError

        with self.assertRaises(ZeroDivisionError):
            await self.database.transaction(work)
        self.assertEqual(await self.stored(), [])
