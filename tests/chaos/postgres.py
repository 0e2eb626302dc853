"""The Postgres server of a run: with the settings that it comes with, so that what it confirmed has reached the disk."""

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg2
from psycopg2 import sql

from slayq_tw.embedded import EmbeddedPostgres

MAX_CONNECTIONS = 300
ROLE = "daemon"
"""Whom the daemons log in as: the owner of their database, and nothing more."""
APPLICATION = "application"
"""Whom others log in as."""
PASSWORD = "chaos"


class Server:
    """An embedded server that can be stopped the hard way and comes back on the same port.

    Args:
        folder: for its data.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._postgres = EmbeddedPostgres(folder)
        self._url = self._postgres.start()
        self._run(f"ALTER SYSTEM SET max_connections = {MAX_CONNECTIONS}")
        for role in (ROLE, APPLICATION):
            self._run(f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'")
        self.stop()
        self.start()

    def start(self) -> None:
        """Start again, on the same port; returns when it takes connections."""
        self._url = self._postgres.start(port=urlsplit(self._url).port)

    def stop(self) -> None:
        """Shut down in order."""
        self._postgres.stop()

    def crash(self) -> None:
        """Stop as `pg_ctl stop -m immediate` does: nothing is written, and the next start recovers from the log."""
        os.kill(self._postmaster(), signal.SIGQUIT)
        self._postgres.stop()

    def freeze(self) -> Callable[[], None]:
        """Suspend all its processes: connections stand, new ones too, and nothing is answered. To be called to end it."""
        postmaster = self._postmaster()
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        frozen = [postmaster, *map(int, children)]

        def send(number: int) -> None:
            for pid in frozen:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)

        send(signal.SIGSTOP)
        return lambda: send(signal.SIGCONT)

    def _postmaster(self) -> int:
        return int((self._folder / "data" / "postmaster.pid").read_text().split()[0])

    def create(self, name: str, options: str = "") -> str:
        """A new database that belongs to the daemons' role; the superuser's URL of it."""
        self._run(f"CREATE DATABASE {{}} OWNER {ROLE} {options}", name)
        return self.url(name)

    def tablespace(self, name: str, place: Path) -> None:
        """A tablespace in a folder that belongs to the server's user."""
        self._run(f"CREATE TABLESPACE {{}} LOCATION '{place}'", name)

    def drop_tablespace(self, name: str) -> None:
        """Drop it; it has to be empty."""
        self._run("DROP TABLESPACE {}", name)

    def move(self, name: str, tablespace: str) -> None:
        """Move a database to a tablespace; nobody may be connected."""
        self._run("ALTER DATABASE {} SET TABLESPACE {}", name, tablespace)

    @property
    def owner(self) -> tuple[int, int]:
        """User and group that the server runs as."""
        status = (self._folder / "data" / "PG_VERSION").stat()
        return status.st_uid, status.st_gid

    def drop(self, name: str) -> None:
        """Drop a database, whoever is connected."""
        self._run("DROP DATABASE IF EXISTS {} WITH (FORCE)", name)

    def url(self, name: str, login: str = "") -> str:
        """A database's URL: the superuser's, or with another log-in (`NAME:PASSWORD`)."""
        parts = urlsplit(self._url)
        host = parts.netloc.rpartition("@")[2]
        netloc = f"{login}@{host}" if login else parts.netloc
        return urlunsplit(parts._replace(netloc=netloc, path=f"/{name}"))

    def daemon_url(self, name: str) -> str:
        """A database's URL for a daemon."""
        return self.url(name, f"{ROLE}:{PASSWORD}")

    def _run(self, statement: str, *names: str) -> None:
        connection = psycopg2.connect(self._url)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))
        finally:
            connection.close()


class Session:
    """One connection for looking and for disturbing; it is opened again after the server was away.

    Args:
        url: libpq URL.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: Any = None

    def rows(self, statement: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        """Run one statement in a transaction of its own; once more if the connection turns out to be lost.

        Args:
            statement: whose repetition does no harm.
            parameters: by position or by name.
        """
        try:
            return self.once(statement, parameters)
        except psycopg2.OperationalError:
            if not self._connection.closed:
                raise
        return self.once(statement, parameters)

    def once(self, statement: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        """The same for a statement that may not be repeated."""
        if self._connection is None or self._connection.closed:
            self._connection = psycopg2.connect(self._url)
            self._connection.autocommit = True
        with self._connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    def value(self, statement: str, parameters: Any = None) -> Any:
        """The only value of the only row."""
        ((value,),) = self.rows(statement, parameters)
        return value

    def close(self) -> None:
        """Close it; harmless when it is not open."""
        if self._connection is not None:
            self._connection.close()


def now() -> float:
    """Seconds of the monotonic clock, the same for all processes of a machine."""
    return time.monotonic()
