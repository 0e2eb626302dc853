"""Job schemas that the real Graphile Worker made, or finds."""

import re
import subprocess
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from slayq_tw.conninfo import parse
from slayq_tw.database import Database
from slayq_tw.errors import MigrationError
from slayq_tw.migrations import MigrationReport, migrate
from slayq_tw.pgbinaries import installed as postgres_installed
from tests.node_peers import RELEASES, NodeWorker, make_schema
from tests.postgres import ask, empty_database

JOBS = """
SELECT graphile_worker.add_job('t', '{{"n": 1,  "a":[]}}');
SELECT graphile_worker.add_job('t', run_at => '2999-01-01', job_key => 'future', priority => -3);
SELECT graphile_worker.add_job('t', queue_name => 'lane', flags => ARRAY['f'], max_attempts => 3);
SELECT graphile_worker.add_job('failed', job_key => 'failed');
SELECT graphile_worker.add_job('locked', queue_name => 'locked lane');
UPDATE graphile_worker.{jobs} SET attempts = 25, last_error = 'no' WHERE key = 'failed';
"""
LOCK = """
UPDATE graphile_worker.{queues} SET locked_at = now(), locked_by = 'worker-1' WHERE queue_name = 'locked lane';
UPDATE graphile_worker.{jobs} SET locked_at = now(), locked_by = 'worker-1'
 WHERE job_queue_id = (SELECT id FROM graphile_worker.{queues} WHERE queue_name = 'locked lane');
"""
OLD = {"jobs": "jobs", "queues": "job_queues"}
NEW = {"jobs": "_private_jobs", "queues": "_private_job_queues"}
ROWS = "SELECT j.*, payload::text AS text FROM graphile_worker.{jobs} AS j ORDER BY id"


