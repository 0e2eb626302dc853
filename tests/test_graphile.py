"""`slayq_tw.graphile`: what is done to a job schema of which revision."""

from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.errors import MigrationError, SchemaTooNew
from slayq_tw.graphile import BREAKING, REVISION, Plan, plan


class PlanTests(SynchronousTestCase):
    """Every revision has its answer."""

    def test_nothing_there(self) -> None:
        """No schema, and an empty table of migrations, are created; all twenty rows are recorded (item 2)."""
        for revision in (None, 0):
            todo = plan(revision)
            self.assertEqual(todo.scripts, ("create.sql", "view.sql", "functions.sql"))
            self.assertEqual(todo.rows, tuple(range(1, 21)))
        self.assertEqual(BREAKING, {1, 3, 11, 13, 14, 16})

    def test_up_to_date(self) -> None:
        """The present revision is adopted as it is."""
        self.assertEqual(plan(REVISION, 19), Plan())

    def test_live_upgrades(self) -> None:
        """From 16 on, workers may go on; only what changed since is touched."""
        self.assertEqual(plan(19, 19), Plan(("functions.sql",), (20,)))
        self.assertEqual(plan(18, 16), Plan(("functions.sql",), (19, 20)))
        self.assertEqual(plan(17, 16), Plan(("until_17_drop_trigger.sql", "functions.sql"), (18, 19, 20)))
        self.assertEqual(plan(16, 16).scripts, ("until_17_drop_trigger.sql", "view.sql", "functions.sql"))
        self.assertFalse(plan(16, 16).offline)

    def test_old(self) -> None:
        """Before 16, an upgrade is made only when it is asked for, with no worker running (item 6)."""
        for revision in range(11, 16):
            error = self.assertRaises(MigrationError, plan, revision, 11)
            self.assertIn("--upgrade-old-schema", str(error))
            todo = plan(revision, 11, upgrade_old=True)
            self.assertTrue(todo.offline)
            self.assertEqual(todo.rows, tuple(range(revision + 1, 21)))
            self.assertEqual("until_12_alter_job_spec.sql" in todo.scripts, revision <= 12)
            self.assertLess(
                todo.scripts.index("until_15_drop_functions.sql"), todo.scripts.index("functions.sql")
            )

    def test_too_old(self) -> None:
        """Before 11, the operator is told what to do (item 6)."""
        for revision in range(1, 11):
            error = self.assertRaises(MigrationError, plan, revision, 3, upgrade_old=True)
            self.assertIn("start Graphile Worker 0.16 once", str(error))

    def test_newer(self) -> None:
        """A newer revision is a warning, a newer breaking one is refused (item 5)."""
        todo = plan(22, 19)
        self.assertEqual((todo.scripts, todo.rows), ((), ()))
        assert todo.warning is not None
        self.assertTrue(
            todo.warning.startswith(
                "Database is using Graphile Worker schema revision 22, but the currently running worker only "
                "supports up to revision 20 which may or may not be compatible."
            )
        )
        error = self.assertRaises(SchemaTooNew, plan, 22, 21)
        self.assertEqual(
            str(error),
            "Database is using Graphile Worker schema revision 22 which includes breaking migration 21, but the "
            "currently running worker only supports up to revision 20. It would be unsafe to continue; please ensure "
            "all versions of Graphile Worker are compatible.",
        )
