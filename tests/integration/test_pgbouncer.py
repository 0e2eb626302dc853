"""What stands in a pooler's way, and what is left behind in it: PgBouncer in transaction mode before a real Postgres."""

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg2
from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import capturedLogs
from twisted.trial.unittest import TestCase

from slayq_tw import client, echo, listener
from slayq_tw.configcheck import CRON_IDENTIFIER
from slayq_tw.conninfo import parse
from slayq_tw.database import Database
from slayq_tw.errors import DatabaseError, DatabaseUnavailable
from slayq_tw.grants import apply_grants
from slayq_tw.heartbeat import Heartbeat
from slayq_tw.housekeeping import Housekeeping
from slayq_tw.job import Failure
from slayq_tw.jobs import JobStore
from slayq_tw.listener import JOBS_CHANNEL, Listener
from slayq_tw.liveness import Beat
from slayq_tw.migrations import migrate
from tests.pgbouncer import PgBouncer
from tests.postgres import ask, empty_database, migrated_database
from tests.waiting import until

STATE = """
SELECT 'setting', name || '=' || setting FROM pg_catalog.pg_settings
 WHERE source = 'session' AND name <> ALL ('{application_name,client_encoding,DateStyle,TimeZone}')
 UNION ALL SELECT 'channel', pg_catalog.pg_listening_channels()
 UNION ALL SELECT 'statement', name FROM pg_catalog.pg_prepared_statements
 UNION ALL SELECT 'cursor', name FROM pg_catalog.pg_cursors WHERE name <> ''
 UNION ALL SELECT 'table', relname FROM pg_catalog.pg_class WHERE relnamespace = pg_catalog.pg_my_temp_schema()
"""
"""What belongs to a session; the settings that PgBouncer gives to each client anew are not counted."""


class PoolerCase(TestCase):
    """A database, a pooler before it, our pool through it."""

    timeout = 60

    async def open(self, url: str, *, size: int = 2) -> Database:
        parameters, _ = parse(url)
        database = Database(parameters, reactor, size=size)
        self.addCleanup(database.close)
        await database.open()
        return database


class ConnectTests(PoolerCase):
    """Logging in."""

    async def test_stock_settings(self) -> None:
        """What we send at log-in is taken by a pooler whose settings nobody touched."""
        pooler = PgBouncer(self, empty_database(self))
        database = await self.open(pooler.url, size=4)
        self.assertEqual(await database.query("SELECT 1"), [(1,)])

    async def test_options(self) -> None:
        """`options` in the URL, which it refuses, ends the start with its reason; so does a database that is missing."""
        pooler = PgBouncer(self, empty_database(self))
        nowhere = pooler.url.rpartition("/")[0] + "/no_such_database"
        for url, reason in (
            (f"{pooler.url}?options=-csearch_path%3Dx", "unsupported startup parameter: options"),
            (nowhere, "no_such_database"),
        ):
            error = await self.assertFailure(Deferred.fromCoroutine(self.open(url)), DatabaseUnavailable)
            self.assertIn(reason, str(error))

    async def test_restart(self) -> None:
        """A pooler that is restarted is found again."""
        pooler = PgBouncer(self, empty_database(self))
        database = await self.open(pooler.url)
        pooler.stop()
        await self.assertFailure(Deferred.fromCoroutine(database.query("SELECT 1")), DatabaseUnavailable)
        pooler.start()
        await until(lambda: database.reachable, "the pooler again")
        self.assertEqual(await database.query("SELECT 1"), [(1,)])


