"""`slayq_tw.jobs` on a real Postgres: who may claim, finish, fail and give back."""

from datetime import datetime
from secrets import token_hex
from typing import Any

import psycopg2
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import TestCase

from slayq_tw.configcheck import CRON_IDENTIFIER
from slayq_tw.conninfo import parse
from slayq_tw.database import Database
from slayq_tw.errors import DatabaseError
from slayq_tw.job import Failure, Job
from slayq_tw.jobs import JobStore
from slayq_tw.pgerrors import LOCK_NOT_AVAILABLE
from tests.postgres import migrated_database


class JobStoreTestCase(TestCase):
    """A store for `mail`, `post` and `general`, and a connection that plays the others."""

    def setUp(self) -> "Deferred[None]":
        return Deferred.fromCoroutine(self.connect())

    async def connect(self) -> None:
        url = migrated_database(self)
        parameters, _ = parse(url)
        self.database = Database(parameters, reactor)
        self.addCleanup(self.database.close)
        await self.database.open()
        self.admin = psycopg2.connect(url)
        self.admin.autocommit = True
        self.addCleanup(self.admin.close)
        self.store = await self.a_store()

    async def a_store(self) -> JobStore:
        store = JobStore(self.database, ["mail", "post", "general"])
        await store.register()
        self.sql("INSERT INTO slayq._private_daemons (worker) VALUES (%s)", store.worker)
        return store

    def sql(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with self.admin.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    def add(self, identifier: str = "mail", **arguments: Any) -> int:
        """Add a job with `add_job`; its id."""
        named = "".join(f", {name} => %s" for name in arguments)
        ((number,),) = self.sql(
            f"SELECT id FROM graphile_worker.add_job(%s{named})", identifier, *arguments.values()
        )
        return int(number)

    def row(self, number: int, columns: str) -> tuple[Any, ...] | None:
        rows = self.sql(f"SELECT {columns} FROM graphile_worker._private_jobs WHERE id = %s", number)
        return rows[0] if rows else None

    def lane_holder(self, name: str) -> str | None:
        ((holder,),) = self.sql(
            "SELECT locked_by FROM graphile_worker._private_job_queues WHERE queue_name = %s", name
        )
        return holder  # type: ignore[no-any-return]

    def moment(self) -> datetime:
        ((now,),) = self.sql("SELECT clock_timestamp()")
        return now  # type: ignore[no-any-return]

    async def claim_one(self, *names: str) -> Job:
        ((job,),) = await self.store.claim([(names or ("mail",), 1)])
        return job

    async def claimed_ids(self, *requests: tuple[tuple[str, ...], int]) -> list[list[int]]:
        return [[job.id for job in jobs] for jobs in await self.store.claim(requests)]


class ClaimTests(JobStoreTestCase):
    """What is claimed, and how."""

    async def test_large_payloads(self) -> None:
        """A claim ends at 16 MiB of payloads, but for what fits into a queue's share; one that is larger is not read."""
        nine = "SELECT graphile_worker.add_job('mail', json_build_object('x', repeat('x', 9 * 1024 * 1024)))"
        for _ in range(3):
            self.sql(nine)
        self.sql(
            "SELECT graphile_worker.add_job('post', json_build_object('x', repeat('x', 17 * 1024 * 1024)))"
        )
        ((first,), (large,)) = await self.store.claim([(("mail",), 10), (("post",), 10)])
        self.assertIsNone(large.payload)
        ((second, third), ()) = await self.store.claim([(("mail",), 10), (("post",), 10)])
        for job in (first, second, third):
            self.assertEqual(len(job.payload or "") // 2**20, 9)

    async def test_claim(self) -> None:
        """A claimed job is locked by the pool's id, counts its attempt, and keeps its updated_at (items 40, 15)."""
        number = self.add(payload='{"b" : 1,  "a":2}', job_key="k", priority=3, max_attempts=7)
        ((updated,),) = self.sql("SELECT updated_at FROM graphile_worker._private_jobs WHERE id = %s", number)
        job = await self.claim_one()
        self.assertEqual(
            (
                job.id,
                job.identifier,
                job.payload,
                job.attempts,
                job.max_attempts,
                job.key,
                job.priority,
                job.lane,
            ),
            (number, "mail", '{"b" : 1,  "a":2}', 1, 7, "k", 3, None),
        )
        self.assertEqual(
            self.row(number, "attempts, locked_by, slayq._private_microseconds(locked_at), updated_at"),
            (1, self.store.worker, job.locked_us, updated),
        )
        self.assertRegex(self.store.worker, r"^pool-[0-9a-f]{18}$")
        self.assertEqual(self.store.held, 1)

    async def test_order(self) -> None:
        """Lower priorities first, then earlier run_at, over all names of a queue (item 41)."""
        late = self.add(run_at=datetime.fromisoformat("2020-01-02T00:00:00+00:00"))
        early = self.add("post", run_at=datetime.fromisoformat("2020-01-01T00:00:00+00:00"))
        low = self.add(priority=1)
        high = self.add("post", priority=-1)
        self.assertEqual(await self.claimed_ids((("mail", "post"), 3)), [[high, early, late]])
        self.assertEqual(await self.claimed_ids((("mail", "post"), 3)), [[low]])

    async def test_too_large(self) -> None:
        """A payload beyond the limit is not read; the job says how large it is, and how large it may be."""
        self.store = JobStore(self.database, ("mail", "post", "general"), 3000)
        await self.store.register()
        self.sql("INSERT INTO slayq._private_daemons (worker) VALUES (%s)", self.store.worker)
        small = self.add(payload=f'"{token_hex(1499)}"')
        large = self.add(payload=f'"{token_hex(1500)}"')
        jobs = (await self.store.claim([(("mail",), 5)]))[0]
        self.assertEqual(
            [(job.id, job.payload is None, job.fault) for job in jobs],
            [
                (small, False, None),
                (large, True, "payload has 3002 bytes, more than the 3000 that max_payload_mb allows"),
            ],
        )

    async def test_groups(self) -> None:
        """Each queue gets its own jobs, up to its own limit, in one statement."""
        mail = [self.add() for _ in range(3)]
        general = [self.add("general") for _ in range(3)]
        self.assertEqual(
            await self.claimed_ids((("mail", "post"), 2), (("general",), 5)), [mail[:2], general]
        )

    async def test_left_alone(self) -> None:
        """Future, exhausted, locked and foreign jobs are not claimed (items 42, 43)."""
        self.add(run_at=datetime.fromisoformat("2999-01-01T00:00:00+00:00"))
        exhausted = self.add()
        self.sql("UPDATE graphile_worker._private_jobs SET attempts = max_attempts WHERE id = %s", exhausted)
        locked = self.add()
        self.sql(
            "UPDATE graphile_worker._private_jobs SET locked_at = now() - interval '5 hours', locked_by = 'x' WHERE id = %s",
            locked,
        )
        foreign = self.add("somebody_elses")
        self.assertEqual(await self.claimed_ids((("mail", "post"), 9), (("general",), 9)), [[], []])
        self.assertEqual(self.row(foreign, "attempts, locked_by"), (0, None))

    async def test_lane(self) -> None:
        """A serial lane gives one job at a time, and carries the claim too (items 40, 45)."""
        first, second = (self.add(queue_name="lane") for _ in range(2))
        free = self.add()
        self.assertEqual(await self.claimed_ids((("mail",), 9)), [[first, free]])
        self.assertEqual(self.lane_holder("lane"), self.store.worker)
        self.assertEqual(await self.claimed_ids((("mail",), 9)), [[]])
        self.assertEqual(self.row(second, "attempts"), (0,))

    async def test_lane_shared_by_two_queues(self) -> None:
        """Two queues may share a lane: one job for both of them."""
        mail, general = self.add(queue_name="lane"), self.add("general", queue_name="lane", priority=-1)
        self.assertEqual(await self.claimed_ids((("mail",), 9), (("general",), 9)), [[], [general]])
        self.assertEqual(self.row(mail, "attempts"), (0,))

    async def test_many_lanes(self) -> None:
        """The first job of each lane, in order of priority, up to the limit."""
        heads = [self.add(queue_name=f"lane {n}", priority=-n) for n in range(5)]
        for n in range(5):
            self.add(queue_name=f"lane {n}")
        self.assertEqual(await self.claimed_ids((("mail",), 3)), [[heads[4], heads[3], heads[2]]])

    async def test_lane_held_by_a_peer(self) -> None:
        """A lane that somebody else holds is left alone, whatever the age of the lock."""
        self.add(queue_name="lane")
        self.sql(
            "UPDATE graphile_worker._private_job_queues"
            " SET locked_at = now() - interval '5 hours', locked_by = 'worker-0123'"
        )
        self.assertEqual(await self.claimed_ids((("mail",), 9)), [[]])

    async def test_side_by_side(self) -> None:
        """Several workers claiming at once never get the same job, nor two jobs of one lane."""
        self.sql("SELECT graphile_worker.add_job('mail') FROM generate_series(1, 150)")
        self.sql(
            "SELECT graphile_worker.add_job('mail', queue_name => 'l' || n %% 5) FROM generate_series(1, 50) AS n"
        )
        stores = [await self.a_store() for _ in range(4)]

        async def take_all(store: JobStore) -> list[Job]:
            taken: list[Job] = []
            while jobs := (await store.claim([(("mail",), 7)]))[0]:
                taken += jobs
            return taken

        of_each = await gatherResults([Deferred.fromCoroutine(take_all(store)) for store in stores])
        taken = [job for jobs in of_each for job in jobs]
        self.assertEqual(len({job.id for job in taken}), len(taken))
        lanes = [job.lane for job in taken if job.lane is not None]
        self.assertEqual(len(set(lanes)), len(lanes))
        ((left,),) = self.sql(
            "SELECT count(*) FROM graphile_worker._private_jobs WHERE locked_at IS NULL AND job_queue_id IS NULL"
        )
        self.assertEqual(left, 0)

    async def test_recreated_identifier(self) -> None:
        """After a clean-up of unused identifiers, registering again finds the new row (item 64)."""
        self.sql("DELETE FROM graphile_worker._private_tasks WHERE identifier = 'mail'")
        number = self.add()
        self.assertEqual(await self.claimed_ids((("mail",), 1)), [[]])
        await self.store.register()
        self.assertEqual(await self.claimed_ids((("mail",), 1)), [[number]])

    async def test_large_ids(self) -> None:
        """Job ids above 2^31 work throughout (item 63)."""
        self.sql("ALTER SEQUENCE graphile_worker.jobs_id_seq1 RESTART WITH 5000000000")
        for _ in range(3):
            self.add()
        ((one, two, three),) = await self.store.claim([(("mail",), 3)])
        self.assertGreater(one.id, 2**31)
        self.assertEqual(await self.store.complete([one]), {one.id})
        self.assertEqual(await self.store.fail([Failure(two, "no")]), {two.id: False})
        self.assertEqual(await self.store.release([three]), {three.id})


class CompleteTests(JobStoreTestCase):
    """Delivered jobs go."""

    async def test_complete(self) -> None:
        """The row is deleted, its lane is free, and nothing is held (item 48)."""
        self.add(queue_name="lane")
        job = await self.claim_one()
        self.assertEqual(await self.store.complete([job]), {job.id})
        self.assertIsNone(self.row(job.id, "id"))
        self.assertIsNone(self.lane_holder("lane"))
        self.assertEqual(self.store.held, 0)

    async def test_claim_gone(self) -> None:
        """A job that was recovered and claimed elsewhere meanwhile still goes; its lane does not (item 51)."""
        self.add(queue_name="lane")
        job = await self.claim_one()
        self.sql("UPDATE graphile_worker._private_jobs SET locked_by = 'pool-other', locked_at = now()")
        self.sql("UPDATE graphile_worker._private_job_queues SET locked_by = 'pool-other', locked_at = now()")
        await self.store.complete([job])
        self.assertIsNone(self.row(job.id, "id"))
        self.assertEqual(self.lane_holder("lane"), "pool-other")

    async def test_claim_gone_and_key_added_again(self) -> None:
        """A row that was unlocked and then re-added in place is another request: it stays."""
        self.add(job_key="k", payload='{"n":1}')
        job = await self.claim_one()
        self.sql("SELECT graphile_worker.force_unlock_workers(ARRAY[%s])", self.store.worker)
        self.assertEqual(self.add(job_key="k", payload='{"n":2}'), job.id)
        self.assertEqual(await self.store.complete([job]), set())
        self.assertEqual(self.row(job.id, "payload::text, attempts"), ('{"n":2}', 0))

    async def test_revision_moved_under_the_claim(self) -> None:
        """unsafe_dedupe raises the revision of a locked row: with the claim intact, it goes all the same."""
        self.add(job_key="k")
        job = await self.claim_one()
        self.add(job_key="k", job_key_mode="unsafe_dedupe")
        self.assertEqual(await self.store.complete([job]), {job.id})

    async def test_deleted_while_running(self) -> None:
        """A row that somebody deleted leaves no locked lane behind."""
        self.add(queue_name="lane")
        job = await self.claim_one()
        self.sql("DELETE FROM graphile_worker._private_jobs")
        self.assertEqual(await self.store.complete([job]), set())
        self.assertIsNone(self.lane_holder("lane"))

    async def test_twice(self) -> None:
        """Writing a result again, after its answer was lost, changes nothing."""
        self.add()
        job = await self.claim_one()
        await self.store.complete([job])
        other = self.add()
        self.assertEqual(await self.store.complete([job]), set())
        self.assertIsNotNone(self.row(other, "id"))


class OldClaimTests(JobStoreTestCase):
    """The end of a claim that was taken away, when this worker has the job or its lane again."""

    async def test_claimed_again(self) -> None:
        """A job that was added again in place, and is claimed again, is not what was delivered."""
        self.add(job_key="k")
        old = await self.claim_one()
        self.sql("SELECT graphile_worker.force_unlock_workers(ARRAY[%s])", self.store.worker)
        self.add(job_key="k")
        new = await self.claim_one()
        self.assertEqual((old.id, old.revision + 1), (new.id, new.revision))
        self.assertEqual(await self.store.complete([old]), set())
        self.assertEqual(self.row(new.id, "locked_by"), (self.store.worker,))
        self.assertEqual(self.store.held, 1)

    async def lane_of_the_next(self) -> tuple[Job, Job]:
        """A claim in a lane whose job is gone, and the present one in that lane."""
        self.add(queue_name="lane")
        self.add(queue_name="lane")
        old = await self.claim_one()
        self.sql("SELECT graphile_worker.force_unlock_workers(ARRAY[%s])", self.store.worker)
        self.sql("DELETE FROM graphile_worker._private_jobs WHERE id = %s", old.id)
        return old, await self.claim_one()

    async def test_lane_of_another_claim(self) -> None:
        """The lane of the next job is not freed by the end of the one before."""
        old, new = await self.lane_of_the_next()
        self.assertEqual(old.lane, new.lane)
        await self.store.complete([old])
        await self.store.fail([Failure(old, "no")])
        await self.store.release([old])
        self.assertEqual(self.lane_holder("lane"), self.store.worker)
        await self.store.complete([new])
        self.assertIsNone(self.lane_holder("lane"))

    async def test_lane_of_another_worker(self) -> None:
        """Nor is that of another worker, though it were locked at the same microsecond."""
        self.add(queue_name="lane")
        job = await self.claim_one()
        self.sql("UPDATE graphile_worker._private_job_queues SET locked_by = 'pool-other'")
        await self.store.release([job])
        self.assertEqual(self.lane_holder("lane"), "pool-other")
        await self.store.fail([Failure(job, "no")])
        self.assertEqual(self.lane_holder("lane"), "pool-other")
        await self.store.complete([job])
        self.assertEqual(self.lane_holder("lane"), "pool-other")

    async def test_row_gone(self) -> None:
        """A job that was deleted by hand while it ran leaves no locked lane behind, however it ends."""
        for end in (self.store.complete, self.store.release, self.fail):
            self.add(queue_name="lane")
            job = await self.claim_one()
            self.sql("DELETE FROM graphile_worker._private_jobs")
            await end([job])
            self.assertIsNone(self.lane_holder("lane"), end.__name__)

    async def fail(self, jobs: list[Job]) -> None:
        await self.store.fail([Failure(job, "no") for job in jobs])


class FailTests(JobStoreTestCase):
    """Failed attempts."""

    async def waits_of(
        self, jobs: list[Job], error: str = "no", delay: float = 0.0
    ) -> list[tuple[float, float]]:
        """Fail the jobs; for each the least and the most that its wait can be, in seconds."""
        before = self.moment()
        await self.store.fail([Failure(job, error, delay) for job in jobs])
        after = self.moment()
        due = dict(self.sql("SELECT id, run_at FROM graphile_worker._private_jobs"))
        return [
            ((due[job.id] - after).total_seconds(), (due[job.id] - before).total_seconds()) for job in jobs
        ]

    async def claim_after(self, attempts: int, count: int = 1) -> list[Job]:
        """Claimed jobs that had so many attempts before."""
        numbers = [self.add() for _ in range(count)]
        self.sql(
            "UPDATE graphile_worker._private_jobs SET attempts = %s WHERE id = ANY (%s)", attempts, numbers
        )
        (jobs,) = await self.store.claim([(("mail",), count)])
        self.assertEqual([job.id for job in jobs], numbers)
        return jobs

    async def test_back_off(self) -> None:
        """exp(attempts) seconds, at most exp(10) (item 49), and never less; up to a tenth more, by chance."""
        for attempts, seconds in ((0, 2.718282), (1, 7.389057), (9, 22026.4658), (14, 22026.4658)):
            waits = await self.waits_of(await self.claim_after(attempts, 100))
            for least, most in waits:
                self.assertGreaterEqual(most, seconds - 1e-5)
                self.assertLessEqual(least, seconds * 1.1 + 1e-5)
            tenths = [int((most / seconds - 1) * 100) for _, most in waits]
            self.assertGreaterEqual(len(set(tenths)), 8, tenths)

    async def test_back_off_from_the_future(self) -> None:
        """A job whose run_at was moved into the future meanwhile waits from there on."""
        (job,) = await self.claim_after(0)
        self.sql("UPDATE graphile_worker._private_jobs SET run_at = now() + interval '1000 s'")
        ((least, most),) = await self.waits_of([job])
        self.assertGreaterEqual(most, 1002.7)
        self.assertLessEqual(least, 1000 + 2.72 * 1.1)

    async def test_failed(self) -> None:
        """The attempt counts, the lock and the lane are free (item 48)."""
        number = self.add(queue_name="lane")
        job = await self.claim_one()
        self.assertEqual(await self.store.fail([Failure(job, "went wrong")]), {number: False})
        self.assertEqual(
            self.row(number, "attempts, locked_at, locked_by, last_error"), (1, None, None, "went wrong")
        )
        self.assertIsNone(self.lane_holder("lane"))
        self.assertEqual(self.store.held, 0)

    async def test_more_time(self) -> None:
        """A receiver can push the next attempt out, never in; it comes no earlier, and at most a tenth later."""
        waits = await self.waits_of(await self.claim_after(0, 50), delay=500.0)
        for least, most in waits:
            self.assertGreaterEqual(most, 500.0)
            self.assertLessEqual(least, 550.0)
        self.assertGreater(max(waits)[0] - min(waits)[0], 10.0)
        for least, most in await self.waits_of(await self.claim_after(0, 5), delay=1.0):
            self.assertGreaterEqual(most, 2.718281)
            self.assertLessEqual(least, 2.99012)

    async def test_a_day_at_most(self) -> None:
        """What a receiver asks for ends at 24 hours, chance included."""
        for least, most in await self.waits_of(await self.claim_after(0, 20), delay=86400.0):
            self.assertGreaterEqual(most, 86400.0)
            self.assertLessEqual(least, 86400.0)

    async def test_for_good(self) -> None:
        """The last attempt, and one that is final, leave a permanently failed row (item 52)."""
        last, final = self.add(max_attempts=1), self.add()
        ((one, two),) = await self.store.claim([(("mail",), 2)])
        self.assertEqual(
            await self.store.fail([Failure(one, "no"), Failure(two, "never", final=True)]),
            {last: True, final: True},
        )
        for number in (last, final):
            self.assertEqual(
                self.row(number, "is_available, locked_at, attempts = max_attempts"), (False, None, True)
            )

    async def test_claim_gone(self) -> None:
        """A failure whose claim is gone changes nothing (item 50)."""
        self.add(queue_name="lane")
        job = await self.claim_one()
        self.sql("UPDATE graphile_worker._private_jobs SET locked_by = 'pool-other'")
        before = self.row(job.id, "run_at, last_error, locked_by, attempts")
        self.assertEqual(await self.store.fail([Failure(job, "late")]), {})
        self.assertEqual(self.row(job.id, "run_at, last_error, locked_by, attempts"), before)
        self.assertEqual(self.lane_holder("lane"), self.store.worker)

    async def test_claimed_again_by_ourselves(self) -> None:
        """An old claim of the same worker is not the present one."""
        self.add()
        job = await self.claim_one()
        self.sql("UPDATE graphile_worker._private_jobs SET locked_at = locked_at + interval '1 second'")
        self.assertEqual(await self.store.fail([Failure(job, "late")]), {})


class ReleaseTests(JobStoreTestCase):
    """Jobs that go back."""

    async def test_release(self) -> None:
        """The attempt does not count, run_at stays, the lane is free (item 54)."""
        self.add(queue_name="lane")
        job = await self.claim_one()
        self.assertEqual(await self.store.release([job]), {job.id})
        self.assertEqual(
            self.row(job.id, "attempts, locked_by, locked_at, date_part('epoch', run_at)"),
            (0, None, None, job.run_at),
        )
        self.assertIsNone(self.lane_holder("lane"))

    async def test_claim_gone(self) -> None:
        """A hand-back whose claim is gone changes nothing: somebody else has the job."""
        self.add(queue_name="lane")
        job = await self.claim_one()
        self.sql("UPDATE graphile_worker._private_jobs SET locked_by = 'pool-other'")
        self.assertEqual(await self.store.release([job]), set())
        self.assertEqual(self.row(job.id, "locked_by, attempts"), ("pool-other", 1))
        self.assertEqual(self.lane_holder("lane"), self.store.worker)

    async def test_superseded(self) -> None:
        """A job whose key was re-added during its delivery stays exhausted, or both would run."""
        self.add(job_key="k")
        job = await self.claim_one()
        successor = self.add(job_key="k")
        self.assertEqual(await self.store.release([job]), {job.id})
        self.assertEqual(
            self.row(job.id, "is_available, locked_by, attempts = max_attempts"), (False, None, True)
        )
        self.assertEqual(await self.claimed_ids((("mail",), 9)), [[successor]])

    async def test_superseded_keyless(self) -> None:
        """So does a keyless one that the application added again as `job-<id>` while it was delivered."""
        payload = '{"url":"http://a/","retry":0,"event":"e","cache":{}}'
        self.add(payload=payload)
        job = await self.claim_one()
        self.sql(
            "SELECT public.add_worker_job('mail', %s, run_at => now() + interval '1 hour', job_key => %s)",
            payload,
            f"job-{job.id}",
        )
        self.assertEqual(await self.store.release([job]), {job.id})
        self.assertEqual(self.row(job.id, "is_available, locked_by"), (False, None))

    async def test_last_attempt(self) -> None:
        """A keyless job on its last attempt gets it back, and so does one that nobody superseded."""
        number = self.add(max_attempts=1)
        await self.store.release([await self.claim_one()])
        self.assertEqual(self.row(number, "attempts, is_available"), (0, True))

    async def test_put_off(self) -> None:
        """The attempt does not count either, the lane is free, and the job is due after its seconds; who asked learns
        when exactly.
        """
        job = await self.claim_keyed_in_lane()
        before = self.moment()
        due = await self.store.defer([(job, 20.0)])
        after = self.moment()
        self.assertEqual(
            self.row(job.id, "attempts, locked_by, locked_at, last_error, run_at"),
            (0, None, None, None, due[job.id]),
        )
        self.assertGreaterEqual((due[job.id] - before).total_seconds(), 20.0)
        self.assertLessEqual((due[job.id] - after).total_seconds(), 20.0)
        self.assertIsNone(self.lane_holder("lane"))
        self.assertEqual((self.store.held, await self.claimed_ids((("mail",), 9))), (0, [[]]))

    async def test_put_off_in_order(self) -> None:
        """A batch keeps its order, whatever the order of its ids."""
        numbers = [self.add() for _ in range(3)]
        (jobs,) = await self.store.claim([(("mail",), 3)])
        await self.store.defer(zip(jobs, (0.03, 0.01, 0.02), strict=True))
        rows = self.sql("SELECT id FROM graphile_worker._private_jobs ORDER BY run_at")
        self.assertEqual([row[0] for row in rows], [numbers[1], numbers[2], numbers[0]])

    async def test_put_off_without_a_claim(self) -> None:
        """A job that somebody else has by now, or had since, is left alone."""
        self.add()
        job = await self.claim_one()
        self.sql("UPDATE graphile_worker._private_jobs SET locked_at = locked_at + interval '1 second'")
        self.assertEqual(await self.store.defer([(job, 20.0)]), {})
        self.assertEqual(
            self.row(job.id, "attempts, date_part('epoch', run_at), locked_by"),
            (1, job.run_at, self.store.worker),
        )

    async def test_superseded_and_put_off(self) -> None:
        """A job whose key was re-added meanwhile stays exhausted."""
        job = await self.claim_keyed_in_lane()
        self.add(job_key="k")
        await self.store.defer([(job, 20.0)])
        self.assertEqual(self.row(job.id, "is_available, locked_by"), (False, None))

    async def test_recall(self) -> None:
        """What was put off is due at once, in the order that is asked for."""
        numbers = [self.add() for _ in range(3)]
        (jobs,) = await self.store.claim([(("mail",), 3)])
        due = await self.store.defer((job, 100.0) for job in jobs)
        order = [numbers[1], numbers[2], numbers[0]]
        recalled = await self.store.recall([(number, due[number]) for number in order])
        self.assertEqual(sorted(recalled), numbers)
        self.assertEqual(await self.claimed_ids((("mail",), 9)), [order])

    async def test_not_recalled(self) -> None:
        """Unless it is locked, gone, or has been given another time: a step that sleeps, say."""
        locked, gone, moved = [self.add() for _ in range(3)]
        (jobs,) = await self.store.claim([(("mail",), 3)])
        due = await self.store.defer((job, 100.0) for job in jobs)
        self.sql(
            "UPDATE graphile_worker._private_jobs SET locked_by = 'x', locked_at = now() WHERE id = %s",
            locked,
        )
        self.sql("DELETE FROM graphile_worker._private_jobs WHERE id = %s", gone)
        self.sql("SELECT graphile_worker.reschedule_jobs(ARRAY[%s], run_at => '2999-01-01')", moved)
        self.assertEqual(await self.store.recall(sorted(due.items())), [])
        self.assertEqual(self.row(locked, "run_at"), (due[locked],))

    async def test_recalled_past_a_lock(self) -> None:
        """One whose row somebody's transaction has locked comes when it is due; the others need not wait for that."""
        numbers = [self.add() for _ in range(2)]
        (jobs,) = await self.store.claim([(("mail",), 2)])
        due = await self.store.defer((job, 100.0) for job in jobs)
        other = psycopg2.connect(self.admin.dsn)
        self.addCleanup(other.close)
        with other.cursor() as cursor:
            cursor.execute("SELECT FROM graphile_worker._private_jobs WHERE id = %s FOR UPDATE", [numbers[0]])
        self.assertEqual(await self.store.recall(sorted(due.items())), [numbers[1]])

    async def claim_keyed_in_lane(self) -> Job:
        self.add(queue_name="lane", job_key="k")
        return await self.claim_one()

    async def test_strays(self) -> None:
        """A claim whose answer was lost goes back, attempt uncounted; what is held stays, and so do other workers'."""
        lost = self.add(queue_name="lane", max_attempts=1)
        await self.claim_one()
        self.store._held.clear()
        held = self.add(queue_name="other lane")
        await self.claim_one()
        foreign = self.add()
        other = await self.a_store()
        await other.claim([(("mail",), 1)])
        self.assertEqual(await self.store.release_strays(), ([lost], 0))
        self.assertEqual(self.row(lost, "attempts, locked_by, is_available"), (0, None, True))
        self.assertEqual(self.row(held, "attempts, locked_by"), (1, self.store.worker))
        self.assertEqual(self.row(foreign, "attempts, locked_by"), (1, other.worker))
        self.assertEqual(
            (self.lane_holder("lane"), self.lane_holder("other lane")), (None, self.store.worker)
        )

    async def test_superseded_stray(self) -> None:
        """A lost claim whose key was re-added meanwhile is unlocked and stays exhausted."""
        number = self.add(job_key="k")
        await self.claim_one()
        self.store._held.clear()
        self.add(job_key="k")
        await self.store.release_strays()
        self.assertEqual(self.row(number, "is_available, locked_by"), (False, None))


class LockedTests(JobStoreTestCase):
    """A job whose row somebody else's transaction has locked."""

    async def test_nobody_is_waited_for(self) -> None:
        """No result waits for the end of that transaction, which may have been forgotten; all go on after it."""
        self.add()
        job = await self.claim_one()
        other = psycopg2.connect(self.admin.dsn)
        self.addCleanup(other.close)
        with other.cursor() as cursor:
            cursor.execute("SELECT FROM graphile_worker._private_jobs FOR UPDATE")
        for write in (
            self.store.complete([job]),
            self.store.fail([Failure(job, "no")]),
            self.store.release([job]),
        ):
            error = await self.assertFailure(Deferred.fromCoroutine(write), DatabaseError)
            self.assertEqual(error.sqlstate, LOCK_NOT_AVAILABLE)
        other.rollback()
        self.assertEqual(await self.store.complete([job]), {job.id})

    async def test_strays(self) -> None:
        """What can be handed back is; the lane of what cannot stays taken."""
        numbers = [self.add(), self.add(queue_name="lane")]
        await self.store.claim([(("mail",), 2)])
        self.store._held.clear()
        other = psycopg2.connect(self.admin.dsn)
        self.addCleanup(other.close)
        with other.cursor() as cursor:
            cursor.execute("SELECT FROM graphile_worker._private_jobs WHERE id = %s FOR UPDATE", [numbers[1]])
        self.assertEqual(await self.store.release_strays(), ([numbers[0]], 1))
        self.assertEqual(self.lane_holder("lane"), self.store.worker)
        other.rollback()
        self.assertEqual(await self.store.release_strays(), ([numbers[1]], 0))
        self.assertIsNone(self.lane_holder("lane"))


class CronTests(JobStoreTestCase):
    """The crontab rule."""

    async def test_once_a_minute(self) -> None:
        """Whoever comes first adds the tick, and nobody adds one for an earlier minute (items 66, 67)."""
        await self.store.register_crontab()
        minute = datetime.fromisoformat("2024-11-24T12:00:00+00:00")
        earlier = datetime.fromisoformat("2024-11-24T11:59:00+00:00")
        other = await self.a_store()
        results = await gatherResults(
            [
                Deferred.fromCoroutine(store.schedule_tick(minute, '{"n":1}', None))
                for store in (self.store, other)
            ]
        )
        self.assertEqual(sorted(added for added, _ in results), [False, True])
        self.assertEqual(await self.store.schedule_tick(earlier, '{"n":2}', None), (False, minute))
        self.assertEqual(
            self.sql(
                "SELECT task_identifier, key, max_attempts, run_at FROM graphile_worker.jobs WHERE key = 'cron'"
            ),
            [(CRON_IDENTIFIER, "cron", 1, minute)],
        )

    async def test_ahead_of_the_database(self) -> None:
        """A tick is due at once, though by the database's clock its minute is still to come."""
        await self.store.register_crontab()
        minute = datetime.fromisoformat("2999-11-24T12:00:00+00:00")
        await self.store.schedule_tick(minute, "{}", None)
        self.assertEqual(
            self.sql("SELECT run_at <= now() FROM graphile_worker.jobs WHERE key = 'cron'"), [(True,)]
        )

    async def test_stuck(self) -> None:
        """A last execution that stands still in the future is overruled once, by one process."""
        future = datetime.fromisoformat("2027-01-01T00:00:00+00:00")
        minute = datetime.fromisoformat("2026-11-24T12:00:00+00:00")
        await self.store.schedule_tick(future, "{}", None)
        self.assertEqual(await self.store.schedule_tick(minute, "{}", None), (False, future))
        self.assertEqual(await self.store.schedule_tick(minute, "{}", future), (True, future))
        self.assertEqual(await self.store.schedule_tick(minute, "{}", future), (False, minute))

    async def test_not_stored(self) -> None:
        """A tick that add_job did not store has not been: its minute is for the next try."""
        await self.store.register_crontab()
        self.sql(
            "CREATE FUNCTION public.swallow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
            "CREATE TRIGGER swallow BEFORE INSERT ON graphile_worker._private_jobs"
            " FOR EACH ROW EXECUTE FUNCTION public.swallow()"
        )
        minute = datetime.fromisoformat("2026-11-24T12:00:00+00:00")
        await self.assertFailure(
            Deferred.fromCoroutine(self.store.schedule_tick(minute, "{}", None)), DatabaseError
        )
        self.sql("DROP TRIGGER swallow ON graphile_worker._private_jobs")
        self.assertEqual(await self.store.schedule_tick(minute, "{}", None), (True, None))

    async def test_unserved(self) -> None:
        """Identifiers with due jobs that this process does not serve are found."""
        self.add("mail")
        self.add("foreign")
        self.add("foreign lane", queue_name="lane")
        self.add("later", run_at=datetime.fromisoformat("2999-01-01T00:00:00+00:00"))
        self.assertEqual(await self.store.unserved(), ["foreign", "foreign lane"])
