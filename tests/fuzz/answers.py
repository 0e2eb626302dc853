"""What a receiver answers: any bytes, cut into segments in any way, and then the connection's end."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransportWithDisconnection
from twisted.python.failure import Failure
from twisted.web.client import ResponseFailed, ResponseNeverReceived
from twisted.web.http_headers import Headers

from slayq_tw import http_reader
from slayq_tw.delivery import _AnswerBody
from slayq_tw.http_connection import Connection
from slayq_tw.http_errors import BadResponse
from slayq_tw.http_reader import ResponseReader
from slayq_tw.http_request import Origin, Request
from slayq_tw.http_response import Response
from slayq_tw.retry import MAX_RETRY_AFTER, retry_after

SMALL_HEAD = 200
"""Bytes of a header section when its bound is tried."""
NOW = 1_764_000_000.0

TOKENS = (
    *(b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 404 Not Found\r\n", b"HTTP/1.1 307 \r\n", b"HTTP/1.1 204 No\r\n"),
    *(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 101 x\r\n\r\n", b"HTTP/1.1 103 x\r\nLink: y\r\n\r\n"),
    *(
        b"HTTP/2.0 200\r\n",
        b"HTTP/0.9 200\r\n",
        b"HTTP/1.1 666 x\r\n",
        b"HTTP/1.1 304 x\r\n",
        b"HTTP/1.1 1000 x\r\n",
    ),
    *(b"Content-Length: 2\r\n", b"Content-Length: 0\r\n", b"Content-Length: 99999999999999999999\r\n"),
    *(
        b"Content-Length: -1\r\n",
        b"Content-Length: 2, 2\r\n",
        b"Content-Length:\r\n",
        b"content-length: +2\r\n",
    ),
    *(
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Transfer-Encoding: x\r\n",
    ),
    *(b"Connection: close\r\n", b"Connection: keep-alive\r\n", b"Connection: Upgrade\r\nUpgrade: h2c\r\n"),
    *(
        b"Location: http://a/\r\n",
        b"Retry-After: 1\r\n",
        b"X: y\r\n",
        b"X:\r\n y\r\n",
        b": y\r\n",
        b"X : y\r\n",
    ),
    *(
        b"\r\n",
        b"\n",
        b"\r",
        b"\r\n\r\n",
        b"0\r\n\r\n",
        b"1\r\nx\r\n",
        b"2;a=b\r\nok\r\n",
        b"0\r\nT: x\r\n\r\n",
    ),
    *(
        b"ffffffffffffffff\r\n",
        b"fffffffffffffffff\r\n",
        b"-1\r\n",
        b"ok",
        b"\0",
        b"\xff",
        b"\x80",
        b"HTTP/1.1",
    ),
    *(b"X: " + b"x" * SMALL_HEAD + b"\r\n", b"x" * SMALL_HEAD, b"1;" + b"x" * SMALL_HEAD + b"\r\nx\r\n"),
    b"HTTP/1.1 100 x\r\n\r\n" * 17,
    b"X: y\r\n" * 101,
)
DATE_TOKENS = (
    *(b"0", b"120", b"9" * 400, b"-1", b"1.5", b" ", b"\t", b"+1", "١".encode()),
    *(
        b"Tue, 24 Nov 2026 10:00:00 GMT",
        b"Tue, ",
        b"24 ",
        b"Nov ",
        b"2026 ",
        b"0001 ",
        b"9999 ",
        b"31 Dec 9999 ",
    ),
    *(
        b"10:00:00 ",
        b"23:59:60 ",
        b"99:99:99",
        b"GMT",
        b"+0000",
        b"-9999",
        b"+2359",
        b"EST",
        b"-0000",
        b"(",
        b")",
    ),
)

_HTTP = Origin("http", "app.test", 80)


class NoSource:
    """A response's connection that is never asked for anything."""

    def abort(self) -> None:
        """Not here."""

    pause = resume = abort


def check_retry_after(data: bytes) -> None:
    """None, or a time between now and the bound."""
    seconds = retry_after(data.decode("utf-8", "replace"), NOW)
    assert seconds is None or 0.0 <= seconds <= MAX_RETRY_AFTER, seconds