class StateTests(PoolerCase):
    """What the daemon's statements leave behind in server connections that others use next."""

    async def test_nothing_is_left(self) -> None:
        """No setting, lock, statement, table or cursor outlives its transaction, whatever the daemon does."""
        url = empty_database(self)
        pooler = PgBouncer(self, url)
        database = await self.open(pooler.url, size=5)  # one of them is for heartbeats
        await migrate(database, reactor)
        await apply_grants(database, (), reactor)
        store = JobStore(database, ["mail", CRON_IDENTIFIER])
        heartbeat = Heartbeat(database, store.worker, reactor, lambda: False, lambda: None, lambda: None)
        await heartbeat.enter()
        await heartbeat._turn()
        await store.register()
        await store.register_crontab()
        await store.remember_for(600.0)
        await self.tick(store)
        for key in ("completed", "failed", "released"):
            ask(pooler.url, f"SELECT public.add_worker_job('mail', '{{}}', job_key => '{key}')")
        ((*jobs,),) = await store.claim([(["mail"], 10)])
        self.assertEqual(len(jobs), 3)
        await store.complete(jobs[:1])
        await store.fail([Failure(jobs[1], "refused", final=True)])
        await store.release(jobs[2:])
        await store.release_strays()
        await store.unserved()
        await heartbeat._recover(Beat("pool-dead", 0, None, None), "")
        await heartbeat.stopService()
        await self.housekeep(database)
        slow = Deferred.fromCoroutine(database.query("SELECT pg_sleep(9)", timeout=0.1))
        await self.assertFailure(slow, DatabaseError)
        busy = [Deferred.fromCoroutine(database.query("SELECT pg_sleep(0.1)")) for _ in range(4)]
        await DeferredList(busy)  # four server connections at once
        states = pooler.on_each_server(STATE)
        self.assertGreaterEqual(len(states), 4)
        self.assertEqual([state for state in states if state], [])
        held = "SELECT count(*) FROM pg_locks JOIN pg_database AS db ON db.oid = database"
        held += " WHERE locktype = 'advisory' AND datname = current_database()"
        self.assertEqual(ask(url, held), [(0,)])

    async def tick(self, store: JobStore) -> None:
        minute = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)
        added, _ = await store.schedule_tick(minute, '{"event":"cron"}', None)
        self.assertTrue(added)

    async def housekeep(self, database: Database) -> None:
        chores = Housekeeping(database, ["mail"])
        await chores.sweep()
        await chores.delete_failed(1e-9)
        await chores.collect_queues()
        await chores.collect_tasks()
        await chores.recover_queues()


class ClientTests(PoolerCase):
    """Applications behind the pooler."""

    def test_transactions(self) -> None:
        """Events are stored with their transaction, or not at all."""
        url = migrated_database(self)
        pooler = PgBouncer(self, url)
        connection = psycopg2.connect(pooler.url)
        self.addCleanup(connection.close)
        for name, end in (("kept", connection.commit), ("lost", connection.rollback)):
            client.send_event(connection, name, {"n": 1}, queue="mail", endpoint="http://app.test/hook")
            client.add_job(connection, f"{name}_job", {"n": 2})
            end()
        self.assertEqual(
            ask(url, "SELECT task_identifier FROM graphile_worker.jobs ORDER BY 1"),
            [("kept_job",), ("mail",)],
        )


