"""Requests as bytes: their first lines, their header fields, their bodies."""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, ITransport
from twisted.python.failure import Failure
from twisted.web.client import RequestGenerationFailed
from twisted.web.error import SchemeNotSupported
from twisted.web.http_headers import Headers
from twisted.web.iweb import IClientRequest
from zope.interface import implementer

from slayq_tw.weburl import DEFAULT_PORTS, Origin

_METHOD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_URI = re.compile(rb"[\x21-\x7e]+\Z")
_AFTER_AUTHORITY = re.compile(rb"[^:]+://[^/?#]*([^#]*)")
_OURS = {b"content-length", b"transfer-encoding"}
"""Fields that frame the message: they follow from its body, whatever the caller says."""


@implementer(IClientRequest)
@dataclass(frozen=True, slots=True)
class Request:
    """A request without its body.

    Attributes:
        method: in capitals, as a rule.
        absoluteURI: as the caller gave it.
        headers: as the caller gave them; they are asked for their fields when they are sent.
        origin: who gets it.
        start: request line and Host field, as bytes; for a request that is sent often, its constant fields too.
    """

    method: bytes
    absoluteURI: bytes
    headers: Headers
    origin: Origin
    start: bytes


def request_to(method: bytes, uri: bytes, headers: Headers) -> Request:
    """A request.

    Args:
        method: a token.
        uri: absolute, in ASCII, without user name and password.
        headers: of the request.

    Raises:
        SchemeNotSupported: it is neither http nor https.
        ValueError: method or URI is malformed.
    """
    origin, line, host = _taken_apart(method, uri)
    start = line if headers.hasHeader(b"host") else line + host
    return Request(method, uri, headers, origin, start)


@lru_cache(maxsize=1024)
def _taken_apart(method: bytes, uri: bytes) -> tuple[Origin, bytes, bytes]:
    """Origin, request line and Host field."""
    if not _METHOD.match(method):
        raise ValueError("the method is no token")
    if not _URI.match(uri):
        raise ValueError("the URI contains a space, a control character or one beyond ASCII")
    parts = urlsplit(uri.decode("ascii"))
    if parts.scheme not in DEFAULT_PORTS:
        raise SchemeNotSupported(f"unsupported scheme: {parts.scheme!r}")
    if not parts.hostname or "@" in parts.netloc:
        raise ValueError("the URI has no host, or a user name")
    port = parts.port or DEFAULT_PORTS[parts.scheme]
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    if port != DEFAULT_PORTS[parts.scheme]:
        host = f"{host}:{port}"
    target = _AFTER_AUTHORITY.match(uri)[1].decode("ascii")  # type: ignore[index]
    if not target.startswith("/"):
        target = "/" + target
    line = f"{method.decode('ascii')} {target} HTTP/1.1\r\n"
    return (
        Origin(parts.scheme, parts.hostname, port),
        line.encode("ascii"),
        f"Host: {host}\r\n".encode("ascii"),
    )


def field_lines(headers: Headers) -> bytes:
    """Header fields as they are sent, without those that frame the message. Twisted's Headers hold no line breaks."""
    return b"".join(
        b"%b: %b\r\n" % (name, value)
        for name, values in headers.getAllRawHeaders()
        if name.lower() not in _OURS
        for value in values
    )


@implementer(IConsumer)
class Upload:
    """A producer's body on its way, held to the length that was announced.

    Attributes:
        over: whether all of it was handed to the transport.
    """

    def __init__(self, producer: Any, transport: ITransport) -> None:
        self._producer = producer
        self._transport: Any = transport
        self._missing = producer.length
        self.over = False

    def begin(self) -> Deferred[None]:
        """Fires when the body is complete; fails with `RequestGenerationFailed` when it is not what was announced."""
        self._transport.registerProducer(self._producer, True)
        return self._producer.startProducing(self).addCallbacks(self._complete, self._broken)  # type: ignore[no-any-return]

    def write(self, data: bytes) -> None:
        """From the producer."""
        self._missing -= len(data)
        if self._missing >= 0:
            self._transport.write(data)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """The transport has it already."""

    def unregisterProducer(self) -> None:
        """The transport forgets it when the body is complete."""

    def stop(self) -> None:
        """Nobody wants the rest."""
        if not self.over:
            self._transport.unregisterProducer()
            self._producer.stopProducing()

    def _complete(self, _: object) -> None:
        self._transport.unregisterProducer()
        if self._missing:
            fault = ValueError(f"the body has {-self._missing:+d} bytes against what was announced")
            raise RequestGenerationFailed([Failure(fault)])
        self.over = True

    def _broken(self, failure: Failure) -> None:
        self._transport.unregisterProducer()
        raise RequestGenerationFailed([failure])
