"""`slayq_tw.worker`."""

import json
from collections.abc import Callable
from datetime import datetime

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.circuit import Wait
from slayq_tw.configcheck import CRON_IDENTIFIER
from slayq_tw.delivery import Answer
from slayq_tw.errors import DeliveryError, DestinationRefused, NameAwaited, NoAnswer
from slayq_tw.http_request import Origin
from slayq_tw.job import Deferral, Failure, Job
from slayq_tw.worker import MAX_ERROR, JobWorker, storable
from tests.fakes import START, a_job

NOW = 1_790_000_000.123


def an_answer(status: int, **changes: str | None) -> Answer:
    values: dict[str, str | None] = {"reason": "", "excerpt": "", "location": None, "retry_after": None}
    return Answer(status=status, url="http://app.test/hook", **{**values, **changes})  # type: ignore[arg-type]


class Results:
    """Records what became of jobs."""

    def __init__(self) -> None:
        self.ends: list[tuple[str, object]] = []

    def completed(self, job: Job) -> None:
        self.ends.append(("completed", job.id))

    def failed(self, failure: Failure) -> None:
        self.ends.append(("failed", failure))

    def released(self, job: Job) -> None:
        self.ends.append(("released", job.id))

    def deferred(self, deferral: Deferral) -> None:
        self.ends.append(("deferred", deferral))


class Trouble:
    """As Circuits; what waits for how long is the test's to say."""

    def __init__(self) -> None:
        self.trouble = False
        self.time = 100.0
        self.began: float | None = None
        self.wait: Wait | None = None
        self.calls: list[tuple[object, ...]] = []

    def ask(self, origin: Origin, number: int, **how: bool) -> Wait | None:
        self.calls.append(("ask", str(origin.host), number, how))
        return self.wait

    def answered(self, origin: Origin) -> None:
        self.calls.append(("answered", origin.host))

    def seconds(self) -> float:
        self.time += 1.0
        return self.time

    def failed(self, origin: Origin, number: int, *, connected: bool, reason: str, began: float) -> None:
        self.calls.append(("failed", origin.host, number, connected, reason))
        self.began = began

    def withdrawn(self, number: int) -> None:
        self.calls.append(("withdrawn", number))


class Names:
    """As NameResolution; which names are waited for is the test's to say."""

    def __init__(self) -> None:
        self.trouble = False
        self.waits: dict[str, NameAwaited] = {}

    def awaited(self, host: str) -> NameAwaited | None:
        return self.waits.get(host)


