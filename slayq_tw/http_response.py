"""`Response`: an answer whose header section has arrived, and its body as it comes."""

from collections.abc import Sequence
from typing import Protocol

from twisted.internet.interfaces import IProtocol, IPushProducer
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IClientRequest, IResponse
from zope.interface import implementer

MAX_UNREAD = 64 * 1024
"""Bytes of a body that nobody reads yet; then the connection is read no further."""
DONE = Failure(ResponseDone())
"""The end of a complete body."""


class Source(Protocol):
    """Where a response's body comes from: its connection, for as long as the exchange lasts.

    Attributes:
        peer: the IP address at the other end.
    """

    peer: str | None

    def abort(self) -> None:
        """Close at once; the body ends with an error."""

    def pause(self) -> None:
        """Read no further."""

    def resume(self) -> None:
        """Read on."""


@implementer(IResponse, IPushProducer)
class Response:
    """A response whose header section has arrived.

    It must be read (`deliverBody`) or ended (`abortConnection`). The protocol that gets the body has the response
    as its transport; what it does there after the body's end touches nothing, for the connection may serve the next
    request by then. The body ends, as with Twisted's own, by `ResponseDone`, by `PotentialDataLoss` when only the
    connection's end tells its length, or by `ResponseFailed`.

    Attributes:
        code: the status.
        phrase: its reason.
        fields: the header fields in their order, names as they came.
        request: what it answers.
        peer: the IP address that it came from.
    """

    __slots__ = (
        "_chunks",
        "_end",
        "_headers",
        "_paused",
        "_protocol",
        "_source",
        "code",
        "fields",
        "peer",
        "phrase",
        "previousResponse",
        "request",
        "version",
    )

    def __init__(
        self,
        request: IClientRequest,
        version: tuple[bytes, int, int],
        code: int,
        phrase: bytes,
        fields: Sequence[tuple[bytes, bytes]],
        source: Source,
    ) -> None:
        self.request = request
        self.peer = source.peer
        self.version = version
        self.code = code
        self.phrase = phrase
        self.fields = fields
        self.previousResponse: IResponse | None = None
        self._headers: Headers | None = None
        self._source: Source | None = source
        self._protocol: IProtocol | None = None
        self._chunks: list[bytes] = []
        self._end: Failure | None = None
        self._paused = False

    @property
    def headers(self) -> Headers:
        """The header fields as Twisted holds them; made at the first access."""
        if self._headers is None:
            self._headers = Headers()
            for name, value in self.fields:
                self._headers.addRawHeader(name, value)
        return self._headers

    def field(self, name: bytes) -> bytes | None:
        """The first value of a header field, or None.

        Args:
            name: in lower case.
        """
        for key, value in self.fields:
            if len(key) == len(name) and key.lower() == name:
                return value
        return None

    @property
    def length(self) -> int | str:
        """Bytes of the body, or `UNKNOWN_LENGTH`."""
        announced = self.field(b"content-length")
        return UNKNOWN_LENGTH if announced is None else int(announced)

    def whole(self) -> bytes | None:
        """The body, when all of it has come already and nobody has asked for it; otherwise `deliverBody` gives it."""
        return b"".join(self._chunks) if self._end is DONE and self._protocol is None else None

    def setPreviousResponse(self, response: IResponse) -> None:
        """As IResponse's: the redirect that led here."""
        self.previousResponse = response

    def deliverBody(self, protocol: IProtocol) -> None:
        """Give the body to a protocol, piece by piece as it comes, and then its end. Once only."""
        if self._protocol is not None:
            raise RuntimeError("the body of this response has been asked for already")
        self._protocol = protocol
        protocol.makeConnection(self)  # type: ignore[arg-type]
        chunks, self._chunks = self._chunks, []
        for chunk in chunks:
            protocol.dataReceived(chunk)
        if self._end is not None:
            protocol.connectionLost(self._end)
        elif self._paused:
            self.resumeProducing()

    def received(self, chunks: list[bytes]) -> None:
        """The connection's: a part of the body."""
        if self._protocol is not None:
            for chunk in chunks:
                self._protocol.dataReceived(chunk)
            return
        self._chunks += chunks
        if not self._paused and sum(map(len, self._chunks)) > MAX_UNREAD:
            self.pauseProducing()

    def ended(self, chunks: list[bytes], reason: Failure) -> None:
        """The connection's: the last part of the body, and how it ended."""
        self._source = None
        self.received(chunks)
        self._end = reason
        if self._protocol is not None:
            self._protocol.connectionLost(reason)

    def abortConnection(self) -> None:
        """Close the connection, unless the body is over."""
        if self._source is not None:
            self._source.abort()

    loseConnection = stopProducing = abortConnection

    def pauseProducing(self) -> None:
        """Let the rest of the body wait."""
        if self._source is not None:
            self._paused = True
            self._source.pause()

    def resumeProducing(self) -> None:
        """Let it come."""
        if self._source is not None:
            self._paused = False
            self._source.resume()
