"""`wait_for_worker_event` and `trigger_waiting_workers`."""

import json

import psycopg2

from tests.application import ApplicationTestCase


class TriggerTests(ApplicationTestCase):
    """An event fires for a wait that is recorded."""

    def test_due_now(self) -> None:
        """A waiting job is due, its step cache says so, and its wait is over; its attempts and revision stay."""
        self.app.send("order", key="k", run_at="tomorrow", more=',"cache":{"a":1}')
        self.app.wait("k")
        self.assertEqual(self.app.waits(), 1)
        self.app.fire()
        job = self.app.keyed("k")
        self.assertLessEqual(job.due, 0)
        self.assertEqual(json.loads(job.payload)["cache"], {"a": 1, "step": True})
        self.assertEqual((job.attempts, job.revision, self.app.waits()), (0, 0, 0))

    def test_only_that_triple(self) -> None:
        """Event, key and value all have to match."""
        self.app.send("order", key="k", run_at="tomorrow")
        self.app.wait("k", "1")
        for triple in (("paid", "id", "2"), ("paid", "no", "1"), ("due", "id", "1"), ("pai", "did", "1")):
            self.app.rows("SELECT public.trigger_waiting_workers(%s, %s, %s)", *triple)
        self.assertGreater(self.app.keyed("k").due, 0)
        self.assertEqual(self.app.waits(), 1)

    def test_nulls_match_nothing(self) -> None:
        """A null in a triple equals nothing, not even a null."""
        self.app.send("order", key="k", run_at="tomorrow")
        self.app.rows(
            "SELECT public.wait_for_worker_event('k', 'paid', NULL, NULL, 'step', now() + interval '1 hour')"
        )
        self.app.rows("SELECT public.trigger_waiting_workers('paid', NULL, NULL)")
        self.assertGreater(self.app.keyed("k").due, 0)

    def test_long_texts(self) -> None:
        """Texts longer than an index entry can be waited for."""
        long = "".join(chr(0x4E00 + n * 7919 % 20000) for n in range(9000))
        self.app.send("order", key="k", run_at="tomorrow")
        self.app.wait("k", long)
        self.app.fire(long + "!")
        self.assertEqual(self.app.waits(), 1)
        self.app.fire(long)
        self.assertEqual(self.app.waits(), 0)

    def test_several_waiters(self) -> None:
        """Every job that waits goes on, and every step of a job."""
        for key in "ab":
            self.app.send("order", key=key, run_at="tomorrow")
            self.app.wait(key, step="one")
            self.app.wait(key, step="two")
        self.app.fire()
        for key in "ab":
            self.assertEqual(json.loads(self.app.keyed(key).payload)["cache"], {"one": True, "two": True})

    def test_locked(self) -> None:
        """A job that a delivery holds gets the entry only, and nobody is woken for it."""
        self.app.send("order", key="k")
        job = self.app.claim()
        assert job is not None
        self.app.wait("k")
        self.listen()
        self.app.fire()
        after = self.app.job(job.id)
        self.assertIn('"step":true', after.payload)
        self.assertTrue(after.locked)
        self.assertEqual(
            self.app.value("SELECT count(*) FROM graphile_worker._private_jobs WHERE run_at = updated_at"), 1
        )
        self.assertEqual((self.app.waits(), self.notices()), (0, []))

    def test_run_at_of_a_locked_job(self) -> None:
        """Whatever run_at a locked job has, it stays."""
        self.app.send("order", key="k")
        self.app.claim()
        self.app.rows("UPDATE graphile_worker._private_jobs SET run_at = '2100-01-01'")
        self.app.wait("k")
        self.app.fire()
        self.assertTrue(self.app.value("SELECT run_at = '2100-01-01' FROM graphile_worker._private_jobs"))

    def test_due_already(self) -> None:
        """A job that is due keeps its place."""
        self.app.send("order", key="k", run_at="2020-01-01")
        self.app.wait("k")
        self.app.fire()
        self.assertLess(self.app.keyed("k").due, -86400)

    def test_failed_for_good(self) -> None:
        """A permanently failed job stays what it is; nobody is woken for it."""
        self.app.send("order", key="k", max_attempts=1)
        job = self.app.claim()
        assert job is not None
        self.app.fail(job)
        self.app.wait("k")
        self.listen()
        self.app.fire()
        self.assertEqual((self.app.keyed("k").attempts, self.notices()), (1, []))

    def test_announced(self) -> None:
        """Resumed jobs are announced on jobs:insert, once, with their number."""
        for key in "abc":
            self.app.send("order", key=key, run_at="tomorrow")
            self.app.wait(key)
        self.listen()
        self.app.fire()
        (notice,) = self.notices()
        self.assertEqual(notice["count"], 3)
        self.assertEqual(set(notice), {"r", "count"})

    def test_expired(self) -> None:
        """An expired wait resumes nothing, and is removed."""
        self.app.fire()
        self.app.send("order", key="k", run_at="tomorrow")
        self.app.wait("k", expires="-1 second")
        self.assertEqual(self.app.waits(), 1)
        self.app.fire()
        self.assertEqual((self.app.keyed("k").payload.count("cache"), self.app.waits()), (0, 0))

    def test_fired_after_the_end_of_the_wait(self) -> None:
        """An event that fired after a wait had expired is not what it waited for, though it is recorded only then."""
        self.app.send("order", key="k", run_at="tomorrow")
        self.app.fire()
        self.app.wait("k", expires="-1 second")
        self.assertEqual((self.app.keyed("k").payload.count("cache"), self.app.waits()), (0, 1))

    def test_expired_waits_of_others_go(self) -> None:
        """Calls that add a row remove expired waits on the way, but none whose job is being delivered."""
        for key in ("free", "busy"):
            self.app.send("order", key=key)
            self.app.wait(key, key, expires="-1 second")
        self.app.rows("UPDATE graphile_worker._private_jobs SET locked_at = now() WHERE key = 'busy'")
        self.app.fire("something else")
        self.assertEqual(self.app.rows("SELECT match_value FROM slayq._private_waiting_on"), [("busy",)])

    def test_foreign_payloads(self) -> None:
        """Another waiter's payload that Postgres cannot read neither breaks the call nor misses its event."""
        for key, text in (("nul", r"\u0000"), ("half", r"\udead"), ("fine", "x")):
            self.app.send("order", key=key, run_at="tomorrow", more=f',"data":"{text}"')
            self.app.wait(key)
        self.app.fire()
        for key, text in (("nul", r"\u0000"), ("half", r"\udead"), ("fine", "x")):
            self.assertTrue(
                self.app.keyed(key).payload.endswith(f'"data":"{text}","cache":{{"step":true}}}}')
            )

    def test_unknown_key(self) -> None:
        """Waiting for a job that is not there is an error that names the key."""
        for key in ("nobody", "job-1", "job-x", ""):
            with self.assertRaises(psycopg2.errors.RaiseException) as caught:
                self.app.wait(key)
            self.assertEqual(caught.exception.diag.message_primary, f"Job not found: {key}")

    def test_no_expiry(self) -> None:
        """A wait without an end is refused."""
        self.app.send("order", key="k")
        with self.assertRaises(psycopg2.errors.NotNullViolation):
            self.app.rows("SELECT public.wait_for_worker_event('k', 'paid', 'id', '1', 'step', NULL)")

    def test_wait_goes_with_its_job(self) -> None:
        """A completed job's waits are gone."""
        self.app.send("order", key="k")
        job = self.app.claim()
        assert job is not None
        self.app.wait("k")
        self.app.complete(job)
        self.assertEqual(self.app.waits(), 0)

    def listen(self) -> None:
        self.listener = self.application()
        self.listener.rows('LISTEN "jobs:insert"')

    def notices(self) -> list[dict[str, float]]:
        # The server sends notices with the answer to whatever the connection asks next.
        self.listener.rows("SELECT 1")
        notices = [json.loads(notice.payload) for notice in self.listener.connection.notifies]
        self.listener.connection.notifies.clear()
        return notices


