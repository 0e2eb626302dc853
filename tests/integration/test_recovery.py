"""`slayq_tw.heartbeat` on a real Postgres: a dead daemon's jobs are due again, a living one's are left alone."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
from twisted.internet.defer import Deferred, DeferredList, gatherResults
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from slayq_tw import whereabouts
from slayq_tw.errors import DatabaseError
from slayq_tw.heartbeat import INTERVAL, Heartbeat
from slayq_tw.job import Failure, Job
from slayq_tw.jobs import JobStore
from slayq_tw.liveness import DEAD_AFTER
from slayq_tw.sqlfiles import named_queries
from tests.integration.test_jobs import JobStoreTestCase
from tests.waiting import until

DAEMONS = named_queries("daemons.sql")


class RecoveryTestCase(JobStoreTestCase):
    """`self.store` is the daemon that dies, unless a test says otherwise."""

    async def connect(self) -> None:
        await super().connect()
        self.clock = Clock()
        self.recoveries = 0
        self.handed_back = 0

    def heartbeat(self, store: JobStore, *, holds_jobs: bool = False) -> Heartbeat:
        def recovered() -> None:
            self.recoveries += 1

        def declared_dead() -> None:
            self.handed_back += 1

        return Heartbeat(
            self.database, store.worker, self.clock, lambda: holds_jobs, recovered, declared_dead
        )

    async def enter(self, heartbeat: Heartbeat) -> None:
        """Enter, with the recoveries that it leads to."""
        await heartbeat.enter()
        await DeferredList(list(heartbeat._recoveries.values()))

    async def watch(self, heartbeat: Heartbeat, seconds: float) -> None:
        """Let time pass for a heartbeat, turn by turn."""
        for _ in range(int(seconds / INTERVAL)):
            self.clock.advance(INTERVAL)
            await self.turn(heartbeat)

    async def turn(self, heartbeat: Heartbeat) -> None:
        """One turn, with the recoveries that it leads to."""
        await heartbeat._turn()
        await DeferredList(list(heartbeat._recoveries.values()))

    async def a_death(self) -> Heartbeat:
        """Have `self.store` beat once and no more; another daemon, that sees it."""
        await self.enter(self.heartbeat(self.store))
        self.sql("UPDATE slayq._private_daemons SET place = 'elsewhere'")
        other = self.heartbeat(await self.a_store())
        await other.enter()
        await other._turn()
        return other

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        """A cursor of a connection of its own; what it does is committed at the end."""
        connection = psycopg2.connect(self.admin.dsn)
        self.addCleanup(connection.close)
        with connection, connection.cursor() as cursor:
            yield cursor

    async def until_somebody_waits(self) -> None:
        """Wait until a statement of the test's database waits for a lock."""
        await until(
            lambda: bool(
                self.sql(
                    "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
                )
            ),
            "lock",
        )

    def daemons(self) -> list[Any]:
        return [
            worker for (worker,) in self.sql("SELECT worker FROM slayq._private_daemons ORDER BY started_at")
        ]


