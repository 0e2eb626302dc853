"""`Database`: a small pool of connections; query, transaction, and errors that are ours."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import CancelledError, Deferred, DeferredList, DeferredSemaphore, succeed
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from slayq_tw.allowance import LONGEST, Allowances
from slayq_tw.connection import Connection
from slayq_tw.errors import DatabaseError, DatabaseMute, DatabaseUnavailable
from slayq_tw.name_resolution import NameResolution
from slayq_tw.outage import Outage
from slayq_tw.pgerrors import TOO_LONG, may_pass, translate
from slayq_tw.suspicion import Suspicion
from slayq_tw.transaction_settings import for_one_string, for_transaction

POOL_SIZE = 4
STATEMENT_TIMEOUT = LONGEST
"""Seconds that a statement may run unless its caller says otherwise."""
ANSWER_GRACE = 5.0
"""Seconds after a statement's own bound until its connection is given up as hung."""
URGENT_GRACE = 1.0
"""The same for a brief or an urgent statement, which can be tried again on another connection."""
START_MIN_DELAY, START_MAX_DELAY = 0.5, 15.0
"""Seconds between two attempts, while starting, on a database that cannot be used yet."""

T = TypeVar("T")
Parameters = Mapping[str, Any] | Sequence[Any] | None


class Cursor(Protocol):
    """What a transaction's work gets: txpostgres's cursor."""

    rowcount: int

    def execute(self, query: str, params: Parameters = None) -> Awaitable[Any]:
        """Run one statement."""

    def fetchall(self) -> list[tuple[Any, ...]]:
        """All rows of the last statement."""

    def fetchone(self) -> tuple[Any, ...] | None:
        """The next row of the last statement."""