class MemoryTests(ApplicationTestCase):
    """An event fires before its wait is recorded."""

    def resumed(self, key: str = "k") -> bool:
        """Whether the wait was satisfied at once: an entry, and no row."""
        entry = '"step":true' in self.app.keyed(key).payload
        self.assertEqual(self.app.waits(), 0 if entry else 1)
        return entry

    def test_during_the_delivery(self) -> None:
        """What fired since the delivery began that re-added the job satisfies its wait: the job is due at once."""
        self.app.send("order", key="k")
        self.app.claim()
        self.app.fire()
        self.app.send("order", key="k", run_at="tomorrow", more=',"cache":{}')
        self.app.wait("k")
        self.assertTrue(self.resumed())
        self.assertLessEqual(self.app.keyed("k").due, 0)

    def test_between_re_add_and_wait(self) -> None:
        """So does what fired after the re-add."""
        self.app.send("order", key="k")
        self.app.claim()
        self.app.send("order", key="k", run_at="tomorrow", more=',"cache":{}')
        self.app.fire()
        self.app.wait("k")
        self.assertTrue(self.resumed())

    def test_before_the_delivery(self) -> None:
        """What fired before that delivery began is nothing to it."""
        self.app.send("order", key="k")
        self.app.fire()
        self.app.claim()
        self.app.send("order", key="k", run_at="tomorrow", more=',"cache":{}')
        self.app.wait("k")
        self.assertFalse(self.resumed())

    def test_locked_job_waits_itself(self) -> None:
        """A locked job counts from its own delivery."""
        self.app.send("order", key="k")
        self.app.fire("early")
        self.app.claim()
        self.app.fire("late")
        self.app.wait("k", "early")
        self.assertFalse(self.resumed())
        self.app.rows("DELETE FROM slayq._private_waiting_on")
        self.app.wait("k", "late")
        self.assertTrue(self.resumed())

    def test_unlocked_job(self) -> None:
        """A job that no delivery held counts from when it was added."""
        self.app.fire("early")
        self.app.send("order", key="k", run_at="tomorrow")
        self.app.fire("late")
        self.app.wait("k", "early")
        self.assertFalse(self.resumed())
        self.app.rows("DELETE FROM slayq._private_waiting_on")
        self.app.wait("k", "late")
        self.assertTrue(self.resumed())

    def test_keyless_delivery(self) -> None:
        """A keyless job's delivery counts for the job that is re-added under `job-<id>`."""
        self.app.send("order")
        job = self.app.claim()
        assert job is not None
        self.app.fire()
        self.app.send("order", key=f"job-{job.id}", run_at="tomorrow", more=',"cache":{}')
        self.app.wait(f"job-{job.id}")
        self.assertTrue(self.resumed(f"job-{job.id}"))

    def test_resuming_does_not_move_the_reference(self) -> None:
        """A job that one event resumed still counts from the delivery for the next."""
        self.app.send("order", key="k")
        self.app.claim()
        self.app.fire("2")
        self.app.send("order", key="k", run_at="tomorrow", more=',"cache":{}')
        self.app.wait("k", "1", step="first")
        self.app.fire("1")
        self.app.wait("k", "2")
        self.assertTrue(self.resumed())

    def test_replaced_in_place_during_the_delivery(self) -> None:
        """A second re-add by the same delivery counts from the same moment."""
        self.app.send("order", key="k")
        self.app.claim()
        self.app.fire()
        for _ in range(2):
            self.app.send("order", key="k", run_at="tomorrow", more=',"cache":{}')
        self.app.wait("k")
        self.assertTrue(self.resumed())

    def test_replaced_in_place_afterwards(self) -> None:
        """Once that delivery is over, replacing the job starts afresh."""
        self.app.send("order", key="k")
        job = self.app.claim()
        assert job is not None
        self.app.send("order", key="k", run_at="tomorrow", more=',"cache":{}')
        self.app.fire()
        self.app.complete(job)
        self.app.send("order", key="k", run_at="tomorrow")
        self.app.wait("k")
        self.assertFalse(self.resumed())

    def test_not_used_up(self) -> None:
        """One event serves every job that asks for it."""
        for key in "ab":
            self.app.send("order", key=key, run_at="tomorrow")
        self.app.fire()
        for key in "ab":
            self.app.wait(key)
            self.assertTrue(self.resumed(key))

    def test_one_row_for_each_triple(self) -> None:
        """Firing again moves the time; the memory holds one row for a triple."""
        self.app.fire("1")
        before = self.app.value("SELECT fired_at FROM slayq._private_fired")
        self.app.fire("1")
        self.app.fire("2")
        times = self.app.rows("SELECT fired_at FROM slayq._private_fired ORDER BY match_value")
        self.assertEqual(len(times), 2)
        self.assertGreater(times[0][0], before)

    def test_fifteen_minutes(self) -> None:
        """A memory lasts 15 minutes, and is then removed by whoever adds the next."""
        self.app.send("order", key="k", run_at="tomorrow")
        self.app.rows("UPDATE graphile_worker._private_jobs SET updated_at = now() - interval '1 hour'")
        self.app.fire("old")
        self.app.fire("young")
        self.app.rows(
            "UPDATE slayq._private_fired SET fired_at = now() - CASE match_value WHEN 'old' "
            "THEN interval '15 minutes 1 second' ELSE interval '14 minutes 59 seconds' END"
        )
        self.app.wait("k", "old")
        self.assertFalse(self.resumed())
        self.assertEqual(self.app.rows("SELECT match_value FROM slayq._private_fired"), [("young",)])
        self.app.rows("DELETE FROM slayq._private_waiting_on")
        self.app.wait("k", "young")
        self.assertTrue(self.resumed())

    def test_longer_memory(self) -> None:
        """The daemon can have it last longer, never shorter."""
        for seconds, minutes in ((60, 15), (3600, 60), (1800, 60)):
            self.app.rows("SELECT slayq._private_remember_for(%s)", float(seconds))
            self.assertEqual(
                self.app.value("SELECT extract(epoch FROM value)::int / 60 FROM slayq._private_settings"),
                minutes,
            )

    def test_memory_stays_bounded(self) -> None:
        """Each new triple removes two that are over, so the table shrinks by itself."""
        for number in range(20):
            self.app.fire(f"old {number}")
        self.app.rows("UPDATE slayq._private_fired SET fired_at = now() - interval '1 hour'")
        for number in range(10):
            self.app.fire(f"new {number}")
        self.assertEqual(self.app.value("SELECT count(*) FROM slayq._private_fired"), 10)

    def test_old_references_go(self) -> None:
        """Notes of deliveries go with the memory, and a job counts the same without its note."""
        self.app.send("order", key="a")
        self.app.claim()
        self.app.send("order", key="a", run_at="tomorrow")
        self.app.rows("UPDATE slayq._private_references SET noted_at = now() - interval '16 minutes'")
        self.app.rows("SELECT slayq._private_forget(100)")
        self.assertEqual(self.app.value("SELECT count(*) FROM slayq._private_references"), 0)


