"""`slayq_tw.sqlfiles`."""

from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.sqlfiles import in_order, migration_files, named_queries, parse_queries, script


class InOrderTests(SynchronousTestCase):
    """Numbered files are applied by their numbers, without a gap."""

    def test_in_order(self) -> None:
        """By number, whatever the folder's order."""
        self.assertEqual(in_order(["0002_b.sql", "0001_a.sql"]), ["0001_a.sql", "0002_b.sql"])

    def test_faults(self) -> None:
        """A gap, a number that stands twice, and a name that is no migration's."""
        for names, said in (
            (["0001_a.sql", "0003_c.sql"], "0003_c.sql"),
            (["0001_a.sql", "0001_b.sql"], "0001_b.sql"),
            (["0001_a.sql", "2_b.sql"], "2_b.sql"),
            (["0001_A.sql"], "0001_A.sql"),
        ):
            self.assertIn(said, str(self.assertRaises(ValueError, in_order, names)))


class ParseQueriesTests(SynchronousTestCase):
    """Queries of a file, by name."""

    def test_names(self) -> None:
        """Comments and empty lines are left out, the rest is kept as it is."""
        text = "-- About the file.\n\n-- name: one\n-- About it.\nSELECT 1;\n\n-- name: two\nSELECT '--'\n  FROM t;\n"
        self.assertEqual(parse_queries(text), {"one": "SELECT 1;", "two": "SELECT '--'\n  FROM t;"})

    def test_faults(self) -> None:
        """A name that stands twice, and SQL that belongs to none."""
        self.assertRaises(ValueError, parse_queries, "-- name: a\nSELECT 1;\n-- name: a\nSELECT 2;")
        self.assertRaises(ValueError, parse_queries, "SELECT 1;\n-- name: a\nSELECT 2;")


class FilesTests(SynchronousTestCase):
    """What is in the package."""

    def test_present(self) -> None:
        """The package carries its SQL."""
        self.assertEqual(migration_files()[0].name, "0001_waits_and_memory")
        self.assertIn("claim_jobs", named_queries("jobs.sql"))

    def test_ascii(self) -> None:
        """All of it is ASCII, comments too: a database may have an encoding in which nothing else can be sent."""
        for migration in migration_files():
            self.assertTrue(migration.sql.isascii(), migration.name)
        for name in ("create.sql", "functions.sql", "view.sql"):
            self.assertTrue(script("graphile_worker", name).isascii(), name)
        for name in ("client", "daemons", "dev", "grants", "housekeeping", "jobs", "migrations"):
            for query, sql in named_queries(f"{name}.sql").items():
                self.assertTrue(sql.isascii(), query)
