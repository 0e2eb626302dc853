"""`slayq_tw.checked_endpoint` on a reactor in memory: what is checked is what is connected to."""

from collections.abc import Sequence

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.error import ConnectionRefusedError, DNSLookupError
from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.checked_endpoint import CheckedEndpoint
from slayq_tw.destinations import DestinationRules
from slayq_tw.errors import DestinationRefused, NameUnresolved
from slayq_tw.name_resolution import BRISK, KEPT, TIMEOUT, NameResolution
from slayq_tw.webclient import Endpoints
from slayq_tw.weburl import Origin

OPEN, SHUT = DestinationRules(), DestinationRules(allow_private_networks=False)


class Resolver:
    """Answers each question with the next of its answers; None is no answer, ever."""

    def __init__(self, *answers: Sequence[str] | None) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def __call__(self, name: str) -> "Deferred[list[str]]":
        self.asked.append(name)
        answer = self.answers.pop(0)
        return Deferred() if answer is None else succeed(list(answer))


class CheckedEndpointTests(SynchronousTestCase):
    """Resolved once, judged, then connected to."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()

    def connect(
        self, *answers: Sequence[str] | None, host: str = "app.test", rules: DestinationRules = OPEN
    ) -> "Deferred[IProtocol]":
        self.resolver = Resolver(*answers)
        self.names = NameResolution(self.reactor, self.resolver)
        endpoint = CheckedEndpoint(self.reactor, host, 80, rules, 10.0, self.names)
        return endpoint.connect(Factory.forProtocol(Protocol))

    def connected(self) -> list[tuple[str, int]]:
        """Where connections were begun to."""
        return [(host, port) for host, port, *_ in self.reactor.tcpClients]

    def test_allowed(self) -> None:
        """The resolved address is connected to, and the name is asked for once."""
        connecting = self.connect(["93.184.216.34"])
        self.assertEqual((self.connected(), self.resolver.asked), ([("93.184.216.34", 80)], ["app.test"]))
        ((_, _, factory, *_),) = self.reactor.tcpClients
        protocol = factory.buildProtocol(None)
        protocol.makeConnection(object())
        self.successResultOf(connecting)

    def test_refused(self) -> None:
        """An address that no delivery may go to is not connected to, and the error says what it is."""
        failure = self.failureResultOf(self.connect(["169.254.169.254"]), DestinationRefused)
        self.assertEqual(
            str(failure.value),
            "refused: the host app.test resolves to 169.254.169.254, which is the address of a cloud's metadata"
            " service, to which nothing is delivered",
        )
        self.assertEqual(self.connected(), [])

    def test_literal(self) -> None:
        """An address in the URL is judged as one that was resolved, and named once."""
        connecting = self.connect(["fe80::1"], host="fe80::1")
        failure = self.failureResultOf(connecting, DestinationRefused)
        self.assertTrue(str(failure.value).startswith("refused: fe80::1, which is a link-local address"))
        self.assertEqual(self.connected(), [])
        self.assertEqual(self.resolver.asked, [])

    def test_private(self) -> None:
        """Private and loopback addresses are connected to unless that is shut."""
        for address in ("10.0.0.1", "127.0.0.1", "::1", "fd12::1", "::ffff:10.0.0.1"):
            self.reactor.tcpClients.clear()
            self.connect([address])
            self.assertEqual(self.connected(), [(address, 80)])
            self.reactor.tcpClients.clear()
            failure = self.failureResultOf(self.connect([address], rules=SHUT), DestinationRefused)
            self.assertIn("allow_private_networks is false", str(failure.value))
            self.assertEqual(self.connected(), [])

    def test_some_are_allowed(self) -> None:
        """Of several addresses, those that are allowed are tried in their order, and no other."""
        connecting = self.connect(
            ["169.254.169.254", "10.0.0.1", "::ffff:169.254.169.254", "1.1.1.1", "fe80::1"]
        )
        self.assertEqual(self.connected(), [("10.0.0.1", 80)])
        self.reactor.advance(0.3)
        self.assertEqual(self.connected(), [("10.0.0.1", 80), ("1.1.1.1", 80)])
        self.reactor.advance(0.3)
        for _, _, factory, *_ in self.reactor.tcpClients:
            factory.clientConnectionFailed(None, Failure(ConnectionRefusedError()))
        self.failureResultOf(connecting, ConnectionRefusedError)
        self.assertEqual(len(self.connected()), 2)

    def test_rebinding(self) -> None:
        """A name whose address changes between two look-ups is judged at each connection by what that one found."""
        self.connect(["93.184.216.34"], ["169.254.169.254"])
        self.assertEqual(self.connected(), [("93.184.216.34", 80)])
        self.reactor.advance(KEPT)
        again = CheckedEndpoint(self.reactor, "app.test", 80, OPEN, 10.0, self.names)
        self.failureResultOf(again.connect(Factory.forProtocol(Protocol)), DestinationRefused)
        self.assertEqual(self.connected(), [("93.184.216.34", 80)])
        self.assertEqual(self.resolver.answers, [])

    def test_no_address(self) -> None:
        """A name without an address is no refusal: it may have one later."""
        self.failureResultOf(self.connect([]), DNSLookupError)

    def test_nonsense_from_the_resolver(self) -> None:
        """What is no IP address is never connected to: that would resolve it again."""
        self.failureResultOf(self.connect(["metadata.internal"]), DestinationRefused)
        self.assertEqual(self.connected(), [])

    def test_awkward_names(self) -> None:
        """Names that Twisted takes for malformed are the resolver's to know."""
        for host in ("my_app", "-app-", "xn--a"):
            self.reactor.tcpClients.clear()
            self.connect(["10.0.0.1"], host=host)
            self.assertEqual((self.resolver.asked, self.connected()), ([host], [("10.0.0.1", 80)]))

    def test_cancelled(self) -> None:
        """Cancelling while the name is resolved is no failure of the name's."""
        connecting = self.connect(None)
        connecting.cancel()
        self.failureResultOf(connecting, CancelledError)
        self.assertEqual(self.connected(), [])

    def test_silent_resolver(self) -> None:
        """A resolver that does not answer is given up, which says nothing of whether the host has an address."""
        connecting = self.connect(None)
        self.reactor.pump([BRISK, TIMEOUT - BRISK])
        failure = self.failureResultOf(connecting, NameUnresolved)
        self.assertEqual(str(failure.value), "the host name cannot be looked up: no answer within 8 s")


class EndpointsTests(SynchronousTestCase):
    """Every connection passes the same door."""

    def test_origins(self) -> None:
        """To an origin that is not listed there is no endpoint."""
        rules = DestinationRules(allowed_origins=frozenset({Origin("https", "app.test", 443)}))
        endpoint_for = Endpoints(MemoryReactorClock(), rules)
        endpoint_for("https", "app.test", 443)
        for origin, shown in (
            (("http", "app.test", 80), "http://app.test"),
            (("https", "app.test", 444), "https://app.test:444"),
            (("https", "other.test", 443), "https://other.test"),
        ):
            error = self.assertRaises(DestinationRefused, endpoint_for, *origin)
            self.assertEqual(str(error), f"refused: {shown} is not among allowed_origins")

    def test_addresses(self) -> None:
        """The rules on addresses hold with TLS and without."""
        for scheme, port in (("http", 80), ("https", 443)):
            reactor = MemoryReactorClock()
            names = NameResolution(reactor, Resolver(["10.0.0.1"]))
            endpoint = Endpoints(reactor, SHUT, names)(scheme, "app.test", port)
            self.failureResultOf(endpoint.connect(Factory.forProtocol(Protocol)), DestinationRefused)
            self.assertEqual(reactor.tcpClients, [])
