"""`Echo`: finds out whether a connection hears what it LISTENs to, by calling and waiting for the echo.

A pooler in transaction mode takes LISTEN and delivers nothing. Worse, the LISTEN stays with the server connection that
happened to carry it, to which every later announcement is then sent (PgBouncer logs a warning each time). So a channel
of our own is tried first, and not even that where two clients are seen to share a server connection.
"""

from collections.abc import Awaitable, Callable
from secrets import token_hex
from typing import Any

from twisted.internet.defer import Deferred

from slayq_tw.connection import Connection
from slayq_tw.database import raise_ours

CHANNEL = "slayq:probe"
"""Every daemon calls and listens here; each knows its own calls."""
PATIENCE = 3.0
"""Seconds to wait for the echo."""
ANSWER_LIMIT = 10.0
"""Seconds for a statement on the listening connection; one without an answer is given up as hung."""
GLANCES = 3
"""How often to look whether a server connection is shared: a pooler gives out the one that was used last."""

_WHICH = "SELECT pg_catalog.pg_backend_pid()"
_CALL = "SELECT pg_catalog.pg_notify(%(channel)s, %(token)s), pg_catalog.pg_backend_pid()"
_CALLERS = 1_000
"""Server processes that are remembered, at most, before it is known which one called."""

Query = Callable[..., Awaitable[list[tuple[Any, ...]]]]
"""`Database.query`."""


class Echo:
    """The test of one connection.

    Args:
        connection: the one that listens. Whoever observes its notifications passes them to `notified`.
        query: runs SQL on another connection, the pool's.
        clock: IReactorTime.
    """

    def __init__(self, connection: Connection, query: Query, clock: Any) -> None:
        self._connection = connection
        self._query = query
        self._clock = clock
        self._token = ""
        self._caller: int | None = None
        self._heard_from: set[int] = set()
        self._waiting: Deferred[bool] | None = None

    async def is_direct(self) -> bool:
        """Whether the connection ends at its server process itself: a pooler makes up the id that it tells at log-in.

        Raises:
            DatabaseError: as `arrives`.
        """
        return await self._server_process() == self._connection.process_id

    async def arrives(self) -> bool:
        """Whether a notification that the pool sends arrives here.

        Raises:
            DatabaseError: one of the two connections failed, and nothing is known.
        """
        if await self._is_shared():
            return False
        await self.ask(f'LISTEN "{CHANNEL}"')
        heard = await self._call()
        if not heard:
            # On the server connection that carried the LISTEN, if the pooler gives out the same one again.
            await self.ask(f'UNLISTEN "{CHANNEL}"')
        return heard

    def notified(self, notification: Any) -> None:
        """Take what arrived on `CHANNEL`.

        Everybody may listen there, and repeat what he hears in another database, or wherever nothing of the pool's
        arrives: it counts if it comes from the server process that called.
        """
        if self._waiting is not None and notification.payload == self._token:
            if self._caller is None and len(self._heard_from) < _CALLERS:
                self._heard_from.add(notification.pid)
            elif notification.pid == self._caller:
                self._settle(True)

    def give_up(self) -> None:
        """Wait no longer."""
        self._settle(False)

    async def ask(self, sql: str) -> list[tuple[Any, ...]]:
        """Run one statement on the listening connection, in bounded time."""
        answer = self._connection.bounded(ANSWER_LIMIT, lambda: self._connection.rows(sql, None))
        return await answer.addErrback(raise_ours)

    async def _call(self) -> bool:
        self._token = token_hex(8)
        self._waiting = echo = Deferred[bool]()
        self._caller = None
        self._heard_from.clear()
        ((_, caller),) = await self._query(_CALL, {"channel": CHANNEL, "token": self._token})
        self._caller = caller
        if caller in self._heard_from:
            self._settle(True)
        timer = self._clock.callLater(PATIENCE, self._settle, False)
        try:
            return await echo
        finally:
            if timer.active():
                timer.cancel()

    async def _is_shared(self) -> bool:
        """Whether the pool is seen to work on our server connection, as only a pooler in transaction mode allows."""
        for _ in range(GLANCES):
            ours = await self._server_process()
            if ours == self._connection.process_id:
                return False
            if await self._query(_WHICH) == [(ours,)]:
                return True
        return False

    async def _server_process(self) -> int:
        ((number,),) = await self.ask(_WHICH)
        return int(number)

    def _settle(self, heard: bool) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(heard)