class JobWorkerTests(SynchronousTestCase):
    """Each job ends in exactly one way."""

    def setUp(self) -> None:
        self.results = Results()
        self.sent: list[tuple[str, bytes, float]] = []
        self.webhook_ids: list[str] = []
        self.reply: Deferred[Answer] = Deferred()
        self.circuits = Trouble()
        self.names = Names()
        self.worker = JobWorker(
            self,  # type: ignore[arg-type]
            self.results,  # type: ignore[arg-type]
            {"mail": 30.0, CRON_IDENTIFIER: 300.0},
            self.circuits,  # type: ignore[arg-type]
            lambda: NOW,
            names=self.names,  # type: ignore[arg-type]
        )

    def send(
        self, url: str, body: Callable[[], bytes], timeout: float, webhook_id: str
    ) -> "Deferred[Answer]":
        """WebhookSender's."""
        self.sent.append((url, body(), timeout))
        self.webhook_ids.append(webhook_id)
        return self.reply

    def end_of(self, job: Job, reply: "Answer | Exception") -> tuple[str, object]:
        """What becomes of a job whose delivery is answered like this."""
        self.reply = fail(reply) if isinstance(reply, Exception) else succeed(reply)
        self.finish(job)
        (end,) = self.results.ends
        return end

    def finish(self, job: Job) -> None:
        working = self.worker.work(job)
        assert working is not None
        self.successResultOf(working)

    def failure_of(self, job: Job, reply: "Answer | Exception") -> Failure:
        name, failure = self.end_of(job, reply)
        self.assertEqual(name, "failed")
        assert isinstance(failure, Failure)
        return failure

    def test_document(self) -> None:
        """The receiver is sent the contract's document, within the queue's time-out."""
        self.end_of(a_job(5, key="k1", attempts=2), an_answer(200))
        ((url, body, timeout),) = self.sent
        self.assertEqual((url, timeout), ("http://app.test/hook", 30.0))
        self.assertEqual(
            body, b'{"job_key":"k1","retry":2,"time":1790000000123,"event":"mail/welcome","data":{"n":1}}'
        )

    def test_keyless(self) -> None:
        """A job without a key gets one of its own, the cron tick the usual one."""
        self.end_of(a_job(5), an_answer(200))
        self.results.ends.clear()
        self.end_of(a_job(6, identifier=CRON_IDENTIFIER), an_answer(200))
        self.assertEqual([json.loads(body)["job_key"] for _, body, _ in self.sent], ["job-5", "cron"])

    def test_webhook_id(self) -> None:
        """The same at each attempt of a job, another one for what replaced it under its key, or for any other job."""
        for job in (
            a_job(5, key="k.1"),
            a_job(5, key="k.1", attempts=2, run_at=START.timestamp() + 3),
            a_job(5, key="k.1", revision=1),
            a_job(6),
        ):
            self.end_of(job, an_answer(200))
            self.results.ends.clear()
        self.assertEqual(self.webhook_ids, ["job_5_0", "job_5_0", "job_5_1", "job_6_0"])

    def test_delivered(self) -> None:
        """2xx and 666 complete the job."""
        for status in (200, 204, 299, 666):
            self.assertEqual(self.end_of(a_job(5), an_answer(status)), ("completed", 5))
            self.results.ends.clear()

    def test_unknown_event(self) -> None:
        """404 completes the job too, with a warning."""
        with capturedLogs() as events:
            self.assertEqual(self.end_of(a_job(5), an_answer(404)), ("completed", 5))
        (event,) = [event for event in events if event["log_level"] is LogLevel.warn]
        self.assertEqual((event["event"], event["job_id"]), ("event_unknown", 5))

    def test_refused(self) -> None:
        """Any other status fails the attempt, and the error says what was answered."""
        failure = self.failure_of(a_job(5), an_answer(500, reason="Oops", excerpt="it broke"))
        self.assertEqual(
            (failure.error, failure.delay, failure.final),
            ("POST http://app.test/hook: 500 Oops: it broke", 0.0, False),
        )

    def test_doubtful(self) -> None:
        """A refusal says that the signature may not have verified, where that is known to happen; only there."""
        odd = '{"url":"http://app.test/","retry":0,"event":"e","cache":{"__proto__":1}}'
        error = self.failure_of(a_job(5, payload=odd), an_answer(400, reason="Bad Request")).error
        self.assertTrue(
            error.startswith("POST http://app.test/hook: 400 Bad Request (payload.cache holds"), error
        )
        self.assertIn("h3", error)

    def test_moved(self) -> None:
        """A redirect that is not followed names its target."""
        failure = self.failure_of(a_job(5), an_answer(302, reason="Found", location="/login"))
        self.assertEqual(failure.error, "POST http://app.test/hook: 302 Found to /login")

    def test_moved_with_credentials(self) -> None:
        """A `Location` is shown without user name, password and query, and bounded."""
        for location, shown in {
            "http://u:tell-tale@other.test/x?token=tell-tale#tell-tale": "http://other.test/x",
            "/login?token=tell-tale": "/login",
            "//u:tell-tale@other.test": "//other.test",
            "tell-tale@other.test": "other.test",
        }.items():
            failure = self.failure_of(a_job(5), an_answer(301, location=location))
            self.assertEqual(failure.error, f"POST http://app.test/hook: 301 to {shown}")
            self.results.ends.clear()
        failure = self.failure_of(a_job(5), an_answer(301, location="/" + "x" * 5000))
        self.assertLess(len(failure.error), 300)

    def test_retry_after(self) -> None:
        """Only 429 and 503 can ask for more time."""
        for status, delay in ((429, 120.0), (503, 120.0), (500, 0.0)):
            failure = self.failure_of(a_job(5), an_answer(status, retry_after="120"))
            self.assertEqual(failure.delay, delay)
            self.results.ends.clear()

    def test_no_answer(self) -> None:
        """A request without an answer is a failed attempt."""
        failure = self.failure_of(a_job(5), DeliveryError("POST http://app.test/hook: Connection refused"))
        self.assertEqual(
            (failure.error, failure.final), ("POST http://app.test/hook: Connection refused", False)
        )

    def test_destination_refused(self) -> None:
        """Where nothing may be delivered, a job fails for good at its first attempt."""
        failure = self.failure_of(a_job(5), DestinationRefused("POST http://x/: refused: 0.0.0.0, which …"))
        self.assertEqual((failure.error, failure.final), ("POST http://x/: refused: 0.0.0.0, which …", True))

    def test_undeliverable(self) -> None:
        """A payload that can never be delivered fails for good, without a request."""
        for payload in (
            "[]",
            '"text"',
            "{}",
            '{"url":"ftp://x/","retry":0,"event":"e"}',
            '{"url":"http://x/","retry":0}',
        ):
            failure = self.failure_of(a_job(5, payload=payload), an_answer(200))
            self.assertTrue(failure.final)
            self.assertIn("payload", failure.error)
            self.results.ends.clear()
        self.assertEqual(self.sent, [])

    def test_too_large(self) -> None:
        """A payload that was not read fails for good, with its size."""
        failure = self.failure_of(
            a_job(5, payload=None, fault="payload has 9 bytes, more than …"), an_answer(200)
        )
        self.assertEqual((failure.error, failure.final), ("payload has 9 bytes, more than …", True))
        self.assertEqual(self.sent, [])

    def test_location_with_credentials(self) -> None:
        """Where a redirect leads is shown without its secrets."""
        failure = self.failure_of(a_job(5), an_answer(302, location="https://me:pass@app.test/x?key=1"))
        self.assertEqual(failure.error, "POST http://app.test/hook: 302 to https://app.test/x")

    def test_cut_off(self) -> None:
        """A cancelled delivery is handed back."""
        working = self.worker.work(a_job(5))
        assert working is not None
        working.cancel()
        self.successResultOf(working)
        self.assertEqual(self.results.ends, [("released", 5)])

    def test_cancelled_beneath(self) -> None:
        """So is one that was cancelled on the way."""
        self.assertEqual(self.end_of(a_job(5), CancelledError()), ("released", 5))

    def test_our_own_fault(self) -> None:
        """An unexpected error fails the attempt, with a traceback in the log."""
        failure = self.failure_of(a_job(5), ZeroDivisionError("tell-tale"))
        self.assertIn("ZeroDivisionError", failure.error)
        self.assertNotIn("tell-tale", failure.error)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_our_own_fault_at_once(self) -> None:
        """So does one before anything was sent."""
        self.patch(self, "send", lambda *arguments: 1 / 0)
        failure = self.failure_of(a_job(5), an_answer(200))
        self.assertIn("ZeroDivisionError", failure.error)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_our_own_fault_at_the_end(self) -> None:
        """And one in what comes of the answer."""
        self.patch(self.worker, "_settle", lambda *arguments: 1 / 0)
        failure = self.failure_of(a_job(5), an_answer(200))
        self.assertIn("ZeroDivisionError", failure.error)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_name_awaited(self) -> None:
        """A job whose host is still being looked up is put off, uncounted, and comes with the answer."""

        def written(number: int, run_at: datetime) -> None:
            raise AssertionError

        job = a_job(5)
        end = self.end_of(job, NameAwaited("app.test", 60.5, written))
        self.assertEqual(end, ("deferred", Deferral(job, 60.5, written)))
        self.assertIn(("withdrawn", 5), self.circuits.calls)
        self.assertNotIn("failed", [call[0] for call in self.circuits.calls])

    def test_name_known_to_be_awaited(self) -> None:
        """One of which that is known beforehand does not even take a slot."""

        def written(number: int, run_at: datetime) -> None:
            raise AssertionError

        self.names.waits["app.test"] = NameAwaited("app.test", 60.5, written)
        self.assertNotIsInstance(self.end_of(a_job(4), an_answer(200)), Deferred)
        self.assertEqual(self.sent[0][0], "http://app.test/hook")
        self.results.ends.clear()
        self.names.trouble = True
        job = a_job(5)
        self.assertIsNone(self.worker.work(job))
        self.assertEqual(self.results.ends, [("deferred", Deferral(job, 60.5, written))])
        self.assertEqual(len(self.sent), 1)
        self.assertIn(("withdrawn", 5), self.circuits.calls)

    def test_tick_for_an_awaited_name(self) -> None:
        """A tick does not wait for a name; it is dropped, with a warning."""
        tick = a_job(5, identifier=CRON_IDENTIFIER, key="cron", max_attempts=1)
        with capturedLogs() as events:
            end = self.end_of(tick, NameAwaited("app.test", 60.5, lambda number, run_at: None))
        self.assertEqual(end, ("completed", 5))
        (event,) = [event for event in events if event.get("event") == "cron_tick_failed"]
        self.assertEqual(
            event["error"], "POST http://app.test/hook: not sent, the name app.test is still being looked up"
        )

    def test_cron_tick(self) -> None:
        """A tick that cannot be delivered is not kept."""
        tick = a_job(5, identifier=CRON_IDENTIFIER, key="cron", max_attempts=1)
        with capturedLogs() as events:
            self.assertEqual(self.end_of(tick, an_answer(500)), ("completed", 5))
        self.assertIn("cron_tick_failed", [event.get("event") for event in events])


