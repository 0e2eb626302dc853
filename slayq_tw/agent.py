"""`KeepAliveAgent`: an IAgent that keeps its connections and costs little."""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import IProtocol, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.web.client import BrowserLikePolicyForHTTPS, HostnameCachingHTTPSPolicy
from twisted.web.error import SchemeNotSupported
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IAgent, IBodyProducer, IPolicyForHTTPS
from zope.interface import implementer

from slayq_tw.http_connection import Connection
from slayq_tw.http_request import Origin, Render, Request, post_to, request_to
from slayq_tw.http_response import Response

CONNECT_TIMEOUT = 10.0
"""Seconds for name resolution, TCP and TLS: less than the 15 s after which receivers call a body stale."""
IDLE_TIMEOUT = 4.0
"""Seconds that an idle connection is kept. Node's servers close theirs after 5 s, and a race loses a request."""
TLS_CONTEXTS = 100
"""Host names whose TLS settings are kept; making them reads the system's certificates."""


class ConnectTimedOut(Exception):
    """No connection within the time; the text says which time."""


EndpointFor = Callable[[str, str, int], IStreamClientEndpoint]
"""Where to connect for a scheme, a host and a port; over TLS, verified, for https."""


def endpoints(reactor: Any, policy: IPolicyForHTTPS | None = None, timeout: float = CONNECT_TIMEOUT) -> EndpointFor:
    """The usual endpoints: all addresses of the host's name, TLS verified as Twisted does it.

    Args:
        reactor: connects and resolves names.
        policy: for TLS; the platform's certificates by default.
        timeout: seconds for each address.
    """
    tls = policy or HostnameCachingHTTPSPolicy(BrowserLikePolicyForHTTPS(), cacheSize=TLS_CONTEXTS)

    def endpoint_for(scheme: str, host: str, port: int) -> IStreamClientEndpoint:
        endpoint = HostnameEndpoint(reactor, host, port, timeout=timeout)
        if scheme == "http":
            return endpoint  # type: ignore[no-any-return]
        return wrapClientTLS(tls.creatorForNetloc(host.encode("ascii"), port), endpoint)  # type: ignore[no-any-return]

    return endpoint_for


@implementer(IAgent)
class KeepAliveAgent:
    """Sends requests, one at a time on each connection, and keeps idle connections for the next.

    A request takes the idle connection to its origin that was used last, or a new one; callers bound how many
    requests are under way. No request is ever sent twice: before a kept connection is used, the kernel is asked
    whether the server has closed it (or sent something), and if so another one is taken; once a byte of the request
    was written, its loss is the caller's to judge, for a POST may have been processed.

    Args:
        reactor: for timers, and for connecting when `endpoint_for` is not given.
        max_idle: idle connections kept for each origin.
        connect_timeout: seconds for a connection, from the name to the end of the TLS handshake.
        idle_timeout: seconds that an idle connection is kept.
        endpoint_for: who connects where.

    Attributes:
        connections: all that are open.
    """

    def __init__(
        self,
        reactor: Any,
        max_idle: int,
        *,
        connect_timeout: float = CONNECT_TIMEOUT,
        idle_timeout: float = IDLE_TIMEOUT,
        endpoint_for: EndpointFor | None = None,
    ) -> None:
        self.connections: set[Connection] = set()
        self._clock = reactor
        self._max_idle = max_idle
        self._connect_timeout = connect_timeout
        self._idle_timeout = idle_timeout
        self._endpoint_for = endpoint_for or endpoints(reactor, timeout=connect_timeout)
        self._idle: dict[Origin, list[Connection]] = {}
        self._sweep_call: Any = None
        self._emptied: list[Deferred[None]] = []

    def post(self, uri: bytes, render: Render) -> "Deferred[Response]":
        """Send a POST whose header fields and body are made when the connection stands, right before they are sent.

        Args:
            uri: absolute http or https URI in ASCII, without user name.
            render: called once, or never if there is no connection.

        Returns:
            the response, when its header section is there. Cancelling closes the connection. Fails with what
            connecting failed with, `ConnectTimedOut`, `TLSFailed`, `ResponseNeverReceived`, `ResponseFailed`
            (because of `BadResponse`, or with a lost connection), or what `render` raised.
        """
        try:
            request = post_to(uri)
            connection = self._take(request.origin)
            if connection is None:
                return self._connected(request.origin, lambda fresh: fresh.exchange_late(request, render))
            return self._used(connection, connection.exchange_late, request, render)
        except (SchemeNotSupported, ValueError):
            return fail()

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> "Deferred[Response]":
        """As IAgent's. The body's length must be known."""
