"""One asynchronous Postgres connection that notices its own death, and comes back.

txpostgres leaves four things to its user, and this module adds them: host names are resolved beforehand (libpq would
block the reactor), connecting is bounded in time, closing with a query in flight leaves nothing behind in the
reactor, and a connection that dies while idle reports it once instead of logging a traceback.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

import psycopg2
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.python.failure import Failure
from txpostgres import txpostgres

from slayq_tw.candidates import Candidate, candidates
from slayq_tw.detector import Detector
from slayq_tw.errors import DatabaseMute, DatabaseUnavailable
from slayq_tw.hostaddr import resolved
from slayq_tw.name_resolution import NameResolution
from slayq_tw.outage import Outage
from slayq_tw.pgerrors import one_line

T = TypeVar("T")

CONNECT_TIMEOUT = 10.0
"""Seconds for name resolution, and again for TCP, TLS and log-in; half as long for each of several hosts."""
CLOSED = "closed while the database was being connected to"
HELD_UP = 0.5
"""Seconds of a timer's lateness from which on this process was suspended, or very busy."""
READ_WITHIN = 1.0
"""Seconds in which it then reads what has come meanwhile."""

KEEPALIVE = {
    "keepalives": "1",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "25000",  # milliseconds; without it, a half-open connection with unsent data lasts 15 min
}
"""libpq's keep-alive parameters: a half-open connection is noticed within half a minute."""