def schema_of(url: str) -> list[str]:
    """The job schema as pg_dump writes it, without function bodies, comments and indexes of ours."""
    binaries = postgres_installed()[0]
    text = subprocess.run(
        [str(binaries.folder / "pg_dump"), "--schema-only", "--schema=graphile_worker", url],
        env=binaries.environment(),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    text = re.sub(r"AS (\$\w*\$).*?\1;", "AS BODY;", text, flags=re.DOTALL)
    text = re.sub(r"CREATE INDEX slayq_.*?;\n", "", text, flags=re.DOTALL)
    text = text.replace("\\restrict", "--").replace("\\unrestrict", "--")
    return [line for line in text.splitlines() if line and not line.startswith("--")]


class NodeSchemaTestCase(TestCase):
    """A database for Node and for us."""

    timeout = 240

    def setUp(self) -> None:
        self.url = empty_database(self)

    async def migrate(self, url: str | None = None, **options: bool) -> MigrationReport:
        parameters, _ = parse(url or self.url)
        database = Database(parameters, reactor, size=1)
        self.addCleanup(database.close)
        await database.open()
        return await migrate(database, reactor, **options)

    async def node_makes(self, release: str, url: str | None = None) -> None:
        await deferToThread(make_schema, release, url or self.url)

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        return ask(self.url, statement)


class FreshSchemaTests(NodeSchemaTestCase):
    """Ours is theirs."""

    async def test_same_as_node_makes_it(self) -> None:
        """Dumped, our schema is the one that 0.18.0 makes (item 1)."""
        await self.migrate()
        theirs = empty_database(self)
        await self.node_makes("0.18.0", theirs)
        self.assertEqual(schema_of(self.url), schema_of(theirs))

    async def test_node_workers_start(self) -> None:
        """0.16.6, 0.17.3 and 0.18.0 start on our schema, run a job, and leave the migrations as they are (item 3)."""
        await self.migrate()
        before = self.sql("SELECT * FROM graphile_worker.migrations ORDER BY id")
        for number, release in enumerate(RELEASES):
            worker = NodeWorker(self, release, self.url, f"task_{number}")
            await worker.ready()
            self.sql(f"SELECT graphile_worker.add_job('task_{number}')")
            await worker.wait_for(1)
            await worker.stop()
        self.assertEqual(self.sql("SELECT * FROM graphile_worker.migrations ORDER BY id"), before)

    async def test_breaking_marker(self) -> None:
        """Had we recorded 19 as breaking, as 0.17 does, 0.16.6 would refuse to start (item 4)."""
        await self.migrate()
        self.sql("UPDATE graphile_worker.migrations SET breaking = true WHERE id = 19")
        error = await self.assertFailure(self.failing_node("0.16.6"), AssertionError)
        self.assertIn(
            "Database is using Graphile Worker schema revision 20 which includes breaking migration 19, but the "
            "currently running worker only supports up to revision 18.",
            str(error),
        )

    def failing_node(self, release: str) -> "Deferred[None]":
        return Deferred.fromCoroutine(self.node_makes(release))

    async def test_installing_at_the_same_moment(self) -> None:
        """A race with 0.18.0's installation ends with both content, and one schema (item 9)."""
        node = self.node_makes("0.18.0")
        racing = Deferred.fromCoroutine(node)
        while (
            not self.sql("SELECT 1 FROM pg_namespace WHERE nspname = 'graphile_worker'") and not racing.called
        ):
            await deferToThread(lambda: None)
        await self.migrate()
        await racing
        ids = [number for (number,) in self.sql("SELECT id FROM graphile_worker.migrations ORDER BY id")]
        self.assertEqual(ids, list(range(1, 21)))


class AdoptionTests(NodeSchemaTestCase):
    """Their schema becomes ours, with every job."""

    async def test_adopted(self) -> None:
        """What 0.16.6, 0.17.3 and 0.18.0 made is taken over in place, beside live workers (item 6)."""
        for release, applied in (("0.16.6", 2), ("0.17.3", 1), ("0.18.0", 0)):
            self.url = empty_database(self)
            await self.node_makes(release)
            self.sql((JOBS + LOCK).format(**NEW))
            before = self.sql(ROWS.format(**NEW))
            breaking = self.sql("SELECT id FROM graphile_worker.migrations WHERE breaking ORDER BY id")
            report = await self.migrate()
            self.assertEqual(
                len([name for name in report.applied if name.startswith("graphile_worker/")]),
                applied,
                release,
            )
            self.assertEqual(self.sql(ROWS.format(**NEW)), before)
            self.assertEqual(
                self.sql("SELECT id FROM graphile_worker.migrations WHERE breaking ORDER BY id"), breaking
            )
            fresh = empty_database(self)
            await self.migrate(fresh)
            self.assertEqual(schema_of(self.url), schema_of(fresh), release)

    async def test_old(self) -> None:
        """What 0.15.1 made is upgraded when that is asked for and no job is running, and refused otherwise (item 6)."""
        await self.node_makes("0.15.1")
        self.sql((JOBS + LOCK).format(**OLD))
        refused = await self.assertFailure(Deferred.fromCoroutine(self.migrate()), MigrationError)
        self.assertIn("--upgrade-old-schema", str(refused))
        busy = await self.assertFailure(
            Deferred.fromCoroutine(self.migrate(upgrade_old=True)), MigrationError
        )
        self.assertIn("Stop all workers", str(busy))
        self.sql("UPDATE graphile_worker.jobs SET locked_at = NULL, locked_by = NULL")
        self.sql("UPDATE graphile_worker.job_queues SET locked_at = NULL, locked_by = NULL")
        before = self.sql(ROWS.format(**OLD))
        await self.migrate(upgrade_old=True)
        self.assertEqual(self.sql(ROWS.format(**NEW)), before)
        fresh = empty_database(self)
        await self.migrate(fresh)
        self.assertEqual(schema_of(self.url), schema_of(fresh))
        overloads = self.sql(
            "SELECT proname FROM pg_proc WHERE pronamespace = 'graphile_worker'::regnamespace ORDER BY 1"
        )
        self.assertEqual(len(overloads), len(set(overloads)))

    async def test_too_old(self) -> None:
        """What 0.13.0 made is refused, with what to do (item 6)."""
        await self.node_makes("0.13.0")
        error = await self.assertFailure(
            Deferred.fromCoroutine(self.migrate(upgrade_old=True)), MigrationError
        )
        self.assertIn("Graphile Worker 0.16", str(error))
