"""Whatever values a sender can bring into a row: it is claimed, or waits for its time, and holds up nobody."""

import random
from typing import Any

import psycopg2
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from slayq_tw.conninfo import parse
from slayq_tw.database import Database
from slayq_tw.job import Failure, Job
from slayq_tw.jobs import JobStore
from tests.integration.test_jobs import JobStoreTestCase
from tests.postgres import bring_up_to_date, empty_database

RUN_AT = (
    "-infinity",
    "4713-01-01 00:00:00 BC",
    "0044-03-15 12:00:00 BC",
    "0001-01-01 00:00:00",
    "1899-12-31 23:59:59.999999",
    "1969-12-31 23:59:59.999999",
    "2026-11-24 12:00:00.123457",
)
"""Times that are over."""
FUTURE = ("9999-12-31 23:59:59.999999", "10000-01-01 00:00:00", "294276-12-31 23:59:59.999999", "infinity")
TEXTS = (
    "k",
    "ключ",
    "日本語",
    "\U0010ffff",
    "\ufffe",
    "\u0378",
    "\x01\x1f\x7f",
    "\u2028",
    "e\u0301",
    "\u202e",
    "'\"\\%s",
)
"""Letters of keys and names; some that no Unicode has, or not yet."""


class ValuesTests(JobStoreTestCase):
    """Values at the ends of what their columns take, and beyond what a driver knows."""

    async def test_times(self) -> None:
        """A job that was due before Christ is claimed like any other, in its place; one of the last year is not."""
        order = [self.add(run_at=moment) for moment in RUN_AT]
        for moment in FUTURE:
            self.add(run_at=moment)
        last = self.add()
        self.assertEqual(await self.claimed_ids((("mail",), 99)), [[*order, last]])

    async def test_times_in_lanes(self) -> None:
        """The same in serial lanes."""
        order = [self.add(run_at=moment, queue_name=moment) for moment in RUN_AT]
        for moment in FUTURE:
            self.add(run_at=moment, queue_name=moment)
        self.assertEqual(await self.claimed_ids((("mail",), 99)), [order])

    async def test_ends(self) -> None:
        """Each end is written for a job of any time, and one that was put off is due at a time that can be read."""
        ends: list[Any] = [
            lambda job: self.store.complete([job]),
            lambda job: self.store.fail([Failure(job, "no")]),
            lambda job: self.store.release([job]),
            lambda job: self.store.defer([(job, 5.0)]),
        ]
        for end in ends:
            for moment in RUN_AT:
                number = self.add(run_at=moment)
                self.assertEqual(set(await end(await self.claim_one())), {number})
                self.sql("DELETE FROM graphile_worker._private_jobs")

    async def test_rescheduled_by_hand_while_it_runs(self) -> None:
        """A time that no driver reads, which somebody gave a running job, does not come back from its hand-back."""
        self.add()
        job = await self.claim_one()
        self.sql("UPDATE graphile_worker._private_jobs SET run_at = '20000-01-01'")
        self.assertEqual(await self.store.defer([(job, 5.0)]), {job.id: None})

    async def test_any_values(self) -> None:
        """Random rows, well over a thousand: what is due comes out, each once, and plain ones beside them at once."""
        chance = random.Random(20261124)
        due = set()
        for _ in range(1500):
            times = [*RUN_AT, *FUTURE, *["2026-11-24"] * 12]
            run_at = chance.choice(times)
            arguments = {
                "run_at": run_at,
                "priority": chance.choice((-32768, -1, 0, 0, 0, 7, 32767)),
                "max_attempts": chance.choice((1, 25, 32767)),
                "flags": chance.choice((None, [], ["a"], [chance.choice(TEXTS), "x" * 200])),
                "queue_name": chance.choice((None, None, "".join(chance.choices(TEXTS, k=3)))),
                "payload": chance.choice(
                    (
                        "{}",
                        "[]",
                        "null",
                        '"\\u0000"',
                        '{"url":"\\ud800"}',
                        "1e999",
                        '{"a":' * 300 + "1" + "}" * 300,
                    )
                ),
            }
            if chance.random() < 0.5:
                arguments["job_key"] = "".join(chance.choices(TEXTS, k=chance.choice((1, 5, 300))))[:512]
            number = self.add(chance.choice(("mail", "post")), **arguments)
            (due.discard if run_at in FUTURE else due.add)(number)
        for number in self.sql("SELECT id FROM graphile_worker._private_jobs WHERE run_at > now()"):
            due.discard(number[0])
        present = {number for (number,) in self.sql("SELECT id FROM graphile_worker._private_jobs")}
        taken: list[Job] = []
        plain = self.add("general")
        ((*_,), (first,)) = await self.store.claim([(("mail", "post"), 100), (("general",), 1)])
        self.assertEqual(first.id, plain)
        await self.store.release(list(self.store._held.values()))
        self.sql("DELETE FROM graphile_worker._private_jobs WHERE id = %s", plain)
        while jobs := (await self.store.claim([(("mail", "post"), 100)]))[0]:
            taken += jobs
            await self.store.complete(jobs)
        self.assertEqual(sorted(job.id for job in taken), sorted(due & present))


