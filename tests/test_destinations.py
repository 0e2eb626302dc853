"""`slayq_tw.destinations`: what an address is, and what is refused."""

from ipaddress import IPv4Address, IPv6Address

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.destinations import DestinationRules, Kind, kind_of
from slayq_tw.weburl import origin_of

OPEN, SHUT = DestinationRules(), DestinationRules(allow_private_networks=False)

ADDRESSES = {
    Kind.PUBLIC: [
        "1.1.1.1", "93.184.216.34", "100.63.255.255", "100.128.0.0", "172.15.0.1", "172.32.0.1", "192.169.0.1",
        "169.253.255.255", "169.255.0.0", "126.255.255.255", "128.0.0.0", "223.255.255.255", "11.0.0.0",
        "2606:4700::1111", "2a00:1450::1", "::ffff:1.1.1.1", "::1.1.1.1", "64:ff9b::1.1.1.1", "2002:101:101::",
        "64:ff9b:1::1.1.1.1", "64:ff9b:1:fffe::1.1.1.1", "64:ff9b:1:0:5d:b8d8:2200::",
    ],
    Kind.PRIVATE: [
        "10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "100.127.255.255",
        "198.18.0.1", "192.0.2.1", "203.0.113.9", "fc00::1", "fd12:3456:789a::1", "fec0::1", "2001:db8::1",
        "::ffff:10.0.0.1", "::10.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b:1::192.168.1.1", "2002:a00:1::1",
        "2001:0:5db8:d822:0:0:f5ff:fffe", "2001:0:a00:1:0:0:fefe:fefe",  # Teredo: a private client, a private server
    ],
    Kind.LOOPBACK: ["127.0.0.1", "127.255.255.255", "::1", "::ffff:127.0.0.1", "2002:7f00:1::", "64:ff9b::7f00:1"],
    Kind.LINK_LOCAL: [
        "169.254.0.1", "169.254.255.255", "fe80::1", "febf::1", "fe80::1%3", "::ffff:169.254.1.1", "2002:a9fe:101::",
    ],
    Kind.MULTICAST: ["224.0.0.1", "239.255.255.255", "ff02::1", "ff0e::1", "::ffff:224.0.0.1"],
    Kind.RESERVED: [
        "240.0.0.1", "255.255.255.255", "192.0.0.1", "192.88.99.1", "100::1", "4000::1", "fe00::1", "::ffff:0:7f00:1",
        "::ffff:255.255.255.255",
    ],
    Kind.UNSPECIFIED: ["0.0.0.0", "0.1.2.3", "::", "::ffff:0.0.0.0", "64:ff9b::", "64:ff9b:1::", "2002::"],
    Kind.METADATA: [
        "169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254",
        "fd00:ec2::23", "fd20:ce::254", "fd00:c1::a9fe:a9fe", "fd00:42::42", "::ffff:169.254.169.254",
        "::ffff:a9fe:a9fe", "::169.254.169.254", "64:ff9b::169.254.169.254", "64:ff9b:1::169.254.169.254",
        "64:ff9b:1:a9fe:a9:fe00::", "64:ff9b:1:a9:fe:a9fe::", "64:ff9b:1:0:a9:fea9:fe00::", "2002:a9fe:a9fe::1",
        "2001:0:5db8:d822:0:0:5601:5601", "2001:0:a9fe:a9fe:0:0:fefe:fefe",
    ],
}  # fmt: skip


