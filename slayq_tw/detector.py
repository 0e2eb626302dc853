"""`Detector`: reconnects a connection that died."""

from collections.abc import Iterator
from itertools import chain
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure
from txpostgres.reconnection import DeadConnectionDetector
from txpostgres.retrying import RetryingCall, simpleBackoffIterator

from slayq_tw.errors import DatabaseError
from slayq_tw.pgerrors import READ_ONLY, is_dead, translate

RECONNECT_MAX_DELAY = 3.0
"""Seconds between two attempts to reconnect, at most: after an outage, a daemon that is not back within ten seconds of
another is taken for dead."""
READ_ONLY_PAUSE = 5.0
"""Seconds until a connection to a database that may only be read is replaced: the next one will be no better for long."""
READ_ONLY_REPORTS = 600.0
"""Seconds from one report of that to the next."""


class Detector(DeadConnectionDetector):  # type: ignore[misc]  # txpostgres has no types
    """Reconnects for ever, says so and why it does not succeed, and can be told to stop.

    Args:
        reactor: timers.
    """

    log = Logger()

    def __init__(self, reactor: Any) -> None:
        super().__init__(deathChecker=is_dead, reconnectionIterator=_delays, reactor=reactor)
        self._abandoned = False
        self._reconnecting: Deferred[Any] = succeed(None)
        self._refusal = ""
        self._quiet_until = 0.0
        self._quiet = False

    def startReconnecting(self, f: Failure) -> None:
        """Try until it works; the reason goes to the log once."""
        if self._abandoned:
            return
        delays = self.reconnectionIterator()
        self._quiet = False
        if getattr(f.value, "pgcode", None) == READ_ONLY:
            delays = chain([READ_ONLY_PAUSE], delays)
            self._quiet = self.reactor.seconds() < self._quiet_until
            if not self._quiet:
                self._quiet_until = self.reactor.seconds() + READ_ONLY_REPORTS
        if not self._quiet:
            reason = str(translate(f) or f.value)
            self.log.warn("{event}: {reason}", event="database_connection_lost", reason=reason)
        self._refusal = ""
        call = RetryingCall(lambda: self.reconnect().addErrback(self._refused))
        call.reactor = self.reactor
        self._reconnecting = call.start(delays)
        self._reconnecting.addCallback(lambda _: self.connectionRecovered())
        self._reconnecting.addErrback(_stopped)

    def _refused(self, failure: Failure) -> Failure:
        """The reason of the loss may be another one than what now stands in the way: no connection left, say."""
        before, self._refusal = self._refusal, str(failure.value)
        if self._refusal != before and failure.check(DatabaseError):
            self.log.warn("{event}: {reason}", event="database_unreachable", reason=self._refusal)
        return failure

    def connectionRecovered(self) -> Deferred[Any]:
        """The connection stands again: the recovery handlers run."""
        if not self._quiet:
            self.log.info("{event}", event="database_connection_restored")
        recovered: Deferred[Any] = super().connectionRecovered()
        return recovered

    def abandon(self) -> None:
        """No reconnection any more, also not the one under way."""
        self._abandoned = True
        self._reconnecting.cancel()


def _delays() -> Iterator[float]:
    delays: Iterator[float] = simpleBackoffIterator(
        initialDelay=0.5, maxDelay=RECONNECT_MAX_DELAY, factor=1.7, maxRetries=0, now=True
    )
    return delays


def _stopped(failure: Failure) -> None:
    failure.trap(CancelledError)
