"""`ResponseReader`: a connection's bytes as HTTP responses, within bounds. `Response`: one of them."""

from collections.abc import Sequence
from typing import Any, Protocol

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser
from twisted.internet.interfaces import IProtocol, IPushProducer
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IClientRequest, IResponse
from zope.interface import implementer

MAX_HEAD = 64 * 1024
"""Bytes of a header section, of trailers, and of what stands between two pieces of a chunked body, at most."""
MAX_FIELDS = 100
"""Header fields of a response, at most."""
MAX_INFORMATIONAL = 16
"""Responses 1xx before the real one, at most."""
MAX_UNREAD = 64 * 1024
"""Bytes of a body that nobody reads yet; then the connection is read no further."""

_VERSIONS = {"1.0": (b"HTTP", 1, 0), "1.1": (b"HTTP", 1, 1)}


class BadResponse(Exception):
    """What came back is no HTTP response that we take. The text ends a sentence that begins with "the answer"."""


class Source(Protocol):
    """Where a response's body comes from: its connection, for as long as the exchange lasts."""

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
    """

    __slots__ = (
        "_chunks",
        "_end",
        "_paused",
        "_protocol",
        "_source",
        "code",
        "fields",
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
        self.version = version
        self.code = code
        self.phrase = phrase
        self.fields = fields
        self.previousResponse: IResponse | None = None
        self._source: Source | None = source
        self._protocol: IProtocol | None = None
        self._chunks: list[bytes] = []
        self._end: Failure | None = None
        self._paused = False

    @property
    def headers(self) -> Headers:
        """The header fields as Twisted holds them; made anew on each access."""
        headers = Headers()
        for name, value in self.fields:
            headers.addRawHeader(name, value)
        return headers

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
        return UNKNOWN_LENGTH if announced is None else int(announced)  # type: ignore[return-value]

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


class ResponseReader:
    """Reads the responses on one connection, one for each `expect`, with llhttp.

    After each `feed`, the attributes say what has come.

    Attributes:
        response: the response, once its header section is there.
        chunks: what the last feed brought of its body.
        complete: whether all of it is there.
        keep_alive: whether the connection can then take another request.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._parser: Any = HttpResponseParser(self)
        self.complete = True

    def expect(self, request: IClientRequest) -> None:
        """Begin with the response to this request."""
        self._request = request
        self._bodiless = request.method == b"HEAD"
        self._fields: list[tuple[bytes, bytes]] = []
        self._phrase = b""
        self._informational = 0
        self._unstructured = 0
        self._fault: str | None = None
        self.begun = False
        self.response: Response | None = None
        self.chunks: list[bytes] = []
        self.complete = False
        self.keep_alive = False

    def feed(self, data: bytes) -> None:
        """Read a segment.

        Raises:
            BadResponse: it is no HTTP, or goes beyond a bound.
        """
        self.begun = True
        self.chunks = []
        self._unstructured += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            self.keep_alive = False
            if not self.complete:
                raise BadResponse(self._fault or f"is no valid HTTP: {error}") from error
        if self._unstructured > MAX_HEAD and not self.complete:
            raise BadResponse(f"has {'a header section' if self.response is None else 'chunk headers'} without end")

    def end(self) -> bool:
        """The connection ended: whether that completes the response. Only a body without any length ends so."""
        if self.complete or self.response is None or self.response.field(b"content-length") is not None:
            return False
        coding = self.response.field(b"transfer-encoding")
        if coding is not None and coding.lower().split(b",")[-1].strip() == b"chunked":
            return False
        self.complete = True
        self.chunks = []
        return True

    # What follows is called by the parser.

    def on_message_begin(self) -> None:
        if self.complete:
            self.keep_alive = False  # more than was asked for

    def on_status(self, phrase: bytes) -> None:
        self._phrase += phrase

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.response is None:  # otherwise it is a trailer
            self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        if self.complete:
            return
        parser = self._parser
        status = parser.get_status_code()
        version = _VERSIONS.get(parser.get_http_version())
        if version is None:
            self._refuse("is no HTTP/1")
        if len(self._fields) > MAX_FIELDS:
            self._refuse(f"has more than {MAX_FIELDS} header fields")
        if self._unstructured > MAX_HEAD and sum(len(n) + len(v) for n, v in self._fields) > MAX_HEAD:
            self._refuse(f"has a header section of more than {MAX_HEAD} bytes")
        if 100 <= status <= 199:
            self._informational += 1
            if status == 101:
                self._refuse("switches to another protocol, unasked")
            if self._informational > MAX_INFORMATIONAL:
                self._refuse("consists of 1xx responses only")
            self._fields = []
            self._phrase = b""
            return
        self._unstructured = 0
        self.response = Response(self._request, version, status, self._phrase, self._fields, self._source)
        self.complete = self._bodiless  # llhttp would wait for the body that answers HEAD without sending it

    def on_body(self, data: bytes) -> None:
        if not self.complete:
            self._unstructured = 0
            self.chunks.append(data)

    def on_message_complete(self) -> None:
        if self.response is not None and not self.complete:
            self.complete = True
            self.keep_alive = self._parser.should_keep_alive()

    def _refuse(self, fault: str) -> None:
        self._fault = fault
        raise BadResponse(fault)
