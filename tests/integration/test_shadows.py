"""Names in our SQL mean Postgres's own, whatever a role with CREATE on `public` has put there.

(The driver's own statements are qualified or name nothing.)
"""

from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg2
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase

from slayq_tw.client import Event, NewJob, adding, asynchronous, blocking, changing
from slayq_tw.connection import Connection
from slayq_tw.conninfo import parse
from slayq_tw.errors import DatabaseError
from tests.application import Application
from tests.daemon_round import listen, opened, start, work
from tests.pgbouncer import PgBouncer
from tests.postgres import ask, bring_up_to_date, empty_database
from tests.roles import connect_as, make_role
from tests.shadows import Shadows, settle_in


def hostile_public(case: TestCase, url: str) -> tuple[Application, Shadows]:
    """The owner's connection, made before there were any shadows, and the shadows."""
    owner = Application(url)
    case.addCleanup(owner.close)
    role = make_role(case, owner)
    owner.rows(f"GRANT CREATE, USAGE ON SCHEMA public TO {role}")
    return owner, settle_in(owner, connect_as(case, owner, role))


PATHS = ("public, pg_catalog", "pg_temp, public, pg_catalog", "public", '"$user", public', "pg_temp")
IN_TEMP = """
CREATE DOMAIN pg_temp.text AS pg_catalog.text CHECK (public.shadow_check());
CREATE DOMAIN pg_temp.json AS pg_catalog.json CHECK (public.shadow_check());
CREATE DOMAIN pg_temp.timestamptz AS pg_catalog.timestamptz CHECK (public.shadow_check());
CREATE TEMP TABLE _private_jobs (id integer);
CREATE TEMP TABLE job (id integer);
"""
LATER = datetime.now(UTC) + timedelta(days=1)
Call = Callable[..., Any]


def calls() -> Iterator[tuple[str, tuple[Any, ...], dict[str, Any]]]:
    """Every call of the client, with every argument; names of functions of `blocking` and of `asynchronous`."""
    more = {"key": "k", "priority": 3, "queue_name": "lane", "flags": ["f"], "run_at": LATER}
    there = {"queue": "mail", "endpoint": "http://app.test/hook"}
    for mode in ("replace", "preserve_run_at", "unsafe_dedupe"):
        yield "send_event", ("e", {"a": 1}), {**there, **more, "retries": 2, "key_mode": mode}
        yield "add_job", ("task", {"a": 1}), {**more, "max_attempts": 2, "key_mode": mode}
    yield "send_events", ([Event("e", 1, **there), Event("e", 2, **there, flags=["g"], delay=5.0)],), {}
    bulk = [NewJob("task", {"n": n}, key=f"k{n % 3}", flags=["f"]) for n in range(5)]
    yield "add_jobs", ([*bulk, NewJob("task", [1], key="a", key_mode="unsafe_dedupe")],), {}
    yield "add_jobs", ([NewJob("task", [1], key="list"), NewJob("task", [2], key="list")],), {}
    yield "remove_job", ("k0",), {}
    yield "reschedule_jobs", ([1, 2, 3],), {"delay": 0.0, "priority": 1, "attempts": 0, "max_attempts": 3}
    yield "permanently_fail_jobs", ([1],), {"error": "no more"}
    yield "complete_jobs", ([1, 2],), {}
    yield "force_unlock_workers", (["pool-dead"],), {}


class ClientTests(SynchronousTestCase):
    """The client runs in its caller's transaction, whose path it may not change."""

    def setUp(self) -> None:
        self.url = empty_database(self)
        bring_up_to_date(self.url)
        self.owner, self.shadows = hostile_public(self, self.url)

    def test_all_are_called(self) -> None:
        """No call is forgotten here."""
        everything = {
            name
            for module in (adding, changing)
            for name, one in vars(module).items()
            if getattr(one, "__module__", "") == module.__name__
            and callable(one)
            and name[0] in "abcdefghijklmnopqrstuvwxyz"
        }
        self.assertEqual({name for name, _, _ in calls()}, everything)

    def test_blocking(self) -> None:
        """Under every path, each call works and calls none of them."""
        for path in PATHS:
            with self.subTest(path):
                connection = psycopg2.connect(self.url)
                self.addCleanup(connection.close)
                with connection.cursor() as cursor:
                    cursor.execute(IN_TEMP)
                    cursor.execute(f"SET search_path = {path}")
                for name, arguments, options in calls():
                    getattr(blocking, name)(connection, *arguments, **options)
                connection.rollback()
                connection.close()
                self.assertEqual(self.shadows.calls, 0)


class AsynchronousClientTests(TestCase):
    """The same over Twisted, on the cursor of somebody's transaction."""

    timeout = 60

    async def test_cursor(self) -> None:
        """A cursor whose transaction has a path of its own."""
        url = empty_database(self)
        bring_up_to_date(url)
        _, shadows = hostile_public(self, url)
        connection = Connection(parse(url)[0], reactor)
        self.addCleanup(connection.abandon)
        await connection.connect()

        async def everything(cursor: Any) -> None:
            await cursor.execute("SET LOCAL search_path = public, pg_catalog")
            for name, arguments, options in calls():
                call: Callable[..., Awaitable[Any]] = getattr(asynchronous, name)
                await call(cursor, *arguments, **options)

        await connection.transaction(everything)
        self.assertEqual(shadows.calls, 0)


class DaemonTests(TestCase):
    """Everything that a daemon does, in a database whose `public` was prepared before it came."""

    timeout = 120

    def setUp(self) -> None:
        self.url = empty_database(self)
        self.owner, self.shadows = hostile_public(self, self.url)

    async def test_everything(self) -> None:
        """All of it works, and calls none of them."""
        self.assertGreater(self.shadows.count, 1000)
        database = await opened(self, self.url)
        store = await start(database)
        await work(self, database, store, self.url)
        await listen(self, database, self.url)
        self.assertEqual(self.shadows.calls, 0)

    async def test_through_a_pooler(self) -> None:
        """The same through PgBouncer in transaction mode, where no setting of a session's lasts."""
        database = await opened(self, PgBouncer(self, self.url).url)
        store = await start(database)
        await work(self, database, store, self.url)
        self.assertEqual(self.shadows.calls, 0)

    async def test_they_are_real(self) -> None:
        """A statement that is sent without the settings falls into one."""
        with self.assertRaisesRegex(Exception, "shadow"):
            ask(self.url, "SELECT * FROM unnest(ARRAY['a'])")
        self.assertEqual(self.shadows.calls, 1)
        database = await opened(self, self.url, size=1)
        asked = database._connections[0].rows("SELECT exp(1)", None)
        error = await self.assertFailure(asked, Exception)
        self.assertIn("shadow", str(error))
        self.assertEqual(self.shadows.calls, 2)
        self.assertEqual(await database.query("SELECT exp(0)"), [(1.0,)])
        sent = Deferred.fromCoroutine(database.query("SELECT no_such_function()"))
        await self.assertFailure(sent, DatabaseError)
        self.assertEqual(self.shadows.calls, 2)
