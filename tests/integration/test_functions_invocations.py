"""`wait_for_invocation` and `trigger_waiting_invoker`."""

import json

import psycopg2

from tests.application import ApplicationTestCase

KEPT = 65536
"""Bytes of a result's text that are remembered at most."""


class InvocationTestCase(ApplicationTestCase):
    """Short names for the calls."""

    def invoke(self, key: str, target: str = "target", step: str = "step") -> None:
        """The job with that key waits for the target."""
        self.app.call("wait_for_invocation", _invoker_job_key=key, _target_job_key=target, _step_name=step)

    def end(self, result: str | None = "1", target: str = "target") -> None:
        """The target ends."""
        self.app.call("trigger_waiting_invoker", _job_key=target, _result=result)

    def cache(self, key: str) -> object:
        """The step cache of the job with that key."""
        return json.loads(self.app.keyed(key).payload).get("cache")


class TriggerTests(InvocationTestCase):
    """A target ends for a wait that is recorded."""

    def test_due_now(self) -> None:
        """The invoker is due, has the result, and waits no more."""
        self.app.send("order", key="k", run_at="tomorrow")
        self.invoke("k")
        self.assertEqual(self.app.waits(), 1)
        self.end('{"ok":true}')
        self.assertLessEqual(self.app.keyed("k").due, 0)
        self.assertEqual((self.cache("k"), self.app.waits()), ({"step": {"ok": True}}, 0))

    def test_other_targets(self) -> None:
        """A result is for those that wait for that key."""
        self.app.send("order", key="k", run_at="tomorrow")
        self.invoke("k")
        self.end(target="target ")
        self.assertEqual((self.cache("k"), self.app.waits()), (None, 1))

    def test_every_invoker(self) -> None:
        """Each invoker and each of its steps gets the result."""
        for key in "ab":
            self.app.send("order", key=key, run_at="tomorrow")
            self.invoke(key, step="one")
            self.invoke(key, step="two")
        self.end("7")
        for key in "ab":
            self.assertEqual(self.cache(key), {"one": 7, "two": 7})

    def test_locked(self) -> None:
        """An invoker that a delivery holds gets the entry only."""
        self.app.send("order", key="k", run_at="2020-01-01")
        job = self.app.claim()
        assert job is not None
        self.invoke("k")
        self.end()
        self.assertEqual((self.cache("k"), self.app.keyed("k").locked), ({"step": 1}, True))
        self.assertEqual(
            self.app.value("SELECT run_at < '2020-01-03' FROM graphile_worker._private_jobs"), True
        )

    def test_announced(self) -> None:
        """The invoker is announced on jobs:insert."""
        self.app.send("order", key="k", run_at="tomorrow")
        self.invoke("k")
        listener = self.application()
        listener.rows('LISTEN "jobs:insert"')
        self.end()
        listener.rows("SELECT 1")
        (notice,) = listener.connection.notifies
        self.assertEqual(json.loads(notice.payload)["count"], 1)

    def test_nobody_waits(self) -> None:
        """A function that nobody invoked may say its result; a null key is nobody's."""
        self.app.send("order", key="k", run_at="tomorrow")
        before = self.app.jobs()
        self.end()
        self.app.rows("SELECT public.trigger_waiting_invoker(NULL, '1')")
        kept = self.app.rows("SELECT job_key, result::text FROM slayq._private_results")
        self.assertEqual(kept, [("target", "1")])
        self.assertEqual(
            [job._replace(due=0) for job in self.app.jobs()], [job._replace(due=0) for job in before]
        )

    def test_foreign_payloads(self) -> None:
        """An invoker's payload that Postgres cannot read gets the result, and keeps its text."""
        self.app.send("order", key="k", run_at="tomorrow", more=r',"data":{"a":"\u0000","b":1.0}')
        self.app.send("order", key="l", run_at="tomorrow")
        self.invoke("k")
        self.invoke("l")
        self.end(r'"\ud800"')
        self.assertTrue(
            self.app.keyed("k").payload.endswith(r'"data":{"a":"\u0000","b":1.0},"cache":{"step":"\ud800"}}')
        )
        self.assertIn(r'{"step":"\ud800"}', self.app.keyed("l").payload)

    def test_unknown_key(self) -> None:
        """An invoker that is not there is an error that names its key."""
        with self.assertRaises(psycopg2.errors.RaiseException) as caught:
            self.invoke("nobody")
        self.assertEqual(caught.exception.diag.message_primary, "Job not found: nobody")


