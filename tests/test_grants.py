"""`slayq_tw.grants` against a scripted database: order of statements, report, log."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from twisted.internet.task import Clock
from twisted.logger import LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.errors import MigrationError
from slayq_tw.grants import GrantReport, apply_grants
from slayq_tw.schema_turn import MIGRATION_LOCK
from tests.blocking import finish

T = TypeVar("T")


class ScriptedDatabase:
    """Answers each statement with the rows of the first word in `answers` that stands in it."""

    def __init__(self, answers: Mapping[str, list[tuple[Any, ...]]]) -> None:
        self.answers = {**answers, "pg_backend_pid": [(1, True)]}
        self.statements: list[tuple[str, Any]] = []
        self.committed = False

    async def execute(self, query: str, params: Any = None) -> None:
        self.statements.append((query, params))

    def fetchall(self) -> list[tuple[Any, ...]]:
        query, _ = self.statements[-1]
        return next((rows for word, rows in self.answers.items() if word in query), [])

    async def query(self, *_: Any, **__: Any) -> list[tuple[Any, ...]]:
        raise AssertionError("nobody holds it up")

    async def transaction(self, work: Callable[[Any], Awaitable[T]], *, timeout: float = 30.0) -> T:
        result = await work(self)
        self.committed = True
        return result


class ApplyGrantsTests(SynchronousTestCase):
    """One transaction, one report."""

    def setUp(self) -> None:
        self.events: list[dict[str, Any]] = []
        globalLogPublisher.addObserver(self.events.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.events.append)

    def logged(self, name: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event.get("event") == name]

    def test_lock_first(self) -> None:
        """Its turn, by the lock that the migrations take too, comes before everything else."""
        database = ScriptedDatabase({})
        finish(apply_grants(database, [], Clock()))
        (first, parameters), (second, _) = database.statements[:2]
        self.assertIn("pg_try_advisory_xact_lock", first)
        self.assertEqual(parameters, {"lock": MIGRATION_LOCK})
        self.assertEqual(second, "LOCK TABLE slayq._migrations IN SHARE ROW EXCLUSIVE MODE;")

    def test_report(self) -> None:
        """Changes are sorted by function, and logged by role."""
        database = ScriptedDatabase(
            {
                "_private_grant_execute": [
                    ("granted", "b", "x"),
                    ("revoked", "a", "PUBLIC"),
                    ("granted", "a", "x"),
                ]
            }
        )
        report = finish(apply_grants(database, ["x"], Clock()))
        self.assertEqual(report, GrantReport((("a", "x"), ("b", "x")), (("a", "PUBLIC"),), ()))
        (event,) = self.logged("grants_changed")
        self.assertEqual((event["granted"], event["revoked"]), ('"x"', '"PUBLIC"'))

    def test_nothing_to_say(self) -> None:
        """A start that changes nothing logs nothing."""
        finish(apply_grants(ScriptedDatabase({}), [], Clock()))
        self.assertEqual(self.events, [])

    def test_adopted(self) -> None:
        """One warning names every adopted role once."""
        database = ScriptedDatabase({"_private_adopted_grants": [("web",), ("app",), ("web",)]})
        self.assertEqual(finish(apply_grants(database, [], Clock())).adopted, ("app", "web"))
        (event,) = self.logged("adopted_grants")
        self.assertEqual((event["log_level"], event["roles"]), (LogLevel.warn, '"app", "web"'))

    def test_unknown_role(self) -> None:
        """An unknown role ends the transaction before anything is granted."""
        database = ScriptedDatabase({"unnest": [("nobody",)]})
        with self.assertRaises(MigrationError) as caught:
            finish(apply_grants(database, ["nobody"], Clock()))
        self.assertIn('grant_execute_to: no such role in this database: "nobody"', str(caught.exception))
        self.assertFalse(database.committed)
        self.assertFalse([text for text, _ in database.statements if "_private_grant_execute" in text])

    def test_public_role(self) -> None:
        """Roles that stand for every visitor are refused without asking the database."""
        database = ScriptedDatabase({})
        with self.assertRaises(MigrationError) as caught:
            finish(apply_grants(database, ["app", "authenticated", "anon"], Clock()))
        self.assertIn('grant_execute_to: "anon", "authenticated"', str(caught.exception))
        self.assertEqual(database.statements, [])
