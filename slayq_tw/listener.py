"""`Listener`: the one connection that LISTENs."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import psycopg2
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from txpostgres.reconnection import ConnectionDead

from slayq_tw.connection import Connection
from slayq_tw.errors import DatabaseUnavailable

JOBS_CHANNEL = "jobs:insert"
MIGRATE_CHANNEL = "worker:migrate"


class Listener:
    """Tells of new jobs and of schema changes; after each loss it listens again and has the queues looked at.

    Args:
        parameters: libpq keywords.
        reactor: timers and readers.
        on_jobs: called when jobs may be due, also after a reconnection.
        on_migration: called with the revision of a breaking migration.
    """

    log = Logger()

    def __init__(
        self,
        parameters: Mapping[str, str],
        reactor: Any,
        on_jobs: Callable[[], None],
        on_migration: Callable[[int], None],
    ) -> None:
        self._on_jobs = on_jobs
        self._on_migration = on_migration
        self._connection = Connection(parameters, reactor)
        self._connection.addNotifyObserver(self._notified)
        self._connection.detector.addRecoveryHandler(self._listen)

    async def open(self) -> None:
        """Connect and listen. A connection that does not come up is tried again in the background."""
        try:
            await self._connection.connect()
        except DatabaseUnavailable:
            self._connection.detector.checkForDeadConnection(Failure(ConnectionDead()))
            return
        await self._listen()

    def close(self) -> None:
        """Stop listening."""
        self._connection.removeNotifyObserver(self._notified)
        self._connection.abandon()

    def _listen(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._subscribe())

    async def _subscribe(self) -> None:
        try:
            for channel in (JOBS_CHANNEL, MIGRATE_CHANNEL):
                await self._connection.rows(f'LISTEN "{channel}"', None)
        except (psycopg2.Error, ConnectionDone, ConnectionDead) as error:
            self.log.warn("{event}: {reason}", event="listen_failed", reason=str(error))
            return
        self._on_jobs()  # whatever was announced while nobody listened

    def _notified(self, notification: Any) -> None:
        message = _parsed(notification.payload)
        if notification.channel == JOBS_CHANNEL:
            count = message.get("count", 1)
            if not isinstance(count, int | float) or count > 0:
                self._on_jobs()
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
