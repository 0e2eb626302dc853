"""`Detector`: reconnects a connection that died."""

from collections.abc import Iterator
from itertools import chain
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from txpostgres.reconnection import DeadConnectionDetector
from txpostgres.retrying import simpleBackoffIterator

from slayq_tw.errors import DatabaseError
from slayq_tw.outage import Outage
from slayq_tw.pgerrors import READ_ONLY, is_dead, translate

RECONNECT_MAX_DELAY = 3.0
"""Seconds between two attempts to reconnect, at most: after an outage, a daemon that is not back within ten seconds of
another is taken for dead."""
READ_ONLY_PAUSE = 5.0
"""Seconds until a connection to a database that may only be read is replaced: the next one will be no better for long."""


class Detector(DeadConnectionDetector):  # type: ignore[misc]  # txpostgres has no types
    """Reconnects for ever, and can be told to stop.

    Args:
        reactor: timers.
        outage: is told, and tells the log.
    """

    log = Logger()

    def __init__(self, reactor: Any, outage: Outage) -> None:
        super().__init__(deathChecker=is_dead, reconnectionIterator=_delays, reactor=reactor)
        self._outage = outage
        outage.join(self, self.try_now)
        self._abandoned = False
        self._pause: Deferred[None] | None = None

    def startReconnecting(self, f: Failure) -> None:
        """Try until it works."""
        if self._abandoned:
            return
        delays = self.reconnectionIterator()
        read_only = getattr(f.value, "pgcode", None) == READ_ONLY
        if read_only:
            delays = chain([READ_ONLY_PAUSE], delays)
        self._outage.lost(self, str(translate(f) or f.value), read_only=read_only)
        Deferred.fromCoroutine(self._reconnect(delays)).addErrback(self._failed)

    async def _reconnect(self, delays: Iterator[float]) -> None:
        """Attempt after attempt. None is ever cancelled: the driver cannot do that to one that is under way, so whoever
        wants it to end closes the connection, and it fails.
        """
        for delay in delays:
            if delay and not self._abandoned:
                await self._rest(delay)
            if self._abandoned:
                return
            try:
                await self.reconnect()
                break
            except DatabaseError as error:
                if not self._abandoned:
                    self._outage.refused(self, error)
            except Exception:
                # A fault of ours or the driver's; a connection that is not tried again would be lost for ever.
                self.log.failure("{event}: tried again", event="reconnect_bug")
        if not self._abandoned:
            await self.connectionRecovered()

    async def _rest(self, delay: float) -> None:
        self._pause = deferLater(self.reactor, delay)
        try:
            await self._pause
        except CancelledError:
            pass  # not to be waited for any longer
        finally:
            self._pause = None

    def _failed(self, failure: Failure) -> None:
        self.log.failure("{event}", failure, event="reconnect_bug")

    def connectionRecovered(self) -> Deferred[Any]:
        """The connection stands again: the recovery handlers run."""
        self._outage.restored(self)
        recovered: Deferred[Any] = super().connectionRecovered()
        return recovered

    def try_now(self) -> None:
        """Wait no longer for the next attempt: another connection stands again."""
        if self._pause is not None:
            self._pause.cancel()

    def abandon(self) -> None:
        """No reconnection any more, also not after the attempt that may be under way."""
        self._abandoned = True
        self._outage.leave(self)
        self.try_now()


def _delays() -> Iterator[float]:
    delays: Iterator[float] = simpleBackoffIterator(
        initialDelay=0.5, maxDelay=RECONNECT_MAX_DELAY, factor=1.7, maxRetries=0, now=True
    )
    return delays
