"""`Listener`: the one connection that LISTENs, and that knows whether it hears anything."""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from slayq_tw.connection import Connection
from slayq_tw.echo import CHANNEL, Echo, Query
from slayq_tw.errors import DatabaseError, DatabaseUnavailable
from slayq_tw.loop import SupervisedLoop

JOBS_CHANNEL = "jobs:insert"
MIGRATE_CHANNEL = "worker:migrate"
CHECK_INTERVAL = 60.0
"""Seconds from one test of the announcements to the next."""
LOOK_INTERVAL = 5.0
"""Seconds after which a test that could not be made is tried again."""


class Listener:
    """Tells of new jobs and of schema changes; after each loss it listens again and has the queues looked at.

    Announcements may not arrive at all, behind a pooler in transaction mode. That is tested after each connect and
    every minute; the log says once that it is so, and once that it is over.

    Args:
        parameters: libpq keywords.
        reactor: timers and readers.
        on_jobs: called when jobs may be due, also after a reconnection.
        on_migration: called with the revision of a breaking migration.
        query: runs SQL on another connection, the pool's.
        while_silent: what to look at every minute while schema changes are not announced either; may raise
            DatabaseError.
        on_thinned: called after `on_jobs` when the announcement says that others were left out for it.
        display: how the log names this database: without its password.
    """

    log = Logger()

    def __init__(
        self,
        parameters: Mapping[str, str],
        reactor: Any,
        on_jobs: Callable[[], None],
        on_migration: Callable[[int], None],
        query: Query,
        *,
        while_silent: Callable[[], Awaitable[None]],
        on_thinned: Callable[[], None] = lambda: None,
        display: str = "Postgres",
    ) -> None:
        self._clock = reactor
        self._on_jobs = on_jobs
        self._on_migration = on_migration
        self._while_silent = while_silent
        self._on_thinned = on_thinned
        self._display = display
        self._connection = Connection(parameters, reactor)
        self._connection.addNotifyObserver(self._notified)
        self._connection.detector.addRecoveryHandler(self._connected)
        self._echo = Echo(self._connection, query, reactor)
        self._loop = SupervisedLoop(self._look, LOOK_INTERVAL, reactor, "listener")
        self._connects = 0
        self._subscribed = False
        self._due: float | None = None
        self._heard = False
        self._said_silent = False

    @property
    def hears(self) -> bool:
        """Whether announcements arrive, as far as anybody knows."""
        return self._heard and self._connection.alive

    async def open(self) -> None:
        """Connect and listen. A connection that does not come up is tried again in the background."""
        try:
            await self._connection.connect()
        except DatabaseUnavailable as error:
            self.log.warn(
                "{event}: {database}: {reason}; until it is reached, new jobs are found by polling",
                event="listen_unreachable",
                database=self._display,
                reason=str(error),
            )
            self._connection.detector.connectionIsDead = True
            self._connection.detector.startReconnecting(Failure(error))
            self._loop.start()
            return
        await self._subscribe_if_direct()
        self._loop.start()

    def close(self) -> None:
        """Stop listening."""
        self._loop.stop()
        self._echo.give_up()
        self._connection.removeNotifyObserver(self._notified)
        self._connection.abandon()

    def _connected(self) -> Deferred[None]:
        self._connects += 1
        self._subscribed = self._heard = False
        self._due = None
        self._echo.give_up()
        self._loop.wake()
        return succeed(None)

    async def _look(self) -> None:
        if not self._connection.alive or (self._due is not None and self._clock.seconds() < self._due):
            return
        connect = self._connects
        await self._subscribe_if_direct()
        try:
            arrives = await self._echo.arrives()
            if arrives:
                await self._subscribe()
        except DatabaseError:
            return  # nothing is known; the next look tries again
        if connect != self._connects or not self._connection.alive:
            return  # it was lost meanwhile, which says nothing about the next one
        self._due = self._clock.seconds() + CHECK_INTERVAL
        self._heard = arrives
        self._report()
        if not arrives:
            await self._look_at_schema()

    async def _look_at_schema(self) -> None:
        try:
            await self._while_silent()
        except DatabaseError:
            return  # the pollers say it

    async def _subscribe_if_direct(self) -> None:
        """Where nothing can stand in the way, the echo need not be waited for."""
        try:
            if not self._subscribed and await self._echo.is_direct():
                await self._subscribe()
        except DatabaseError as error:
            self.log.warn("{event}: {reason}", event="listen_failed", reason=str(error))

    async def _subscribe(self) -> None:
        if self._subscribed:
            return
        for channel in (JOBS_CHANNEL, MIGRATE_CHANNEL):
            await self._echo.ask(f'LISTEN "{channel}"')
        self._subscribed = True
        self._on_jobs()  # whatever was announced while nobody listened

    def _report(self) -> None:
        if self._heard == (not self._said_silent):
            return
        self._said_silent = not self._heard
        if self._heard:
            self.log.info("{event}: {database}", event="listen_restored", database=self._display)
            return
        self.log.warn(
            "{event}: announcements of new jobs do not arrive over {database}, as through a pooler in transaction mode, "
            "or from another database; the queues are polled instead, at least once a second. For less delay, let SLAY_Q_LISTEN_URL name a "
            "direct connection or a pooler in session mode",
            event="listen_silent",
            database=self._display,
        )

    def _notified(self, notification: Any) -> None:
        if notification.channel == CHANNEL:
            self._echo.notified(notification)
            return
        message = _parsed(notification.payload)
        if notification.channel == JOBS_CHANNEL:
            count = message.get("count", 1)
            if not isinstance(count, int | float) or count > 0:
                self._on_jobs()
                if message.get("again") is True:
                    self._on_thinned()
        elif message.get("breaking"):
            revision = message.get("migrationNumber")
            self._on_migration(revision if isinstance(revision, int) else 0)


def _parsed(text: str) -> dict[str, Any]:
    """A notification's payload; anything that is not a JSON object counts as an empty one."""
    try:
        message = json.loads(text)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}