class BytesTests(TestCase):
    """A database without an encoding, which takes any bytes."""

    def setUp(self) -> "Deferred[None]":
        return Deferred.fromCoroutine(self.connect())

    async def connect(self) -> None:
        url = empty_database(self, "SQL_ASCII")
        bring_up_to_date(url)
        self.database = Database(parse(url)[0], reactor)
        self.addCleanup(self.database.close)
        await self.database.open()
        self.store = JobStore(self.database, ["mail"])
        await self.store.register()
        self.admin = psycopg2.connect(url)
        self.admin.autocommit = True
        self.addCleanup(self.admin.close)
        self.sql(f"INSERT INTO slayq._private_daemons (worker) VALUES ('{self.store.worker}')".encode())

    def sql(self, statement: bytes) -> list[tuple[Any, ...]]:
        with self.admin.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def add(self, payload: bytes, more: bytes = b"") -> int:
        """Add a job; its id."""
        statement = (
            b"SELECT id FROM graphile_worker.add_job('mail', payload => '" + payload + b"'" + more + b")"
        )
        ((number,),) = self.sql(statement)
        return int(number)

    async def test_bytes_that_are_no_text(self) -> None:
        """A payload or a key that cannot be read comes as its fault; the others of the same claim come as they are."""
        plain = self.add(b'{"n":1}')
        payload = self.add(b'{"n":"\xff\xfe"}', b", queue_name => 'lane'")
        key = self.add(b'{"n":2}', b", job_key => '\xe6\x97'")
        text = self.add('{"n":"日本"}'.encode())
        ((*jobs,),) = await self.store.claim([(("mail",), 9)])
        self.assertEqual([job.id for job in jobs], [plain, payload, key, text])
        self.assertEqual(
            [(job.payload, job.fault is None) for job in jobs],
            [('{"n":1}', True), (None, False), (None, False), ('{"n":"日本"}', True)],
        )
        self.assertRegex(
            jobs[1].fault or "",
            "^payload or key is no text: invalid byte sequence for encoding .UTF8.: 0xff$",
        )
        failed = await self.store.fail([Failure(job, job.fault or "", final=True) for job in jobs[1:3]])
        self.assertEqual(failed, {payload: True, key: True})
        self.assertEqual(await self.store.complete([jobs[0], jobs[3]]), {plain, text})
        self.assertEqual(self.store.held, 0)
        self.assertEqual(
            self.sql(b"SELECT count(*) FROM graphile_worker._private_job_queues WHERE NOT is_available"),
            [(0,)],
        )
        self.assertEqual(await self.store.claim([(("mail",), 9)]), [[]])
