"""`slayq_tw.delivery`, against receivers in memory."""

import json
from collections.abc import Callable

from treq.client import HTTPClient
from treq.testing import RequestTraversalAgent
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.iweb import IResponse
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from slayq_tw.delivery import EXCERPT, MAX_ANSWER, Answer, WebhookSender
from slayq_tw.errors import DeliveryError
from slayq_tw.keyring import Keyring, Keys
from slayq_tw.posting import through_treq
from slayq_tw.signing import sign
from slayq_tw.weburl import origin_of

SECRET = b"a secret"
KEYS = Keys("SLAY_Q_SECRET", SECRET)
BODY = b'{"job_key":"k","retry":1,"time":1,"event":"e"}'


class Receiver(Resource):
    """Answers as its test says, and keeps what arrives."""

    isLeaf = True

    def __init__(self, answer: Callable[[Request], object]) -> None:
        super().__init__()
        self._answer = answer
        self.requests: list[tuple[str, bytes, bytes, bytes]] = []

    def render_POST(self, request: Request) -> object:
        self.requests.append(
            (
                request.uri.decode(),
                request.content.read(),
                request.getHeader(b"content-type"),
                request.getHeader(b"x-slayq-signature"),
            )
        )
        return self._answer(request)


def answering(status: int, body: bytes = b"", **headers: str) -> Callable[[Request], object]:
    def answer(request: Request) -> object:
        request.setResponseCode(status)
        for name, value in headers.items():
            request.setHeader(name.replace("_", "-"), value)
        return body

    return answer


