"""`Operation`: something the client can do, without saying how it waits.

A generator that yields statements and is sent their rows. `blocking` and `asynchronous` run it, so both offer the
same calls. Nothing here begins, commits or repeats a transaction.
"""

import inspect
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, TypeAlias, TypeVar, get_args

from slayq_tw.client.rows import Names, StoredJob
from slayq_tw.sqlfiles import named_queries

T = TypeVar("T")
Rows: TypeAlias = Sequence[Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement and its named parameters."""

    sql: str
    parameters: Mapping[str, Any]


Operation: TypeAlias = Generator[Statement, Rows, T]
"""Yields statements, is sent the rows of each, returns the result."""


def _plain(value: Any) -> Any:
    """A parameter that every driver writes without a type's name: psycopg2 writes a datetime as `'…'::timestamptz`, and
    what that means is up to the caller's search_path.
    """
    if isinstance(value, datetime):
        return value.isoformat()
    return [_plain(one) for one in value] if isinstance(value, list) else value


def _bound(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _plain(value) for name, value in parameters.items()}


@cache
def _queries() -> dict[str, str]:
    return {name: sql.strip().removesuffix(";") for name, sql in named_queries("client.sql").items()}


def statement(query: str, **parameters: Any) -> Statement:
    """One of the statements of `client.sql`."""
    return Statement(_queries()[query], _bound(parameters))


def jobs_of(query: str, **parameters: Any) -> Operation[list[StoredJob]]:
    """Run a statement that gives jobs, and read them with their names."""
    call, as_rows = _queries()[query], _queries()["jobs_as_rows"]
    rows = yield Statement(f"WITH job AS MATERIALIZED (\n{call}\n)\n{as_rows}", _bound(parameters))
    names = Names()
    if missing := names.missing(rows):
        names.learn((yield statement("names", **missing)))
    return [names.stored_job(row) for row in rows]


def signature_after(first: str, kind: object, operation: Callable[..., Operation[Any]]) -> inspect.Signature:
    """How `help` shows a call that takes something first and then does an operation.

    Args:
        first: that argument's name.
        kind: its type.
        operation: the generator function.
    """
    signature = inspect.signature(operation)
    parameter = inspect.Parameter(first, inspect.Parameter.POSITIONAL_ONLY, annotation=kind)
    return signature.replace(
        parameters=[parameter, *signature.parameters.values()],
        return_annotation=get_args(signature.return_annotation)[-1],
    )
