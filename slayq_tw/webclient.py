"""The process's HTTP client: treq over Twisted's agent, with what deliveries need set."""

from http.cookiejar import DefaultCookiePolicy
from typing import Any

from treq.client import HTTPClient
from treq.cookies import IndexableCookieJar
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.web.client import URI, Agent, BrowserLikePolicyForHTTPS, HTTPConnectionPool
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from slayq_tw import __version__
from slayq_tw.hostaddr import addresses_of

USER_AGENT = f"slayq/{__version__}"
CONNECT_TIMEOUT = 10.0
"""Seconds for name resolution, TCP and TLS: less than the 15 s after which receivers call a body stale."""
IDLE_TIMEOUT = 4.0
"""Seconds that an idle connection is kept. Node's servers close theirs after 5 s, and a race loses a request."""


def make_http_client(reactor: Any, connections: int) -> HTTPClient:
    """The client.

    Args:
        reactor: for sockets and timers.
        connections: kept alive per origin, at most.
    """
    pool = HTTPConnectionPool(reactor, persistent=True)
    pool.maxPersistentPerHost = connections
    pool.cachedConnectionTimeout = IDLE_TIMEOUT  # type: ignore[assignment]
    pool._factory.noisy = False  # or each connection is two lines in the log
    agent = Agent.usingEndpointFactory(reactor, EndpointFactory(reactor), pool)
    no_cookies = IndexableCookieJar(policy=DefaultCookiePolicy(allowed_domains=()))
    return HTTPClient(agent, cookiejar=no_cookies)


@implementer(IAgentEndpointFactory)
class EndpointFactory:
    """Twisted's own endpoints, and one for the host names that they refuse.

    Args:
        reactor: connects and resolves.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._tls = BrowserLikePolicyForHTTPS()

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """Where to connect for a URL; TLS is verified as browsers do it."""
        if b"_" in uri.host and uri.scheme == b"http":
            return AnyNameEndpoint(self._reactor, uri.host.decode("ascii"), uri.port)
        endpoint = HostnameEndpoint(self._reactor, uri.host, uri.port, timeout=CONNECT_TIMEOUT)
        if uri.scheme == b"https":
            return wrapClientTLS(self._tls.creatorForNetloc(uri.host, uri.port), endpoint)
        return endpoint


@implementer(IStreamClientEndpoint)
class AnyNameEndpoint:
    """Connects to a host whose name holds an underscore: no internet name, but a usual one in Docker's networks.

    Args:
        reactor: connects and resolves.
        name, port: where to.
    """

    def __init__(self, reactor: Any, name: str, port: int) -> None:
        self._reactor = reactor
        self._name = name
        self._port = port

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Resolve, then connect to the first address that answers."""
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        addresses = await addresses_of(self._name, self._reactor, CONNECT_TIMEOUT)
        if not addresses:
            raise DNSLookupError(self._name)
        endpoint = HostnameEndpoint(self._reactor, addresses[0], self._port, timeout=CONNECT_TIMEOUT)
        return await endpoint.connect(factory)