class WebhookSenderTests(SynchronousTestCase):
    """One request, one answer, in time."""

    keyring = Keyring(KEYS)

    def send(
        self, answer: Callable[[Request], object], url: str = "http://app.test/hook?x=1"
    ) -> "Deferred[Answer]":
        self.clock = Clock()
        self.receiver = Receiver(answer)
        self.network = RequestTraversalAgent(self.receiver)
        post = through_treq(HTTPClient(self.network), self.clock)
        sender = WebhookSender(post, post, self.clock, self.keyring)
        self.bodies = 0

        def body() -> bytes:
            self.bodies += 1
            return BODY

        sending = sender.send(url, body, 30.0, "job_1_0")
        self.network.flush()
        self.addCleanup(lambda: self.assertEqual(self.clock.getDelayedCalls(), []))
        return sending

    def test_request(self) -> None:
        """The bytes that were signed are the bytes that are sent."""
        answer = self.successResultOf(self.send(answering(200, b" fine,\nthanks ")))
        self.assertEqual(
            (answer.status, answer.excerpt, answer.url), (200, "fine, thanks", "http://app.test/hook")
        )
        self.assertEqual(
            self.receiver.requests, [("/hook?x=1", BODY, b"application/json", sign(BODY, SECRET).encode())]
        )

    def test_credentials(self) -> None:
        """A user name and password in the URL become basic authentication, and are shown nowhere."""
        seen = []

        def answer(request: Request) -> object:
            seen.append((request.getUser(), request.getPassword()))
            return b""

        answered = self.successResultOf(self.send(answer, "http://me:p%40ss@app.test/hook"))
        self.assertEqual(seen, [(b"me", b"p@ss")])
        self.assertEqual(answered.url, "http://app.test/hook")

    def test_long_answer(self) -> None:
        """Only the beginning of an answer's body is kept."""
        answer = self.successResultOf(self.send(answering(500, b"x" * (MAX_ANSWER // 2))))
        self.assertEqual((answer.status, answer.excerpt), (500, "x" * EXCERPT))

    def test_headers_of_the_answer(self) -> None:
        """Status, reason, Location and Retry-After are passed on; 302 is not followed."""
        answer = self.successResultOf(
            self.send(answering(302, location="http://other.test/", retry_after="120"))
        )
        self.assertEqual(
            (answer.status, answer.reason, answer.location, answer.retry_after),
            (302, "Found", "http://other.test/", "120"),
        )
        self.assertEqual(len(self.receiver.requests), 1)

    def test_redirect(self) -> None:
        """307 and 308 are followed with the same bytes and the same signature."""

        def answer(request: Request) -> object:
            if request.uri == b"/moved":
                return answering(204)(request)
            return answering(308 if request.uri == b"/hook" else 307, location="/moved")(request)

        sending = self.send(answer, "http://app.test/hook")
        for _ in range(3):
            self.network.flush()
        self.assertEqual(self.successResultOf(sending).status, 204)
        first, second = self.receiver.requests
        self.assertEqual((first[0], second[0]), ("/hook", "/moved"))
        self.assertEqual(first[1:], second[1:])
        self.assertEqual(self.bodies, 1)

    def test_echoes(self) -> None:
        """What a failing receiver echoes of the request's secrets is not quoted: signature, password, query, key."""

        def answer(request: Request) -> object:
            seen = (
                request.getHeader(b"x-slayq-signature"),
                request.getHeader(b"authorization"),
                request.uri,
                b"p%40ss and p@ss",
                json.dumps({"SLAY_Q_WORKER_SECRET": SECRET.decode()}).encode(),
            )
            request.setResponseCode(500, b"No " + SECRET)
            return b"Error: " + b" / ".join(seen)

        answered = self.successResultOf(
            self.send(answer, "http://me:p%40ss@app.test/hook?token=tell-tale&x=1")
        )
        self.assertEqual(answered.reason, "No …")
        self.assertEqual(
            answered.excerpt,
            'Error: … / Basic … / /hook?token=…&x=1 / … and … / {"SLAY_Q_WORKER_SECRET": "…"}'[:EXCERPT],
        )

    def test_malformed_redirect(self) -> None:
        """A `Location` that cannot be read is not quoted."""
        for location in (
            "http://u:tell-tale@[::1/",
            "http://u:tell-tale@ex\u2100mple.test/",
            "http://[tell-tale]/",
        ):
            failure = self.failureResultOf(
                self.send(answering(307, location=location.encode().decode("latin-1"))), DeliveryError
            )
            self.assertIn("307 to a URL that", str(failure.value))
            self.assertNotIn("tell-tale", str(failure.value))

    def test_redirect_loop(self) -> None:
        """A fourth redirect is a failure."""
        sending = self.send(answering(307, location="/again"))
        for _ in range(6):
            self.network.flush()
        self.assertIn("more than 3 redirects", str(self.failureResultOf(sending, DeliveryError).value))
        self.assertEqual(len(self.receiver.requests), 4)

    def test_redirect_to_another_secret(self) -> None:
        """A redirect is not followed to where another secret signs: neither the old signature nor a new one goes there."""
        own = Keys("SLAY_Q_SECRET_OWN", b"own secret")
        self.keyring = Keyring(KEYS, {origin_of("http://own.test"): own})
        for url, location in (
            ("http://app.test/", "http://own.test/hook?token=x"),
            ("http://own.test/", "http://app.test/hook?token=x"),
            ("http://own.test/", "//app.test/hook?token=x"),
            ("http://own.test/", "\\\\app.test\\hook?token=x"),
            ("http://own.test/", "/\\app.test/x/../hook?token=x"),
            ("http://own.test/", "http:\\\\app.test\\hook?token=x"),
            ("http://own.test/", "http://own.test:8080/hook?token=x"),
        ):
            failure = self.failureResultOf(self.send(answering(307, location=location), url), DeliveryError)
            self.assertRegex(
                str(failure.value), rf"POST {url}: 307 to http://\S+/hook, which has another secret\Z"
            )
            self.assertEqual(len(self.receiver.requests), 1)

    def test_redirect_to_the_same_secret(self) -> None:
        """Between origins that share a secret it is followed, with that secret's signature over the same bytes."""
        own = Keys("SLAY_Q_SECRET_OWN", b"own secret")
        self.keyring = Keyring(KEYS, {origin_of(url): own for url in ("http://own.test", "https://own.test")})

        def answer(request: Request) -> object:
            return answering(308, location="https://own.test/moved")(request) if request.uri == b"/" else b""

        sending = self.send(answer, "http://own.test/")
        self.network.flush()
        self.assertEqual(self.successResultOf(sending).status, 200)
        first, second = self.receiver.requests
        self.assertEqual(
            (second[0], second[1], second[3]), ("/moved", BODY, sign(BODY, b"own secret").encode())
        )
        self.assertEqual(first[1:], second[1:])

    def test_redirect_out_of_tls(self) -> None:
        """What was encrypted stays so: from https to http nothing is sent, wherever that is."""
        for location in ("http://app.test/x", "http://app.test:443/x", "HTTP://other.test/x?token=x"):
            failure = self.failureResultOf(
                self.send(answering(307, location=location), "https://app.test/hook"), DeliveryError
            )
            self.assertRegex(
                str(failure.value),
                r"POST https://app.test/hook: 307 to (?i:http)://\S+/x, which is not encrypted as this was\Z",
            )
            self.assertEqual(len(self.receiver.requests), 1)

    def test_redirect_into_tls(self) -> None:
        """From http to https it is followed, and then not back."""

        def answer(request: Request) -> object:
            secure = request.isSecure()
            return answering(307, location="http://app.test/back" if secure else "https://app.test/on")(
                request
            )

        sending = self.send(answer)
        for _ in range(3):
            self.network.flush()
        failure = self.failureResultOf(sending, DeliveryError)
        self.assertIn(
            "https://app.test/on: 307 to http://app.test/back, which is not enc", str(failure.value)
        )
        self.assertEqual(len(self.receiver.requests), 2)

    def test_redirect_to_something_else(self) -> None:
        """A redirect must lead to a URL that an event may have."""
        for location in ("ftp://app.test/", "file:///etc/passwd", "mailto:a@app.test"):
            failure = self.failureResultOf(self.send(answering(307, location=location)), DeliveryError)
            self.assertIn("307", str(failure.value))

    def test_silent_receiver(self) -> None:
        """A receiver that never answers is given up after the time-out, and named without its query."""
        sending = self.send(lambda request: NOT_DONE_YET)
        self.clock.advance(29.9)
        self.assertNoResult(sending)
        self.clock.advance(0.1)
        failure = self.failureResultOf(sending, DeliveryError)
        self.assertEqual(str(failure.value), "POST http://app.test/hook: no answer within 30 s")

    def test_stalled_answer(self) -> None:
        """The time-out covers the answer's body too."""

        def answer(request: Request) -> object:
            request.write(b"so far")
            return NOT_DONE_YET

        sending = self.send(answer)
        self.network.flush()
        self.assertNoResult(sending)
        self.clock.advance(30.0)
        self.failureResultOf(sending, DeliveryError)

    def test_cancelled(self) -> None:
        """Cancelling is no failure of the receiver's."""
        sending = self.send(lambda request: NOT_DONE_YET)
        sending.cancel()
        self.failureResultOf(sending, CancelledError)

    def test_our_own_fault(self) -> None:
        """An error of our own passes as it is, and leaves no timer behind."""
        clock = Clock()

        def post(url: str, document: object) -> "Deferred[IResponse]":
            return succeed(object())  # type: ignore[arg-type]

        sender = WebhookSender(post, post, clock, self.keyring)
        sending = sender.send("http://app.test/", lambda: BODY, 30.0, "job_1_0")
        self.failureResultOf(sending, AttributeError)
        self.assertEqual(clock.getDelayedCalls(), [])
