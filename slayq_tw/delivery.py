"""`WebhookSender`: one signed POST, one answer."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin

from OpenSSL.SSL import Error as OpenSSLError
from service_identity import VerificationError
from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import (
    ConnectError,
    ConnectingCancelledError,
    ConnectionClosed,
    DNSLookupError,
    UnsupportedAddressFamily,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import (
    RequestGenerationFailed,
    ResponseDone,
    ResponseFailed,
)
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import IResponse

from slayq_tw.document import LateDocument, SignedHeaders
from slayq_tw.errors import DeliveryError
from slayq_tw.http_errors import ExchangeError
from slayq_tw.retry import Outcome, outcome_for
from slayq_tw.webclient import USER_AGENT
from slayq_tw.weburl import check_web_url, credentials, display_url, encoded

MAX_REDIRECTS = 3
MAX_ANSWER = 1024 * 1024
"""Bytes of an answer's body that are read before its connection is closed."""
EXCERPT = 300
"""Bytes of an answer's body that are kept for `last_error`."""

_TRANSPORT_ERRORS = (
    CancelledError,
    ConnectError,
    ConnectingCancelledError,
    ConnectionClosed,
    DNSLookupError,
    ExchangeError,
    OpenSSLError,
    RequestGenerationFailed,
    ResponseFailed,
    UnsupportedAddressFamily,
    ValueError,  # a host name that Twisted refuses
    VerificationError,
)
"""What Twisted and TLS raise for a request that gets no answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a receiver answered.

    Attributes:
        status: of the last response, after redirects.
        reason: its reason phrase.
        excerpt: the first bytes of its body, as text on one line.
        location: its `Location`, if any.
        retry_after: its `Retry-After`, if any.
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
        client: treq's.
        clock: IReactorTime, for the time-outs.
        secret: key of the signature.
    """

    def __init__(self, client: HTTPClient, clock: Any, secret: bytes) -> None:
        self._client = client
        self._clock = clock
        self._secret = secret

    async def send(self, url: str, body: Callable[[], bytes], timeout: float) -> Answer:
        """Post once, following 307 and 308.

        Args:
            url: absolute http or https URL, checked.
            body: makes the document; called when the request is written, because it carries the time.
            timeout: seconds for everything, redirects and the answer's body included.

        Raises:
            DeliveryError: no complete answer; the text names URL and cause.
            CancelledError: the caller cancelled.
        """
        exchange = Deferred.fromCoroutine(self._follow(url, body))
        late = False

        def give_up() -> None:
            nonlocal late
            late = True
            exchange.cancel()

        timer = self._clock.callLater(timeout, give_up)
        try:
            return await exchange
        except CancelledError:
            if late:
                raise DeliveryError(f"POST {display_url(url)}: no answer within {timeout:g} s") from None
            raise
        finally:
            if timer.active():
                timer.cancel()

    async def _follow(self, url: str, body: Callable[[], bytes]) -> Answer:
        document = LateDocument(body, self._secret)
        for _ in range(MAX_REDIRECTS + 1):
            answer = await self._post(url, document)
            if outcome_for(answer.status) is not Outcome.REDIRECT or answer.location is None:
                return answer
            target = urljoin(url, answer.location)
            if fault := check_web_url(target):
                raise DeliveryError(f"POST {display_url(url)}: {answer.status} to a URL that {fault}")
            url = target
        raise DeliveryError(f"POST {display_url(url)}: more than {MAX_REDIRECTS} redirects")

    async def _post(self, url: str, document: LateDocument) -> Answer:
        headers = SignedHeaders(
            document, {b"Content-Type": [b"application/json"], b"User-Agent": [USER_AGENT.encode("ascii")]}
        )
        try:
            response = await self._client.request(
                "POST",
                encoded(url),
                headers=headers,
                data=document,
                auth=credentials(url),
                allow_redirects=False,
                unbuffered=True,
                reactor=self._clock,
            )
            excerpt = await _read(response)
        except (DeliveryError, *_TRANSPORT_ERRORS) as error:
            cause = _innermost(error)
            if isinstance(cause, CancelledError | ConnectingCancelledError):
                raise CancelledError from error
            raise DeliveryError(f"POST {display_url(url)}: {_described(cause)}") from error
        return Answer(
            status=response.code,
            reason=response.phrase.decode("ascii", "replace"),
            excerpt=excerpt,
            location=_header(response, "location"),
            retry_after=_header(response, "retry-after"),
            url=display_url(url),
        )


class _AnswerBody(Protocol):
    """Reads an answer's body to its end, or to a bound; keeps the beginning."""

    def __init__(self) -> None:
        self.over: Deferred[str] = Deferred(lambda _: self._hang_up())
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
            self.over.errback(DeliveryError(f"the answer broke off: {_described(reason.value)}"))

    def _end(self) -> None:
        if not self.over.called:
            self.over.callback(" ".join(self._kept.decode("utf-8", "replace").split()))


async def _read(response: IResponse) -> str:
    body = _AnswerBody()
    response.deliverBody(body)
    return await body.over


def _header(response: IResponse, name: str) -> str | None:
    values = response.headers.getRawHeaders(name)
    return values[0] if values else None


def _innermost(error: BaseException) -> BaseException:
    """What went wrong beneath: Twisted wraps the reasons of a failed request in a list."""
    while reasons := getattr(error, "reasons", None):
        error = reasons[0].value
    return error


def _described(cause: BaseException | None) -> str:
    """A cause in one line."""
    if isinstance(cause, DNSLookupError):
        return "the host name has no address"
    text = " ".join(str(cause).split()).rstrip(".")
    if isinstance(cause, ConnectError | ConnectionClosed | DeliveryError | ExchangeError):
        return text or type(cause).__name__
    return f"{type(cause).__name__}: {text}" if text else type(cause).__name__