class Connection(txpostgres.Connection):  # type: ignore[misc]  # txpostgres has no types
    """A txpostgres connection that resolves, bounds, dies and reconnects as this module promises.

    Args:
        parameters: libpq keywords. Several hosts are tried one after the other, see `slayq_tw.candidates`. Whatever they,
            the environment, the role or the database say of it, text goes to and fro as UTF-8.
        reactor: timers and readers.
        outage: is told of losses; shared by the connections to one database.
        names: looks host names up; None for one of its own.

    Attributes:
        heard_at: when the server last answered on it, in seconds of the reactor.
    """

    def __init__(
        self,
        parameters: Mapping[str, str],
        reactor: Any,
        outage: Outage | None = None,
        names: NameResolution | None = None,
    ) -> None:
        self.detector: Any
        self.heard_at = 0.0
        super().__init__(reactor=reactor, detector=Detector(reactor, outage or Outage(reactor)))
        self.detector.setReconnectable(self)
        self._opening = False
        self._names = names or NameResolution(reactor, keep=False)
        self._abandoned = False
        self._looking_up: Deferred[dict[str, str]] | None = None
        self._hung: set[Candidate] = set()  # hosts and addresses that gave no answer, and are tried last
        self._parameters = {**KEEPALIVE, "application_name": "slayq", **parameters, "client_encoding": "UTF8"}

    @property
    def alive(self) -> bool:
        """Whether it is open, as far as anybody knows."""
        usable = self._connection is not None and not self._connection.closed
        return usable and not self._opening and not self.detector.connectionIsDead

    @property
    def server_version(self) -> int:
        """Such as 170002; 0 while it is not connected."""
        return int(self._connection.server_version) if self.alive else 0

    @property
    def process_id(self) -> int:
        """The server process, as it was told at log-in; a pooler may make up any number."""
        return int(self._connection.info.backend_pid)

    def connect(self) -> Deferred[None]:
        """Open, or open again.

        Fails with: DatabaseUnavailable, also when the server refuses the log-in (see `may_pass`).
        """
        return Deferred.fromCoroutine(self._open())

    async def _open(self) -> None:
        self._opening = True
        try:
            await self._first_of(candidates(self._parameters), self._open_host, CONNECT_TIMEOUT)
        finally:
            self._opening = False

    async def _first_of(
        self, ways: Sequence[Candidate], go: Callable[[Candidate, float], Awaitable[None]], timeout: float
    ) -> None:
        """The first way that leads in. One that takes all of its time must not keep us from the next, and is tried last
        from now on: a machine that was switched off refuses nothing.
        """
        timeout = timeout if len(ways) == 1 else CONNECT_TIMEOUT / 2
        reasons: dict[str, None] = {}  # each once, in their order
        for way in sorted(ways, key=self._hung.__contains__):
            if self._abandoned:
                reasons = {CLOSED: None}
                break
            begun = self.reactor.seconds()
            try:
                await go(way, timeout)
            except DatabaseUnavailable as error:
                if self.reactor.seconds() - begun >= timeout:
                    self._hung.add(way)
                if len(ways) == 1:
                    raise
                reasons[str(error)] = None
            else:
                self._hung.discard(way)
                return
        raise DatabaseUnavailable("; ".join(reasons))

    async def _open_host(self, host: Candidate, timeout: float) -> None:
        """One host, through the first of its addresses that leads in. They are looked up each time: they may change."""
        self._looking_up = Deferred.fromCoroutine(resolved(dict(host), self._names, self.reactor, timeout))
        try:
            parameters = await self._looking_up
        except CancelledError as error:
            raise DatabaseUnavailable(CLOSED) from error
        finally:
            self._looking_up = None
        await self._first_of(candidates(parameters), self._connect_in_time, timeout)

    async def _connect_in_time(self, way: Candidate, timeout: float) -> None:
        late = False

        def give_up() -> None:
            nonlocal late
            late = True
            self.close()

        timer = self.reactor.callLater(timeout, give_up)
        try:
            await self._connect(way)
        except (psycopg2.Error, ConnectionDone, ConnectionLost) as error:
            self.close()
            reason = f"no answer from Postgres within {timeout:g} s" if late else one_line(str(error))
            raise DatabaseUnavailable(reason, getattr(error, "pgcode", None)) from error
        else:
            self.heard_at = self.reactor.seconds()
        finally:
            if timer.active():
                timer.cancel()

    async def _connect(self, way: Candidate) -> None:
        """As txpostgres does it; but the driver's news that the connection stands reaches us a turn of the reactor later,
        and in between it may have been closed: then there is nothing to watch any more.
        """
        self._connection = self.connectionFactory(**dict(way), **{"async": True})
        await self.poll()
        if self._connection.closed:
            raise ConnectionDone
        self.reactor.addReader(self)

    def close(self) -> None:
        """Close at once: a query in flight fails as on a lost connection, and the detector reconnects."""
        if self._connection is None:
            return
        for cursor in self._cursors:  # or the reactor keeps a closed file descriptor
            self.reactor.removeReader(cursor)
            self.reactor.removeWriter(cursor)
        super().close()

    def abandon(self) -> None:
        """Close for good, also while it is being opened; whoever waits for that gets DatabaseUnavailable."""
        self._abandoned = True
        self.detector.abandon()
        if self._looking_up is not None:
            self._looking_up.cancel()
        self.close()

    def doRead(self) -> None:
        """As txpostgres does it, with two cases more: an idle connection that dies is no bug but the detector's
        affair, and libpq closes the socket of a connection that failed, which can then be watched no longer.
        """
        self.reactor.removeReader(self)
        if self._connection.closed:
            return
        try:
            self.continuePolling()
        except psycopg2.Error:
            self.connectionLost(Failure())
            return
        self.checkForNotifies()
        if not self._connection.closed and self._connection.fileno() >= 0:
            self.reactor.addReader(self)

    def connectionLost(self, reason: Failure) -> None:
        """As txpostgres does it; but a connection that is being opened is its opener's affair, not the detector's."""
        opening = self._opening  # before its failure is passed on, which ends the opening
        txpostgres._PollingMixin.connectionLost(self, reason)
        if not opening:
            self.detector.checkForDeadConnection(reason)

    def rows(self, sql: str, parameters: Any) -> Deferred[list[tuple[Any, ...]]]:
        """Run one string of SQL in autocommit; the rows of its last statement, or none."""

        async def fetch() -> list[tuple[Any, ...]]:
            cursor = self.cursor()
            await cursor.execute(sql, parameters)
            return cursor.fetchall() if cursor.description else []

        checked: Deferred[list[tuple[Any, ...]]] = self._doit(lambda: Deferred.fromCoroutine(fetch()))
        return checked

    def transaction(self, work: Callable[[Any], Awaitable[T]], settings: str = "") -> Deferred[T]:
        """Run `work(cursor)` between BEGIN and COMMIT; `settings` are sent with BEGIN, as one string.

        txpostgres's `runInteraction` tries to roll back on a lost connection too, and logs a traceback for it.
        """

        async def run() -> T:
            cursor = self.cursor()
            try:
                await cursor.execute(f"BEGIN; {settings}")
                result = await work(cursor)
                await cursor.execute("COMMIT")
            except BaseException:
                if not self._connection.closed:
                    await self._roll_back(cursor)
                raise
            return result

        checked: Deferred[T] = self._doit(lambda: Deferred.fromCoroutine(run()))
        return checked

    async def _roll_back(self, cursor: Any) -> None:
        try:
            await cursor.execute("ROLLBACK")
        except (psycopg2.Error, ConnectionDone, ConnectionLost, CancelledError):
            self.close()  # an open transaction may not go back into the pool

    def bounded(self, seconds: float, call: Callable[[], Deferred[T]]) -> Deferred[T]:
        """Make a call on this connection; one that gets no answer in time loses the connection.

        This is the second bound: `statement_timeout` is the first, and the server may be unable to keep it. When this
        process was held up itself, the answer may have come, and only wait to be read.

        Fails with: DatabaseMute when there is no answer.
        """
        due = self.reactor.seconds() + seconds
        guard = self.reactor.callLater(seconds, lambda: give_up())

        def give_up() -> None:
            nonlocal guard, due
            if self.reactor.seconds() > due + HELD_UP:
                due = self.reactor.seconds() + READ_WITHIN
                guard = self.reactor.callLater(READ_WITHIN, give_up)
            else:
                self.close()

        def settle(result: T | Failure) -> T | Failure:
            if not guard.active():
                raise DatabaseMute(f"no answer from Postgres within {seconds:g} s")
            guard.cancel()
            if self.alive:
                self.heard_at = self.reactor.seconds()
            return result

        return call().addBoth(settle)
