"""The application's flows, played against the functions as its client plays them."""

import json
from typing import Any

from tests.application import ApplicationTestCase, JobRow


class FlowTestCase(ApplicationTestCase):
    """An application whose functions are steps over a cache."""

    def deliver(self) -> JobRow:
        """The next delivery: a job that is due."""
        job = self.app.claim()
        assert job is not None, "nothing is due"
        return job

    def assert_idle(self) -> None:
        """Nothing is due."""
        self.assertIsNone(self.app.claim())

    def cache_of(self, job: JobRow) -> Any:
        """The step cache that a delivery brings."""
        return json.loads(job.payload).get("cache")

    def re_add(self, job: JobRow, cache: dict[str, Any], run_at: str | None = None, **arguments: Any) -> str:
        """What the client does with a step that stops the function; the job's key."""
        payload = {**json.loads(job.payload), "cache": cache}
        key = job.key or f"job-{job.id}"
        self.app.call(
            "add_worker_job",
            identifier=job.task,
            payload=json.dumps(payload),
            job_key=key,
            run_at=run_at,
            job_key_mode="replace",
            **arguments,
        )
        return key

    def pass_time(self, key: str) -> None:
        """Until the job with that key is due."""
        self.app.rows("UPDATE graphile_worker._private_jobs SET run_at = now() WHERE key = %s", key)


class SleepTests(FlowTestCase):
    """A step that sleeps."""

    def test_sleep(self) -> None:
        """The function goes on after the sleep with its cache, as a first attempt; the first delivery completes."""
        for key in ("k", None):
            self.app.send("order", key=key)
            first = self.deliver()
            key = self.re_add(first, {"nap": True}, "tomorrow")
            self.app.complete(first)
            self.assert_idle()
            self.pass_time(key)
            second = self.deliver()
            self.assertEqual((second.key, second.attempts, self.cache_of(second)), (key, 1, {"nap": True}))
            self.app.complete(second)
            self.assertEqual(self.app.jobs(), [])

    def test_answer_lost(self) -> None:
        """A delivery that fails after its step has re-added the job is not tried again beside it, key or none."""
        for key in ("k", None):
            self.app.send("order", key=key)
            first = self.deliver()
            key = self.re_add(first, {"nap": True}, "tomorrow")
            self.app.fail(first, "time-out")
            self.app.rows("UPDATE graphile_worker._private_jobs SET run_at = '2020-01-01' WHERE key IS NULL")
            self.assert_idle()
            self.pass_time(key)
            self.app.complete(self.deliver())


class WaitTests(FlowTestCase):
    """A step that waits for an event."""

    def stop_for_payment(self) -> tuple[JobRow, str]:
        """A function that ran to its waiting step; its delivery is still running."""
        self.app.send("order", key="k")
        first = self.deliver()
        return first, self.re_add(first, {"charged": 5}, "tomorrow")

    def test_event_comes(self) -> None:
        """The event brings the function back at once, with the step's result."""
        first, key = self.stop_for_payment()
        self.app.wait(key, step="payment")
        self.app.complete(first)
        self.assert_idle()
        self.app.fire()
        second = self.deliver()
        self.assertEqual(self.cache_of(second), {"charged": 5, "payment": True})
        self.app.complete(second)
        self.assertEqual((self.app.jobs(), self.app.waits()), ([], 0))

    def test_event_comes_early(self) -> None:
        """An event that the function itself caused, before it came to waiting for it."""
        self.app.send("order", key="k")
        first = self.deliver()
        self.app.fire()
        key = self.re_add(first, {}, "tomorrow")
        self.app.wait(key, step="payment")
        self.app.complete(first)
        self.assertEqual(self.cache_of(self.deliver()), {"payment": True})

    def test_time_out(self) -> None:
        """No event: the function is back at its time-out, without the result, and a later event changes nothing."""
        first, key = self.stop_for_payment()
        self.app.wait(key, step="payment", expires="0 seconds")
        self.app.complete(first)
        self.pass_time(key)
        second = self.deliver()
        self.app.fire()
        self.assertEqual(self.cache_of(second), {"charged": 5})
        self.assertEqual(self.app.job(second.id).payload, second.payload)

    def test_event_during_the_timed_out_delivery(self) -> None:
        """The event comes while the time-out is being delivered: should that delivery fail, the next one knows."""
        first, key = self.stop_for_payment()
        self.app.wait(key, step="payment")
        self.app.complete(first)
        self.pass_time(key)
        second = self.deliver()
        self.app.fire()
        self.app.fail(second)
        self.pass_time(key)
        third = self.deliver()
        self.assertEqual((self.cache_of(third), third.attempts), ({"charged": 5, "payment": True}, 2))

    def test_two_waits_in_a_row(self) -> None:
        """The same event twice: the second wait is not satisfied by what satisfied the first."""
        first, key = self.stop_for_payment()
        self.app.wait(key, step="one")
        self.app.complete(first)
        self.app.fire()
        second = self.deliver()
        self.re_add(second, {"one": True}, "tomorrow")
        self.app.wait(key, step="two")
        self.app.complete(second)
        self.assert_idle()
        self.app.fire()
        self.assertEqual(self.cache_of(self.deliver()), {"one": True, "two": True})


