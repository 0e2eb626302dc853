"""What the tests of the job schema's functions share."""

import json
import select
from typing import Any

import psycopg2
from psycopg2.extras import RealDictCursor
from twisted.trial.unittest import SynchronousTestCase

from tests.postgres import migrated_database

Row = dict[str, Any]


class SchemaCase(SynchronousTestCase):
    """A connection to a migrated database, in autocommit; rows are dicts."""

    def setUp(self) -> None:
        self.url = migrated_database(self)
        self.connection = self.connect()

    def connect(self) -> Any:
        """One more connection."""
        connection = psycopg2.connect(self.url, cursor_factory=RealDictCursor)
        connection.autocommit = True
        self.addCleanup(connection.close)
        return connection

    def rows(self, statement: str, *parameters: Any, on: Any = None) -> list[Row]:
        """Run a statement."""
        with (on or self.connection).cursor() as cursor:
            cursor.execute(statement, parameters or None)
            return [dict(row) for row in cursor.fetchall()] if cursor.description else []

    def row(self, statement: str, *parameters: Any) -> Row:
        """Run a statement that gives one row."""
        (row,) = self.rows(statement, *parameters)
        return row

    def add(self, identifier: str = "t", **arguments: Any) -> Row:
        """Call `add_job` by name; the row that it returns, its payload as text."""
        named = "".join(f", {name} => %s" for name in arguments)
        return self.row(
            f"SELECT job.*, job.payload::text AS payload FROM graphile_worker.add_job(%s{named}) AS job",
            identifier,
            *arguments.values(),
        )

    def job(self, number: int) -> Row | None:
        """A job as it is stored."""
        rows = self.rows(
            "SELECT *, payload::text AS payload FROM graphile_worker._private_jobs WHERE id = %s", number
        )
        return rows[0] if rows else None

    def change(self, number: int, changes: str) -> None:
        """Change a stored job."""
        self.rows(f"UPDATE graphile_worker._private_jobs SET {changes} WHERE id = %s", number)

    def refused(self, statement: str, *parameters: Any) -> tuple[str | None, str | None]:
        """Run a statement that fails; its SQLSTATE and the name of the constraint."""
        error = self.assertRaises(psycopg2.Error, self.rows, statement, *parameters)
        return error.pgcode, error.diag.constraint_name

    def notices(self, connection: Any) -> list[Any]:
        """What a listening connection has been told so far: `count` of each, or None for an empty payload."""
        self.rows("SELECT 1", on=connection)
        while select.select([connection], [], [], 0)[0]:
            connection.poll()
        payloads = [notice.payload for notice in connection.notifies]
        connection.notifies.clear()
        return [json.loads(payload)["count"] if payload else None for payload in payloads]

    def listening(self) -> Any:
        """A connection that listens for new jobs."""
        connection = self.connect()
        self.rows('LISTEN "jobs:insert"', on=connection)
        return connection
