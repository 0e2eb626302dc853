"""`KeepAliveAgent`: an IAgent that keeps its connections and costs little."""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from slayq_tw.http_connection import Connection
from slayq_tw.http_errors import ConnectTimedOut
from slayq_tw.http_request import Request, request_to
from slayq_tw.weburl import Origin

EndpointFor = Callable[[str, str, int], IStreamClientEndpoint]
"""Where to connect for a scheme, a host and a port; over TLS, verified, for https."""


@implementer(IAgent)
class KeepAliveAgent:
    """Sends requests, one at a time on each connection, and keeps idle connections for the next.

    A request takes the idle connection to its origin that was used last, or a new one; callers bound how many
    requests are under way. No request is ever sent twice: before a kept connection is used, the kernel is asked
    whether the server has closed it (or sent something), and if so another one is taken; once a byte of the request
    was written, its loss is the caller's to judge, for a POST may have been processed.

    Args:
        clock: IReactorTime.
        max_idle: idle connections kept for each origin.
        connect_timeout: seconds for a connection, from the name to the end of the TLS handshake.
        idle_timeout: seconds that an idle connection is kept.
        endpoint_for: who connects where.

    Attributes:
        connections: all that are open.
    """

    def __init__(
        self,
        clock: Any,
        max_idle: int,
        *,
        connect_timeout: float,
        idle_timeout: float,
        endpoint_for: EndpointFor,
    ) -> None:
        self.connections: set[Connection] = set()
        self._clock = clock
        self._max_idle = max_idle
        self._connect_timeout = connect_timeout
        self._idle_timeout = idle_timeout
        self._endpoint_for = endpoint_for
        self._idle: dict[Origin, list[Connection]] = {}
        self._sweep_call: Any = None
        self._waiting: list[Deferred[None]] = []

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> "Deferred[IResponse]":
        """As IAgent's. Header fields and body are asked for when the connection stands, right before they are sent.

        Fires with the response when its header section is there; cancelling closes the connection. Fails with what
        connecting failed with, `ConnectTimedOut`, `TLSFailed`, `ResponseNeverReceived`, `ResponseFailed` (because
        of `BadResponse`, or with a lost connection), or ValueError for a malformed URI or a body of unknown length.
        """
        return maybeDeferred(self._request, method, uri, headers, bodyProducer)

    def _request(
        self, method: bytes, uri: bytes, headers: Headers | None, producer: IBodyProducer | None
    ) -> "Deferred[IResponse]":
        request = request_to(method, uri, headers or Headers())
        connection = self._take(request.origin)
        if connection is not None:
            return connection.exchange(request, producer)
        return self._on_new_connection(request.origin, lambda new: new.exchange(request, producer))

    def post(self, request: Request, document: Any) -> "Deferred[IResponse]":
        """As `request`, with nothing but what it takes: for a request that was made before and is sent often.

        Args:
            request: its `start` has all its constant fields.
            document: has further `fields` (pairs of bytes) and a `body`, asked for right before they are sent.
        """
        connection = self._take(request.origin)
        if connection is not None:
            return connection.post(request, document)
        return self._on_new_connection(request.origin, lambda new: new.post(request, document))

    def reach(self, origin: Origin) -> "Deferred[None]":
        """Connect as for a request, to the end of the TLS handshake, and close at once.

        Fails with what connecting failed with.
        """

        async def connect_and_close() -> None:
            connection = await self._connect_in_time(origin)
            connection.close()

        return Deferred.fromCoroutine(connect_and_close())

    def close_idle(self) -> "Deferred[None]":
        """Close the idle connections; fires when none is open any more, those in use included."""
        for idle in self._idle.values():
            for connection in idle:
                connection.close()
        self._idle.clear()
        if self._sweep_call is not None:
            self._sweep_call.cancel()
            self._sweep_call = None
        over: Deferred[None] = Deferred()
        if self.connections:
            self._waiting.append(over)
        else:
            over.callback(None)
        return over

    @property
    def idle(self) -> int:
        """How many connections wait for a request."""
        return sum(map(len, self._idle.values()))

    def _take(self, origin: Origin) -> Connection | None:
        idle = self._idle.get(origin)
        if idle is None:
            return None
        horizon = self._clock.seconds() - self._idle_timeout
        while idle:
            connection = idle.pop()
            if connection.idle_since > horizon and connection.untouched():
                break
            connection.abort()
        else:
            connection = None
        if not idle:
            del self._idle[origin]
        return connection

    def _released(self, connection: Connection) -> None:
        idle = self._idle.get(connection.origin, [])
        if len(idle) >= self._max_idle:
            connection.close()
            return
        connection.idle_since = self._clock.seconds()
        idle.append(connection)
        self._idle[connection.origin] = idle
        if self._sweep_call is None:
            self._sweep_call = self._clock.callLater(self._idle_timeout, self._sweep)

    def _sweep(self) -> None:
        """Close what has been idle for too long. One timer serves all connections: one each would cost more."""
        now = self._clock.seconds()
        self._sweep_call = None
        for origin, idle in list(self._idle.items()):
            # The one that was used last stands last.
            while idle and idle[0].idle_since + self._idle_timeout <= now:
                idle.pop(0).close()
            if not idle:
                del self._idle[origin]
        if self._idle:
            oldest = min(idle[0].idle_since for idle in self._idle.values())
            self._sweep_call = self._clock.callLater(oldest + self._idle_timeout - now, self._sweep)

    def _lost(self, connection: Connection) -> None:
        self.connections.discard(connection)
        idle = self._idle.get(connection.origin)
        if idle is not None and connection in idle:
            idle.remove(connection)
            if not idle:
                del self._idle[connection.origin]
        if not self.connections:
            waiting, self._waiting = self._waiting, []
            for over in waiting:
                over.callback(None)

    def _on_new_connection(
        self, origin: Origin, exchange: Callable[[Connection], "Deferred[IResponse]"]
    ) -> "Deferred[IResponse]":
        async def perform() -> IResponse:
            return await exchange(await self._connect_in_time(origin))

        return Deferred.fromCoroutine(perform())

    async def _connect_in_time(self, origin: Origin) -> Connection:
        late = False

        def give_up() -> None:
            nonlocal late
            late = True
            connecting.cancel()

        connecting = Deferred.fromCoroutine(self._connect(origin))
        timer = self._clock.callLater(self._connect_timeout, give_up)
        try:
            return await connecting
        except (CancelledError, ConnectingCancelledError):
            if late:
                raise ConnectTimedOut(f"no connection within {self._connect_timeout:g} s") from None
            raise CancelledError from None
        finally:
            if timer.active():
                timer.cancel()

    async def _connect(self, origin: Origin) -> Connection:
        factory = Factory.forProtocol(lambda: Connection(origin, self._clock, self._released, self._lost))
        factory.noisy = False  # or there are two lines in the log for each connection
        connection: Any = await self._endpoint_for(*origin).connect(factory)
        self.connections.add(connection)
        await connection.ready()
        opened: Connection = connection
        return opened
