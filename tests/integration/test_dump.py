"""A database that is dumped by `pg_dump` and restored elsewhere: what is in it, and that work goes on there."""

import os
import re
import subprocess
from typing import Any

from slayq_tw.pgbinaries import installed
from tests.application import FUNCTIONS, Application, ApplicationTestCase
from tests.postgres import ask, bring_up_to_date, empty_database
from tests.processes import ROOT

HARMLESS = ("transaction_timeout", 'schema "public" already exists')
README = (ROOT / "README.md").read_text("utf-8")
COUNTS = """
SELECT (SELECT json_agg(job.* ORDER BY job.id)::text FROM graphile_worker._private_jobs AS job),
       (SELECT json_agg(queue.* ORDER BY queue.id)::text FROM graphile_worker._private_job_queues AS queue),
       (SELECT json_agg(wait.*)::text FROM slayq._private_waiting_on AS wait),
       (SELECT json_agg(result.*)::text FROM slayq._private_results AS result),
       (SELECT count(*) FROM slayq._migrations), (SELECT count(*) FROM graphile_worker.migrations)
"""


class DumpTests(ApplicationTestCase):
    """Jobs of all kinds go with it."""

    def setUp(self) -> None:
        super().setUp()
        self.app.send("order", key="k", run_at="tomorrow")
        self.app.wait("k")
        self.app.send("lane", queue_name="lane")
        self.app.send("plain")
        self.app.call("trigger_waiting_invoker", _job_key="t", _result='{"a":1}')
        job = self.app.claim()
        assert job is not None
        self.app.fail(job)
        self.elsewhere = empty_database(self)

    def run_program(self, name: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        binaries = installed()[0]
        return subprocess.run(
            [str(binaries.folder / name), *arguments],
            env=binaries.environment(),
            capture_output=True,
            text=True,
        )

    def move(self, *options: str) -> "subprocess.CompletedProcess[str]":
        """Dump our database and restore it into the empty one."""
        file = os.path.abspath(self.mktemp())
        dumped = self.run_program("pg_dump", "--format=custom", f"--file={file}", *options, self.url)
        self.assertEqual(dumped.returncode, 0, dumped.stderr)
        return self.run_program("pg_restore", f"--dbname={self.elsewhere}", file)

    def assert_whole(self, restored: "subprocess.CompletedProcess[str]") -> None:
        faults = [line for line in restored.stderr.splitlines() if "error:" in line]
        # An older server does not know what a newer pg_restore sets; and each new database has a schema `public`.
        self.assertEqual([line for line in faults if not any(one in line for one in HARMLESS)], [])
        self.assertEqual(ask(self.elsewhere, COUNTS), self.app.rows(COUNTS))
        grants = "SELECT proname::text, proacl::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace ORDER BY 1, 2"
        self.assertEqual(ask(self.elsewhere, grants), self.app.rows(grants))
        bring_up_to_date(self.elsewhere)  # what a daemon's start does
        other: Any = Application(self.elsewhere)
        self.addCleanup(other.close)
        other.fire()
        self.assertLessEqual(other.keyed("k").due, 0)
        other.send("after")
        self.assertEqual(len(other.jobs()), 4)

    def test_whole_database(self) -> None:
        """The whole database."""
        self.assert_whole(self.move())

    def test_schemas(self) -> None:
        """The three schemas, as the README says."""
        (names,) = re.findall(r"^pg_dump .*? ((?:-n \w+ )+)", README, re.MULTILINE)
        self.assertIn("graphile_worker -n slayq -n public", names)
        self.assert_whole(self.move(*names.split()))

    def test_job_schema_alone(self) -> None:
        """Graphile Worker's schema alone cannot be restored whole: an index of it calls functions of `slayq`."""
        restored = self.move("--schema=graphile_worker")
        self.assertNotEqual(restored.returncode, 0)
        self.assertIn("slayq", restored.stderr)

    def test_without_public(self) -> None:
        """Without the functions in `public` the applications have nothing to call."""
        self.move("--schema=graphile_worker", "--schema=slayq")
        (missing,) = ask(
            self.elsewhere,
            "SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND proname = ANY (%s)",
            list(FUNCTIONS),
        )
        self.assertEqual(missing, (0,))
