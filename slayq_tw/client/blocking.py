"""The client on a blocking DB-API connection of the caller's, inside the caller's transaction."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from slayq_tw.client import adding, changing
from slayq_tw.client.operation import Operation, Rows, signature_after

P = ParamSpec("P")
T = TypeVar("T")


class Cursor(Protocol):
    """What is used of a DB-API cursor."""

    @property
    def description(self) -> Any:
        """Columns of the result; None when the statement has none."""

    def execute(self, query: Any, vars: Any = None, /) -> Any:
        """Run a statement with `%(name)s` parameters."""

    def fetchall(self) -> Sequence[Any]:
        """All rows."""

    def close(self) -> None:
        """Let go of the result."""


class Connection(Protocol):
    """What is used of a connection: psycopg2's or psycopg 3's, SQLAlchemy's raw one, `django.db.connection`."""

    def cursor(self) -> Cursor:
        """A new cursor."""


def _rows(cursor: Cursor) -> Rows:
    """The rows as sequences, also from a cursor that gives dictionaries."""
    if cursor.description is None:
        return []
    return [tuple(row.values()) if isinstance(row, Mapping) else row for row in cursor.fetchall()]


def _blocking(operation: Callable[P, Operation[T]]) -> Callable[Concatenate[Connection, P], T]:
    @wraps(operation)
    def call(connection: Connection, /, *args: P.args, **kwargs: P.kwargs) -> T:
        steps = operation(*args, **kwargs)
        try:
            statement = next(steps)
            with closing(connection.cursor()) as cursor:
                while True:
                    cursor.execute(statement.sql, statement.parameters)
                    statement = steps.send(_rows(cursor))
        except StopIteration as end:
            result: T = end.value
            return result

    call.__signature__ = signature_after("connection", Connection, operation)  # type: ignore[attr-defined]
    return call


send_event = _blocking(adding.send_event)
send_events = _blocking(adding.send_events)
add_job = _blocking(adding.add_job)
add_jobs = _blocking(adding.add_jobs)
remove_job = _blocking(changing.remove_job)
complete_jobs = _blocking(changing.complete_jobs)
permanently_fail_jobs = _blocking(changing.permanently_fail_jobs)
reschedule_jobs = _blocking(changing.reschedule_jobs)
force_unlock_workers = _blocking(changing.force_unlock_workers)
