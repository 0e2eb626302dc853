"""Where a delivery may go: to which addresses, and to which origins.

Whoever may add a job chooses a URL that the daemon, inside the operator's network, then posts to. So no delivery goes
to an address behind which there is no application: a cloud's metadata service gives away credentials to whoever can
connect to it. Addresses are judged as they were resolved, right before they are connected to (`checked_endpoint`); what
the URL's host is spelled like does not matter.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from socket import AF_INET6, inet_ntop, inet_pton

from slayq_tw.weburl import Origin, origin_of, shown_origin


class Kind(Enum):
    """What an address is, in words. Those further down are the worse ones."""

    PUBLIC = "a public address"
    PRIVATE = "a private address"
    LOOPBACK = "a loopback address"
    LINK_LOCAL = "a link-local address"
    MULTICAST = "a multicast address"
    RESERVED = "a reserved address"
    UNSPECIFIED = "an unspecified address"
    METADATA = "the address of a cloud's metadata service"


_SEVERITY = {kind: place for place, kind in enumerate(Kind)}
_SHUT_BY_SETTING = (Kind.PRIVATE, Kind.LOOPBACK)

_METADATA = tuple(
    map(
        ip_network,
        (
            "169.254.169.254/32",  # AWS, Azure, Google and most others
            "169.254.170.0/24",  # AWS: credentials of containers
            "100.100.100.200/32",  # Alibaba
            "168.63.129.16/32",  # Azure's wire server, which only looks like a public address
            "192.0.0.192/32",  # Oracle, the older of two
            "fd00:ec2::/32",  # AWS's own services, credentials of containers among them
            "fd20:ce::254/128",  # Google
            "fd00:c1::a9fe:a9fe/128",  # Oracle
            "fd00:42::42/128",  # Scaleway
        ),
    )
)
_RESERVED = tuple(map(ip_network, ("192.0.0.0/24", "192.88.99.0/24")))
"""Addresses of protocols, beside those that `ipaddress` calls reserved."""
_THIS_NETWORK = ip_network("0.0.0.0/8")


_IPV4_COMPATIBLE = ip_network("::/96")
_NAT64 = ip_network("64:ff9b::/96")
_LOCAL_NAT64 = ip_network("64:ff9b:1::/48")


@dataclass(frozen=True, slots=True)
class DestinationRules:
    """What the configuration allows. What no configuration allows is refused by all rules.

    Attributes:
        allow_private_networks: whether private and loopback addresses may be posted to.
        allowed_origins: None for any.
        public_only: whether it is a receiver with a public address that leads there, by a redirect.
    """

    allow_private_networks: bool = True
    allowed_origins: frozenset[Origin] | None = None
    public_only: bool = False

    def address_fault(self, address: str) -> str | None:
        """Why an address may not be connected to: None, or the end of a sentence that begins with it."""
        try:
            kind = kind_of(address)
        except ValueError:
            return "is no IP address"
        if kind is Kind.PUBLIC:
            return None
        if kind in _SHUT_BY_SETTING and self.allow_private_networks and self.public_only:
            return f"is {kind.value}; a receiver with a public address may not redirect there"
        if kind in _SHUT_BY_SETTING:
            return (
                None if self.allow_private_networks else f"is {kind.value}; allow_private_networks is false"
            )
        return f"is {kind.value}, to which nothing is delivered"

    def origin_fault(self, origin: Origin) -> str | None:
        """Likewise for an origin, whatever its address."""
        if self.allowed_origins is None or origin in self.allowed_origins:
            return None
        return "is not among allowed_origins"

    def url_fault(self, url: str) -> str | None:
        """Why nothing can be delivered to a checked URL, as far as that is known before its host is resolved."""
        origin = origin_of(url)
        if fault := self.origin_fault(origin):
            return f"its origin {shown_origin(origin)} {fault}"
        host = origin[1]
        try:
            ip_address(host)
        except ValueError:
            return None
        fault = self.address_fault(host)
        return fault and f"{shown_address(host)} {fault}"


def shown_address(address: str) -> str:
    """An IP address as people know it: `::ffff:169.254.169.254`, which a URL has as `::ffff:a9fe:a9fe`."""
    return inet_ntop(AF_INET6, inet_pton(AF_INET6, address)) if ":" in address else address


NO_FURTHER_RULES = DestinationRules()


def kind_of(address: str) -> Kind:
    """What an IP address is. One that stands for an IPv4 address, in whatever form, is what that is.

    Raises:
        ValueError: it is no address.
    """
    return max(map(_kind, _meant(ip_address(address))), key=_SEVERITY.__getitem__)


def _meant(address: IPv4Address | IPv6Address) -> Iterator[IPv4Address | IPv6Address]:
    """The addresses that something sent to this one may reach: of IPv4 when it is a form of such."""
    if isinstance(address, IPv4Address):
        yield address
    elif address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    elif address.sixtofour is not None:
        yield address.sixtofour
    elif address.teredo is not None:
        yield from address.teredo  # its server and the client
    elif address in _LOCAL_NAT64:
        yield from _local_nat64(address)
    elif address in _NAT64 or (address in _IPV4_COMPATIBLE and int(address) > 1):  # :: and ::1 are none
        yield IPv4Address(address.packed[12:])
    else:
        yield address


def _local_nat64(address: IPv6Address) -> Iterator[IPv4Address | IPv6Address]:
    """RFC 8215 leaves the prefix's length to each network; RFC 6052 says where the IPv4 address then stands.

    With the usual prefix of 96 bits it comes last, after zeros. Otherwise any of the other places may hold it; where
    there is a zero first, the prefix goes on.
    """
    packed = address.packed
    if not any(packed[8:12]):
        yield IPv4Address(packed[12:])
        return
    places = ((6, 7, 9, 10), (7, 9, 10, 11), (9, 10, 11, 12), (12, 13, 14, 15))
    possible = [bytes(packed[place] for place in four) for four in places]
    meant: list[IPv4Address | IPv6Address] = [IPv4Address(four) for four in possible if four[0]]
    yield from meant or [address]


def _kind(address: IPv4Address | IPv6Address) -> Kind:
    if any(address in network for network in _METADATA):
        return Kind.METADATA
    if address.is_unspecified or address in _THIS_NETWORK:
        return Kind.UNSPECIFIED
    if address.is_loopback:
        return Kind.LOOPBACK
    if address.is_link_local:
        return Kind.LINK_LOCAL
    if address.is_multicast:
        return Kind.MULTICAST
    if address.is_reserved or any(address in network for network in _RESERVED):
        return Kind.RESERVED
    site_local = isinstance(address, IPv6Address) and address.is_site_local
    return Kind.PUBLIC if address.is_global and not site_local else Kind.PRIVATE
