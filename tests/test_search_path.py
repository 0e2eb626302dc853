"""No statement of ours leaves a name to whoever may create in a schema: it runs under a path that we set in the same
transaction, or it names everything by its schema. This is what catches the next statement.
"""

import ast
import re
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

import slayq_tw
from slayq_tw import echo
from slayq_tw.client.operation import jobs_of, statement
from slayq_tw.database import Database
from slayq_tw.listener import JOBS_CHANNEL
from slayq_tw.sqlfiles import migration_files, named_queries, script
from tests.sqlnames import bare, functions

PACKAGE = Path(slayq_tw.__file__).parent
PINNED = "SET LOCAL search_path = pg_catalog, pg_temp;"
SENDERS = {
    "rows": {"database.py", "echo.py"},
    "cursor": {"connection.py", "client/blocking.py"},
    "execute": {
        "connection.py", "migrations.py", "schema_turn.py", "grants.py", "housekeeping.py", "jobs.py",
        "client/blocking.py", "client/asynchronous.py",
    },
    "connect": {"dev/sending.py"},
}  # fmt: skip
"""Where SQL may be sent from, by what sends it. The modules that are not Database's, Echo's or the client's do it in
`Database.transaction`, whose first statement sets the path."""
ALONE = ("_private_matches", "_private_member", "_private_text")
"""Functions of ours that run under the path of whoever adds a job: an index evaluates them."""
CALLED_BY_OURS = {
    "_private_masked", "_private_unmasked", "_private_put", "_private_with_step", "_private_triple", "_private_target",
    "_private_memory_start", "_private_remember_for", "_private_forget", "_private_waiter", "_private_resume",
    "_private_announce", "_private_make_room", "_private_secure", "_private_name_keyless", "_private_small_bytes",
    "_private_microseconds", "_private_moment", "_private_due_jobs", "_private_lane_heads", "_private_next_due",
}  # fmt: skip
"""Functions without a path of their own that nobody but the owner may call: what calls them, ours, has one."""


class NamesTests(SynchronousTestCase):
    """The check itself."""

    def test_what_it_finds(self) -> None:
        """Names without a schema, in whatever form the grammar has them."""
        for sql, found in (
            ("SELECT now()", ["function now"]),
            ("SELECT pg_catalog.now()", []),
            ("SELECT a = 1 FROM s.t", ["operator ="]),
            ("SELECT a OPERATOR(pg_catalog.=) ANY (b) FROM s.t", []),
            ("SELECT a = ANY (b), a IN (1), a BETWEEN 1 AND 2 FROM s.t", ["operator =", "operator BETWEEN"]),
            ("SELECT a IS DISTINCT FROM b FROM s.t", ["operator ="]),
            ("SELECT nullif(a, b) FROM s.t", ["operator ="]),
            ("SELECT a LIKE b FROM s.t", ["operator ~~"]),
            ("SELECT CASE a WHEN 1 THEN 2 END FROM s.t", ["syntax CASE value WHEN"]),
            ("SELECT FROM s.t JOIN s.u USING (id)", ["syntax USING"]),
            ("SELECT a IN (SELECT b FROM s.u) FROM s.t", ["syntax IN (SELECT …)"]),
            ("SELECT a::text, b::integer, c::pg_catalog.text FROM s.t", ["type text"]),
            ("SELECT * FROM t", ["table t"]),
            ("WITH t AS (SELECT 1) SELECT * FROM t", []),
            ("SELECT * FROM unnest(%(a)s::integer[], %(b)s::integer[]) AS u (a, b)", []),
            ("SELECT * FROM unnest(%(a)s::integer[]) AS u (a)", ["function unnest"]),
            ("CREATE FUNCTION s.f() RETURNS integer LANGUAGE sql AS 'SELECT abs(1)'", ["function abs"]),
            (
                "CREATE FUNCTION s.f() RETURNS integer LANGUAGE plpgsql AS $$ DECLARE\n  a text;\nBEGIN "
                "IF a <> 'x' THEN a := upper(a); END IF; RETURN length(a); END $$",
                ["function length", "function upper", "operator <>", "type text"],
            ),
        ):
            self.assertEqual(bare(sql), found, sql)


class ClientTests(SynchronousTestCase):
    """What runs in somebody else's transaction."""

    def test_statements(self) -> None:
        """Each names everything by its schema."""
        queries = named_queries("client.sql").keys() - {"jobs_as_rows"}
        self.assertGreater(len(queries), 8)
        for name in sorted(queries):
            texts = [statement(name).sql]
            if texts[0].startswith("SELECT *"):
                texts.append(next(jobs_of(name)).sql)
            for text in texts:
                self.assertEqual(bare(text), [], name)

    def test_nothing_is_set(self) -> None:
        """And changes no setting of its caller's."""
        for name, sql in named_queries("client.sql").items():
            self.assertNotRegex(sql, r"(?i)\b(SET|RESET)\s|set_config", name)


