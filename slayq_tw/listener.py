"""`Listener`: the one connection that LISTENs, and that knows whether it hears anything.

Whoever may log in may announce anything. So an announcement is a hint to look: nothing that it says is believed.
"""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from slayq_tw.announcements import ListeningConnection
from slayq_tw.echo import CHANNEL, Echo, Query
from slayq_tw.errors import DatabaseError, DatabaseUnavailable
from slayq_tw.loop import SupervisedLoop
from slayq_tw.outage import Outage

JOBS_CHANNEL = "jobs:insert"
MIGRATE_CHANNEL = "worker:migrate"
CHECK_INTERVAL = 60.0
"""Seconds from one test of the announcements to the next."""
LOOK_INTERVAL = 5.0
"""Seconds after which a test that could not be made is tried again, and the least time between two looks at the schema."""

_REMOVAL = re.compile(r'"count" ?: ?(?:-|0 ?[,}])')
_THINNED = '"again":true'
_LONGEST = 200
"""Characters of an announcement of jobs; a longer one is nobody's whom we know, and not read."""


class Listener:
    """Tells of new jobs and of schema changes; after each loss it listens again and has the queues looked at.

    Announcements may not arrive at all, behind a pooler in transaction mode. That is tested after each connect and
    every minute; the log says once that it is so, and once that it is over.

    Args:
        parameters: libpq keywords.
        reactor: timers and readers.
        on_jobs: called when jobs may be due, also after a reconnection.
        query: runs SQL on another connection, the pool's.
        look_at_schema: asks the database whether the schema is still one that we know, and acts on the answer: after an
            announcement, once at a time; and every minute while nothing is announced. May raise DatabaseError.
        on_thinned: called after `on_jobs` when the announcement says that others were left out for it.
        display: how the log names this database: without its password.
        outage: of the pool, if it has the same URL: one outage is then told once.
    """

    log = Logger()

    def __init__(
        self,
        parameters: Mapping[str, str],
        reactor: Any,
        on_jobs: Callable[[], None],
        query: Query,
        *,
        look_at_schema: Callable[[], Awaitable[None]],
        on_thinned: Callable[[], None] = lambda: None,
        display: str = "Postgres",
        outage: Outage | None = None,
    ) -> None:
        self._clock = reactor
        self._on_jobs = on_jobs
        self._ask_about_schema = look_at_schema
        self._on_thinned = on_thinned
        self._display = display
        self._connection = ListeningConnection(
            parameters, reactor, self._notified, outage or Outage(reactor, display)
        )
        self._connection.detector.addRecoveryHandler(self._connected)
        self._echo = Echo(self._connection, query, reactor)
        self._loop = SupervisedLoop(self._look, LOOK_INTERVAL, reactor, "listener")
        self._schema_loop = SupervisedLoop(self._look_if_announced, LOOK_INTERVAL, reactor, "schema look")
        self._schema_announced = False
        self._schema_due = 0.0
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
        else:
            await self._subscribe_if_direct()
        self._loop.start()
        self._schema_loop.start()

    def close(self) -> None:
        """Stop listening."""
        self._loop.stop()
        self._schema_loop.stop()
        self._echo.give_up()
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
        self._schema_due = self._clock.seconds() + LOOK_INTERVAL
        self._schema_announced = False
        try:
            await self._ask_about_schema()
        except DatabaseError:
            self._schema_announced = True  # nothing is known: asked again. The pollers say it.

    async def _look_if_announced(self) -> None:
        if self._schema_announced and self._clock.seconds() >= self._schema_due:
            await self._look_at_schema()

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

    def _notified(self, notices: Sequence[Any]) -> None:
        jobs = thinned = False
        for notice in notices:
            if notice.channel == JOBS_CHANNEL:
                jobs = jobs or _may_be_due(notice.payload)
                thinned = thinned or _THINNED in notice.payload[:_LONGEST]
            elif notice.channel == CHANNEL:
                self._echo.notified(notice)
            elif not self._schema_announced:
                self._schema_announced = True
                self._schema_loop.wake()
        if jobs:
            self._on_jobs()
        if thinned:
            self._on_thinned()


def _may_be_due(announcement: str) -> bool:
    """Whether to look for jobs: always, unless it says that some were taken away."""
    return len(announcement) > _LONGEST or _REMOVAL.search(announcement) is None
