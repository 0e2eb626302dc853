"""`slayq_tw.dev.receiver.Receiver`: what it answers over HTTP. Its check alone is in `test_dev_receiver`."""

from collections.abc import Awaitable
from typing import Any

from treq.testing import StubTreq
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseFailed

from slayq_tw.client.receiving import MAX_AGE
from slayq_tw.dev.receiver import Delivery, Receiver
from slayq_tw.payload import parse_payload, request_body
from slayq_tw.signing import SIGNATURE, sign

SECRET = b"a secret"
NOW = 1_790_000_000.0
URL = "http://app.test/"


class ReceiverTests(SynchronousTestCase):
    """The application gets what is signed and fresh, and nothing else."""

    def setUp(self) -> None:
        self.now = NOW
        self.deliveries: list[Delivery] = []
        self.refusals: list[tuple[str, str]] = []
        self.application: Deferred[int] | None = None
        self.status = 200
        self.web: Any = StubTreq(Receiver([SECRET], lambda: self.now, self.answer, self.refused))
        payload = parse_payload(f'{{"url":"{URL}","retry":0,"event":"user/welcome","data":{{"n":1.50}}}}')
        self.body = request_body(payload, job_key="k", attempt=2, now_ms=int(NOW * 1000))

    def answer(self, delivery: Delivery) -> Awaitable[int]:
        """The application: answers at once, or when the test says so."""
        self.deliveries.append(delivery)
        answering: Deferred[int] = Deferred()
        if self.application is None:
            answering.callback(self.status)
        else:
            answering = self.application
        return answering

    def refused(self, queue: str, reason: str) -> None:
        """What the timeline shows."""
        self.refusals.append((queue, reason))

    def posting(self, body: bytes, signature: str | None, path: str = "mail") -> "Deferred[tuple[int, str]]":
        """Post a request; status and text of its answer."""

        async def post() -> tuple[int, str]:
            headers = {} if signature is None else {SIGNATURE: signature}
            response = await self.web.post(URL + path, data=body, headers=headers)
            return response.code, await response.text()

        return Deferred.fromCoroutine(post())

    def post(self, body: bytes, signature: str | None, path: str = "mail") -> tuple[int, str]:
        """Post a request that is answered at once."""
        posting = self.posting(body, signature, path)
        self.web.flush()
        return self.successResultOf(posting)

    def test_accepted(self) -> None:
        """The application gets the document and the queue, unquoted; its status is the answer's."""
        for self.status, text in ((200, "done\n"), (500, "this failed\n"), (404, "this failed\n")):
            self.assertEqual(
                self.post(self.body, sign(self.body, SECRET), "caf%C3%A9%2Fbar"), (self.status, text)
            )
        first = self.deliveries[0]
        self.assertEqual((first.queue, first.event, first.attempt), ("café/bar", "user/welcome", 2))
        self.assertEqual(first.document["data"], {"n": 1.5})
        self.assertEqual((len(self.deliveries), self.refusals), (3, []))

    def test_refused(self) -> None:
        """401 with the reason, which the timeline shows too; the application hears nothing."""
        tampered = self.body.replace(b"welcome", b"goodbye")
        signature = sign(self.body, SECRET)
        for body, given, reason in (
            (self.body, None, f"no {SIGNATURE}"),
            (self.body, sign(self.body, b"another"), "the signature is wrong"),
            (self.body, signature.upper(), "the signature is wrong"),
            (self.body, signature[:-1], "the signature is wrong"),
            (tampered, signature, "the signature is wrong"),
            (b"{", sign(b"{", SECRET), "no JSON object"),
        ):
            self.assertEqual(self.post(body, given), (401, f"{reason}\n"))
            self.assertEqual(self.refusals.pop(), ("mail", reason))
        self.now += MAX_AGE + 0.1
        self.assertEqual(self.post(self.body, signature), (401, "too old\n"))
        self.assertEqual(self.deliveries, [])

    def test_answers_when_the_application_has(self) -> None:
        """The answer waits for the function, and is not waited for by other requests."""
        self.application = Deferred()
        waiting = self.posting(self.body, sign(self.body, SECRET))
        self.web.flush()
        self.assertNoResult(waiting)
        self.assertEqual(self.post(b"{}", None)[0], 401)
        self.application.callback(204)
        self.web.flush()
        self.assertEqual(self.successResultOf(waiting)[0], 204)

    def test_function_with_a_bug(self) -> None:
        """It is in the log, and the delivery fails, so that it is tried again."""
        self.application = Deferred()
        self.application.errback(ZeroDivisionError("a bug"))
        self.assertEqual(self.post(self.body, sign(self.body, SECRET))[0], 500)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_daemon_goes_away(self) -> None:
        """A function whose answer nobody waits for any more is given up, without noise in the log."""
        given_up: list[Deferred[int]] = []
        self.application = Deferred(given_up.append)
        waiting = self.posting(self.body, sign(self.body, SECRET))
        self.web.flush()
        waiting.cancel()
        self.web.flush()
        self.failureResultOf(waiting, CancelledError, ResponseFailed)
        self.assertEqual(given_up, [self.application])

    def test_browser(self) -> None:
        """Who opens it is told what this is; nothing is delivered."""

        async def look() -> tuple[int, str]:
            response = await self.web.get(URL)
            return response.code, await response.text()

        looking = Deferred.fromCoroutine(look())
        self.web.flush()
        status, text = self.successResultOf(looking)
        self.assertEqual(status, 200)
        self.assertIn("example receiver", text)
        self.assertEqual(self.deliveries, [])
