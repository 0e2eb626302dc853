"""Resolves host names through the reactor. libpq would do it synchronously, and stop everything meanwhile."""

from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IAddress, IHostResolution, IResolutionReceiver
from zope.interface import implementer

from slayq_tw.errors import DatabaseUnavailable


@implementer(IResolutionReceiver)
class _Addresses:
    """Collects what the reactor's resolver finds for one host name."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self.complete: Deferred[list[str]] = Deferred()

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """Nothing to remember: a late answer is ignored."""

    def addressResolved(self, address: IAddress) -> None:
        """One more address, in the resolver's order of preference."""
        self.found.append(address.host)  # type: ignore[attr-defined]  # IPv4Address and IPv6Address have it

    def resolutionComplete(self) -> None:
        """That was all."""
        self.complete.callback(self.found)


async def addresses_of(name: str, reactor: Any, timeout: float) -> list[str]:
    """The IP addresses of a host name, in the resolver's order of preference; none when it takes too long."""
    receiver = _Addresses()
    receiver.complete.addTimeout(timeout, reactor)
    reactor.nameResolver.resolveHostName(receiver, name)
    try:
        return await receiver.complete
    except TimeoutError:
        return []


async def resolved(parameters: Mapping[str, str], reactor: Any, timeout: float) -> dict[str, str]:
    """The same libpq parameters with a `hostaddr` for each host name, so that libpq does not resolve by itself.

    `host` keeps the names, which TLS verifies. A name with several addresses is listed once per address, and libpq
    tries them in turn. Socket folders and given addresses stay as they are.

    Raises:
        DatabaseUnavailable: a name has no address, or none was found within `timeout` seconds.
    """
    hosts = parameters.get("host", "").split(",")
    if "hostaddr" in parameters or hosts == [""]:
        return dict(parameters)
    ports = parameters.get("port", "").split(",")
    rows: list[tuple[str, str, str]] = []
    for number, host in enumerate(hosts):
        port = ports[number] if len(ports) > 1 else ports[0]
        if not host or host.startswith(("/", "@")):
            rows.append((host, "", port))
            continue
        addresses = await addresses_of(host, reactor, timeout)
        if not addresses:
            raise DatabaseUnavailable(f"no address for the database host {host!r}")
        rows += [(host, address, port) for address in addresses]
    result = dict(parameters)
    result["host"], result["hostaddr"], result["port"] = (
        ",".join(column) for column in zip(*rows, strict=True)
    )
    if not result["port"].strip(","):
        del result["port"]
    return result
