"""What others do between the look of a claim and its locks: nothing is taken that is not as it was judged."""

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import psycopg2
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from slayq_tw.job import Failure, Job
from tests.integration.test_jobs import JobStoreTestCase
from tests.waiting import until

GATE = 4711
"""Key of the advisory lock at which the claims of these tests wait."""
PAST = "2020-01-01"
"""A time that is over: a job that is added again is else due from then on, and so not yet for a claim that began before."""


class HeldUpTestCase(JobStoreTestCase):
    """A claim that waits in its middle until somebody has done something."""

    async def while_it_waits(self, meanwhile: Callable[[], Any], limit: int = 9) -> list[int]:
        """Claim for `mail`, and do something while that waits at the gate; what it takes."""
        gate = psycopg2.connect(self.admin.dsn)
        self.addCleanup(gate.close)
        with gate.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", [GATE])
            gate.commit()
            claiming = Deferred.fromCoroutine(self.claimed_ids((("mail",), limit)))
            await until(
                lambda: bool(
                    self.sql(
                        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'"
                    )
                ),
                "wait",
            )
            meanwhile()
            cursor.execute("SELECT pg_advisory_unlock(%s)", [GATE])
            gate.commit()
        (numbers,) = await claiming
        return numbers

    def gate_after_heads(self) -> None:
        """Have claims wait when they have seen the heads of the lanes, and locked none."""
        self.sql("ALTER FUNCTION slayq._private_lane_heads RENAME TO _private_lane_heads_as_they_are")
        self.sql(
            """
            CREATE FUNCTION slayq._private_lane_heads(
              task integer, wanted integer, moment timestamptz, after_lane integer, steps integer)
            RETURNS TABLE (id bigint, lane integer, priority smallint, run_at timestamptz, reached integer)
            LANGUAGE plpgsql AS $$
            BEGIN
              RETURN QUERY SELECT * FROM slayq._private_lane_heads_as_they_are(task, wanted, moment, after_lane, steps);
              PERFORM pg_advisory_xact_lock(4711);
            END
            $$
            """
        )

    def gate_after_first(self) -> None:
        """Have claims wait when they have locked the first job, and are to come to the next."""
        self.sql(
            """
            CREATE OR REPLACE FUNCTION slayq._private_small_bytes(payload json) RETURNS bigint
            LANGUAGE plpgsql VOLATILE AS $$
            BEGIN
              PERFORM pg_advisory_xact_lock(4711);
              RETURN 2;
            END
            $$
            """
        )


