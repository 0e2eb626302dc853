"""`slayq_tw.hostaddr`."""

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.errors import DatabaseUnavailable, NameUnresolved
from slayq_tw.hostaddr import resolved
from slayq_tw.name_resolution import NameResolution

ADDRESSES = {"db.test": ["fd00::1", "10.0.0.1"], "standby.test": ["10.0.0.2"], "nowhere.test": []}


def resolve(name: str) -> "Deferred[list[str]]":
    """Knows two names, and that a third has no address; never answers for `mute.test`, and cannot for others."""
    if name == "mute.test":
        return Deferred()
    if name in ADDRESSES:
        return succeed(ADDRESSES[name])
    return fail(NameUnresolved("the host name cannot be looked up: Temporary failure in name resolution"))


TIMEOUT = 5.0


class ResolvedTests(SynchronousTestCase):
    """Names get addresses, and keep their names for TLS."""

    def setUp(self) -> None:
        self.reactor = Clock()
        self.names = NameResolution(self.reactor, resolve, keep=False)

    def resolve(self, **parameters: str) -> Deferred[dict[str, str]]:
        return Deferred.fromCoroutine(resolved(parameters, self.names, self.reactor, TIMEOUT))

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
        self.reactor.advance(4.9)
        self.assertNoResult(resolving)
        self.reactor.advance(0.1)
        failure = self.failureResultOf(resolving, DatabaseUnavailable)
        self.assertEqual(
            str(failure.value), "the database host 'mute.test' cannot be looked up: no answer within 5 s"
        )

    def test_name_server_fails(self) -> None:
        """What the resolver cannot find out is said as such, and no claim about the name."""
        failure = self.failureResultOf(self.resolve(host="other.test"), DatabaseUnavailable)
        self.assertEqual(
            str(failure.value),
            "the database host 'other.test': the host name cannot be looked up: Temporary failure in name resolution",
        )
