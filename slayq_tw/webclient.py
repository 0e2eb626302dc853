"""The process's HTTP client: treq over an agent that keeps its connections."""

from http.cookiejar import DefaultCookiePolicy
from typing import Any

from treq.client import HTTPClient
from treq.cookies import IndexableCookieJar
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.web.client import BrowserLikePolicyForHTTPS, HostnameCachingHTTPSPolicy
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from slayq_tw import __version__
from slayq_tw.agent import KeepAliveAgent
from slayq_tw.checked_endpoint import CheckedEndpoint
from slayq_tw.destinations import NO_FURTHER_RULES, DestinationRules
from slayq_tw.errors import DestinationRefused
from slayq_tw.name_resolution import NameResolution
from slayq_tw.weburl import Origin, shown_origin

USER_AGENT = f"slayq/{__version__}"
CONNECT_TIMEOUT = 10.0
"""Seconds for a connection, from the name to the end of the TLS handshake."""
IDLE_TIMEOUT = 4.0
"""Seconds that an idle connection is kept. Node's servers close theirs after 5 s, and a race loses a request."""
TLS_CONTEXTS = 100
"""Host names whose TLS settings are kept; making them reads the system's certificates."""


def make_agent(
    reactor: Any,
    connections: int,
    rules: DestinationRules = NO_FURTHER_RULES,
    names: NameResolution | None = None,
    *,
    patient: bool = True,
) -> KeepAliveAgent:
    """The agent.

    Args:
        reactor: for sockets and timers.
        connections: kept alive per origin, at most.
        rules: where it may connect to.
        names: see `Endpoints`.
        patient: see `NameResolution.addresses`.
    """
    return KeepAliveAgent(
        reactor,
        connections,
        connect_timeout=CONNECT_TIMEOUT,
        idle_timeout=IDLE_TIMEOUT,
        endpoint_for=Endpoints(reactor, rules, names, patient=patient),
    )


def make_http_client(agent: IAgent) -> HTTPClient:
    """treq's client over an agent, without a memory for cookies, and without decompression."""
    no_cookies = IndexableCookieJar(policy=DefaultCookiePolicy(allowed_domains=()))
    return HTTPClient(Uncompressed(agent), cookiejar=no_cookies)


@implementer(IAgent)
class Uncompressed:
    """Asks for answers as they are, and leaves those packed that are packed all the same.

    treq would unpack whatever comes, a whole segment at once: one of 64 KiB may become 64 MiB.

    Args:
        agent: sends.
    """

    def __init__(self, agent: IAgent) -> None:
        self._agent = agent

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> "Deferred[IResponse]":
        """As IAgent's."""
        if headers is not None:
            headers = headers.copy()
            headers.removeHeader(b"accept-encoding")
        return self._agent.request(method, uri, headers, bodyProducer).addCallback(_as_it_is)


def _as_it_is(response: IResponse) -> IResponse:
    response.headers.removeHeader(b"content-encoding")
    return response


class Endpoints:
    """Endpoints for the origins that are allowed, which connect to addresses that are allowed: every connection, for a
    job's URL or for a redirect's, comes about here. TLS is verified as browsers do it.

    Args:
        reactor: connects.
        rules: where to.
        names: looks names up; None for one of its own.
        patient: see `NameResolution.addresses`.
    """

    def __init__(
        self,
        reactor: Any,
        rules: DestinationRules = NO_FURTHER_RULES,
        names: NameResolution | None = None,
        *,
        patient: bool = True,
    ) -> None:
        self._reactor = reactor
        self._rules = rules
        self._names = NameResolution(reactor) if names is None else names
        self._patient = patient
        self._tls = HostnameCachingHTTPSPolicy(BrowserLikePolicyForHTTPS(), cacheSize=TLS_CONTEXTS)

    def __call__(self, scheme: str, host: str, port: int) -> IStreamClientEndpoint:
        """Where to connect.

        Raises:
            DestinationRefused: to no such origin.
        """
        origin = Origin(scheme, host, port)
        if fault := self._rules.origin_fault(origin):
            raise DestinationRefused(f"refused: {shown_origin(origin)} {fault}")
        endpoint = CheckedEndpoint(
            self._reactor, host, port, self._rules, CONNECT_TIMEOUT, self._names, patient=self._patient
        )
        if scheme == "https":
            return wrapClientTLS(self._tls.creatorForNetloc(host.encode("ascii"), port), endpoint)
        return endpoint
