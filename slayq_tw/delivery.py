"""`WebhookSender`: one signed POST, one answer."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectingCancelledError, ConnectionClosed
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import IResponse

from slayq_tw.deadlines import Deadlines
from slayq_tw.destinations import Kind, kind_of
from slayq_tw.document import LateDocument
from slayq_tw.errors import DeliveryError, DestinationRefused, NameAwaited, NoAnswer
from slayq_tw.http_failures import NO_CONNECTION, TRANSPORT_ERRORS, described, innermost
from slayq_tw.http_response import Response
from slayq_tw.keyring import Keyring
from slayq_tw.posting import Post
from slayq_tw.redaction import excerpt, redacted, secrets_of
from slayq_tw.retry import Outcome, outcome_for
from slayq_tw.weburl import display_url, origin_of, redirected

MAX_REDIRECTS = 3
MAX_ANSWER = 1024 * 1024
"""Bytes of an answer's body that are read before its connection is closed."""
EXCERPT = 300
"""Bytes of an answer's body that are kept for `last_error`."""


@dataclass(slots=True)
class Answer:
    """What a receiver answered.

    Attributes:
        status: of the last response, after redirects.
        reason: its reason phrase.
        excerpt: the first bytes of its body, as text on one line.
        location: its `Location`, if any; of a delivery that succeeded, None.
        retry_after: its `Retry-After`, likewise.
        url: who answered, fit for display.
    """

    status: int
    reason: str
    excerpt: str
    location: str | None
    retry_after: str | None
    url: str


class WebhookSender:
    """Posts signed documents.

    Args:
        first: posts a delivery's first request.
        following: posts to where a receiver redirects.
        clock: IReactorTime, for the time-outs.
        keyring: who signs for whom.
        outward: posts to where a receiver with a public address redirects; None for `following`.
    """

    def __init__(
        self, first: Post, following: Post, clock: Any, keyring: Keyring, outward: Post | None = None
    ) -> None:
        self._first = first
        self._redirects = _Redirects(following, following if outward is None else outward)
        self._keyring = keyring
        self._deadlines: Deadlines[_Delivery] = Deadlines(clock, _Delivery.give_up)

    def send(
        self, url: str, body: Callable[[], bytes], timeout: float, webhook_id: str
    ) -> "Deferred[Answer]":
        """Post once, following 307 and 308 to where the same secret signs.

        Args:
            url: absolute http or https URL, checked.
            body: makes the document; called when the request is written, because it carries the time.
            timeout: seconds for everything, redirects and the answer's body included.
            webhook_id: the same for each attempt.

        Returns:
            A Deferred. It fails with DeliveryError when there is no complete answer: the text names URL and cause;
            with NoAnswer, which is one, when nothing has come back at all; with DestinationRefused when nothing may be
            delivered there, or where a redirect leads; with NameAwaited when it should be tried later, since the host
            name is still being looked up; with CancelledError when the caller cancelled.
        """
        document = LateDocument(body, self._keyring, url, webhook_id)
        delivery = _Delivery(url, document, timeout, self._redirects, self._deadlines)
        self._deadlines.add(delivery, timeout)
        delivery.post(self._first)
        return delivery.over


@dataclass(frozen=True, slots=True)
class _Redirects:
    """Who posts to where a receiver redirects.

    A receiver on the internet must not send signed documents into the operator's own networks, where the daemon may
    go and the receiver may not.

    Attributes:
        inward: for receivers in these networks.
        outward: for all others.
    """

    inward: Post
    outward: Post

    def post(self, response: IResponse) -> Post:
        """Who follows the redirect of this response."""
        found: Any = response
        while found is not None and not isinstance(found, Response):
            found = getattr(found, "original", None)  # what treq wraps
        peer = None if found is None else found.peer
        return self.outward if peer is None or kind_of(peer) is Kind.PUBLIC else self.inward