class LaneRaceTests(HeldUpTestCase):
    """Jobs in serial lanes."""

    async def connect(self) -> None:
        await super().connect()
        self.first, self.second = (self.add(queue_name=lane, job_key=lane) for lane in ("a", "b"))
        self.gate_after_heads()

    async def left(self, meanwhile: Callable[[], Any]) -> None:
        """The first job is not taken, nor its lane, when that has happened meanwhile; the other one is."""
        self.assertEqual(await self.while_it_waits(meanwhile), [self.second])

    async def test_nothing_happens(self) -> None:
        """Both are taken."""
        self.assertEqual(await self.while_it_waits(lambda: None), [self.first, self.second])

    async def test_put_off(self) -> None:
        """A job that was put off, by its sender or by hand, is not taken early; its lane stays free."""
        await self.left(lambda: self.add(queue_name="a", job_key="a", run_at="2999-01-01"))
        self.assertIsNone(self.lane_holder("a"))

    async def test_other_task(self) -> None:
        """A job that became another task's is not taken for this one."""
        await self.left(lambda: self.add("general", queue_name="a", job_key="a", run_at=PAST))

    async def test_other_lane(self) -> None:
        """A job that moved into a lane of which another job is taken waits for that."""
        await self.left(lambda: self.add(queue_name="b", job_key="a", run_at=PAST))

    async def test_out_of_the_lane(self) -> None:
        """A job that has left its lane is nothing that this look was for."""
        await self.left(lambda: self.add(job_key="a", run_at=PAST))

    async def test_lane_taken(self) -> None:
        """A lane that somebody else has taken meanwhile keeps its holder."""
        await self.left(
            lambda: self.sql(
                "UPDATE graphile_worker._private_job_queues SET locked_by = 'pool-node', locked_at = now()"
                " WHERE queue_name = 'a'"
            )
        )
        self.assertEqual(self.lane_holder("a"), "pool-node")

    async def test_job_taken(self) -> None:
        """A job that somebody has locked, with its lane or without, is left."""
        await self.left(
            lambda: self.sql(
                "UPDATE graphile_worker._private_jobs SET locked_by = 'pool-node', locked_at = now() WHERE id = %s",
                self.first,
            )
        )
        self.assertEqual(self.row(self.first, "locked_by, attempts"), ("pool-node", 0))

    async def test_deleted(self) -> None:
        """A job that was cancelled is gone, and its lane free."""
        await self.left(
            lambda: self.sql("DELETE FROM graphile_worker._private_jobs WHERE id = %s", self.first)
        )
        self.assertIsNone(self.lane_holder("a"))

    async def test_locked_rows(self) -> None:
        """Nobody's transaction is waited for: neither one that holds a job, nor one that holds a lane."""
        for statement in (
            "SELECT FROM graphile_worker._private_jobs WHERE key = 'a' FOR UPDATE",
            "SELECT FROM graphile_worker._private_job_queues WHERE queue_name = 'a' FOR UPDATE",
        ):
            other = psycopg2.connect(self.admin.dsn)
            self.addCleanup(other.close)
            with other.cursor() as cursor:
                await self.left(lambda cursor=cursor, statement=statement: cursor.execute(statement))  # type: ignore[misc]
            other.rollback()
            await self.store.release(list(self.store._held.values()))


class FreeRaceTests(HeldUpTestCase):
    """Jobs that are in no lane."""

    async def connect(self) -> None:
        await super().connect()
        self.first, self.second, self.third = (self.add(job_key=key) for key in "abc")
        self.gate_after_first()

    async def left(self, meanwhile: Callable[[], Any]) -> None:
        """The second job is not taken when that has happened meanwhile, by either of the two ways to find jobs."""
        self.assertEqual(await self.while_it_waits(meanwhile), [self.first, self.third])

    async def test_nothing_happens(self) -> None:
        """All are taken."""
        self.assertEqual(await self.while_it_waits(lambda: None), [self.first, self.second, self.third])

    async def test_put_off(self) -> None:
        """A job that was put off is not taken early."""
        await self.left(lambda: self.add(job_key="b", run_at="2999-01-01"))

    async def test_other_task(self) -> None:
        """A job that became another task's is not taken for this one."""
        await self.left(lambda: self.add("general", job_key="b", run_at=PAST))

    async def test_into_a_lane(self) -> None:
        """A job that moved into a lane needs that lane."""
        await self.left(lambda: self.add(queue_name="lane", job_key="b", run_at=PAST))

    async def test_taken(self) -> None:
        """A job that somebody has locked keeps its holder."""
        await self.left(
            lambda: self.sql(
                "UPDATE graphile_worker._private_jobs SET locked_by = 'pool-node', locked_at = now() WHERE key = 'b'"
            )
        )
        self.assertEqual(self.row(self.second, "locked_by, attempts"), ("pool-node", 0))

    async def test_more_than_are_wanted(self) -> None:
        """The same where more are due than are wanted."""
        self.assertEqual(
            await self.while_it_waits(lambda: self.add(job_key="b", run_at="2999-01-01"), limit=2),
            [self.first, self.third],
        )

    async def test_other_priority(self) -> None:
        """There, a job with another priority by now has another place."""
        self.assertEqual(
            await self.while_it_waits(lambda: self.add(job_key="b", priority=5, run_at=PAST), limit=2),
            [self.first, self.third],
        )

    async def test_locked_rows(self) -> None:
        """Nobody's transaction is waited for."""
        for limit in (9, 2):
            other = psycopg2.connect(self.admin.dsn)
            self.addCleanup(other.close)
            with other.cursor() as cursor:
                cursor.execute("SELECT FROM graphile_worker._private_jobs WHERE key = 'b' FOR UPDATE")
                self.assertEqual(
                    await self.while_it_waits(lambda: None, limit=limit), [self.first, self.third]
                )
            other.rollback()
            await self.store.release(list(self.store._held.values()))


