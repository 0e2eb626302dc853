"""A throw-away Postgres with the settings that it comes with (every commit reaches the disk), and its databases."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2 import sql

from bench.jobs import payload_around
from bench.processes import BenchError
from slayq_tw.embedded import EmbeddedPostgres, EmbeddedPostgresError


class Server:
    """The server, and a connection to its maintenance database, so that watching it adds nothing to what is watched.

    Args:
        folder: for its data. The speed of that disk is a part of what is measured.

    Raises:
        BenchError: it does not start.
    """

    def __init__(self, folder: Path) -> None:
        self._server = EmbeddedPostgres(folder)
        self._pidfile = folder / "data" / "postmaster.pid"
        try:
            self._url = self._server.start()
        except EmbeddedPostgresError as error:
            raise BenchError(str(error)) from error
        self._connection = _connect(self._url)
        self._made = 0

    def stop(self) -> None:
        """Shut it down."""
        self._connection.close()
        self._server.stop()

    @property
    def pid(self) -> int:
        """Process id of the postmaster, whose descendants serve the connections."""
        return int(self._pidfile.read_text().split()[0])

    @property
    def version(self) -> str:
        """Such as `17.10`."""
        return str(self.value("SHOW server_version"))

    def value(self, query: str, *parameters: Any) -> Any:
        """The only value that a query returns."""
        with self._connection.cursor() as cursor:
            cursor.execute(query, parameters)
            row = cursor.fetchone()
        return row[0] if row else None

    def create(self, template: str = "template1") -> "Database":
        """A new database."""
        self._made += 1
        name = f"bench_{self._made}"
        self._execute("CREATE DATABASE {} TEMPLATE {}", name, template)
        return Database(name, f"{self._url.rpartition('/')[0]}/{name}")

    def drop(self, name: str) -> None:
        """Drop a database, whoever is connected."""
        self._execute("DROP DATABASE {} WITH (FORCE)", name)

    def wait_until_alone(self, name: str) -> None:
        """Wait until nobody is connected to a database: a session hands in its last statistics when it ends."""
        while self.connections(name):
            time.sleep(0.01)

    def transactions(self, name: str) -> int:
        """Transactions of a database so far. A session that is idle may hold back those of the last 10 s."""
        query = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = %s"
        return int(self.value(query, name))

    def connections(self, name: str) -> int:
        """Clients of a database at this moment."""
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND backend_type = 'client backend'"
        return int(self.value(query, name))

    def wal_position(self) -> int:
        """Bytes of write-ahead log so far."""
        return int(self.value("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')"))

    def _execute(self, statement: str, *names: str) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


class Database:
    """A database with the job schema in it.

    Attributes:
        name: in the server.
        url: for whoever works on it.
        statements: how many this object has executed, each a transaction.
    """

    def __init__(self, name: str, url: str) -> None:
        self.name = name
        self.url = url
        self.statements = 0
        self._connection: Any = None

    def close(self) -> None:
        """Close its connection; the next statement opens one again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def execute(self, statement: str, parameters: Any = None) -> None:
        """Execute a statement in a transaction of its own."""
        self._cursor(statement, parameters).close()

    def row(self, query: str, parameters: Any = None) -> Any:
        """The first row of a query."""
        with self._cursor(query, parameters) as cursor:
            return cursor.fetchone()

    def rows(self, query: str, parameters: Any = None) -> list[Any]:
        """All rows of a query."""
        with self._cursor(query, parameters) as cursor:
            found: list[Any] = cursor.fetchall()
        return found

    def add(
        self, count: int, identifiers: Sequence[str], url: str, *, lanes: int = 0, due_in: float = 0.0
    ) -> None:
        """Store jobs by plain SQL, unannounced.

        Args:
            count: how many.
            identifiers: taken in turn.
            url: where they are delivered.
            lanes: number of serial lanes, which are filled one after the other; 0 for jobs without one.
            due_in: seconds from now. They are a microsecond apart, the first one being due first.
        """
        if lanes:
            self.execute(_LANES, {"lanes": lanes})
        before, after = payload_around(url)
        self.execute(
            _JOBS,
            {
                "count": count,
                "identifiers": list(identifiers),
                "lanes": lanes,
                "due_in": due_in,
                "before": before,
                "after": after,
            },
        )

    def settle(self) -> None:
        """Bring statistics and visibility up to date, and write everything to disk: each run begins alike."""
        self.execute("VACUUM ANALYZE")
        self.execute("CHECKPOINT")

    def empty(self) -> bool:
        """Whether no job is left."""
        return not self.row("SELECT EXISTS (SELECT FROM graphile_worker._private_jobs)")[0]

    def _cursor(self, statement: str, parameters: Any) -> Any:
        if self._connection is None:
            self._connection = _connect(self.url)
        self.statements += 1
        cursor = self._connection.cursor()
        cursor.execute(statement, parameters)
        return cursor


_LANES = """
INSERT INTO graphile_worker._private_job_queues (queue_name)
SELECT 'lane-' || n FROM generate_series(1, %(lanes)s) AS n
    ON CONFLICT DO NOTHING
"""

_JOBS = """
INSERT INTO graphile_worker._private_jobs (task_id, job_queue_id, payload, run_at)
SELECT task.id, lane.id, (%(before)s || n || %(after)s)::json,
       now() + %(due_in)s * interval '1 second' + (n - %(count)s) * interval '1 microsecond'
  FROM generate_series(1, %(count)s) AS n
  JOIN graphile_worker._private_tasks AS task
    ON task.identifier = (%(identifiers)s::text[])[1 + n %% cardinality(%(identifiers)s::text[])]
  LEFT JOIN graphile_worker._private_job_queues AS lane
    ON %(lanes)s > 0 AND lane.queue_name = 'lane-' || (1 + (n - 1) / greatest(1, %(count)s / greatest(1, %(lanes)s)))
 ORDER BY n
"""


def _connect(url: str) -> Any:
    connection = psycopg2.connect(url)
    connection.autocommit = True
    return connection
