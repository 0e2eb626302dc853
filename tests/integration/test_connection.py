"""`slayq_tw.connection` and `slayq_tw.detector` on a real Postgres: ends at every moment."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

from psycopg2.extensions import STATUS_READY, QueryCanceledError
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from txpostgres import txpostgres

from slayq_tw import connection as connection_module
from slayq_tw.connection import Connection
from slayq_tw.conninfo import parse
from slayq_tw.database import Cursor, Database
from slayq_tw.errors import DatabaseUnavailable
from slayq_tw.hostaddr import resolved
from tests.postgres import ask, empty_database
from tests.processes import ROOT, python_environment
from tests.waiting import after, until

SESSIONS = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
AGAIN = "SLAYQ_TEST_ON_ANOTHER_REACTOR"


class Mute(Protocol):
    """Takes connections and says nothing."""

    def connectionMade(self) -> None:
        """Somebody tries."""
        self.factory.tried += 1

    def connectionLost(self, reason: Any = None) -> None:
        """The other side has given up."""
        self.factory.ended += 1


class Hooked(Connection):
    """Calls something in the very turn of the reactor in which the driver finds that the connection stands, which is a
    turn before whoever waits for it is told.
    """

    then: Callable[[], None] | None = None

    def continuePolling(self, swallowErrors: bool = False) -> None:
        """txpostgres's."""
        was_open = self._opening
        super().continuePolling(swallowErrors)
        if was_open and self._connection.status == STATUS_READY and self.then is not None:
            then, self.then = self.then, None
            then()