class ModelTests(JobStoreTestCase):
    """Claims and ends beside senders that keep moving their jobs."""

    KEYS = 60
    LANES = 6
    MOVES = 1500

    def move_jobs(self, seed: int) -> None:
        """Add jobs again under their keys: into other lanes or none, for other tasks, for later or now."""
        chance = random.Random(seed)
        connection = psycopg2.connect(self.admin.dsn)
        connection.autocommit = True
        with connection.cursor() as cursor:
            for _ in range(self.MOVES):
                cursor.execute(
                    "SELECT graphile_worker.add_job(%s, queue_name => %s, job_key => %s, priority => %s,"
                    " run_at => CASE WHEN %s THEN now() + interval '1 hour' END)",
                    (
                        chance.choice(("mail", "post")),
                        chance.choice((None, *(f"lane {n}" for n in range(self.LANES)))),
                        f"key {chance.randrange(self.KEYS)}",
                        chance.randrange(3),
                        chance.random() < 0.4,
                    ),
                )
        connection.close()

    async def test_moving_targets(self) -> None:
        """No job is taken before its time or as another task's, and never two of one lane at once."""
        moving = [deferToThread(self.move_jobs, seed) for seed in range(2)]
        over = [False]
        for mover in moving:
            mover.addCallback(lambda _: over.__setitem__(0, all(m.called for m in moving)))
        stores = [await self.a_store() for _ in range(2)]
        taken = 0
        claims = 0
        chance = random.Random(1)
        held: list[tuple[Any, Job]] = []
        while not over[0]:
            for store in stores:
                for jobs, names in zip(
                    await store.claim([(("mail",), 5), (("post",), 5)]), ("mail", "post"), strict=True
                ):
                    claims += 1
                    taken += len(jobs)
                    held += [(store, job) for job in jobs]
                    self.check(jobs, names)
            lanes = Counter(job.lane for _, job in held if job.lane is not None)
            self.assertEqual([lane for lane, count in lanes.items() if count > 1], [])
            chance.shuffle(held)
            for store, job in held[: len(held) // 2]:
                end = chance.randrange(3)
                if end == 0:
                    await store.complete([job])
                elif end == 1:
                    await store.fail([Failure(job, "no")])
                else:
                    await store.release([job])
            held = held[len(held) // 2 :]
        self.assertGreater(taken, 100)
        for store, job in held:
            await store.complete([job])
        self.assertEqual(
            self.sql("SELECT count(*) FROM graphile_worker._private_job_queues WHERE NOT is_available"),
            [(0,)],
        )

    def check(self, jobs: list[Job], identifier: str) -> None:
        ((now,),) = self.sql("SELECT date_part('epoch', clock_timestamp())")
        for job in jobs:
            self.assertEqual(job.identifier, identifier)
            self.assertLessEqual(job.run_at, now)
        rows = self.sql(
            "SELECT job.id, job.run_at <= clock_timestamp(), task.identifier, job.job_queue_id"
            "  FROM graphile_worker._private_jobs AS job"
            "  JOIN graphile_worker._private_tasks AS task ON task.id = job.task_id WHERE job.id = ANY (%s)",
            [job.id for job in jobs],
        )
        stored = {number: rest for number, *rest in rows}
        for job in jobs:
            self.assertEqual(stored[job.id], [True, identifier, job.lane])
