"""`slayq_tw.database` on a real Postgres."""

import socket
from typing import Any
from urllib.parse import urlsplit

import psycopg2
from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import capturedLogs
from twisted.trial.unittest import TestCase

from slayq_tw import allowance, connection, detector, outage, suspicion
from slayq_tw import database as database_module
from slayq_tw.conninfo import parse
from slayq_tw.database import POOL_SIZE, Cursor, Database
from slayq_tw.errors import DatabaseError, DatabaseMute, DatabaseUnavailable
from slayq_tw.listener import Listener
from slayq_tw.pgerrors import TOO_LONG
from tests.postgres import empty_database
from tests.proxy import Proxy
from tests.waiting import until


class Mute(Protocol):
    """Takes connections and says nothing."""

    def connectionLost(self, reason: Any = None) -> None:
        """The other side has given up."""
        self.factory.hung_up.callback(None)


class DatabaseTests(TestCase):
    """Queries, transactions, and what becomes of them when the server goes away."""

    async def open(self, **changes: str) -> Database:
        self.url = empty_database(self)
        parameters, _ = parse(self.url)
        self.parameters = {**parameters, **changes}
        database = Database(self.parameters, reactor)
        self.addCleanup(database.close)
        await database.open()
        return database

    async def open_through_proxy(self) -> tuple[Database, Proxy]:
        proxy = Proxy.before(self, empty_database(self))
        parameters, _ = parse(proxy.url)
        database = Database(parameters, reactor)
        self.addCleanup(database.close)
        await database.open()
        return database, proxy

    def terminate_all(self, but: Any = None) -> int:
        """Have the server end every other connection to the test's database, but for one; how many there were."""
        spared = but.info.backend_pid if but else 0
        with psycopg2.connect(self.url) as admin, admin.cursor() as cursor:
            cursor.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid NOT IN (pg_backend_pid(), %s)",
                [spared],
            )
            ((count,),) = cursor.fetchall()
        admin.close()
        return int(count)

    async def test_query(self) -> None:
        """Rows come back; a statement without any gives an empty list; several statements give the last one's."""
        database = await self.open()
        self.assertEqual(await database.query("SELECT %(a)s::int, '%%'", {"a": 1}), [(1, "%")])
        self.assertEqual(await database.query("SELECT '%'"), [("%",)])
        self.assertEqual(
            await database.query("CREATE TABLE public.t (n int); INSERT INTO public.t VALUES (1), (2)"), []
        )
        self.assertEqual(
            await database.query("DELETE FROM public.t WHERE n = 1; SELECT n FROM public.t"), [(2,)]
        )

    async def test_error(self) -> None:
        """The server's refusal keeps its code, and the connection goes on."""
        database = await self.open()
        error = await self.assertFailure(Deferred.fromCoroutine(database.query("SELECT 1/0")), DatabaseError)
        self.assertEqual(error.sqlstate, "22012")
        self.assertEqual(await database.query("SELECT 1"), [(1,)])

    async def test_statement_timeout(self) -> None:
        """A statement is ended at its bound, which leaks into no other statement."""
        database = await self.open()
        slow = Deferred.fromCoroutine(database.query("SELECT pg_sleep(60)", timeout=0.2))
        error = await self.assertFailure(slow, DatabaseError)
        self.assertEqual(error.sqlstate, "57014")
        shown = await DeferredList(
            [Deferred.fromCoroutine(database.query("SELECT 1; SHOW statement_timeout"))] * 1
        )
        self.assertEqual(shown, [(True, [("30s",)])])

    async def test_brief(self) -> None:
        """A brief statement that takes longer fails as if the database were away, until it has had as much time as any."""
        self.patch(allowance, "USUAL", 0.1)
        self.patch(database_module, "LONGEST", 0.2)
        database = await self.open()
        for expected in (DatabaseUnavailable, DatabaseError):
            error = await self.assertFailure(
                Deferred.fromCoroutine(database.brief_query("SELECT pg_sleep(60)")), DatabaseError
            )
            self.assertEqual((type(error), error.sqlstate), (expected, TOO_LONG))
        self.assertEqual(await database.brief_query("SELECT 1"), [(1,)])

    async def test_brief_on_a_mute_connection(self) -> None:
        """Only the one statement is held up by a connection that is half-open, and not for long."""
        self.patch(allowance, "USUAL", 0.1)
        self.patch(database_module, "URGENT_GRACE", 0.1)
        database, proxy = await self.open_through_proxy()
        proxy.swallow(1)
        failed = 0
        for _ in range(3 * POOL_SIZE):
            try:
                self.assertEqual(await database.brief_query("SELECT 1"), [(1,)])
            except DatabaseUnavailable as error:
                self.assertIn("no answer from Postgres within 0.2 s", str(error))
                failed += 1
        self.assertEqual(failed, 1)

    async def test_transaction(self) -> None:
        """Work is committed as a whole or not at all."""
        database = await self.open()
        await database.query("CREATE TABLE public.t (n int)")

        async def add(cursor: Cursor) -> str:
            await cursor.execute("INSERT INTO public.t VALUES (%s)", (1,))
            return "done"

        async def add_and_fail(cursor: Cursor) -> None:
            await cursor.execute("INSERT INTO public.t VALUES (2)")
            raise ZeroDivisionError

        self.assertEqual(await database.transaction(add), "done")
        await self.assertFailure(
            Deferred.fromCoroutine(database.transaction(add_and_fail)), ZeroDivisionError
        )
        self.assertEqual(await database.query("SELECT n FROM public.t"), [(1,)])

    async def test_lost_connections(self) -> None:
        """Statements in flight fail as lost; the pool is whole again, without anybody's help."""
        database = await self.open()
        busy = [Deferred.fromCoroutine(database.query("SELECT pg_sleep(60)")) for _ in range(4)]
        self.assertEqual(self.terminate_all(), 4)
        for _, failure in await DeferredList(busy, consumeErrors=True):
            failure.trap(DatabaseUnavailable)  # type: ignore[attr-defined]
        for attempt in [Deferred.fromCoroutine(self.until_it_works(database)) for _ in range(8)]:
            self.assertEqual(await attempt, [(1,)])

    async def test_connections_lost_while_idle(self) -> None:
        """A connection that dies unused comes back, and nothing is logged as a bug."""
        database = await self.open()
        self.terminate_all()
        self.assertEqual(await self.until_it_works(database), [(1,)])
        self.assertEqual(self.flushLoggedErrors(), [])

    async def test_what_stands_in_the_way(self) -> None:
        """Why lost connections do not come back is in the log, once for all: it need not be why they were lost."""
        database = await self.open()
        with psycopg2.connect(self.url) as admin, admin.cursor() as cursor:
            cursor.execute("SELECT current_database()")
            ((name,),) = cursor.fetchall()
        admin.close()
        elsewhere = psycopg2.connect(urlsplit(self.url)._replace(path="/template1").geturl())
        self.addCleanup(elsewhere.close)
        elsewhere.autocommit = True
        with capturedLogs() as events, elsewhere.cursor() as cursor:

            def refusals() -> list[str]:
                return [event["reason"] for event in events if event.get("event") == "database_unreachable"]

            cursor.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
            )
            await until(lambda: bool(refusals()), "line in the log")
            cursor.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
            self.assertEqual(await self.until_it_works(database), [(1,)])
        self.assertEqual(len(refusals()), 1)
        self.assertIn("is not currently accepting connections", refusals()[0])

    async def test_read_only_for_a_while(self) -> None:
        """Sessions that were opened while the database may only be read are replaced, or it would be so for ever."""
        self.patch(detector, "READ_ONLY_PAUSE", 0.05)
        self.patch(outage, "AT_ONCE", 0.0)
        database = await self.open()
        admin = psycopg2.connect(self.url)
        self.addCleanup(admin.close)
        admin.autocommit = True
        write = "CREATE TABLE IF NOT EXISTS public.t (n int)"
        with capturedLogs() as events, admin.cursor() as cursor:
            name = urlsplit(self.url).path[1:]
            cursor.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
            self.terminate_all(but=admin)
            for _ in range(20):
                await self.until_it_works(database)
                await self.assertFailure(Deferred.fromCoroutine(database.query(write)), DatabaseUnavailable)
            cursor.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
            self.assertEqual(await self.until_it_works(database, write), [])
        said = [event["reason"] for event in events if event.get("event") == "database_connection_lost"]
        self.assertEqual(len([one for one in said if "read-only" in one]), 1)

    async def until_it_works(self, database: Database, statement: str = "SELECT 1") -> list[tuple[Any, ...]]:
        while True:
            try:
                return await database.query(statement)
            except DatabaseUnavailable:
                turn: Deferred[None] = Deferred()
                reactor.callLater(0.01, turn.callback, None)  # type: ignore[attr-defined]
                await turn

    async def test_start_is_refused(self) -> None:
        """What waiting does not cure ends the start, with the server's reason."""
        for changes, reason in (
            ({"dbname": "no_such_db"}, "no_such_db"),
            ({"user": "no_such_role"}, "no_such_role"),
        ):
            error = await self.assertFailure(
                Deferred.fromCoroutine(self.open(**changes)), DatabaseUnavailable
            )
            self.assertIn(reason, str(error))

    async def test_urgent(self) -> None:
        """What is urgent waits for nobody, though every other connection be busy."""
        database = await self.open()
        slow = [
            Deferred.fromCoroutine(database.query("SELECT pg_sleep(60)", timeout=2.0))
            for _ in range(2 * POOL_SIZE)
        ]
        for one in slow:
            one.addErrback(lambda failure: failure.trap(DatabaseError) and None)
        self.assertEqual(await database.urgent_query("SELECT 1", timeout=1.0), [(1,)])
        self.assertFalse(any(one.called for one in slow))
        await database.close()
        await DeferredList(slow)

    async def test_urgent_through_dead_connections(self) -> None:
        """Connections that died in silence hold up what is urgent once, and not one after the other."""
        self.patch(database_module, "URGENT_GRACE", 0.2)
        database, proxy = await self.open_through_proxy()
        await database.urgent_query("SELECT 1", timeout=1.0)
        proxy.swallow()
        begun = reactor.seconds()  # type: ignore[attr-defined]
        await self.assertFailure(
            Deferred.fromCoroutine(database.urgent_query("SELECT 1", timeout=0.2)), DatabaseUnavailable
        )
        await until(lambda: database._idle[-1].alive, "reconnection")
        self.assertEqual(await database.urgent_query("SELECT 1", timeout=0.2), [(1,)])
        self.assertLess(reactor.seconds() - begun, 3.0)  # type: ignore[attr-defined]

    async def test_all_are_mute(self) -> None:
        """When one connection proves half-open, the others are replaced before each of them holds up a statement."""
        self.patch(database_module, "URGENT_GRACE", 0.2)
        self.patch(suspicion, "JUST_ASKED", 0.2)
        database, proxy = await self.open_through_proxy()
        proxy.swallow()
        waiting = Deferred.fromCoroutine(database.query("SELECT 1"))
        with capturedLogs() as events:
            await self.assertFailure(
                Deferred.fromCoroutine(database.urgent_query("SELECT 1", timeout=0.1)), DatabaseMute
            )
            await until(lambda: database._idle[-1].alive, "reconnection")
            self.assertEqual(await database.urgent_query("SELECT 1", timeout=1.0), [(1,)])
            await self.assertFailure(waiting, DatabaseUnavailable)
            await until(lambda: all(one.alive for one in database._connections), "the others' reconnection")
        for _ in range(POOL_SIZE):
            self.assertEqual(await database.query("SELECT 1"), [(1,)])
        (suspected,) = [event for event in events if event.get("event") == "database_connections_suspected"]
        self.assertEqual(suspected["count"], POOL_SIZE - 1)

    async def test_one_is_mute(self) -> None:
        """A connection that has answered meanwhile is not suspected."""
        self.patch(database_module, "URGENT_GRACE", -0.8)  # given up before the server gives up
        database = await self.open()

        def sessions() -> set[int]:
            return {one.process_id for one in database._connections}

        before = sessions()
        hung = Deferred.fromCoroutine(database.urgent_query("SELECT pg_sleep(60)", timeout=1.0))
        others = [Deferred.fromCoroutine(database.query("SELECT 1")) for _ in range(POOL_SIZE - 1)]
        await self.assertFailure(hung, DatabaseMute)
        await DeferredList(others)
        with capturedLogs() as events:
            await until(lambda: all(one.alive for one in database._connections), "reconnection")
            self.assertEqual(await database.urgent_query("SELECT 1", timeout=1.0), [(1,)])
        self.assertEqual(len(before & sessions()), POOL_SIZE - 1)
        self.assertNotIn("database_connections_suspected", [event.get("event") for event in events])

    async def test_start_waits(self) -> None:
        """A server that is not there yet is waited for, in the log; closing ends the waiting."""
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            database = Database(
                {"host": "127.0.0.1", "port": str(unused.getsockname()[1]), "dbname": "x"},
                reactor,
                display="here",
            )
            with capturedLogs() as events:
                opening = Deferred.fromCoroutine(database.open())
                while not any(event.get("event") == "database_waiting" for event in events):
                    turn: Deferred[None] = Deferred()
                    reactor.callLater(0, turn.callback, None)
                    await turn
            await database.close()
            await self.assertFailure(opening, DatabaseUnavailable)

    async def test_mute_server(self) -> None:
        """A server that takes the connection and says nothing is given up."""
        self.patch(connection, "CONNECT_TIMEOUT", 0.2)
        server: Any = Factory.forProtocol(Mute)
        server.hung_up = Deferred()
        port = reactor.listenTCP(0, server, interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        one = connection.Connection({"host": "127.0.0.1", "port": str(port.getHost().port)}, reactor)
        error = await self.assertFailure(one.connect(), DatabaseUnavailable)
        self.assertIn("no answer", str(error))
        await server.hung_up


class ListenerTests(TestCase):
    """Announcements, and what was missed."""

    async def test_listens_again(self) -> None:
        """After its connection was lost it listens again, and says so: something may be missed; removals are no news
        (item 60)."""
        url = empty_database(self)
        parameters, _ = parse(url)
        told: list[object] = []
        news: list[Deferred[None]] = [Deferred()]

        def tell(what: object) -> None:
            told.append(what)
            news[0].callback(None)

        async def next_news() -> object:
            await news[0]
            news[0] = Deferred()
            return told[-1]

        pool = Database(parameters, reactor, size=1)
        self.addCleanup(pool.close)
        await pool.open()

        async def look() -> None:
            tell("schema")

        listener = Listener(parameters, reactor, lambda: tell("jobs"), pool.query, look_at_schema=look)
        self.addCleanup(listener.close)
        await listener.open()
        self.assertEqual(await next_news(), "jobs")
        admin = psycopg2.connect(url)
        self.addCleanup(admin.close)
        admin.autocommit = True
        with admin.cursor() as cursor:
            cursor.execute("""NOTIFY "jobs:insert", '{"r":0.1,"count":-1}'""")  # a removal: no news
            cursor.execute("""NOTIFY "worker:migrate", '{"migrationNumber":21,"breaking":true}'""")
            self.assertEqual(await next_news(), "schema")  # what it says is not believed
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            self.assertEqual(await next_news(), "jobs")
            cursor.execute("""NOTIFY "jobs:insert" """)
            self.assertEqual(await next_news(), "jobs")
        self.assertEqual(told, ["jobs", "schema", "jobs", "jobs"])