class OrderTests(ApplicationTestCase):
    """A trigger and a wait at the same time: one comes wholly before the other."""

    def setUp(self) -> None:
        super().setUp()
        self.app.send("order", key="k", run_at="tomorrow")

    def test_trigger_first(self) -> None:
        """The wait waits for the trigger's commit, and then finds it."""
        self.app.rows("BEGIN")
        self.app.fire()
        waiting = self.blocked(lambda app: app.wait("k"))
        self.app.rows("COMMIT")
        waiting.result()
        self.assertIn('"step":true', self.app.keyed("k").payload)
        self.assertEqual(self.app.waits(), 0)

    def test_wait_first(self) -> None:
        """The trigger waits for the wait's commit, and then finds it."""
        self.app.rows("BEGIN")
        self.app.wait("k")
        firing = self.blocked(lambda app: app.fire())
        self.app.rows("COMMIT")
        firing.result()
        self.assertIn('"step":true', self.app.keyed("k").payload)
        self.assertEqual(self.app.waits(), 0)

    def test_wait_during_a_re_add(self) -> None:
        """A wait that comes while the key changes hands is for the job that has it then."""
        self.app.rows("UPDATE graphile_worker._private_jobs SET run_at = now()")
        old = self.app.claim()
        assert old is not None
        self.app.rows("BEGIN")
        self.app.send("order", key="k", run_at="tomorrow", more=',"cache":{}')
        waiting = self.blocked(lambda app: app.wait("k"))
        self.app.rows("COMMIT")
        waiting.result()
        self.app.complete(old)
        self.assertEqual(self.app.waits(), 1)

    def test_trigger_rolled_back(self) -> None:
        """A trigger that did not happen is not remembered."""
        self.app.rows("BEGIN")
        self.app.fire()
        waiting = self.blocked(lambda app: app.wait("k"))
        self.app.rows("ROLLBACK")
        waiting.result()
        self.assertEqual(self.app.waits(), 1)