class KindTests(SynchronousTestCase):
    """`kind_of` knows every form of an address."""

    def test_table(self) -> None:
        """One by one."""
        for kind, addresses in ADDRESSES.items():
            for address in addresses:
                self.assertEqual(kind_of(address), kind, address)

    def test_no_address(self) -> None:
        """What is no address is no kind of one, and is refused."""
        for text in (
            "",
            "localhost",
            "127.1",
            "2130706433",
            "0x7f.0.0.1",
            "[::1]",
            "1.1.1.1/32",
            "1.1.1.1\n",
        ):
            self.assertRaises(ValueError, kind_of, text)
            self.assertEqual(OPEN.address_fault(text), "is no IP address")

    @given(st.integers(0, 2**32 - 1).map(IPv4Address))
    @example(IPv4Address("169.254.169.254"))
    @example(IPv4Address("127.0.0.1"))
    @example(IPv4Address("10.0.0.1"))
    def test_embedded(self, address: IPv4Address) -> None:
        """Every IPv6 form of an IPv4 address is what that address is."""
        kind, bits = kind_of(str(address)), int(address)
        forms = {
            "mapped": 0xFFFF << 32 | bits,
            "NAT64": 0x64FF9B << 96 | bits,
            "local NAT64": 0x64FF9B_0001 << 80 | bits,
            "6to4": 0x2002 << 112 | bits << 80 | 0x1234,
            "Teredo": 0x2001_0000 << 96 | 0x01010101 << 64 | bits ^ 0xFFFFFFFF,
        }
        if bits > 1:  # else it is :: or ::1
            forms["compatible"] = bits
        for name, form in forms.items():
            self.assertEqual(kind_of(str(IPv6Address(form))), kind, name)

    @given(st.integers(2**24, 2**32 - 1).map(IPv4Address), st.sampled_from([48, 56, 64]))
    @example(IPv4Address("169.254.169.254"), 48)
    def test_local_nat64(self, address: IPv4Address, prefix: int) -> None:
        """With a shorter prefix of a network's own, the embedded address counts at least as what it is."""
        packed = bytearray(IPv6Address("64:ff9b:1::").packed)
        places = [place for place in range(prefix // 8, 16) if place != 8][:4]  # RFC 6052, 2.2
        for place, byte in zip(places, address.packed, strict=True):
            packed[place] = byte
        if not any(packed[9:12]):
            return  # nothing tells it from the form with 96 bits
        fault = OPEN.address_fault(str(IPv6Address(bytes(packed))))
        if OPEN.address_fault(str(address)) is not None:
            self.assertIsNotNone(fault)

    @given(st.integers(0, 2**128 - 1).map(IPv6Address))
    def test_any_address(self, address: IPv6Address) -> None:
        """Every address is of some kind, and what is refused openly is refused shut."""
        kind = kind_of(str(address))
        faults = OPEN.address_fault(str(address)), SHUT.address_fault(str(address))
        self.assertEqual(faults[1] is None, kind is Kind.PUBLIC)
        self.assertTrue(faults[0] is None or faults[1] is not None)


class RulesTests(SynchronousTestCase):
    """What the rules refuse."""

    def test_addresses(self) -> None:
        """Private and loopback addresses are the operator's choice, the rest of those that are not public nobody's."""
        for kind, addresses in ADDRESSES.items():
            for address in addresses:
                allowed = (OPEN.address_fault(address) is None, SHUT.address_fault(address) is None)
                private = kind in (Kind.PRIVATE, Kind.LOOPBACK)
                self.assertEqual(allowed, (private or kind is Kind.PUBLIC, kind is Kind.PUBLIC), address)

    def test_words(self) -> None:
        """A fault says what the address is, and which setting shuts it."""
        self.assertEqual(
            OPEN.address_fault("169.254.1.1"), "is a link-local address, to which nothing is delivered"
        )
        self.assertEqual(
            SHUT.address_fault("10.0.0.1"), "is a private address; allow_private_networks is false"
        )

    def test_origins(self) -> None:
        """Scheme, host and port count, in whatever spelling."""
        rules = DestinationRules(
            allowed_origins=frozenset(map(origin_of, ("https://app.test", "http://[::1]:8")))
        )
        for url, allowed in {
            "https://app.test/x?y": True,
            "HTTPS://APP.Test:443/": True,
            "https://user:password@app.test/": True,
            "http://[0:0:0:0:0:0:0:1]:8/": True,
            "http://app.test/": False,
            "https://app.test:444/": False,
            "https://app.test.evil.test/": False,
            "https://app.test@evil.test/": False,
            "https://sub.app.test/": False,
            "http://[::1]/": False,
        }.items():
            self.assertEqual(rules.origin_fault(origin_of(url)) is None, allowed, url)
        self.assertIsNone(OPEN.origin_fault(origin_of("http://anything.test")))