class ListenerTests(PoolerCase):
    """Whether announcements arrive."""

    async def listen(self, url: str, database: Database) -> Listener:
        self.jobs = self.looks = 0
        parameters, _ = parse(url)

        def on_jobs() -> None:
            self.jobs += 1

        async def look() -> None:
            self.looks += 1
            if self.looks == 1:
                raise DatabaseUnavailable("away")

        one = Listener(parameters, reactor, on_jobs, database.query, look_at_schema=look)
        self.addCleanup(one.close)
        await one.open()
        return one

    def said(self, events: Any, name: str) -> int:
        return sum(event.get("event") == name for event in events)

    async def test_silent(self) -> None:
        """In transaction mode nothing arrives. That is said once, the schema is looked at instead, and no LISTEN is
        left in the pooler."""
        url = empty_database(self)
        self.patch(listener, "CHECK_INTERVAL", 0.1)
        self.patch(listener, "LOOK_INTERVAL", 0.05)
        pooler = PgBouncer(self, url)
        database = await self.open(pooler.url)
        with capturedLogs() as events:
            one = await self.listen(pooler.url, database)
            await until(lambda: self.looks >= 3, "three tests")
            self.assertFalse(one.hears)
        self.assertEqual(self.said(events, "listen_silent"), 1)
        self.assertEqual(self.said(events, "listen_restored"), 0)
        self.assertEqual(
            set(map(len, pooler.on_each_server("SELECT pg_catalog.pg_listening_channels()"))), {0}
        )
        self.assertNotIn("when not linked", pooler.log())
        self.assertEqual(self.jobs, 0)

    async def test_silent_without_sharing(self) -> None:
        """Where no shared server connection gives it away, the missing echo does; the jobs' channel is untouched."""
        url = empty_database(self)
        self.patch(echo, "PATIENCE", 0.3)
        pooler = PgBouncer(self, url, server_round_robin="1", min_pool_size="5")
        database = await self.open(pooler.url)
        await until(lambda: len(pooler.console("SHOW SERVERS")) >= 5, "five server connections")
        with capturedLogs() as events:
            one = await self.listen(pooler.url, database)
            await until(lambda: self.said(events, "listen_silent") == 1, "silence")
        self.assertFalse(one.hears)
        listening = pooler.on_each_server("SELECT pg_catalog.pg_listening_channels()")
        self.assertGreaterEqual(len(listening), 5)
        self.assertLessEqual({row for rows in listening for row in rows}, {(echo.CHANNEL,)})

    async def test_direct(self) -> None:
        """A direct connection beside a pool that goes through the pooler hears everything."""
        url = empty_database(self)
        pooler = PgBouncer(self, url)
        database = await self.open(pooler.url)
        with capturedLogs() as events:
            one = await self.listen(url, database)
            self.assertEqual(self.jobs, 1)
            await until(lambda: one.hears, "the echo")
            await database.query(f"""SELECT pg_notify('{JOBS_CHANNEL}', '{{"count":1}}')""")
            await until(lambda: self.jobs == 2, "the announcement")
        self.assertEqual(self.said(events, "listen_silent"), 0)
        self.assertEqual(self.looks, 0)

    async def test_another_database(self) -> None:
        """A listener in another database than the pool's hears nothing, and that is said too."""
        self.patch(echo, "PATIENCE", 0.3)
        database = await self.open(empty_database(self))
        with capturedLogs() as events:
            await self.listen(empty_database(self), database)
            await until(lambda: self.said(events, "listen_silent") == 1, "silence")

    async def test_session_mode(self) -> None:
        """A pooler in session mode passes announcements on; one that is changed to it is noticed."""
        url = empty_database(self)
        pooler = PgBouncer(self, url)
        database = await self.open(url)
        self.patch(echo, "PATIENCE", 0.3)
        with capturedLogs() as events:
            one = await self.listen(pooler.url, database)
            await until(lambda: self.said(events, "listen_silent") == 1, "silence")
            pooler.stop()
            pooler.change_mode("session")
            pooler.start()
            await until(lambda: one.hears, "the echo")
            await database.query(f"""SELECT pg_notify('{JOBS_CHANNEL}', '{{"count":1}}')""")
            await until(lambda: self.jobs == 2, "the announcement")
        self.assertEqual(self.said(events, "listen_restored"), 1)
        self.assertEqual(self.said(events, "listen_silent"), 1)

    async def test_pool_is_away(self) -> None:
        """Without a pool to call from nothing is known, and a direct connection listens all the same."""
        url = empty_database(self)
        self.patch(listener, "LOOK_INTERVAL", 0.05)
        database = await self.open(url)
        calls = 0

        async def query(*arguments: Any) -> list[tuple[Any, ...]]:
            nonlocal calls
            calls += 1
            if calls < 3:
                raise DatabaseUnavailable("away")
            return await database.query(*arguments)

        pool: Any = type("Pool", (), {"query": staticmethod(query)})
        with capturedLogs() as events:
            one = await self.listen(url, pool)
            self.assertEqual(self.jobs, 1)
            await until(lambda: one.hears, "the echo")
        self.assertEqual(self.said(events, "listen_silent"), 0)

    async def test_unreachable(self) -> None:
        """A listener's server that cannot be reached stops nothing, and is said."""
        url = empty_database(self)
        database = await self.open(url)
        with capturedLogs() as events:
            one = await self.listen("postgresql://u:tell-tale@127.0.0.1:9/x", database)
        self.assertEqual(self.said(events, "listen_unreachable"), 1)
        self.assertFalse(one.hears)
        self.assertNotIn("tell-tale", str(events))