class Database:
    """The pool.

    Args:
        parameters: libpq keywords.
        reactor: timers and readers.
        display: how the log names this database: without its password.
        size: connections, all opened at start. One of several is kept free for what is urgent.

    Attributes:
        outage: tells the log of losses; for others that have connections to the same database.
    """

    log = Logger()

    def __init__(
        self, parameters: Mapping[str, str], reactor: Any, *, display: str = "Postgres", size: int = POOL_SIZE
    ) -> None:
        self._reactor = reactor
        self._display = display
        self.outage = Outage(reactor, display)
        names = NameResolution(reactor, keep=False)
        self._connections = [Connection(parameters, reactor, self.outage, names) for _ in range(size)]
        self._idle = list(self._connections)
        self._slots = DeferredSemaphore(max(1, size - 1))
        self._kept = DeferredSemaphore(1) if size > 1 else self._slots
        self._suspicion = Suspicion(reactor, self._connections, STATEMENT_TIMEOUT + ANSWER_GRACE)
        self._allowances = Allowances(reactor)
        self._closed = False
        self._pause: Deferred[None] = succeed(None)

    async def open(self) -> None:
        """Connect, waiting as long as the server is unreachable or starting.

        Raises:
            DatabaseUnavailable: the server refuses for a reason that waiting does not cure.
        """
        first, *others = self._connections
        try:
            await self.persist(first.connect)
        except DatabaseUnavailable as error:
            raise DatabaseUnavailable(f"{self._display}: {error}", error.sqlstate) from error
        # A second connection may be refused (too many clients): it is tried again while the first one works.
        connecting = [other.connect().addErrback(self._reconnect_later, other) for other in others]
        await DeferredList(connecting)
        self.log.info("{event}: {database}", event="database_connected", database=self._display)

    async def persist(self, step: Callable[[], Awaitable[object]]) -> None:
        """Do something without which nothing else can begin; again and again as long as the database is away, is full,
        or may only be read.

        Args:
            step: whatever it does must bear to be done again, also when it seemed to fail.

        Raises:
            DatabaseError: of the step, when waiting does not cure it, or when we are closed.
        """
        delay = START_MIN_DELAY
        while True:
            try:
                await step()
            except DatabaseError as error:
                if self._closed or not may_pass(error):
                    raise
                self.log.warn(
                    "{event}: {database} cannot be used yet ({reason}); next attempt in {delay:.1f} s",
                    event="database_waiting",
                    database=self._display,
                    reason=str(error),
                    delay=delay,
                )
            else:
                return
            self._pause = deferLater(self._reactor, delay)
            try:
                await self._pause
            except CancelledError as error:
                raise DatabaseUnavailable("closed while waiting for the database") from error
            delay = min(delay * 1.7, START_MAX_DELAY)

    def _reconnect_later(self, failure: Failure, connection: Connection) -> None:
        failure.trap(DatabaseUnavailable)
        connection.detector.connectionIsDead = True
        connection.detector.startReconnecting(failure)

    @property
    def reachable(self) -> bool:
        """Whether at least one connection stands."""
        return any(connection.alive for connection in self._connections)

    async def query(
        self, sql: str, parameters: Parameters = None, *, timeout: float = STATEMENT_TIMEOUT
    ) -> list[tuple[Any, ...]]:
        """Run SQL in a transaction of its own.

        Args:
            sql: one statement, or several that belong together; the last one's rows are the result. The search_path is
                `pg_catalog, pg_temp`.
            parameters: by name or position; without them a `%` stands for itself.
            timeout: seconds until the server cancels it.

        Raises:
            DatabaseError: the server refused; `sqlstate` says why (57014: it took too long).
            DatabaseUnavailable: the connection is lost; whether the statement took effect is unknown.
        """
        return await self._rows(sql, parameters, timeout, ANSWER_GRACE)

    async def brief_query(self, sql: str, parameters: Parameters = None) -> list[tuple[Any, ...]]:
        """As `query`, for a statement that takes milliseconds, as a rule, and for which all the work waits: it gets
        little time at first (see `Allowances`).

        Raises:
            DatabaseError: as `query`.
            DatabaseUnavailable: likewise; also, with the `sqlstate` 57014, when the next attempt gets more time.
        """
        timeout = self._allowances.of(sql)
        longest = timeout >= LONGEST
        sent_at = 0.0

        def send(connection: Connection) -> Deferred[list[tuple[Any, ...]]]:
            nonlocal sent_at  # waiting for a free connection says nothing about the statement
            sent_at = self._reactor.seconds()
            return connection.rows(for_one_string(timeout, connection.server_version) + sql, parameters)

        try:
            rows: list[tuple[Any, ...]] = await self._with_connection(
                timeout + (ANSWER_GRACE if longest else URGENT_GRACE), send
            )
        except DatabaseError as error:
            if not (isinstance(error, DatabaseMute) or error.sqlstate == TOO_LONG):
                raise
            self._allowances.too_short(sql, timeout)
            if longest:
                raise
            text = f"{error}; the next attempt has more than {timeout:g} s"
            raise DatabaseUnavailable(text, error.sqlstate) from error
        self._allowances.took(sql, self._reactor.seconds() - sent_at)
        return rows

    async def urgent_query(
        self, sql: str, parameters: Parameters = None, *, timeout: float
    ) -> list[tuple[Any, ...]]:
        """As `query`, but on a connection that nobody else keeps busy, and given up sooner when no answer comes."""
        return await self._rows(sql, parameters, timeout, URGENT_GRACE, urgent=True)

    async def transaction(
        self, work: Callable[[Cursor], Awaitable[T]], *, timeout: float = STATEMENT_TIMEOUT
    ) -> T:
        """Run `work(cursor)` between BEGIN and COMMIT; an exception rolls back.

        Args:
            work: a coroutine function.
            timeout: seconds, for each statement and for the whole.

        Raises:
            DatabaseError, DatabaseUnavailable: as `query` does. What `work` raises itself comes through.
        """

        def run(connection: Connection) -> Deferred[T]:
            return connection.transaction(work, for_transaction(timeout, connection.server_version))

        result: T = await self._with_connection(timeout + ANSWER_GRACE, run)
        return result

    async def _rows(
        self, sql: str, parameters: Parameters, timeout: float, grace: float, *, urgent: bool = False
    ) -> list[tuple[Any, ...]]:
        def send(connection: Connection) -> Deferred[list[tuple[Any, ...]]]:
            return connection.rows(for_one_string(timeout, connection.server_version) + sql, parameters)

        rows: list[tuple[Any, ...]] = await self._with_connection(timeout + grace, send, urgent=urgent)
        return rows

    async def _with_connection(
        self, seconds: float, call: Callable[[Connection], Deferred[Any]], *, urgent: bool = False
    ) -> Any:
        slots = self._kept if urgent else self._slots
        await slots.acquire()
        # What is urgent goes to the connection that worked last, and not to one that may have died in silence since.
        idle = self._idle[::-1] if urgent else self._idle
        connection = next((one for one in idle if one.alive), idle[0])
        self._idle.remove(connection)
        self._suspicion.asked(connection, seconds)
        mute = False
        try:
            return await connection.bounded(seconds, lambda: call(connection)).addErrback(raise_ours)
        except DatabaseMute:
            mute = True
            raise
        finally:
            self._idle.append(connection)
            try:
                self._replace(self._suspicion.ended(connection, mute=mute))
            finally:
                slots.release()

    def _replace(self, suspects: Sequence[Connection]) -> None:
        if suspects:
            self.log.warn(
                "{event}: a statement got no answer, though the server answers on another connection; {count} more "
                "that it has said nothing on since are replaced",
                event="database_connections_suspected",
                count=len(suspects),
            )
        for one in suspects:
            one.close()  # its detector opens it again

    async def close(self) -> None:
        """Close every connection; also ends an `open` that still waits. Doing it twice is harmless."""
        self._closed = True
        self._pause.cancel()
        for connection in self._connections:
            connection.abandon()


def raise_ours(failure: Failure) -> Failure:
    """For `addErrback`: the driver's error becomes one of ours, any other passes."""
    ours = translate(failure)
    if ours is not None:
        raise ours from failure.value
    return failure