class ConnectionTestCase(TestCase):
    """A database, and connections to it that leave nothing behind."""

    def setUp(self) -> None:
        self.url = empty_database(self)
        self.parameters, _ = parse(self.url)
        # The driver answers to it with an error of its own, which nobody is there to handle.
        self.cancelled: list[Any] = []
        self.patch(txpostgres._PollingMixin, "_cancel", lambda one, _: self.cancelled.append(one))

    def assert_nothing_is_left(self) -> None:
        watched = [*reactor.getReaders(), *reactor.getWriters()]  # type: ignore[attr-defined]
        self.assertEqual([one for one in watched if isinstance(one, txpostgres._PollingMixin)], [])
        self.assertEqual(self.cancelled, [])
        self.assertEqual(self.flushLoggedErrors(), [])

    def sessions(self) -> int:
        ((count,),) = ask(self.url, SESSIONS)
        return int(count)

    def reconnecting(self, one: Connection) -> None:
        """Have it opened as after a loss."""
        one.detector.setReconnectable(one)
        one.detector.checkForDeadConnection(Failure(DatabaseUnavailableForTests()))

    async def mute(self) -> IListeningPort:
        factory: Any = Factory.forProtocol(Mute)
        factory.tried = factory.ended = 0
        self.mutes = factory
        port: IListeningPort = reactor.listenTCP(0, factory, interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        return port


class DatabaseUnavailableForTests(txpostgres.psycopg2.OperationalError):  # type: ignore[misc]  # txpostgres has no types
    """What the driver raises for a lost connection: no code."""


class OpeningTests(ConnectionTestCase):
    """It is closed while it is being opened."""

    async def test_abandoned_when_it_stands(self) -> None:
        """In the turn in which it comes to stand: nothing is raised, logged, or left open."""
        one = Hooked(self.parameters, reactor)
        ended: Deferred[None] = Deferred()

        def end() -> None:
            one.abandon()
            reactor.callLater(0.05, ended.callback, None)  # type: ignore[attr-defined]

        one.then = end
        self.reconnecting(one)
        await ended
        self.assertFalse(one.alive)
        await until(lambda: self.sessions() == 0, "end of the session")
        self.assert_nothing_is_left()

    async def test_closed_when_it_stands(self) -> None:
        """The same for a first connect: it fails as one that was lost."""
        one = Hooked(self.parameters, reactor)
        one.then = one.close
        await self.assertFailure(one.connect(), DatabaseUnavailable)
        await until(lambda: self.sessions() == 0, "end of the session")
        one.abandon()
        self.assert_nothing_is_left()

    async def test_abandoned_while_it_waits(self) -> None:
        """While the server has not answered yet."""
        port = await self.mute()
        there = {**self.parameters, "port": str(port.getHost().port)}  # type: ignore[attr-defined]
        for begin in (self.reconnecting, lambda one: self.assertFailure(one.connect(), DatabaseUnavailable)):
            one = Connection(there, reactor)
            tried = self.mutes.tried
            begin(one)
            await until(lambda tried=tried: self.mutes.tried > tried, "connection")  # type: ignore[misc]
            one.abandon()
            await until(lambda: self.mutes.ended == self.mutes.tried, "end of the connection")
            self.assertFalse(one.alive)
        self.assert_nothing_is_left()

    async def test_abandoned_during_the_look_up(self) -> None:
        """While its host's address is looked up: it ends at once, and nothing is opened afterwards."""
        answer: Deferred[None] = Deferred()

        async def slow(parameters: Mapping[str, str], *more: Any) -> dict[str, str]:
            await answer
            return await resolved(parameters, *more)

        self.patch(connection_module, "resolved", slow)
        first, again = Connection(self.parameters, reactor), Connection(self.parameters, reactor)
        opening = first.connect()
        self.reconnecting(again)
        for one in (first, again):
            one.abandon()
        await self.assertFailure(opening, DatabaseUnavailable)
        if not answer.called:
            answer.callback(None)
        self.assertEqual(self.sessions(), 0)
        self.assert_nothing_is_left()

    async def test_pool_is_closed_as_it_opens(self) -> None:
        """Each connection of a pool is closed, though the first one was just being opened."""
        database = Database(self.parameters, reactor)
        hooked = Hooked(self.parameters, reactor)
        database._connections[0] = hooked
        closing: list[Deferred[None]] = []
        hooked.then = lambda: closing.append(Deferred.fromCoroutine(database.close()))
        await self.assertFailure(Deferred.fromCoroutine(database.open()), DatabaseUnavailable)
        await closing[0]
        await until(lambda: self.sessions() == 0, "end of the sessions")
        self.assert_nothing_is_left()

    async def test_bug_while_reconnecting(self) -> None:
        """What nobody has thought of is logged, and the connection is tried again all the same."""
        one = Connection(self.parameters, reactor)
        self.addCleanup(one.abandon)
        await one.connect()
        connect = one.connect
        calls = 0

        def once_broken() -> Deferred[None]:
            nonlocal calls
            calls += 1
            return fail(ZeroDivisionError()) if calls == 1 else connect()

        self.patch(one, "connect", once_broken)
        one.close()
        await until(lambda: one.alive, "reconnection")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class ClosingTests(ConnectionTestCase):
    """It is closed while it is in use."""

    async def test_query_in_flight(self) -> None:
        """No reader or writer stays with the reactor, and the next connect, which may get the same number, works."""
        one = Connection(self.parameters, reactor)
        await one.connect()
        for _ in range(3):
            asking = one.rows("SELECT pg_sleep(60)", None)
            watched = {id(reader) for reader in reactor.getReaders()}  # type: ignore[attr-defined]
            (cursor,) = one._cursors
            self.assertIn(id(cursor), watched)
            one.close()
            self.assertNotIn(cursor, reactor.getReaders())  # type: ignore[attr-defined]
            self.assertNotIn(cursor, reactor.getWriters())  # type: ignore[attr-defined]
            await self.assertFailure(asking, Exception)
            await until(lambda: one.alive, "reconnection")
            self.assertEqual(await one.rows("SELECT 1", None), [(1,)])
        one.abandon()
        self.assert_nothing_is_left()

    async def test_failed_rollback(self) -> None:
        """A transaction that could not be rolled back ends with its connection; the next one finds none of it."""

        class Stubborn(txpostgres.Cursor):  # type: ignore[misc]  # txpostgres has no types
            def execute(self, query: str, params: Any = None) -> Any:
                if query == "ROLLBACK":
                    return fail(refusals.pop())
                return super().execute(query, params)

        database = Database(self.parameters, reactor, size=1)
        self.addCleanup(database.close)
        await database.open()
        await database.query("CREATE TABLE public.t (n integer)")
        (one,) = database._connections
        self.patch(one, "cursorFactory", Stubborn)

        async def broken(cursor: Cursor) -> None:
            await cursor.execute("INSERT INTO public.t VALUES (1)")
            raise ZeroDivisionError

        for refusal in (QueryCanceledError(), CancelledError()):
            refusals = [refusal]
            before = one.process_id
            await self.assertFailure(Deferred.fromCoroutine(database.transaction(broken)), ZeroDivisionError)
            await until(lambda: one.alive, "reconnection")
            self.assertEqual(refusals, [])
            self.assertNotEqual(one.process_id, before)
            self.assertEqual(await database.query("SELECT count(*) FROM public.t"), [(0,)])

    def test_on_asyncio(self) -> None:
        """All of this holds on the asyncio reactor as well, which keeps what it watches in another way."""
        if AGAIN in os.environ:
            return
        found = subprocess.run(
            [
                *(sys.executable, "-m", "twisted.trial", "--reactor=asyncio"),
                *("--temp-directory", os.path.abspath(self.mktemp()), "tests.integration.test_connection"),
            ],
            env={**os.environ, **python_environment(), AGAIN: "1"},
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        self.assertEqual(found.returncode, 0, found.stdout[-4000:] + found.stderr[-2000:])


PATIENCE = 3.0
"""Seconds for each host: a busy machine's Postgres answers sooner, and a mute one is waited for that long, once."""


class SeveralHostsTests(ConnectionTestCase):
    """One URL with several hosts."""

    def through(self, *ports: int, **more: str) -> Connection:
        hosts = ",".join(["127.0.0.1"] * len(ports))
        one = Connection(
            {**self.parameters, "host": hosts, "port": ",".join(map(str, ports)), **more}, reactor
        )
        self.addCleanup(one.abandon)
        return one

    async def test_first_is_mute(self) -> None:
        """A host that takes connections and says nothing, or no longer is there to refuse them, does not keep us from
        the one behind it, and is asked last from then on.
        """
        self.patch(connection_module, "CONNECT_TIMEOUT", 2 * PATIENCE)
        port = await self.mute()
        one = self.through(port.getHost().port, int(self.parameters["port"]))  # type: ignore[attr-defined]
        await one.connect()
        self.assertEqual(await one.rows("SELECT 1", None), [(1,)])
        self.assertEqual(self.mutes.tried, 1)
        for _ in range(3):
            one.close()
            await until(lambda: one.alive, "reconnection")
        self.assertEqual(self.mutes.tried, 1)

    async def test_first_is_unknown(self) -> None:
        """Nor does a host whose name is gone with it, or whose name server says nothing."""
        self.patch(connection_module, "CONNECT_TIMEOUT", 2 * PATIENCE)
        asked: list[str] = []

        async def look_up(parameters: Mapping[str, str], *more: Any) -> dict[str, str]:
            asked.append(parameters["host"])
            if parameters["host"] == "gone.test":
                raise DatabaseUnavailable("no address for the database host 'gone.test'")
            if parameters["host"] == "mute.test":
                await after(PATIENCE + 0.1)
                raise DatabaseUnavailable("no address for the database host 'mute.test'")
            return {**parameters, "host": "db.test,db.test", "hostaddr": "127.0.0.1,127.0.0.1", "port": ports}

        self.patch(connection_module, "resolved", look_up)
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            ports = f"{unused.getsockname()[1]},{self.parameters['port']}"  # its first address refuses
            one = Connection({**self.parameters, "host": "gone.test,mute.test,db.test"}, reactor)
            self.addCleanup(one.abandon)
            await one.connect()
            self.assertEqual(await one.rows("SELECT 1", None), [(1,)])
            one.close()
            await until(lambda: one.alive, "reconnection")
        self.assertEqual(asked, ["gone.test", "mute.test", "db.test", "gone.test", "db.test"])

    async def test_all_fail(self) -> None:
        """Each reason is told once."""
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            port = unused.getsockname()[1]
            one = self.through(port, port, int(self.parameters["port"]), dbname="no_such_db")
            error = await self.assertFailure(one.connect(), DatabaseUnavailable)
        self.assertEqual(str(error).count("Connection refused"), 1)
        self.assertIn("no_such_db", str(error))

    async def test_read_only_host(self) -> None:
        """With `target_session_attrs` a host that may only be read is passed over, as by libpq itself."""
        other = empty_database(self)
        name = other.rpartition("/")[2]
        ask(other, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        one = self.through(
            *[int(self.parameters["port"])] * 2, dbname=name, target_session_attrs="read-write"
        )
        error = await self.assertFailure(one.connect(), DatabaseUnavailable)
        self.assertIn("read-only", str(error))

    async def test_names(self) -> None:
        """Names with ports of their own, looked up by us, and `target_session_attrs`: the first that is fit."""
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            ports = f"{unused.getsockname()[1]},{self.parameters['port']}"
            several = {"host": "localhost,localhost", "port": ports, "target_session_attrs": "read-write"}
            one = Connection({**self.parameters, **several}, reactor)
            self.addCleanup(one.abandon)
            await one.connect()
        self.assertEqual(await one.rows("SHOW transaction_read_only", None), [("off",)])
        self.assertEqual(one._connection.info.dsn_parameters["hostaddr"], "127.0.0.1")
        self.assertEqual(one._connection.info.dsn_parameters["host"], "localhost")  # which TLS verifies