class MemoryTests(InvocationTestCase):
    """A target ends before the wait for it is recorded."""

    def setUp(self) -> None:
        super().setUp()
        self.app.send("order", key="k")

    def test_during_the_delivery(self) -> None:
        """A result handed over since the delivery began satisfies the wait at once."""
        self.app.claim()
        self.end('"early"')
        self.app.send("order", key="k", run_at="tomorrow", more=',"cache":{"a":1}')
        self.invoke("k")
        self.assertEqual((self.cache("k"), self.app.waits()), ({"a": 1, "step": "early"}, 0))
        self.assertLessEqual(self.app.keyed("k").due, 0)

    def test_before_the_delivery(self) -> None:
        """An older one does not."""
        self.end()
        self.app.claim()
        self.app.send("order", key="k", run_at="tomorrow", more=',"cache":{}')
        self.invoke("k")
        self.assertEqual((self.cache("k"), self.app.waits()), ({}, 1))

    def test_last_result(self) -> None:
        """The last result of a key counts, null among them."""
        self.end("1")
        self.end(None)
        self.invoke("k")
        self.assertEqual(self.cache("k"), {"step": None})
        self.assertEqual(self.app.value("SELECT count(*) FROM slayq._private_results"), 1)

    def test_large_result(self) -> None:
        """64 KiB are kept; more are not, and then the one before is not the last any more either."""
        self.end('"' + "x" * (KEPT - 2) + '"')
        self.assertEqual(
            self.app.value("SELECT octet_length(result::text) FROM slayq._private_results"), KEPT
        )
        self.end('"' + "x" * (KEPT - 1) + '"')
        self.assertEqual(self.app.value("SELECT count(*) FROM slayq._private_results"), 0)
        self.invoke("k")
        self.assertEqual(self.app.waits(), 1)
        self.end('"' + "x" * KEPT + '"')
        self.assertEqual(self.app.waits(), 0)
        self.assertGreater(len(self.app.keyed("k").payload), KEPT)

    def test_fifteen_minutes(self) -> None:
        """A result is remembered for 15 minutes, and then removed by whoever adds the next."""
        self.app.rows("UPDATE graphile_worker._private_jobs SET updated_at = now() - interval '1 hour'")
        self.end()
        self.app.rows("UPDATE slayq._private_results SET fired_at = now() - interval '15 minutes 1 second'")
        self.invoke("k")
        self.assertEqual(
            (self.app.waits(), self.app.value("SELECT count(*) FROM slayq._private_results")), (1, 0)
        )

    def test_trigger_first(self) -> None:
        """A wait that comes while the target's result is uncommitted waits, and finds it."""
        self.app.rows("BEGIN")
        self.end("5")
        waiting = self.blocked(
            lambda app: app.rows("SELECT public.wait_for_invocation('k', 'target', 'step')")
        )
        self.app.rows("COMMIT")
        waiting.result()
        self.assertEqual(self.cache("k"), {"step": 5})

    def test_wait_first(self) -> None:
        """A result that comes while the wait is uncommitted waits, and finds it."""
        self.app.rows("BEGIN")
        self.invoke("k")
        ending = self.blocked(lambda app: app.rows("SELECT public.trigger_waiting_invoker('target', '5')"))
        self.app.rows("COMMIT")
        ending.result()
        self.assertEqual(self.cache("k"), {"step": 5})
