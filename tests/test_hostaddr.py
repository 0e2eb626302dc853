"""`slayq_tw.hostaddr`."""

from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.errors import DatabaseUnavailable
from slayq_tw.hostaddr import resolved

ADDRESSES = {
    "db.test": [IPv6Address("TCP", "fd00::1", 0), IPv4Address("TCP", "10.0.0.1", 0)],
    "standby.test": [IPv4Address("TCP", "10.0.0.2", 0)],
}


class Resolver(Clock):
    """A reactor whose resolver knows two names, and never answers for a third."""

    @property
    def nameResolver(self) -> "Resolver":
        return self

    def resolveHostName(self, receiver: Any, name: str) -> None:
        if name == "mute.test":
            return
        for address in ADDRESSES.get(name, []):
            receiver.addressResolved(address)
        receiver.resolutionComplete()


class ResolvedTests(SynchronousTestCase):
    """Names get addresses, and keep their names for TLS."""

    def setUp(self) -> None:
        self.reactor = Resolver()

    def resolve(self, **parameters: str) -> Deferred[dict[str, str]]:
        return Deferred.fromCoroutine(resolved(parameters, self.reactor, 10.0))

    def test_every_address(self) -> None:
        """Each address of each name is a candidate, with the port of its name."""
        self.assertEqual(
            self.successResultOf(self.resolve(host="db.test,standby.test", port="5432,5433", dbname="app")),
            {
                "host": "db.test,db.test,standby.test",
                "hostaddr": "fd00::1,10.0.0.1,10.0.0.2",
                "port": "5432,5432,5433",
                "dbname": "app",
            },
        )

    def test_without_a_port(self) -> None:
        """libpq's default port stays its own affair."""
        self.assertEqual(
            self.successResultOf(self.resolve(host="standby.test")),
            {"host": "standby.test", "hostaddr": "10.0.0.2"},
        )

    def test_sockets_and_addresses_stay(self) -> None:
        """A socket folder, a given address, or no host at all need no resolver."""
        for parameters in ({"host": "10.0.0.9", "hostaddr": "10.0.0.9"}, {"dbname": "app"}):
            self.assertEqual(self.successResultOf(self.resolve(**parameters)), parameters)
        self.assertEqual(
            self.successResultOf(self.resolve(host="/run/postgresql,standby.test")),
            {"host": "/run/postgresql,standby.test", "hostaddr": ",10.0.0.2"},
        )

    def test_unknown_name(self) -> None:
        """A name without an address is an outage, not a fault: DNS may come up later than we do."""
        failure = self.failureResultOf(self.resolve(host="nowhere.test"), DatabaseUnavailable)
        self.assertIn("nowhere.test", str(failure.value))

    def test_mute_resolver(self) -> None:
        """A resolver that does not answer is given up."""
        resolving = self.resolve(host="mute.test")
        self.reactor.advance(9.9)
        self.assertNoResult(resolving)
        self.reactor.advance(0.1)
        self.failureResultOf(resolving, DatabaseUnavailable)