class _Delivery:
    """One document on its way, until it is answered.

    Callbacks rather than a coroutine, and no Deferred that is not needed: this is what each delivery runs through.

    Args:
        url, document, timeout: see `WebhookSender`.
        following: posts to where a receiver redirects.
        deadlines: where it waits for its time-out, until it is over.

    Attributes:
        over: fires with the answer.
    """

    __slots__ = (
        "_deadlines",
        "_document",
        "_following",
        "_reached",
        "_redirects",
        "_timeout",
        "_under_way",
        "_url",
        "over",
    )

    def __init__(
        self,
        url: str,
        document: LateDocument,
        timeout: float,
        following: _Redirects,
        deadlines: "Deadlines[_Delivery]",
    ) -> None:
        self.over: Deferred[Answer] = Deferred(self._cancelled)
        self._url = url
        self._document = document
        self._timeout = timeout
        self._following = following
        self._deadlines = deadlines
        self._redirects = 0
        self._reached = False  # whether an answer's head has come
        self._under_way: Deferred[Any] | None = None

    def post(self, post: Post) -> None:
        """Send the request, and go on as it is answered."""
        try:
            posting = post(self._url, self._document)
        except Exception:
            self._failed(Failure())
            return
        self._under_way = posting
        posting.addCallbacks(self._head_came, self._failed)

    def give_up(self) -> None:
        """The time is up."""
        text = f"POST {display_url(self._url)}: no answer within {self._timeout:g} s"
        self._end_with(DeliveryError(text) if self._reached else NoAnswer(text, connected=True))
        self._cut()

    def _cancelled(self, _: object) -> None:
        self._deadlines.discard(self, self._timeout)
        self._cut()

    def _cut(self) -> None:
        if self._under_way is not None:
            self._under_way.cancel()

    def _head_came(self, response: IResponse) -> None:
        self._reached = True
        try:
            body = response.whole() if isinstance(response, Response) else None
            if body is not None and len(body) <= MAX_ANSWER:
                self._answered(body[:EXCERPT], response)
            else:
                self._read(response)
        except Exception:
            self._failed(Failure())

    def _read(self, response: IResponse) -> None:
        reading = _AnswerBody()
        self._under_way = reading.over  # before the body comes: it may come at once
        response.deliverBody(reading)
        reading.over.addCallback(self._answered, response).addErrback(self._failed)

    def _answered(self, body: bytes, response: IResponse) -> None:
        self._under_way = None
        outcome = outcome_for(response.code)
        delivered = outcome is Outcome.DELIVERED
        answer = Answer(
            status=response.code,
            reason=response.phrase.decode("ascii", "replace"),
            excerpt=excerpt(body),
            location=None if delivered else _field(response, b"location"),
            retry_after=None if delivered else _field(response, b"retry-after"),
            url=display_url(self._url),
        )
        if not delivered and outcome is not Outcome.GONE:
            self._redact(answer)
        if answer.location is not None and outcome is Outcome.REDIRECT:
            self._redirected(answer, answer.location, response)
        elif not self.over.called:
            self._deadlines.discard(self, self._timeout)
            self.over.callback(answer)

    def _redact(self, answer: Answer) -> None:
        """Of an answer that will be quoted: what the receiver may have echoed of our secrets."""
        secrets = [secret.decode("utf-8", "replace") for secret in self._document.secrets]
        secrets += secrets_of(self._url)
        answer.reason = redacted(answer.reason, secrets)
        answer.excerpt = redacted(answer.excerpt, secrets)

    def _redirected(self, answer: Answer, location: str, response: IResponse) -> None:
        if self._redirects == MAX_REDIRECTS:
            self._end_with(DeliveryError(f"POST {answer.url}: more than {MAX_REDIRECTS} redirects"))
            return
        try:
            target = redirected(self._url, location)
        except ValueError as fault:
            self._end_with(DeliveryError(f"POST {answer.url}: {answer.status} to a URL that {fault}"))
            return
        if not self._document.may_go_to(target):
            where = f"{display_url(target)}, which has another secret"
            self._end_with(DeliveryError(f"POST {answer.url}: {answer.status} to {where}"))
            return
        if origin_of(self._url).scheme == "https" and origin_of(target).scheme != "https":
            where = f"{display_url(target)}, which is not encrypted as this was"
            self._end_with(DeliveryError(f"POST {answer.url}: {answer.status} to {where}"))
            return
        self._redirects += 1
        self._url = target
        self.post(self._following.post(response))

    def _failed(self, failure: Failure) -> None:
        self._under_way = None
        if failure.check(DestinationRefused):
            self._end_with(DestinationRefused(f"POST {display_url(self._url)}: {failure.value}"))
            return
        if failure.check(DeliveryError, *TRANSPORT_ERRORS) is None:
            self._end_with(failure)  # a fault of ours
            return
        cause = innermost(failure.value)
        if isinstance(cause, CancelledError | ConnectingCancelledError):
            self._end_with(CancelledError())
            return
        if isinstance(cause, NameAwaited):
            self._end_with(cause)
            return
        text = f"POST {display_url(self._url)}: {described(cause)}"
        if not self._reached and isinstance(cause, (*NO_CONNECTION, ConnectionClosed)):
            self._end_with(NoAnswer(text, connected=isinstance(cause, ConnectionClosed)))
        else:
            self._end_with(DeliveryError(text))

    def _end_with(self, failure: Failure | BaseException) -> None:
        if not self.over.called:
            self._deadlines.discard(self, self._timeout)
            self.over.errback(failure)


class _AnswerBody(Protocol):
    """Reads an answer's body to its end, or to a bound; keeps the beginning."""

    def __init__(self) -> None:
        self.over: Deferred[bytes] = Deferred(lambda _: self._hang_up())
        self._kept = b""
        self._read = 0

    def _hang_up(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()

    def dataReceived(self, data: bytes) -> None:
        """Count, and keep what is still missing of the excerpt."""
        self._read += len(data)
        self._kept += data[: EXCERPT - len(self._kept)]
        if self._read > MAX_ANSWER:
            self._hang_up()
            self._end()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The end of the body, or of the connection."""
        if reason.check(ResponseDone, PotentialDataLoss):
            self._end()
        elif not self.over.called:
            self.over.errback(DeliveryError(f"the answer broke off: {described(innermost(reason.value))}"))

    def _end(self) -> None:
        if not self.over.called:
            self.over.callback(self._kept)


def _field(response: IResponse, name: bytes) -> str | None:
    """The first value of a header field."""
    if isinstance(response, Response):
        value = response.field(name)
        return None if value is None else value.decode("utf-8", "replace")
    values = response.headers.getRawHeaders(name)
    return values[0].decode("utf-8", "replace") if values else None