class RecoveryTests(RecoveryTestCase):
    """What comes back, and how."""

    async def test_dead_daemon(self) -> None:
        """Its jobs and lanes are free after ten seconds, the attempt uncounted, also the last one."""
        keyed = self.add(job_key="k", max_attempts=1)
        last = self.add(max_attempts=1)
        in_lane = self.add(queue_name="lane", max_attempts=1, job_key="l")
        await self.store.claim([(("mail",), 10)])
        other = await self.a_death()
        await self.watch(other, DEAD_AFTER - INTERVAL)
        self.assertEqual((self.recoveries, self.row(last, "is_available")), (0, (False,)))
        with capturedLogs() as events:
            await self.watch(other, INTERVAL)
        for number in (keyed, last, in_lane):
            self.assertEqual(self.row(number, "attempts, locked_by, locked_at"), (0, None, None))
        self.assertIsNone(self.lane_holder("lane"))
        (event,) = [event for event in events if event.get("event") == "daemon_recovered"]
        self.assertEqual((event["worker"], event["count"]), (self.store.worker, 3))
        self.assertEqual((self.recoveries, self.daemons()), (1, [other._worker]))

    async def test_superseded(self) -> None:
        """A job whose key was re-added meanwhile is only unlocked: its successor runs instead, also on the last attempt."""
        old = self.add(job_key="k", max_attempts=1)
        stays = self.add(job_key="s", max_attempts=1)
        # A transaction from before the claim stamps the row with its own beginning.
        early = psycopg2.connect(self.admin.dsn)
        self.addCleanup(early.close)
        with early.cursor() as cursor:
            cursor.execute("SELECT now()")
            await self.store.claim([(("mail",), 10)])
            cursor.execute("SELECT graphile_worker.add_job('mail', job_key => 'k', max_attempts => 1)")
        early.commit()
        await self.watch(await self.a_death(), DEAD_AFTER)
        self.assertEqual(self.row(old, "key, attempts, locked_by, is_available"), (None, 1, None, False))
        self.assertEqual(self.row(stays, "key, attempts, is_available"), ("s", 0, True))
        self.store = await self.a_store()
        self.assertEqual(len((await self.claimed_ids((("mail",), 10)))[0]), 2)

    async def test_superseded_by_name(self) -> None:
        """So is a keyless job that the application re-added by the name that its receiver knows, whatever the clock was
        set to meanwhile; one that nobody re-added runs again, however young its row is said to be.
        """
        payload = '{"url":"http://a/","retry":0,"event":"e","cache":{}}'
        old, other = (self.add(payload=payload, max_attempts=1) for _ in range(2))
        self.sql("UPDATE graphile_worker._private_jobs SET updated_at = now() + interval '1 hour'")
        await self.store.claim([(("mail",), 10)])
        self.sql("SELECT public.add_worker_job('mail', %s, job_key => %s)", payload, f"job-{old}")
        self.sql(
            "UPDATE graphile_worker._private_jobs SET updated_at = now() - interval '1 hour' WHERE id = %s",
            old,
        )
        await self.watch(await self.a_death(), DEAD_AFTER)
        self.assertEqual(self.row(old, "attempts, locked_by, is_available"), (1, None, False))
        self.assertEqual(self.row(other, "attempts, is_available"), (0, True))
        ((why,),) = self.sql("SELECT last_error FROM graphile_worker._private_jobs WHERE id = %s", old)
        self.assertIn(f"Added again as job-{old}", why)

    async def test_revived_by_hand(self) -> None:
        """A superseded job that an operator gives another attempt has it."""
        payload = '{"url":"http://a/","retry":0,"event":"e","cache":{}}'
        number = self.add(payload=payload, max_attempts=1)
        await self.store.release(await self.superseded(number, payload))
        self.sql("SELECT graphile_worker.reschedule_jobs(ARRAY[%s::bigint], attempts => 0)", number)
        await self.store.claim([(("mail",), 1)])
        await self.watch(await self.a_death(), DEAD_AFTER)
        self.assertEqual(self.row(number, "attempts, is_available"), (0, True))

    async def superseded(self, number: int, payload: str) -> list[Job]:
        """A job that was claimed, and then re-added by its name, for later."""
        (jobs,) = await self.store.claim([(("mail",), 1)])
        self.sql(
            "SELECT public.add_worker_job('mail', %s, job_key => %s, run_at => '2999-01-01')",
            payload,
            f"job-{number}",
        )
        return jobs

    async def test_superseded_tick(self) -> None:
        """A cron tick that the next one has replaced is not kept."""
        self.sql("SELECT graphile_worker.add_job('cronQueue', job_key => 'cron', max_attempts => 1)")
        alone = self.add(max_attempts=1, job_key="k")
        self.sql(
            "UPDATE graphile_worker._private_jobs SET locked_by = %s, attempts = 1,"
            " locked_at = slayq._private_claim_stamp(true)",
            self.store.worker,
        )
        self.sql("SELECT graphile_worker.add_job('cronQueue', job_key => 'cron', max_attempts => 1)")
        await self.watch(await self.a_death(), DEAD_AFTER)
        self.assertEqual(
            self.sql("SELECT task_identifier, key, attempts, locked_by FROM graphile_worker.jobs ORDER BY 1"),
            [("cronQueue", "cron", 0, None), ("mail", "k", 0, None)],
        )
        self.assertEqual(self.row(alone, "is_available"), (True,))

    async def test_announced(self) -> None:
        """Whoever serves the queue learns of it: the daemon that notices may serve others."""
        self.add()
        await self.store.claim([(("mail",), 10)])
        other = await self.a_death()
        self.sql('LISTEN "jobs:insert"')
        await self.watch(other, DEAD_AFTER)
        self.sql("SELECT 1")
        (notice,) = self.admin.notifies
        self.assertEqual(json.loads(notice.payload)["count"], 1)

    async def test_claimed_in_the_last_moment(self) -> None:
        """A claim that is under way is waited for, and found at the next look."""
        number = self.add()
        other = await self.a_death()
        with self.transaction() as claiming:
            claiming.execute(
                "SELECT count(id) FROM slayq._private_claim_jobs(%s, '{0}', '{5}', %s, 1000, 1000, 0, 10)",
                ([self.store._tasks["mail"]], self.store.worker),
            )
            self.assertEqual(claiming.fetchall(), [(1,)])
            await self.watch(other, DEAD_AFTER)
            self.assertEqual(self.recoveries, 0)
        self.assertEqual(self.row(number, "locked_by"), (self.store.worker,))
        await self.watch(other, INTERVAL)
        self.assertEqual((self.recoveries, self.row(number, "locked_by, attempts")), (1, (None, 0)))

    async def test_claimed_too_late(self) -> None:
        """A claim that comes after the recovery takes nothing: nobody would ever return it."""
        number = self.add(queue_name="lane")
        await self.a_death()
        with self.transaction() as recovering:
            recovering.execute(DAEMONS["recover"], {"worker": self.store.worker, "beat": 1})
            claiming = Deferred.fromCoroutine(self.store.claim([(("mail",), 10)]))
            await self.until_somebody_waits()
        await self.assertFailure(claiming, DatabaseError)
        self.assertEqual(self.row(number, "locked_by, attempts"), (None, 0))
        self.assertIsNone(self.lane_holder("lane"))
        await self.assertFailure(Deferred.fromCoroutine(self.store.claim([(("mail",), 10)])), DatabaseError)
        await self.heartbeat(self.store).enter()
        self.assertEqual(await self.claimed_ids((("mail",), 10)), [[number]])

    async def test_others_locks(self) -> None:
        """A Node worker's locks are left to its own rule, whatever it does."""
        number = self.add(queue_name="lane")
        self.sql("UPDATE graphile_worker._private_jobs SET locked_by = 'pool-node', locked_at = now()")
        self.sql("UPDATE graphile_worker._private_job_queues SET locked_by = 'pool-node', locked_at = now()")
        await self.watch(await self.a_death(), 2 * DEAD_AFTER)
        self.assertEqual(self.row(number, "locked_by"), ("pool-node",))
        self.assertEqual(self.lane_holder("lane"), "pool-node")

    async def test_one_recovers(self) -> None:
        """Of two that see it, one does it."""
        self.add()
        await self.store.claim([(("mail",), 10)])
        first = await self.a_death()
        second = self.heartbeat(await self.a_store())
        await second.enter()
        for _ in range(int(DEAD_AFTER / INTERVAL) + 1):
            self.clock.advance(INTERVAL)
            await gatherResults([Deferred.fromCoroutine(self.turn(one)) for one in (first, second)])
        self.assertEqual(self.recoveries, 1)

    async def test_row_locked(self) -> None:
        """A daemon's row that another one has locked, to recover it, is left to that one at once."""
        self.add()
        await self.store.claim([(("mail",), 10)])
        await self.a_death()
        with self.transaction() as recovering:
            recovering.execute(
                "SELECT FROM slayq._private_daemons WHERE worker = %s FOR UPDATE", [self.store.worker]
            )
            with self.transaction() as other:
                other.execute("SET LOCAL lock_timeout = '1 s'")
                other.execute(DAEMONS["recover"], {"worker": self.store.worker, "beat": 1})
                self.assertEqual(other.fetchall(), [])

    async def test_locked_by_a_transaction(self) -> None:
        """A dead daemon's job whose row some transaction has locked is returned when that ends; the others at once."""
        locked, free = self.add(), self.add()
        await self.store.claim([(("mail",), 10)])
        other = await self.a_death()
        application = psycopg2.connect(self.admin.dsn)
        self.addCleanup(application.close)
        with application.cursor() as cursor:
            cursor.execute("SELECT FROM graphile_worker._private_jobs WHERE id = %s FOR UPDATE", [locked])
        await self.watch(other, DEAD_AFTER)
        self.assertEqual(self.row(free, "attempts, locked_by"), (0, None))
        self.assertEqual(self.row(locked, "locked_by"), (self.store.worker,))
        application.rollback()
        await self.watch(other, DEAD_AFTER + INTERVAL)
        self.assertEqual(self.row(locked, "attempts, locked_by"), (0, None))
        self.assertEqual((self.recoveries, self.daemons()), (2, [other._worker]))

    async def test_beats_after_all(self) -> None:
        """A beat in the last moment keeps the jobs."""
        number = self.add()
        await self.store.claim([(("mail",), 10)])
        other = await self.a_death()
        await self.watch(other, DEAD_AFTER - INTERVAL)
        self.sql("UPDATE slayq._private_daemons SET beat = beat + 1 WHERE worker = %s", self.store.worker)
        await self.watch(other, INTERVAL)
        self.assertEqual(self.row(number, "locked_by"), (self.store.worker,))

    async def test_outage(self) -> None:
        """While the watcher could not look, nobody is taken for dead."""
        number = self.add()
        await self.store.claim([(("mail",), 10)])
        other = await self.a_death()
        await self.watch(other, DEAD_AFTER - INTERVAL)
        self.sql("ALTER TABLE slayq._private_daemons RENAME TO away")
        await self.watch(other, 2 * DEAD_AFTER)
        self.sql("ALTER TABLE slayq.away RENAME TO _private_daemons")
        await self.watch(other, DEAD_AFTER)
        self.assertEqual(self.row(number, "locked_by"), (self.store.worker,))
        await self.watch(other, INTERVAL)
        self.assertEqual(self.row(number, "locked_by"), (None,))

    async def test_process_that_is_gone(self) -> None:
        """What a process of this machine left is returned at once when it demonstrably runs no more."""
        number = self.add()
        await self.store.claim([(("mail",), 10)])
        await self.enter(self.heartbeat(self.store))
        await self.enter(self.heartbeat(await self.a_store()))
        self.assertEqual(self.row(number, "locked_by"), (self.store.worker,))
        self.sql("UPDATE slayq._private_daemons SET process = '1 1' WHERE worker = %s", self.store.worker)
        self.assertTrue(whereabouts.is_gone(whereabouts.here(), "1 1"))
        await self.enter(self.heartbeat(await self.a_store()))
        self.assertEqual(self.row(number, "locked_by, attempts"), (None, 0))

    async def test_clean_end(self) -> None:
        """A daemon that holds nothing takes its row away; one that does leaves it for the others."""
        for holds in (False, True):
            heartbeat = self.heartbeat(self.store, holds_jobs=holds)
            await heartbeat.enter()
            heartbeat.startService()
            await heartbeat.stopService()
            self.assertEqual(self.daemons(), [self.store.worker] if holds else [])


