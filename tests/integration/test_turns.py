"""Who can hold up a daemon's start, and what the log says of it."""

from typing import Any

import psycopg2
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs
from twisted.trial.unittest import TestCase

from slayq_tw.grants import apply_grants
from slayq_tw.migrations import migrate
from slayq_tw.schema_turn import MIGRATION_LOCK
from tests.application import Application
from tests.daemon_round import opened
from tests.pgbouncer import PgBouncer
from tests.postgres import empty_database, migrated_database
from tests.roles import connect_as, make_role
from tests.waiting import until

SAID_WITHIN = 3.0
"""Seconds."""


class TurnTests(TestCase):
    """A start, and somebody in its way."""

    timeout = 60

    def holder(self, url: str, application: str = "psql") -> Any:
        """A connection with a transaction of its own."""
        connection = psycopg2.connect(url, application_name=application)
        self.addCleanup(connection.close)
        return connection

    def said(self, events: Any) -> list[dict[str, Any]]:
        return [event for event in events if event.get("event") == "schema_change_waits"]

    async def start(self, url: str) -> None:
        database = await opened(self, url)
        await migrate(database, reactor)
        await apply_grants(database, (), reactor)

    async def test_a_strangers_advisory_lock(self) -> None:
        """Whoever may log in can take it, and holds nobody up: neither the first start nor a later one."""
        url = empty_database(self)
        owner = Application(url)
        self.addCleanup(owner.close)
        stranger = connect_as(self, owner, make_role(self, owner))
        stranger.rows("SELECT pg_catalog.pg_advisory_lock(%s)", MIGRATION_LOCK)
        with capturedLogs() as events:
            await self.start(url)
            await self.start(url)
        self.assertEqual(self.said(events), [])
        for mode in ("ACCESS SHARE", "ROW EXCLUSIVE", "ACCESS EXCLUSIVE"):
            with self.assertRaises(psycopg2.errors.InsufficientPrivilege):
                stranger.rows(f"BEGIN; LOCK TABLE slayq._migrations IN {mode} MODE")
            stranger.rows("ROLLBACK")

    async def test_holder_is_named(self) -> None:
        """An owner's forgotten transaction is waited for, and named within 3 s; once, not every time one looks."""
        for through in (lambda url: url, lambda url: PgBouncer(self, url).url):
            url = migrated_database(self)
            holder = self.holder(url, "forgotten")
            holder.cursor().execute("LOCK TABLE slayq._migrations IN ROW EXCLUSIVE MODE")
            with capturedLogs() as events:
                starting = Deferred.fromCoroutine(self.start(through(url)))
                await until(lambda events=events: len(self.said(events)) == 1, "word of it", SAID_WITHIN)
                (event,) = self.said(events)
                self.assertIn(f'{holder.info.backend_pid} (application "forgotten"', event["holders"])
                self.assertIn('role "', event["holders"])
                self.assertNoResult(starting)
                holder.rollback()
                await starting
            self.assertEqual(len(self.said(events)), 1)

    async def test_another_takes_over(self) -> None:
        """Who comes next in the way is named too."""
        url = migrated_database(self)
        first, second = self.holder(url, "first"), self.holder(url, "second")
        for one in (first, second):
            one.cursor().execute("LOCK TABLE slayq._migrations IN ROW EXCLUSIVE MODE")
        with capturedLogs() as events:
            starting = Deferred.fromCoroutine(self.start(url))
            await until(lambda: len(self.said(events)) == 1, "word of both", SAID_WITHIN)
            self.assertIn("first", self.said(events)[0]["holders"])
            self.assertIn("second", self.said(events)[0]["holders"])
            first.rollback()
            await until(lambda: len(self.said(events)) == 2, "word of the second", SAID_WITHIN)
            self.assertNotIn("first", self.said(events)[1]["holders"])
            second.rollback()
            await starting

    async def test_reader(self) -> None:
        """Who only reads is in nobody's way."""
        url = migrated_database(self)
        holder = self.holder(url)
        holder.cursor().execute("SELECT * FROM slayq._migrations")
        with capturedLogs() as events:
            await self.start(url)
        self.assertEqual(self.said(events), [])

    async def test_first_creation(self) -> None:
        """Somebody who creates the schema at that moment is waited for and named, and if he gives up, it is made."""
        url = empty_database(self)
        holder = self.holder(url, "installer")
        holder.cursor().execute("CREATE SCHEMA graphile_worker")
        with capturedLogs() as events:
            starting = Deferred.fromCoroutine(self.start(url))
            await until(lambda: len(self.said(events)) == 1, "word of it", SAID_WITHIN)
            self.assertIn("installer", self.said(events)[0]["holders"])
            holder.rollback()
            await starting

    async def test_created_meanwhile(self) -> None:
        """And if he does create it, it is used."""
        url = empty_database(self)
        for schema in ("graphile_worker", "slayq"):
            holder = self.holder(url)
            holder.cursor().execute(f"CREATE SCHEMA {schema}")
            starting = Deferred.fromCoroutine(self.start(url))
            with capturedLogs() as events:
                await until(lambda events=events: len(self.said(events)) == 1, "word of it", SAID_WITHIN)
                holder.commit()
                await starting
            url = empty_database(self)

    async def test_an_older_daemon(self) -> None:
        """A daemon of an earlier version that installs waits for us, or we for what it makes."""
        url = empty_database(self)
        older = self.holder(url, "older")
        older.cursor().execute("SELECT pg_advisory_xact_lock(%s)", [MIGRATION_LOCK])
        older.cursor().execute("CREATE SCHEMA graphile_worker")
        starting = Deferred.fromCoroutine(self.start(url))
        with capturedLogs() as events:
            await until(lambda: len(self.said(events)) == 1, "word of it", SAID_WITHIN)
            older.commit()
            await starting
