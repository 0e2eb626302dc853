"""`CheckedEndpoint`: resolves a host, and connects to those of its addresses that the rules allow."""

from collections.abc import Sequence
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import (
    IHostnameResolver,
    IProtocol,
    IProtocolFactory,
    IReactorPluggableNameResolver,
    IResolutionReceiver,
    IStreamClientEndpoint,
)
from zope.interface import implementer

from slayq_tw.destinations import DestinationRules
from slayq_tw.errors import DestinationRefused
from slayq_tw.name_resolution import NameResolution


@implementer(IStreamClientEndpoint)
class CheckedEndpoint:
    """Connects to a host by any name that the resolver knows, or to an IP address in any spelling.

    A name is resolved once: the addresses that were checked are those that are connected to, so a name server that
    answers differently each time gains nothing by it. Twisted's own endpoint then tries them, the next one a moment
    after the last. (It would refuse names with an underscore, which are no internet names, but usual in Docker's
    networks.)

    Args:
        reactor: connects.
        host, port: where to.
        rules: which addresses may be connected to.
        timeout: seconds for connecting to each address.
        names: resolves.
        patient: see `NameResolution.addresses`.
    """

    def __init__(
        self,
        reactor: Any,
        host: str,
        port: int,
        rules: DestinationRules,
        timeout: float,
        names: NameResolution,
        *,
        patient: bool = True,
    ) -> None:
        self._reactor = reactor
        self._host = host
        self._port = port
        self._rules = rules
        self._timeout = timeout
        self._names = names
        self._patient = patient

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """As IStreamClientEndpoint's; fails with `DestinationRefused` when no address is allowed, or as
        `NameResolution.addresses` does.
        """
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        found = await self._names.addresses(self._host, patient=self._patient)
        faults = [self._rules.address_fault(address) for address in found]
        allowed = [address for address, fault in zip(found, faults, strict=True) if fault is None]
        if not allowed:
            by_name = (
                "" if ":" in self._host or found[0] == self._host else f"the host {self._host} resolves to "
            )
            raise DestinationRefused(f"refused: {by_name}{found[0]}, which {faults[0]}")
        reactor = _Resolved(self._reactor, allowed)
        endpoint = HostnameEndpoint(reactor, "resolved.invalid", self._port, timeout=self._timeout)
        return await endpoint.connect(factory)


@implementer(IReactorPluggableNameResolver, IHostnameResolver)
class _Resolved:
    """The reactor, for whose resolver every name has the given addresses."""

    def __init__(self, reactor: Any, addresses: Sequence[str]) -> None:
        self._reactor = reactor
        self._addresses = addresses
        self.nameResolver = self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def installNameResolver(self, resolver: IHostnameResolver) -> IHostnameResolver:
        """As IReactorPluggableNameResolver's; not wanted here."""
        raise NotImplementedError

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: object = None,
        transportSemantics: str = "TCP",
    ) -> Any:
        """As IHostnameResolver's, at once."""
        for address in self._addresses:
            family = IPv6Address if ":" in address else IPv4Address
            resolutionReceiver.addressResolved(family("TCP", address, portNumber))
        resolutionReceiver.resolutionComplete()
