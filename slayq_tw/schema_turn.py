"""`in_turn`: a transaction that changes the schemas, one after the other on a database; and what holds it up is said.

Daemons that start together wait for each other on a table that nobody but its owner may lock. (An advisory lock would be
anybody's to hold: whoever may log in could keep every daemon from starting.)
"""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from slayq_tw.errors import DatabaseError
from slayq_tw.over import over
from slayq_tw.sqlfiles import named_queries

MIGRATION_LOCK = 0x51A7_0001
"""Key of an advisory lock that earlier versions of this program take first. It is taken if it is free, so that they wait
for us; we wait for nobody there."""
TIMEOUT = 900.0
"""Seconds for one transaction, waiting for its turn included: an index on a large table takes a while."""
SAY_AFTER = 2.0
"""Seconds after which the log tells who holds a transaction up; it looks as often whether that has changed."""

_log = Logger()
T = TypeVar("T")


class Transactions(Protocol):
    """The part of `slayq_tw.database.Database` that is used here."""

    def transaction(self, work: Callable[[Any], Awaitable[T]], *, timeout: float = ...) -> Awaitable[T]:
        """Run `work(cursor)` between BEGIN and COMMIT."""

    def query(
        self, sql: str, parameters: Any = None, *, timeout: float = ...
    ) -> Awaitable[list[tuple[Any, ...]]]:
        """Run SQL in a transaction of its own."""


async def in_turn(
    database: Transactions,
    clock: Any,
    what: str,
    work: Callable[[Any], Awaitable[T]],
    *,
    table: bool = True,
) -> T:
    """Run `work(cursor)` in a transaction, when it is its turn.

    Args:
        database: open.
        clock: IReactorTime.
        what: how the log names it.
        work: a coroutine function.
        table: whether the table is there by which turns are taken. While it is not, who creates the schemas is decided by
            their names, which are unique.

    Raises:
        DatabaseError: as the database does.
    """
    queries = named_queries("migrations.sql")
    watch: _Watch | None = None

    async def turn(cursor: Any) -> T:
        nonlocal watch
        await cursor.execute(queries["begin_turn"], {"lock": MIGRATION_LOCK})
        ((process, _),) = cursor.fetchall()
        watch = _Watch(database, clock, what, process)
        if table:
            await cursor.execute(queries["take_turn"])
        return await work(cursor)

    try:
        return await database.transaction(turn, timeout=TIMEOUT)
    finally:
        if watch is not None:
            watch.end()


class _Watch:
    """Says who holds up a server process, when that takes long, and when it is somebody else."""

    def __init__(self, database: Transactions, clock: Any, what: str, process: int) -> None:
        self._database = database
        self._clock = clock
        self._what = what
        self._process = process
        self._said: list[tuple[Any, ...]] = []
        self._ended = False
        self._timer = clock.callLater(SAY_AFTER, self._look)

    def end(self) -> None:
        """Look no more."""
        self._ended = True
        if self._timer.active():
            self._timer.cancel()

    def _look(self) -> None:
        over(Deferred.fromCoroutine(self._ask()))

    async def _ask(self) -> None:
        try:
            holders = await self._database.query(
                named_queries("migrations.sql")["holders"], {"process": self._process}
            )
        except DatabaseError:
            holders = self._said
        if self._ended:
            return
        if holders and holders != self._said:
            _log.warn(
                "{event}: {what} waits for {holders}; end that transaction, or wait until it ends",
                event="schema_change_waits",
                what=self._what,
                holders=", ".join(_described(*holder) for holder in holders),
            )
        self._said = holders
        self._timer = self._clock.callLater(SAY_AFTER, self._look)


def _described(process: int, application: str | None, role: str | None) -> str:
    if not process:
        return "a prepared transaction (see pg_prepared_xacts)"
    return f'server process {process} (application "{application or ""}", role "{role or ""}")'
