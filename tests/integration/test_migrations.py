"""`slayq_tw.migrations` on a real Postgres."""

from typing import Any

import psycopg2
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import capturedLogs
from twisted.trial.unittest import TestCase

from slayq_tw.conninfo import parse
from slayq_tw.database import Database
from slayq_tw.errors import MigrationError, SchemaTooNew
from slayq_tw.migrations import PREFIX, UPSTREAM_MIGRATION, MigrationReport, breaking_revision, migrate
from slayq_tw.sqlfiles import migration_files
from tests.postgres import ask, empty_database

OURS = [PREFIX + migration.name for migration in migration_files()]
BREAKING = [1, 3, 11, 13, 14, 16]


class MigrationTests(TestCase):
    """An empty database, and others."""

    def setUp(self) -> None:
        self.url = empty_database(self)

    async def open(self, url: str | None = None, size: int = 4) -> Database:
        parameters, _ = parse(url or self.url)
        database = Database(parameters, reactor, size=size)
        self.addCleanup(database.close)
        await database.open()
        return database

    def sql(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        return ask(self.url, statement, *parameters)

    def revisions(self) -> tuple[list[int], list[int]]:
        rows = self.sql("SELECT id, breaking FROM graphile_worker.migrations ORDER BY id")
        return [number for number, _ in rows], [number for number, breaking in rows if breaking]

    async def test_empty_database(self) -> None:
        """Everything is made, recorded, and not made again (item 2)."""
        database = await self.open()
        report = await migrate(database, reactor)
        self.assertEqual(report.applied, (*(f"graphile_worker/{n}" for n in range(1, 21)), *OURS))
        self.assertFalse(report.adopted)
        self.assertEqual(self.revisions(), (list(range(1, 21)), BREAKING))
        names = [name for (name,) in self.sql("SELECT migration FROM slayq._migrations ORDER BY id")]
        self.assertEqual(names, [UPSTREAM_MIGRATION, *OURS])
        self.assertEqual(await migrate(database, reactor), MigrationReport((), False))

    async def test_twenty_at_once(self) -> None:
        """Twenty that start together on an empty database all succeed, and each migration is applied once (item 8)."""
        databases = [await self.open(size=1) for _ in range(20)]
        reports = await gatherResults(
            [Deferred.fromCoroutine(migrate(database, reactor)) for database in databases]
        )
        applied = [name for report in reports for name in report.applied]
        self.assertEqual(len(applied), len(set(applied)))
        self.assertEqual(self.revisions(), (list(range(1, 21)), BREAKING))

    async def test_prepared_schema(self) -> None:
        """A schema with nothing but an empty table of migrations is filled."""
        self.sql(
            "CREATE SCHEMA graphile_worker; CREATE TABLE graphile_worker.migrations (id integer CONSTRAINT"
            " migrations_pkey PRIMARY KEY, ts timestamptz NOT NULL DEFAULT now(), breaking boolean NOT NULL DEFAULT false)"
        )
        await migrate(await self.open(), reactor)
        self.assertEqual(self.revisions()[0], list(range(1, 21)))

    async def test_older_revisions(self) -> None:
        """18 and 19 are brought to 20, their jobs kept, and a breaking flag that Node wrote stays (item 6)."""
        database = await self.open()
        await migrate(database, reactor)
        self.sql("SELECT graphile_worker.add_job('mail', '{\"n\":1}', job_key => 'k')")
        self.sql("DELETE FROM graphile_worker.migrations WHERE id = 20")
        self.sql("UPDATE graphile_worker.migrations SET breaking = true WHERE id = 19")
        self.assertEqual((await migrate(database, reactor)).applied, ("graphile_worker/20",))
        self.assertEqual(self.revisions()[1], [*BREAKING, 19])
        self.sql("DELETE FROM graphile_worker.migrations WHERE id >= 19")
        await migrate(database, reactor)
        self.assertEqual(self.revisions()[1], BREAKING)
        self.assertEqual(self.sql("SELECT key FROM graphile_worker.jobs"), [("k",)])

    async def test_newer_revision(self) -> None:
        """A newer one is a warning, a newer breaking one is refused (item 5)."""
        database = await self.open()
        await migrate(database, reactor)
        self.sql("INSERT INTO graphile_worker.migrations (id) VALUES (21)")
        with capturedLogs() as events:
            await migrate(database, reactor)
        self.assertIn("schema_newer", [event.get("event") for event in events])
        self.assertLess(await breaking_revision(database), 21)
        self.sql("UPDATE graphile_worker.migrations SET breaking = true WHERE id = 21")
        self.assertEqual(await breaking_revision(database), 21)
        await self.assertFailure(Deferred.fromCoroutine(migrate(database, reactor)), SchemaTooNew)

    async def test_unknown_names(self) -> None:
        """A migration of a later version is a warning."""
        database = await self.open()
        await migrate(database, reactor)
        self.sql("INSERT INTO slayq._migrations (migration) VALUES ('slayq_tw/9999_later')")
        with capturedLogs() as events:
            await migrate(database, reactor)
        (names,) = [event["names"] for event in events if event.get("event") == "unknown_migrations"]
        self.assertEqual(names, "slayq_tw/9999_later")

    async def test_failed_migration(self) -> None:
        """What a migration had done before it failed is undone, and the next start does it all."""
        database = await self.open()
        self.sql("CREATE SCHEMA slayq; CREATE VIEW slayq._private_fired AS SELECT 1")
        error = await self.assertFailure(Deferred.fromCoroutine(migrate(database, reactor)), Exception)
        self.assertIn("_private_fired", str(error))
        self.assertEqual(self.sql("SELECT migration FROM slayq._migrations"), [(UPSTREAM_MIGRATION,)])
        self.assertEqual(self.sql("SELECT to_regclass('slayq._private_settings')"), [(None,)])
        self.sql("DROP VIEW slayq._private_fired")
        self.assertEqual((await migrate(database, reactor)).applied, tuple(OURS))

    async def test_rows_that_are_hidden(self) -> None:
        """A role that may read the tables, but to whom row level security shows nothing, is refused."""
        await migrate(await self.open(), reactor)
        role = f"blind_{self.url.rpartition('_')[2]}"
        self.sql(
            f"CREATE ROLE {role}; GRANT ALL ON SCHEMA graphile_worker, slayq TO {role};"
            f" GRANT ALL ON ALL TABLES IN SCHEMA graphile_worker, slayq TO {role}"
        )
        self.addCleanup(self.sql, f"DROP OWNED BY {role}; DROP ROLE {role}")
        blind = await self.open(size=1)
        await blind.query(f"SET ROLE {role}")
        error = await self.assertFailure(Deferred.fromCoroutine(migrate(blind, reactor)), MigrationError)
        self.assertIn(f"row level security hides the jobs from role '{role}'", str(error))

    async def test_missing_privilege(self) -> None:
        """A role that may not create the schemas is named, and so is what it needs."""
        role = f"poor_{self.url.rpartition('_')[2]}"
        database = psycopg2.extensions.parse_dsn(self.url)["dbname"]
        self.sql(f'CREATE ROLE {role}; REVOKE CREATE ON DATABASE "{database}" FROM PUBLIC')
        self.addCleanup(self.sql, f"DROP ROLE {role}")
        poor = await self.open(size=1)
        await poor.query(f"SET ROLE {role}")
        error = await self.assertFailure(Deferred.fromCoroutine(migrate(poor, reactor)), MigrationError)
        self.assertIn(role, str(error))
        self.assertIn("GRANT CREATE", str(error))

    async def test_notices(self) -> None:
        """An installation is announced once, each revision of an upgrade by itself."""
        database = await self.open()
        listener = psycopg2.connect(self.url)
        self.addCleanup(listener.close)
        listener.autocommit = True
        with listener.cursor() as cursor:
            cursor.execute('LISTEN "worker:migrate"')
            await migrate(database, reactor)
            self.sql("DELETE FROM graphile_worker.migrations WHERE id >= 19")
            await migrate(database, reactor)
            cursor.execute("SELECT 1")
        self.assertEqual(
            [notice.payload for notice in listener.notifies],
            [f'{{"migrationNumber":{number},"breaking":false}}' for number in (20, 19, 20)],
        )
