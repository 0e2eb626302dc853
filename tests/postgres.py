"""A Postgres server for the tests, and a database of its own for each of them.

The server is the one that `SLAYQ_TEST_DATABASE_URL` names (a superuser's URL), else one that is started for this run
and thrown away after it. Names are random, so several runs may share a server.
"""

import atexit
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg2
from psycopg2 import sql
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.embedded import EmbeddedPostgres
from slayq_tw.grants import apply_grants
from slayq_tw.migrations import migrate
from tests.blocking import BlockingDatabase, finish


def empty_database(case: SynchronousTestCase, encoding: str = "UTF8") -> str:
    """The libpq URL of a new database, dropped at the test's end, whoever is connected then."""
    return _database_of(case, "template0", encoding)


def migrated_database(case: SynchronousTestCase) -> str:
    """The same, with all our schemas in it."""
    return _database_of(case, _migrated_template())


def ask(url: str, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
    """Run one statement on a connection of its own, and commit; its rows, if it is one that returns rows."""
    connection = psycopg2.connect(url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement, parameters or None)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def _database_of(case: SynchronousTestCase, template: str, encoding: str = "UTF8") -> str:
    name = _new_database(template, encoding)
    case.addCleanup(_drop, name)
    return _url(name)


@cache
def _server() -> str:
    """The server's URL."""
    if given := os.environ.get("SLAYQ_TEST_DATABASE_URL"):
        return given
    folder = tempfile.mkdtemp(prefix="slayq-test-")
    postgres = EmbeddedPostgres(folder, scratch=True)
    url = postgres.start()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(postgres.stop)
    return url


@cache
def _migrated_template() -> str:
    name = _new_database("template0")
    atexit.register(_drop, name)  # before the server stops: what is registered last runs first
    bring_up_to_date(_url(name))
    return name


def bring_up_to_date(url: str) -> None:
    """Do what a daemon's start does to the schemas of a database."""
    database = BlockingDatabase(url)
    try:
        finish(migrate(database, Clock()))  # type: ignore[arg-type]  # it has the methods that are used
        finish(apply_grants(database, (), Clock()))
    finally:
        database.close()


def _new_database(template: str, encoding: str = "UTF8") -> str:
    name = f"slayq_test_{secrets.token_hex(6)}"
    with _on_server() as cursor:
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
            sql.Identifier(name), sql.Identifier(template)
        )
        if encoding != "UTF8":
            create += sql.SQL(" ENCODING {} LC_COLLATE 'C' LC_CTYPE 'C'").format(sql.Literal(encoding))
        cursor.execute(create)
    return name


def _drop(name: str) -> None:
    """Drop a database, whoever is connected to it."""
    with _on_server() as cursor:
        drop = sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name))
        if cursor.connection.server_version >= 130000:
            drop += sql.SQL(" WITH (FORCE)")
        else:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
            )
        cursor.execute(drop)


@contextmanager
def _on_server() -> Iterator[Any]:
    connection = psycopg2.connect(_server())
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            yield cursor
    finally:
        connection.close()


def _url(name: str) -> str:
    return urlunsplit(urlsplit(_server())._replace(path=f"/{name}"))
