"""What receivers do that they should not. Each function is given the transport of a request that came whole."""

import zlib
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

CHUNK = 64 * 1024
DRIP = 0.2
"""Seconds between two bytes of an answer that drips."""
BOMB = 256 * 1024 * 1024
"""Bytes of zeros in the gzip bomb, which itself has a quarter of a megabyte."""


@implementer(IPushProducer)
class Pour:
    """Writes the same bytes for as long as the other side takes them.

    Args:
        transport: where to.
        data: what.
    """

    def __init__(self, transport: Any, data: bytes) -> None:
        self._transport = transport
        self._data = data
        self._going = False
        transport.registerProducer(self, True)
        self.resumeProducing()

    def resumeProducing(self) -> None:
        """Go on."""
        if not self._going:
            self._going = True
            reactor.callLater(0, self._turn)  # type: ignore[attr-defined]

    def _turn(self) -> None:
        if self._going:
            self._transport.write(self._data)
            if self._going:
                reactor.callLater(0, self._turn)  # type: ignore[attr-defined]

    def pauseProducing(self) -> None:
        """Wait."""
        self._going = False

    stopProducing = pauseProducing


def _drip(transport: Any) -> None:
    transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")

    def drop() -> None:
        if transport.connected:
            transport.write(b".")
            reactor.callLater(DRIP, drop)  # type: ignore[attr-defined]

    drop()


def _reset(transport: Any) -> None:
    transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nso far")
    reactor.callLater(0.05, transport.abortConnection)  # type: ignore[attr-defined]


def _garbage(transport: Any) -> None:
    transport.write(bytes(range(256)) * 16)


def _headers(transport: Any) -> None:
    transport.write(b"HTTP/1.1 200 OK\r\n")
    Pour(transport, b"".join(b"X-%d: %s\r\n" % (n, b"x" * 100) for n in range(200)))


def _one_header(transport: Any) -> None:
    transport.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
    Pour(transport, b"x" * CHUNK)


def _body(transport: Any) -> None:
    transport.write(b"HTTP/1.1 500 Endless\r\nTransfer-Encoding: chunked\r\n\r\n")
    Pour(transport, b"%x\r\n%b\r\n" % (CHUNK, b"x" * CHUNK))


def _bomb(transport: Any) -> None:
    bomb = _gzip_bomb()
    transport.write(
        b"HTTP/1.1 500 Bomb\r\nContent-Encoding: gzip\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%b"
        % (len(bomb), bomb)
    )


def _redirect_to(target: bytes) -> Callable[[Any], None]:
    def redirect(transport: Any) -> None:
        transport.write(b"HTTP/1.1 307 Again\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n" % target)

    return redirect


def _informational(transport: Any) -> None:
    Pour(transport, b"HTTP/1.1 102 Processing\r\n\r\n")


def _nothing(transport: Any) -> None:
    """Not a byte."""


def _gzip_bomb(_made: list[bytes] = []) -> bytes:  # noqa: B006  # made once
    if not _made:
        packer = zlib.compressobj(9, zlib.DEFLATED, 31)
        zeros = bytes(1024 * 1024)
        parts = [packer.compress(zeros) for _ in range(BOMB // len(zeros))]
        _made.append(b"".join([*parts, packer.flush()]))
    return _made[0]


MISBEHAVIOURS: dict[str, Callable[[Any], None]] = {
    "drip": _drip,
    "reset": _reset,
    "garbage": _garbage,
    "headers": _headers,
    "one-header": _one_header,
    "body": _body,
    "bomb": _bomb,
    "redirect": _redirect_to(b"/redirect"),
    "redirect-bomb": _redirect_to(b"/bomb"),
    "1xx": _informational,
    "nothing": _nothing,
}
"""By the path that asks for it."""
