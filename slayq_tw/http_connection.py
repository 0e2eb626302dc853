"""`Connection`: one connection to a web server, serving one exchange after the other."""

import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import IHandshakeListener, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseFailed, ResponseNeverReceived
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import UNKNOWN_LENGTH, IResponse
from zope.interface import implementer

from slayq_tw.http_errors import BadResponse, explained
from slayq_tw.http_reader import ResponseReader
from slayq_tw.http_request import Request, Upload, field_lines
from slayq_tw.http_response import DONE, Response
from slayq_tw.weburl import Origin

CLOSE_TIMEOUT = 1.0
"""Seconds that the other side has to end a connection properly, which TLS waits for."""
LARGE_BODY = 64 * 1024
"""Bytes from which on it matters whether a body has left the transport's buffer: Twisted's buffer size."""

_GLANCE = int(socket.MSG_PEEK | socket.MSG_DONTWAIT)
"""Made once: to combine the two, which are an enum's, takes as long as the call."""


@implementer(IHandshakeListener, IPushProducer)
class Connection(Protocol):
    """Exchanges requests for responses, one at a time.

    As a producer it stands for a large body in the transport's buffer.

    Args:
        origin: whose connection it is.
        clock: IReactorTime.
        released: called when the connection can take another request.
        lost: called when it is over.

    Attributes:
        origin: as given.
        idle_since: seconds on the clock, kept by the pool.
        peer: the IP address at the other end; None until it stands.
    """

    def __init__(
        self,
        origin: Origin,
        clock: Any,
        released: Callable[["Connection"], None],
        lost: Callable[["Connection"], None],
    ) -> None:
        self.origin = origin
        self.idle_since = 0.0
        self.peer: str | None = None
        self._secure = origin.scheme == "https"
        self._clock = clock
        self._released = released
        self._lost = lost
        self._reader = ResponseReader(self)
        self._answer: Deferred[IResponse] | None = None
        self._response: Response | None = None
        self._upload: Upload | None = None
        self._unsent = False
        self._stands = False
        self._ready: Deferred[None] | None = None
        self._tcp: Any = None
        self._socket: socket.socket | None = None
        self._spoiled = False
        self._over = False
        self._closing: Any = None

    def connectionMade(self) -> None:
        """TCP stands."""
        self._stands = not self._secure
        self._tcp = self.transport.transport if self._secure else self.transport  # type: ignore[union-attr]
        handle = self._tcp.getHandle() if hasattr(self._tcp, "getHandle") else None
        self._socket = handle if isinstance(handle, socket.socket) else None
        self.peer = getattr(self._tcp.getPeer(), "host", None)

    def handshakeCompleted(self) -> None:
        """TLS stands, the certificate is right."""
        self._stands = True
        if self._ready is not None and not self._ready.called:
            self._ready.callback(None)

    def ready(self) -> "Deferred[None]":
        """Fires when the first request can be written; fails when TLS does not come about. To be asked once."""
        self._ready = Deferred(lambda _: self.abort())
        if self._stands:
            self._ready.callback(None)
        return self._ready

    def untouched(self) -> bool:
        """Whether an idle connection is as it was left: the server has neither closed it nor said anything.

        The reactor learns of a close only when it comes round to reading; the kernel knows before.
        """
        if self._spoiled or self._tcp.disconnecting:
            return False
        if self._socket is None:
            return True
        try:
            self._socket.recv(1, _GLANCE)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def exchange(self, request: Request, producer: Any = None) -> "Deferred[IResponse]":
        """Send a request; fires with the response's head. Cancelling it closes the connection.

        A producer that has its whole body at hand says so by an attribute `body`, and is spared the ceremony.
        """
        try:
            body = getattr(producer, "body", None)
            if body is None and producer is not None and producer.length == UNKNOWN_LENGTH:
                raise ValueError("a body of unknown length cannot be sent")
            fields = field_lines(request.headers)
        except BaseException:
            self._released(self)  # nothing was written
            raise
        if body is not None or producer is None:
            empty = b"" if request.method in (b"POST", b"PUT", b"PATCH") else None
            return self._exchange(request, fields, empty if producer is None else body)
        answer = self._begin(request)
        self._upload = Upload(producer, self.transport)  # type: ignore[arg-type]
        self._write(b"%b%bContent-Length: %d\r\n\r\n" % (request.start, fields, producer.length))
        self._upload.begin().addErrback(self._break)
        return answer

    def post(self, request: Request, document: Any) -> "Deferred[IResponse]":
        """Send a request whose `start` has all its constant fields.

        Args:
            request: as `exchange` gets it.
            document: has `fields`, the other header fields, and `body`; they are asked for now.
        """
        try:
            fields = b"".join([b"%b: %b\r\n" % field for field in document.fields])
            body = document.body
        except BaseException:
            self._released(self)  # nothing was written
            raise
        return self._exchange(request, fields, body)

    def _exchange(self, request: Request, fields: bytes, body: bytes | None) -> "Deferred[IResponse]":
        answer = self._begin(request)
        if body is None:
            self._send(b"%b%b\r\n" % (request.start, fields))
        elif len(body) < LARGE_BODY:
            self._send(b"%b%bContent-Length: %d\r\n\r\n%b" % (request.start, fields, len(body), body))
        else:
            self._write(b"%b%bContent-Length: %d\r\n\r\n" % (request.start, fields, len(body)))
            self.transport.registerProducer(self, True)  # type: ignore[union-attr]
            self._write(body)
            if not self._unsent:
                self.resumeProducing()
        return answer

    def _begin(self, request: Request) -> "Deferred[IResponse]":
        self._reader.expect(request)
        answer: Deferred[IResponse] = Deferred(self._cancelled)
        self._answer = answer
        return answer

    def _send(self, data: bytes) -> None:
        """Write a whole request. The transport's buffer is empty, so what the kernel takes at once can go past it: that
        saves asking the reactor twice, and a turn of it.
        """
        if self._socket is not None and not self._secure:
            try:
                sent = self._socket.send(data)
            except OSError:
                sent = 0  # no room, or no connection: the transport finds out which
            if sent == len(data):
                return
            data = data[sent:]
        self._write(data)

    def _write(self, data: bytes) -> None:
        self.transport.write(data)  # type: ignore[union-attr]

    def pauseProducing(self) -> None:
        """From the transport: its buffer is full."""
        self._unsent = True

    def resumeProducing(self) -> None:
        """From the transport: its buffer is empty."""
        self._unsent = False
        self.transport.unregisterProducer()  # type: ignore[union-attr]

    def stopProducing(self) -> None:
        """From the transport: the connection is lost."""

    def dataReceived(self, data: bytes) -> None:
        """A segment of the answer."""
        if self._answer is None and self._response is None:
            self._spoiled = True  # nothing was asked
            self.abort()
            return
        try:
            self._reader.feed(data)
        except BadResponse:
            self._break(Failure())
            return
        self._pass_on(DONE)

    def _pass_on(self, end: Failure) -> None:
        """Hand over what the reader has found. Whoever gets it may use this connection, or close it, at once."""
        reader = self._reader
        response = reader.response
        if response is None:
            return
        answer, self._answer = self._answer, None
        chunks = reader.chunks
        complete = reader.complete
        self._response = None if complete else response
        if complete:
            self._finish()
            response.ended(chunks, end)
        elif chunks:
            response.received(chunks)
        if answer is not None:
            answer.callback(response)

    def _finish(self) -> None:
        """The answer is complete: keep the connection, if nothing speaks against it."""
        if (self._upload is not None and not self._upload.over) or self._unsent:
            if self._upload is not None:
                self._upload.stop()
            self.abort()
        elif self._reader.keep_alive:
            self._upload = None
            self._released(self)
        else:
            self.close()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is over, and so is what was going on."""
        self._over = True
        if self._closing is not None and self._closing.active():
            self._closing.cancel()
        self._lost(self)
        if not self._stands:
            if self._ready is not None and not self._ready.called:
                self._ready.errback(explained(reason))
        elif self._answer is not None or self._response is not None:
            # Many servers leave TLS without the farewell that it asks for.
            proper = reason.check(ConnectionDone) or (self._secure and not reason.check(ConnectionAborted))
            if proper and self._reader.end():
                self._pass_on(Failure(PotentialDataLoss()))
            else:
                self._fail(reason)

    def _break(self, reason: Failure) -> None:
        self.abort()
        self._fail(reason)

    def _fail(self, reason: Failure) -> None:
        answer, self._answer = self._answer, None
        response, self._response = self._response, None
        if self._upload is not None:
            self._upload.stop()
            self._upload = None
        if answer is not None:
            answer.errback(
                ResponseFailed([reason]) if self._reader.begun else ResponseNeverReceived([reason])
            )
        elif response is not None:
            response.ended([], Failure(ResponseFailed([reason], response)))

    def _cancelled(self, _: object) -> None:
        self._answer = None
        if self._upload is not None:
            self._upload.stop()
            self._upload = None
        self.abort()

    def close(self) -> None:
        """Part properly, within `CLOSE_TIMEOUT`."""
        if self._closing is None and not self._over:
            self._closing = self._clock.callLater(CLOSE_TIMEOUT, self.abort)
            self.transport.loseConnection()  # type: ignore[union-attr]

    def abort(self) -> None:
        """Close at once."""
        self.transport.abortConnection()  # type: ignore[union-attr]

    def pause(self) -> None:
        """Read no further."""
        self.transport.pauseProducing()  # type: ignore[union-attr]

    def resume(self) -> None:
        """Read on."""
        self.transport.resumeProducing()  # type: ignore[union-attr]
