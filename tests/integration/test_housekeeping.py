"""`slayq_tw.housekeeping` on a real Postgres: what is swept, collected and deleted, and what must not be."""

from collections.abc import Callable
from datetime import UTC, datetime
from itertools import product
from threading import Thread
from typing import Any

import psycopg2
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import TestCase

from slayq_tw import conninfo
from slayq_tw.configcheck import HousekeepingConfig
from slayq_tw.database import Database
from slayq_tw.housekeeping import Housekeeping, HousekeepingService, Swept
from slayq_tw.sqlfiles import named_queries
from tests.postgres import migrated_database

ADDERS = ("graphile_worker.add_job", "public.add_worker_job")
FUTURE = datetime(2999, 1, 1, tzinfo=UTC)


class HousekeepingTestCase(TestCase):
    """A daemon that serves `mail`, and a connection that plays the others."""

    def setUp(self) -> "Deferred[None]":
        return Deferred.fromCoroutine(self.open())

    async def open(self) -> None:
        self.url = migrated_database(self)
        parameters, _ = conninfo.parse(self.url)
        self.database = Database(parameters, reactor, size=1)
        self.addCleanup(self.database.close)
        await self.database.open()
        self.housekeeping = Housekeeping(self.database, ["mail", "post"])
        self.admin = self.connect()
        self.admin.autocommit = True

    def connect(self) -> Any:
        connection = psycopg2.connect(self.url)
        self.addCleanup(connection.close)
        return connection

    def sql(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with self.admin.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    def add(self, identifier: str = "mail", **arguments: Any) -> int:
        """Add a job with `add_job`; its id."""
        named = "".join(f", {name} => %s" for name in arguments)
        statement = f"SELECT id FROM graphile_worker.add_job(%s{named})"
        ((number,),) = self.sql(statement, identifier, *arguments.values())
        return int(number)

    def lock(self, number: int, age: str) -> None:
        """A worker locked the job, and its queue, so long ago."""
        self.sql(
            "UPDATE graphile_worker._private_jobs SET attempts = attempts + 1, locked_by = 'pool-dead',"
            " locked_at = now() - %s::interval WHERE id = %s",
            age,
            number,
        )
        self.sql(
            "UPDATE graphile_worker._private_job_queues SET locked_by = 'pool-dead',"
            " locked_at = now() - %s::interval"
            " WHERE id = (SELECT job_queue_id FROM graphile_worker._private_jobs WHERE id = %s)",
            age,
            number,
        )

    def row(self, number: int, columns: str) -> tuple[Any, ...] | None:
        rows = self.sql(f"SELECT {columns} FROM graphile_worker._private_jobs WHERE id = %s", number)
        return rows[0] if rows else None

    def queues(self) -> list[str]:
        return [
            name
            for (name,) in self.sql("SELECT queue_name FROM graphile_worker._private_job_queues ORDER BY 1")
        ]

    def tasks(self) -> list[str]:
        return [
            name for (name,) in self.sql("SELECT identifier FROM graphile_worker._private_tasks ORDER BY 1")
        ]


class SweepTests(HousekeepingTestCase):
    """Locks older than four hours belong to nobody (item 53)."""

    async def test_age(self) -> None:
        """Only locks older than four hours are cleared, of jobs and of queues; attempts stay (item 53)."""
        old = self.add(queue_name="old")
        young = self.add(queue_name="young")
        self.lock(old, "4 hours 1 second")
        self.lock(young, "3 hours 59 minutes")
        before = self.row(old, "updated_at, last_error, key, priority")
        self.assertEqual(await self.housekeeping.sweep(), Swept(1, 1, 0, []))
        self.assertEqual(self.row(old, "locked_at, locked_by, attempts, is_available"), (None, None, 1, True))
        self.assertEqual(self.row(old, "updated_at, last_error, key, priority"), before)
        self.assertEqual(self.row(young, "locked_by, attempts"), ("pool-dead", 1))
        self.assertEqual(
            self.sql("SELECT queue_name, locked_by FROM graphile_worker._private_job_queues ORDER BY 1"),
            [("old", None), ("young", "pool-dead")],
        )
        self.assertEqual(await self.housekeeping.sweep(), Swept(0, 0, 0, []))

    async def test_daemons_that_live(self) -> None:
        """A delivery may take longer than four hours: what a daemon has locked is its own as long as it has its row."""
        number = self.add(queue_name="lane")
        self.lock(number, "5 hours")
        self.sql("INSERT INTO slayq._private_daemons (worker) VALUES ('pool-dead')")
        self.assertEqual(await self.housekeeping.sweep(), Swept(0, 0, 0, []))
        self.assertEqual(self.row(number, "locked_by"), ("pool-dead",))
        self.assertEqual(
            self.sql("SELECT locked_by FROM graphile_worker._private_job_queues"), [("pool-dead",)]
        )
        self.sql("DELETE FROM slayq._private_daemons")
        self.assertEqual(await self.housekeeping.sweep(), Swept(1, 1, 0, []))

    async def test_run_at(self) -> None:
        """A swept job is due now at the earliest, and no sooner than it was (item 53)."""
        past = self.add(run_at=datetime(2020, 1, 1, tzinfo=UTC))
        future = self.add(run_at=FUTURE)
        for job in (past, future):
            self.lock(job, "5 hours")
        ((before,),) = self.sql("SELECT now()")
        await self.housekeeping.sweep()
        ((after,),) = self.sql("SELECT now()")
        (run_at,) = self.row(past, "run_at") or (None,)
        self.assertTrue(run_at is not None and before <= run_at <= after)
        self.assertEqual(self.row(future, "run_at"), (FUTURE,))

    async def test_last_attempt(self) -> None:
        """A job whose last attempt crashed has failed for good, and is told of (10.10)."""
        last = self.add(max_attempts=1)
        superseded = self.add("elsewhere", job_key="k")
        for job in (last, superseded):
            self.lock(job, "5 hours")
        self.add(job_key="k")
        self.assertEqual((await self.housekeeping.sweep()).exhausted, [last, superseded])
        self.assertEqual(self.row(last, "attempts, max_attempts, locked_at, last_error"), (1, 1, None, None))
        self.assertEqual(
            await self.housekeeping.identifiers_of([last, superseded]), {"elsewhere": 1, "mail": 1}
        )

    async def test_cron_tick(self) -> None:
        """A tick that crashed is removed; one that may run again stays, as does any other job of one attempt."""
        tick = self.add("cronQueue", max_attempts=1)
        again = self.add("cronQueue", max_attempts=2)
        other = self.add(max_attempts=1)
        for job in (tick, again, other):
            self.lock(job, "5 hours")
        self.assertEqual(await self.housekeeping.sweep(), Swept(2, 0, 1, [other]))
        self.assertIsNone(self.row(tick, "id"))
        self.assertEqual(self.row(again, "locked_at"), (None,))

    async def test_busy_rows(self) -> None:
        """A row that another session works on is left to it, without waiting."""
        jobs = [self.add(queue_name="lane"), self.add()]
        for job in jobs:
            self.lock(job, "5 hours")
        finisher = self.connect()
        with finisher.cursor() as cursor:
            cursor.execute("DELETE FROM graphile_worker._private_jobs WHERE id = %s", (jobs[0],))
            cursor.execute(
                "UPDATE graphile_worker._private_job_queues SET locked_at = NULL, locked_by = NULL"
            )
        self.assertEqual(await self.housekeeping.sweep(), Swept(1, 0, 0, []))
        finisher.commit()
        self.assertEqual(await self.housekeeping.sweep(), Swept(0, 0, 0, []))

    async def test_queue_without_a_job(self) -> None:
        """A queue whose running job was deleted by hand is freed too."""
        job = self.add(queue_name="lane")
        self.lock(job, "5 hours")
        self.sql("DELETE FROM graphile_worker._private_jobs")
        self.assertEqual(await self.housekeeping.sweep(), Swept(0, 1, 0, []))


class CollectQueuesTests(HousekeepingTestCase):
    """No job is ever left without its queue (10.5)."""

    async def test_collected(self) -> None:
        """Unlocked queues without a job are deleted: not those of failed, future or running jobs."""
        self.add(queue_name="future", run_at=FUTURE)
        failed = self.add(queue_name="failed")
        self.sql("UPDATE graphile_worker._private_jobs SET attempts = max_attempts WHERE id = %s", failed)
        self.lock(self.add(queue_name="running"), "1 hour")
        gone = self.add(queue_name="locked")
        self.lock(gone, "1 hour")
        self.sql("DELETE FROM graphile_worker._private_jobs WHERE id = %s", gone)
        for name in ("a", "b"):
            self.sql("DELETE FROM graphile_worker._private_jobs WHERE id = %s", self.add(queue_name=name))
        self.assertEqual(await self.housekeeping.collect_queues(), 2)
        self.assertEqual(self.queues(), ["failed", "future", "locked", "running"])
        self.assertEqual(await self.housekeeping.collect_queues(), 0)

    def empty_lane(self) -> None:
        self.sql("DELETE FROM graphile_worker._private_jobs WHERE id = %s", self.add(queue_name="lane"))

    def dangling(self) -> list[tuple[Any, ...]]:
        return self.sql(
            "SELECT job.id FROM graphile_worker._private_jobs AS job"
            " LEFT JOIN graphile_worker._private_job_queues AS queue ON queue.id = job.job_queue_id"
            " WHERE queue.id IS NULL"
        )

    async def test_uncommitted_add(self) -> None:
        """While a transaction that added a job to an empty queue is open, nothing is deleted."""
        self.empty_lane()
        for mode in ("replace", "unsafe_dedupe"):
            application = self.connect()
            with application.cursor() as cursor:
                cursor.execute(
                    "SELECT graphile_worker.add_job('mail', queue_name => 'lane', job_key => %s, job_key_mode => %s)",
                    (mode, mode),
                )
                self.assertIsNone(await self.housekeeping.collect_queues())
            application.rollback()
        with self.connect() as application, application.cursor() as cursor:
            cursor.execute("SELECT public.add_worker_job('mail', queue_name => 'lane')")
            self.assertIsNone(await self.housekeeping.collect_queues())
        self.assertEqual(await self.housekeeping.collect_queues(), 0)
        self.assertEqual(self.dangling(), [])

    async def test_add_during_a_collection(self) -> None:
        """An add that comes while queues are deleted waits, and makes its queue anew; also with plans cached."""
        for function, key in product(ADDERS, ("", ", job_key => 'k'")):
            await self.add_during_a_collection(f"SELECT {function}('mail', queue_name => 'lane'{key})")
            self.sql("DELETE FROM graphile_worker._private_jobs")

    async def add_during_a_collection(self, statement: str) -> None:
        queries = named_queries("housekeeping.sql")
        application = self.connect()
        with application.cursor() as cursor:
            for _ in range(8):  # from the sixth call on, generic plans are kept
                cursor.execute(statement)
                application.rollback()
        self.empty_lane()
        ((old,),) = self.sql("SELECT id FROM graphile_worker._private_job_queues WHERE queue_name = 'lane'")

        def add() -> None:
            with application, application.cursor() as cursor:
                cursor.execute(statement)

        with self.connect() as collector, collector.cursor() as cursor:
            cursor.execute(queries["shut_out_queue_users"])
            adding = Thread(target=add)
            adding.start()
            while not self.sql(
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            ):
                self.assertTrue(adding.is_alive(), "the add was let through")
            cursor.execute(queries["delete_queues"], {"ids": [old]})
            self.assertEqual(cursor.rowcount, 1)
        adding.join()
        ((new,),) = self.sql("SELECT id FROM graphile_worker._private_job_queues WHERE queue_name = 'lane'")
        self.assertGreater(new, old)
        self.assertEqual(self.dangling(), [])

    async def test_filled_meanwhile(self) -> None:
        """A queue that got a job after it was found empty is kept."""
        self.empty_lane()
        queries = named_queries("housekeeping.sql")
        ((lane,),) = self.sql(queries["idle_queues"].replace("%(batch)s", "10"))
        self.add(queue_name="lane")
        with self.admin.cursor() as cursor:
            cursor.execute(queries["delete_queues"], {"ids": [lane]})
        self.assertEqual(self.queues(), ["lane"])

    async def test_recovered(self) -> None:
        """Jobs whose queue somebody deleted under them get one again, and one by one can run."""
        first, second = self.add(queue_name="lane"), self.add(queue_name="lane")
        other = self.add(queue_name="other")
        ((lane,),) = self.sql("SELECT id FROM graphile_worker._private_job_queues WHERE queue_name = 'lane'")
        self.sql("DELETE FROM graphile_worker._private_job_queues WHERE id = %s", lane)
        self.assertEqual(await self.housekeeping.recover_queues(), [f"slayq-recovered-{lane}"])
        self.assertEqual(self.queues(), ["other", f"slayq-recovered-{lane}"])
        self.assertEqual(self.dangling(), [])
        self.assertEqual(self.row(first, "job_queue_id"), self.row(second, "job_queue_id"))
        self.assertEqual(await self.housekeeping.recover_queues(), [])
        self.assertIsNotNone(self.row(other, "id"))


class CollectTasksTests(HousekeepingTestCase):
    """Identifiers that nobody here serves and no job has."""

    async def test_collected(self) -> None:
        """Kept are this daemon's, the cron tick's, those of crontabs, and those of any job."""
        for name in ("mail", "post", "cronQueue", "nightly", "old", "older"):
            self.sql("DELETE FROM graphile_worker._private_jobs WHERE id = %s", self.add(name))
        failed = self.add("failed")
        self.sql("UPDATE graphile_worker._private_jobs SET attempts = max_attempts WHERE id = %s", failed)
        self.sql("INSERT INTO graphile_worker._private_known_crontabs VALUES ('nightly', now())")
        self.assertEqual(await self.housekeeping.collect_tasks(), ["old", "older"])
        self.assertEqual(self.tasks(), ["cronQueue", "failed", "mail", "nightly", "post"])
        self.assertEqual(await self.housekeeping.collect_tasks(), [])

    async def test_used_meanwhile(self) -> None:
        """An identifier that got a job after it was found unused is kept."""
        self.sql("DELETE FROM graphile_worker._private_jobs WHERE id = %s", self.add("old"))
        ((old,),) = self.sql("SELECT id FROM graphile_worker._private_tasks WHERE identifier = 'old'")
        self.add("old")
        self.sql(named_queries("housekeeping.sql")["delete_tasks"].replace("%(ids)s", "%s"), [old], [old])
        self.assertIn("old", self.tasks())

    async def test_uncommitted_add(self) -> None:
        """While a transaction that added a job is open, nothing is deleted."""
        self.sql("DELETE FROM graphile_worker._private_jobs WHERE id = %s", self.add("old"))
        for function, key in product(ADDERS, ("", ", job_key => 'k'")):
            application = self.connect()
            with application.cursor() as cursor:
                cursor.execute(f"SELECT {function}('old'{key})")
                self.assertIsNone(await self.housekeeping.collect_tasks(), function)
            application.rollback()
        with self.connect() as application, application.cursor() as cursor:
            cursor.execute("SELECT public.add_worker_job('old')")
            self.assertIsNone(await self.housekeeping.collect_tasks())
        self.assertEqual(await self.housekeeping.collect_tasks(), [])
        self.assertEqual(self.tasks(), ["old"])


class DeleteFailedTests(HousekeepingTestCase):
    """What failed for good is kept as long as the operator says."""

    def failed(self, run_at_days: float, updated_days: float, attempts: str = "max_attempts") -> int:
        job = self.add()
        self.sql(
            f"UPDATE graphile_worker._private_jobs SET attempts = {attempts}, run_at = now() - %s * interval '1 day',"
            " updated_at = now() - %s * interval '1 day' WHERE id = %s",
            run_at_days,
            updated_days,
            job,
        )
        return job

    async def test_age(self) -> None:
        """Only what failed, and was neither due nor touched since, is deleted; attempts may exceed their maximum."""
        self.failed(8, 8)
        self.failed(8, 30, "max_attempts + 1")
        kept = [
            self.failed(6.9, 30),
            self.failed(30, 6.9),
            self.failed(-400, 30),
            self.failed(8, 8, "max_attempts - 1"),
        ]
        running = self.failed(8, 8)
        self.lock(running, "1 minute")
        self.assertEqual(await self.housekeeping.delete_failed(7), 2)
        self.assertEqual(
            self.sql("SELECT id FROM graphile_worker._private_jobs ORDER BY id"),
            [(job,) for job in [*kept, running]],
        )
        self.assertEqual(await self.housekeeping.delete_failed(7), 0)

    async def test_with_waits(self) -> None:
        """What such a job waited for goes with it."""
        job = self.failed(8, 8)
        self.sql(
            "INSERT INTO slayq._private_waiting_on (job_id, event, match_key, match_value, step_name, expires_at)"
            " VALUES (%s, 'e', 'k', 'v', 's', now())",
            job,
        )
        self.assertEqual(await self.housekeeping.delete_failed(7), 1)
        self.assertEqual(self.sql("SELECT count(*) FROM slayq._private_waiting_on"), [(0,)])


class ServiceTests(HousekeepingTestCase):
    """The service with its statements."""

    async def logged(self, config: HousekeepingConfig, finished: Callable[[], bool]) -> list[dict[str, Any]]:
        """Take a first round, which is over when nothing is under way any more."""
        service = HousekeepingService(self.housekeeping, config, Clock(), lambda: 0.0)
        with capturedLogs() as events:
            service.startService()
            while not finished():
                await self.database.query("SELECT")
            await service.stopService()
        return list(events)

    async def test_a_round(self) -> None:
        """A sweep, a deletion and both collections, told in the log."""
        self.lock(self.add(max_attempts=1, queue_name="lane"), "5 hours")
        for name in ("old", "mail"):
            self.sql(
                "DELETE FROM graphile_worker._private_jobs WHERE id = %s", self.add(name, queue_name="empty")
            )
        failed = self.add()
        self.sql(
            "UPDATE graphile_worker._private_jobs SET attempts = max_attempts, run_at = now() - interval '8 days',"
            " updated_at = now() - interval '8 days' WHERE id = %s",
            failed,
        )
        config = HousekeepingConfig(delete_failed_after=7, collect_tasks=True)
        events = await self.logged(config, lambda: "old" not in self.tasks())
        self.assertEqual(
            [event["event"] for event in events],
            ["stale_locks_swept", "jobs_failed_by_sweep", "failed_jobs_deleted", "collected", "collected"],
        )
        self.assertEqual(self.queues(), ["lane"])