def check_response(data: bytes) -> None:
    """A response or a BadResponse, the same however the bytes are cut. The first two bytes choose method and cut."""
    method, size, answer = _taken_apart(data)
    at_once = _read(method, [answer])
    assert _read(method, _segments(answer, size)) == at_once, f"segments of {size} bytes tell something else"
    assert _read(method, _segments(answer, 1)) == at_once, "single bytes tell something else"


def check_bounds(data: bytes) -> None:
    """With a small bound, nothing beyond it is held, whatever comes. What is refused for its size may depend on the
    cut, by a segment; nothing else may.
    """
    method, size, answer = _taken_apart(data)
    with _small_bounds():
        results = [_read(method, _segments(answer, cut)) for cut in (size, 1, max(1, len(answer)))]
        told = {result for result in results if "bytes" not in result[-1] and "without end" not in result[-1]}
    assert len(told) <= 1, told
    assert len(answer) > SMALL_HEAD or len(set(results)) == 1, results


def check_connection(data: bytes) -> None:
    """A request on a connection gets one response with one end, or one failure; nothing is logged, nothing hangs."""
    method, size, answer = _taken_apart(data)
    clock, released, lost = Clock(), [], []
    connection = Connection(_HTTP, clock, released.append, lost.append)
    transport = StringTransportWithDisconnection()
    transport.protocol = connection
    transport.abortConnection = transport.loseConnection  # type: ignore[method-assign]
    connection.makeConnection(transport)
    outcomes: list[Any] = []
    bodies: list[Any] = []

    def came(response: Any) -> None:
        assert isinstance(response, Response)
        reading = _AnswerBody()
        reading.over.addBoth(bodies.append)
        response.deliverBody(reading)

    asked: Deferred[Any] = connection.exchange(_request(method))
    asked.addCallback(came)
    asked.addBoth(outcomes.append)
    for segment in _segments(answer, size):
        if not transport.connected:
            break
        connection.dataReceived(segment)
        assert not released or (bodies and bodies[0] is not None), "released with its answer outstanding"
    if transport.connected:
        transport.loseConnection()
    assert len(outcomes) == 1, "the request hangs, or was answered twice"
    assert lost == [connection]
    assert len(released) <= 1
    if isinstance(outcomes[0], Failure):
        outcomes[0].trap(ResponseFailed, ResponseNeverReceived)
    else:
        assert outcomes == [None]
        assert len(bodies) == 1, "the body has no end"
    assert not clock.getDelayedCalls(), "a timer is left"


def _taken_apart(data: bytes) -> tuple[bytes, int, bytes]:
    """Method, size of a segment, and the answer."""
    head, answer = data[:2].ljust(2, b"\0"), data[2:]
    return (b"POST", b"HEAD")[head[0] & 1], 1 + head[1], answer


def _segments(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def _request(method: bytes) -> Request:
    return Request(
        method, b"http://app.test/", Headers(), _HTTP, method + b" / HTTP/1.1\r\nHost: app.test\r\n"
    )


def _read(method: bytes, segments: list[bytes]) -> tuple[Any, ...]:
    """What a reader tells: all of the response, whether the connection can be used again, and the fault."""
    reader = ResponseReader(NoSource())
    reader.expect(_request(method))
    body = b""
    fault = ""
    for segment in segments:
        try:
            reader.feed(segment)
        except BadResponse as error:
            fault = str(error)
            assert fault.isprintable(), fault
            break
        if reader.response is not None:
            body += b"".join(reader.chunks)
        held = sum(len(name) + len(value) for name, value in reader._fields) + len(reader._phrase)
        assert held <= http_reader.MAX_HEAD + len(segment), f"{held} bytes are held"
    kept = reader.keep_alive
    if not fault:
        assert not (kept and not reader.complete)
        ended = not reader.complete and reader.end()
        assert ended <= reader.complete
    response = reader.response
    if response is None:
        return method, None, body, reader.complete, kept, fault
    assert isinstance(response.length, int | str)
    assert response.headers is not None
    told = (response.version, response.code, response.phrase, tuple(response.fields))
    # Of a body that broke off, nobody is promised any particular part.
    return method, told, b"" if fault else body, reader.complete, kept, fault


@contextmanager
def _small_bounds() -> Iterator[None]:
    before = http_reader.MAX_HEAD
    http_reader.MAX_HEAD = SMALL_HEAD
    try:
        yield
    finally:
        http_reader.MAX_HEAD = before