class FunctionTests(SynchronousTestCase):
    """What stays in the database."""

    def test_graphile_worker(self) -> None:
        """Its functions run under their callers' path: their bodies name everything."""
        found = functions(script("graphile_worker", "functions.sql"))
        self.assertEqual(len(found), 7)
        for one in found:
            self.assertEqual(one.bare, [], one.name)

    def test_ours(self) -> None:
        """Ours have a path of their own; are called by such a one only; or, where an index calls them, name everything."""
        latest = {one.name: one for migration in migration_files() for one in functions(migration.sql)}
        self.assertGreater(len(latest), 25)
        for name, one in latest.items():
            if name in ALONE:
                self.assertEqual(one.bare, [], name)
            elif one.path is None:
                self.assertIn(name, CALLED_BY_OURS)
            else:
                self.assertEqual(one.path, ["pg_catalog", "pg_temp"], name)

    def test_migrations(self) -> None:
        """Each file sets its path, whoever runs it."""
        for migration in migration_files():
            code = [line for line in migration.sql.splitlines() if line and not line.startswith("--")]
            self.assertEqual(code[0], PINNED, migration.name)


class Wire:
    """Stands in for a connection; keeps what is sent."""

    alive = True
    heard_at = 0.0
    server_version = 170_000

    def __init__(self) -> None:
        self.sent: list[str] = []

    def bounded(self, seconds: float, call: Any) -> Any:
        """Connection's."""
        return call()

    def rows(self, sql: str, parameters: object) -> "Deferred[list[Any]]":
        """Connection's."""
        self.sent.append(sql)
        done: Deferred[list[Any]] = Deferred()
        done.callback([])
        return done

    def transaction(self, work: Any, settings: str) -> "Deferred[Any]":
        """Connection's."""
        self.sent.append(settings)
        return Deferred.fromCoroutine(work(self))

    async def execute(self, sql: str, parameters: object = None) -> None:
        """A cursor's."""
        self.sent.append(sql)


class DatabaseTests(SynchronousTestCase):
    """What the pool sends."""

    def setUp(self) -> None:
        self.wire = Wire()
        self.database = Database({}, Clock(), size=1)
        self.database._connections[:] = [self.wire]  # type: ignore[list-item]
        self.database._idle = [self.wire]  # type: ignore[list-item]

    def assert_settings(self, sent: str) -> None:
        self.assertRegex(
            sent,
            r"\ASET LOCAL statement_timeout = \d+; SET LOCAL transaction_isolation = 'read committed'; "
            r"SET LOCAL search_path = pg_catalog, pg_temp; ",
        )
        self.assertIn("SET LOCAL lock_timeout = 0; ", sent)
        self.assertIn("SET LOCAL transaction_timeout = 0;", sent)
        self.assertNotIn("read_only", sent)  # a database that may only be read must say so to us

    def test_every_way(self) -> None:
        """Each way of asking sets the level and the path first, in the same string."""
        for ask in (
            self.database.query("SELECT 1"),
            self.database.brief_query("SELECT 1"),
            self.database.urgent_query("SELECT 1", timeout=1.0),
        ):
            self.successResultOf(Deferred.fromCoroutine(ask))
            (sent,) = self.wire.sent
            self.assert_settings(sent)
            self.assertTrue(sent.endswith("\nSELECT 1"))
            self.wire.sent.clear()

    def test_transaction(self) -> None:
        """A transaction does so before its work begins."""

        async def work(cursor: Any) -> None:
            await cursor.execute("SELECT 1")

        self.successResultOf(Deferred.fromCoroutine(self.database.transaction(work)))
        settings, statement_sent = self.wire.sent
        self.assert_settings(settings)
        self.assertIn("SET LOCAL idle_in_transaction_session_timeout = 0; ", settings)
        self.assertEqual(statement_sent, "SELECT 1")


class SourceTests(SynchronousTestCase):
    """Who sends SQL at all."""

    def test_senders(self) -> None:
        """Nobody but those who are known to set the path, or to need none."""
        found: dict[str, set[str]] = {name: set() for name in SENDERS}
        for path in sorted(PACKAGE.rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Attribute)
                    and node.func.attr in found
                ):
                    if node.func.attr == "connect" and ast.unparse(node.func) != "psycopg2.connect":
                        continue
                    found[node.func.attr].add(str(path.relative_to(PACKAGE)))
        self.assertEqual(found, SENDERS)

    def test_literals(self) -> None:
        """What the listening connection sends, and what is written out in a module, names everything."""
        self.assertEqual(bare(echo._WHICH), [])
        self.assertEqual(bare(f'LISTEN "{JOBS_CHANNEL}"'), [])
        for path in sorted(PACKAGE.rglob("*.py")):
            nodes = list(ast.walk(ast.parse(path.read_text("utf-8"))))
            parts = {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
            for node in nodes:
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
                    self.check(node.value, f"{path}:{node.lineno}")

    def check(self, text: str, where: str) -> None:
        if re.match(r"(SELECT|WITH|INSERT|UPDATE|DELETE) [\w.*%(]+", text):
            self.assertEqual(bare(text), [], where)