class InvokeTests(FlowTestCase):
    """A function that invokes another and uses its result."""

    def test_invoke(self) -> None:
        """The invoker stops, the target runs, its result brings the invoker back."""
        self.app.send("order", key="parent")
        parent = self.deliver()
        key = self.re_add(parent, {}, "tomorrow")
        self.app.call("wait_for_invocation", _invoker_job_key=key, _target_job_key="child", _step_name="tax")
        self.app.send("tax", key="child")
        self.app.complete(parent)
        child = self.deliver()
        self.assertEqual(child.key, "child")
        self.app.call("trigger_waiting_invoker", _job_key="child", _result='{"vat":19.0}')
        self.app.complete(child)
        resumed = self.deliver()
        self.assertEqual((resumed.key, resumed.payload.count('{"vat":19.0}')), ("parent", 1))

    def test_failing_target(self) -> None:
        """A target that throws first and then returns nothing still brings the invoker back."""
        self.app.send("order", key="parent")
        parent = self.deliver()
        key = self.re_add(parent, {}, "tomorrow")
        self.app.call("wait_for_invocation", _invoker_job_key=key, _target_job_key="child", _step_name="tax")
        self.app.send("tax", key="child", max_attempts=4)
        self.app.complete(parent)
        thrown = self.deliver()
        self.re_add(thrown, {}, max_attempts=4)
        self.app.complete(thrown)
        self.assert_idle()
        self.pass_time("child")
        second = self.deliver()
        self.assertEqual((second.key, second.attempts), ("child", 2))
        self.app.call("trigger_waiting_invoker", _job_key="child", _result=None)
        self.app.complete(second)
        self.assertEqual(self.cache_of(self.deliver()), {"tax": None})

    def test_target_is_faster(self) -> None:
        """The target has ended before the invoker's wait was recorded."""
        self.app.send("order", key="parent")
        parent = self.deliver()
        self.app.send("tax", key="child")
        child = self.deliver()
        self.app.call("trigger_waiting_invoker", _job_key="child", _result="1")
        self.app.complete(child)
        key = self.re_add(parent, {}, "tomorrow")
        self.app.call("wait_for_invocation", _invoker_job_key=key, _target_job_key="child", _step_name="tax")
        self.app.complete(parent)
        self.assertEqual(self.cache_of(self.deliver()), {"tax": 1})


class CancelTests(FlowTestCase):
    """An event that cancels functions which have not gone on yet."""

    def test_cancel_on(self) -> None:
        """Sleeping, waiting and failed functions of the customer are cancelled, a running one is not."""
        for key, customer in (("sleeping", 1), ("waiting", 1), ("other", 2), ("failed", 1), ("running", 1)):
            self.app.send("order", key=key, more=f',"data":{{"customer":{customer}}}')
        jobs = {str(job.key): job for job in (self.deliver() for _ in range(5))}
        for key in ("sleeping", "waiting", "other"):
            self.re_add(jobs[key], {}, "tomorrow")
            self.app.complete(jobs[key])
        self.app.wait("waiting")
        self.app.fail(jobs["failed"])
        self.app.call("cancel_pending_tasks", event="order", matchkey="customer", matchval="1")
        self.assertEqual(sorted(str(job.key) for job in self.app.jobs()), ["other", "running"])
        self.app.fire()
        self.assert_idle()


class FailureTests(FlowTestCase):
    """A function that throws: its client answers 200 and re-adds the job while it is locked."""

    def test_throws_to_the_end(self) -> None:
        """It is tried as often as it may be, with growing pauses and its steps' results, and then stays failed."""
        for key in ("k", None):
            self.app.send("order", key=key, max_attempts=3)
            for attempt in (1, 2, 3):
                job = self.deliver()
                self.assertEqual(job.attempts, attempt)
                name = self.re_add(job, {"steps": attempt}, max_attempts=3)
                self.app.complete(job)
                self.assert_idle()
                self.pass_time(name)
            (left,) = self.app.jobs()
            self.assertEqual((left.key, left.attempts, self.cache_of(left)), (name, 3, {"steps": 3}))
            self.assertIn("failed in the application", left.last_error or "")
            self.app.complete(left)

    def test_throws_and_recovers(self) -> None:
        """A function that succeeds at last is done."""
        self.app.send("order", key="k")
        job = self.deliver()
        self.re_add(job, {})
        self.app.complete(job)
        self.pass_time("k")
        self.app.complete(self.deliver())
        self.assertEqual(self.app.jobs(), [])

    def test_throws_after_a_sleep(self) -> None:
        """A sleep starts afresh, so the attempts are counted from there."""
        self.app.send("order", key="k")
        job = self.deliver()
        self.re_add(job, {"nap": True}, "tomorrow")
        self.app.complete(job)
        self.pass_time("k")
        job = self.deliver()
        self.re_add(job, {"nap": True})
        self.app.complete(job)
        self.assertEqual(self.app.keyed("k").attempts, 1)
