"""`ResponseReader`: a connection's bytes as HTTP responses, within bounds."""

from typing import Any

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser
from twisted.web.iweb import IClientRequest

from slayq_tw.http_errors import BadResponse
from slayq_tw.http_response import Response, Source

MAX_HEAD = 64 * 1024
"""Bytes of a header section, of trailers, and of what stands between two pieces of a chunked body, at most."""
MAX_FIELDS = 100
"""Header fields of a response, at most."""
MAX_INFORMATIONAL = 16
"""Responses 1xx before the real one, at most."""

_VERSIONS = {"1.0": (b"HTTP", 1, 0), "1.1": (b"HTTP", 1, 1)}


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
                raise BadResponse(f"the answer {self._fault or f'is no valid HTTP: {error}'}") from error
        if self._unstructured > MAX_HEAD and not self.complete:
            raise BadResponse(
                f"has {'a header section' if self.response is None else 'chunk headers'} without end"
            )

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
        if self.response is None:  # otherwise it is of a response that nobody asked for
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
            raise self._refusal("is no HTTP/1")
        if len(self._fields) > MAX_FIELDS:
            raise self._refusal(f"has more than {MAX_FIELDS} header fields")
        if self._unstructured > MAX_HEAD and sum(len(n) + len(v) for n, v in self._fields) > MAX_HEAD:
            raise self._refusal(f"has a header section of more than {MAX_HEAD} bytes")
        if 100 <= status <= 199:
            self._informational += 1
            if status == 101:
                raise self._refusal("switches to another protocol, unasked")
            if self._informational > MAX_INFORMATIONAL:
                raise self._refusal("consists of 1xx responses only")
            self._fields = []
            self._phrase = b""
            return
        self._unstructured = 0
        self.response = Response(self._request, version, status, self._phrase, self._fields, self._source)
        self.complete = self._bodiless  # llhttp would wait for the body that answers HEAD without sending it

    def on_body(self, data: bytes) -> None:
        if self.response is not None and not self.complete:  # some 1xx get one
            self._unstructured = 0
            self.chunks.append(data)

    def on_message_complete(self) -> None:
        if self.response is not None and not self.complete:
            self.complete = True
            self.keep_alive = self._parser.should_keep_alive()

    def _refusal(self, fault: str) -> BadResponse:
        self._fault = fault  # the parser passes on only that there was an exception
        return BadResponse(fault)
