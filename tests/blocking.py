"""`BlockingDatabase`: the interface of `slayq_tw.database.Database` over one blocking psycopg2 connection.

What it awaits has always happened already, so a coroutine that uses nothing else runs to its end in one step:
`finish(coroutine)` does that, without a reactor.
"""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import psycopg2

from slayq_tw.errors import DatabaseError, DatabaseUnavailable
from slayq_tw.transaction_settings import for_transaction

T = TypeVar("T")


def finish(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never waits, and return its result or raise its exception."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    coroutine.close()
    raise AssertionError("the coroutine waited for something")


class BlockingCursor:
    """A psycopg2 cursor whose `execute` is awaited, as txpostgres's is."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    @property
    def rowcount(self) -> int:
        """Rows of the last statement."""
        return int(self._cursor.rowcount)

    async def execute(self, query: str, params: Any = None) -> None:
        """Run one statement, or several without parameters.

        Raises:
            DatabaseError: the server refused; `sqlstate` says why.
        """
        try:
            self._cursor.execute(query, params)
        except psycopg2.Error as error:
            raise _ours(error) from error

    def fetchall(self) -> list[tuple[Any, ...]]:
        """All rows of the last statement; none when it returns no rows."""
        return list(self._cursor.fetchall()) if self._cursor.description else []

    def fetchone(self) -> tuple[Any, ...] | None:
        """The next row of the last statement."""
        row: tuple[Any, ...] | None = self._cursor.fetchone()
        return row


class BlockingDatabase:
    """One connection, one transaction at a time.

    Args:
        url: a libpq URL or keyword string.
    """

    def __init__(self, url: str) -> None:
        self.connection = psycopg2.connect(url)

    async def transaction(
        self, work: Callable[[BlockingCursor], Awaitable[T]], *, timeout: float = 30.0
    ) -> T:
        """Run `work(cursor)` between BEGIN and COMMIT; an exception rolls back."""
        with self.connection, self.connection.cursor() as cursor:
            blocking = BlockingCursor(cursor)
            await blocking.execute(for_transaction(timeout))
            return await work(blocking)

    async def query(self, sql: str, params: Any = None, *, timeout: float = 30.0) -> list[tuple[Any, ...]]:
        """Run SQL in a transaction of its own and return the last statement's rows."""

        async def work(cursor: BlockingCursor) -> list[tuple[Any, ...]]:
            await cursor.execute(sql, params)
            return cursor.fetchall()

        return await self.transaction(work, timeout=timeout)

    def close(self) -> None:
        """Close the connection; twice is harmless."""
        self.connection.close()


def _ours(error: psycopg2.Error) -> DatabaseError:
    text = str(error).strip()
    if error.pgcode is None or error.pgcode.startswith("08") or error.pgcode in ("57P01", "57P02", "57P03"):
        return DatabaseUnavailable(text, error.pgcode)
    return DatabaseError(text, error.pgcode)