class CircuitTests(JobWorkerTests):
    """Receivers that cannot be reached. What is true without trouble is true with it."""

    def setUp(self) -> None:
        super().setUp()
        self.circuits.trouble = True

    def test_put_off(self) -> None:
        """A job whose delivery would be in vain is not sent, and goes back uncounted."""

        def written(number: int, run_at: datetime) -> None:
            raise AssertionError

        self.circuits.wait = Wait(7.0, written)
        job = a_job(5)
        self.assertIsNone(self.worker.work(job))
        self.assertEqual(self.results.ends, [("deferred", Deferral(job, 7.0, written))])
        self.assertEqual(self.sent, [])
        self.assertEqual(self.circuits.calls, [("ask", "app.test", 5, {"serial": False, "at_once": False})])

    def test_lane(self) -> None:
        """A job in a serial lane says so."""
        self.end_of(a_job(5, lane=3), an_answer(200))
        self.assertIn(("ask", "app.test", 5, {"serial": True, "at_once": False}), self.circuits.calls)

    def test_dropped_tick(self) -> None:
        """A tick does not wait: it is dropped, with a warning."""
        self.circuits.wait = Wait(7.0, lambda number, run_at: None)
        with capturedLogs() as events:
            self.assertIsNone(self.worker.work(a_job(5, identifier=CRON_IDENTIFIER, key="cron")))
        self.assertEqual(self.results.ends, [("completed", 5)])
        self.assertEqual(self.circuits.calls[0][3], {"serial": False, "at_once": True})
        (event,) = [event for event in events if event.get("event") == "cron_tick_failed"]
        self.assertEqual(
            event["error"], "POST http://app.test/hook: not sent, the receiver gives no answer to others"
        )

    def test_reports(self) -> None:
        """Silence is reported as such, any answer as one, and a delivery that we cut off ourselves as neither."""
        for reply, call in (
            (NoAnswer("refused", connected=False), ("failed", "app.test", 5, False, "refused")),
            (NoAnswer("reset\n", connected=True), ("failed", "app.test", 5, True, "reset")),
            (DeliveryError("POST http://app.test/: more than 3 redirects"), ("answered", "app.test")),
            (an_answer(500), ("answered", "app.test")),
            (an_answer(200), ("answered", "app.test")),
            (CancelledError(), ("withdrawn", 5)),
        ):
            self.circuits.calls.clear()
            self.results.ends.clear()
            self.end_of(a_job(5), reply)
            self.assertEqual(self.circuits.calls[1:], [call])

    def test_began(self) -> None:
        """Silence is reported with the moment at which the delivery began, not that of its end."""
        working = self.worker.work(a_job(5))
        assert working is not None
        self.circuits.time = 400.0
        self.reply.errback(NoAnswer("no answer within 300 s", connected=True))
        self.successResultOf(working)
        self.assertEqual(self.circuits.began, 101.0)

    def test_refused_destination(self) -> None:
        """A delivery that may not be made says nothing about the receiver, which can be tried again."""
        self.end_of(a_job(5), DestinationRefused("refused: 0.0.0.0, which …"))
        self.assertEqual(self.circuits.calls[1:], [("withdrawn", 5)])

    def test_withdrawn_for_our_fault(self) -> None:
        """An error of our own says nothing about the receiver, which can be tried again."""
        self.end_of(a_job(5), ZeroDivisionError("oops"))
        self.flushLoggedErrors(ZeroDivisionError)
        self.assertEqual(self.circuits.calls[1:], [("withdrawn", 5)])

    def test_undeliverable_is_not_put_off(self) -> None:
        """A payload that can never be delivered fails at once, whatever the receiver does."""
        self.circuits.wait = Wait(7.0, lambda number, run_at: None)
        self.assertTrue(self.failure_of(a_job(5, payload="{}"), an_answer(200)).final)


class StorableTests(SynchronousTestCase):
    """What Postgres can hold."""

    def test_storable(self) -> None:
        """NUL and half surrogates are replaced, lines joined, and the length is bounded (item 57)."""
        self.assertEqual(storable("a\0b\nc\ud800"), "a\ufffdb c?")
        self.assertEqual(
            storable("\x1b[31m\x9b1m\x7f \u202eb\u2028c\u2066"), "\ufffd[31m\ufffd1m\ufffd \ufffdb c\ufffd"
        )
        self.assertEqual(len(storable("x" * 5000)), MAX_ERROR)