class DeclaredDeadTests(RecoveryTestCase):
    """A daemon that was taken for dead, and lives."""

    async def a_mistake(self, **arguments: Any) -> Job:
        """A claimed job whose daemon was declared dead meanwhile."""
        self.number = self.add(**arguments)
        job = await self.claim_one()
        await self.watch(await self.a_death(), DEAD_AFTER)
        return job

    async def test_it_says_so(self) -> None:
        """It notices at its next beat, once, and is watched again."""
        zombie = self.heartbeat(self.store)
        await zombie.enter()
        self.sql("DELETE FROM slayq._private_daemons")
        with capturedLogs() as events:
            await zombie._turn()
            await zombie._turn()
        self.assertEqual([event.get("event") for event in events], ["declared_dead"])
        self.assertEqual(self.daemons(), [self.store.worker])

    async def test_it_hears_of_it_while_it_happens(self) -> None:
        """Also when its beat meets the recovery: what a snapshot still shows is gone."""
        zombie = self.heartbeat(self.store)
        await zombie.enter()
        with self.transaction() as recovering:
            recovering.execute(DAEMONS["recover"], {"worker": self.store.worker, "beat": 1})
            with capturedLogs() as events:
                turn = Deferred.fromCoroutine(zombie._turn())
                await self.until_somebody_waits()
        with capturedLogs() as events:
            await turn
        self.assertEqual([event.get("event") for event in events], ["declared_dead"])
        self.assertEqual((self.handed_back, self.daemons()), (1, [self.store.worker]))

    async def test_it_hears_of_half_of_it(self) -> None:
        """Also when not all of its jobs could be returned yet: it claims nothing before it has entered again, and what
        was left is its own again."""
        locked, free = self.add(), self.add()
        zombie = self.heartbeat(self.store)
        await zombie.enter()
        await self.store.claim([(("mail",), 10)])
        watcher = await self.a_death()
        with self.transaction() as application:
            application.execute(
                "SELECT 1 FROM graphile_worker._private_jobs WHERE id = %s FOR UPDATE", [locked]
            )
            await self.watch(watcher, DEAD_AFTER)
            self.assertEqual(self.row(free, "locked_by"), (None,))
            await self.assertFailure(
                Deferred.fromCoroutine(self.store.claim([(("mail",), 10)])), DatabaseError
            )
            with capturedLogs() as events:
                await zombie._turn()
        self.assertEqual([event.get("event") for event in events], ["declared_dead"])
        self.assertEqual(await self.claimed_ids((("mail",), 10)), [[free]])
        await self.turn(watcher)
        self.assertEqual(self.row(locked, "locked_by"), (self.store.worker,))

    async def test_its_new_row(self) -> None:
        """Nobody takes it for the one that stood still, though it has beaten as often: the count goes on."""
        zombie = self.heartbeat(self.store)
        await zombie.enter()
        watcher = self.heartbeat(await self.a_store())
        await watcher.enter()
        await watcher._turn()
        self.sql("UPDATE slayq._private_daemons SET place = 'elsewhere'")
        await self.watch(watcher, DEAD_AFTER - INTERVAL)
        self.sql("DELETE FROM slayq._private_daemons WHERE worker = %s", self.store.worker)
        await zombie._turn()
        await self.watch(watcher, INTERVAL)
        self.assertEqual((self.recoveries, len(self.daemons())), (0, 2))

    async def test_claims_again(self) -> None:
        """What it claims anew is not mixed up with what it still works on from before: a claim whose answer is lost
        is handed back."""
        job = await self.a_mistake(queue_name="lane")
        await self.heartbeat(self.store).enter()
        lost = JobStore(self.database, ["mail"])
        lost.worker = self.store.worker
        await lost.register()
        ((again,),) = await lost.claim([(("mail",), 1)])
        self.assertEqual((again.id, self.store.held), (job.id, 1))
        self.assertEqual(await self.store.release_strays(), ([job.id], 0))
        self.assertEqual(self.row(job.id, "locked_by, attempts"), (None, 0))
        self.assertIsNone(self.lane_holder("lane"))
        ((held,),) = await self.store.claim([(("mail",), 1)])
        self.assertEqual(await self.store.release_strays(), ([], 0))
        self.assertEqual(self.lane_holder("lane"), self.store.worker)
        self.assertEqual(await self.store.complete([held]), {job.id})

    async def test_success(self) -> None:
        """Its success counts: the event was delivered."""
        job = await self.a_mistake(queue_name="lane")
        other = await self.a_store()
        ((again,),) = await other.claim([(("mail",), 1)])
        self.assertEqual(await self.store.complete([job]), {job.id})
        self.assertIsNone(self.row(job.id, "id"))
        self.assertEqual(self.lane_holder("lane"), other.worker)
        self.assertEqual(await other.complete([again]), set())
        self.assertIsNone(self.lane_holder("lane"))

    async def test_success_of_another_request(self) -> None:
        """Unless its key was re-added in place: that is another request, which is still to be delivered."""
        job = await self.a_mistake(job_key="k")
        self.sql("SELECT graphile_worker.add_job('mail', '{\"n\":2}', job_key => 'k')")
        self.assertEqual(await self.store.complete([job]), set())
        self.assertEqual(self.row(job.id, "key, is_available"), ("k", True))

    async def test_failure_and_release(self) -> None:
        """Its failures and hand-backs touch nothing that somebody else has, nor what waits for somebody."""
        job = await self.a_mistake(queue_name="lane")
        free = self.row(job.id, "attempts, locked_by, run_at, last_error")
        self.assertEqual(await self.store.fail([Failure(job, "late")]), {})
        self.assertEqual(await self.store.release([job]), set())
        self.assertEqual(self.row(job.id, "attempts, locked_by, run_at, last_error"), free)
        other = await self.a_store()
        await other.claim([(("mail",), 1)])
        held = self.row(job.id, "attempts, locked_by, run_at, last_error")
        self.assertEqual(await self.store.fail([Failure(job, "late")]), {})
        self.assertEqual(await self.store.release([job]), set())
        self.assertEqual(self.row(job.id, "attempts, locked_by, run_at, last_error"), held)
        self.assertEqual(self.lane_holder("lane"), other.worker)
