"""`ConnectProbes`: finds out by connecting whether origins at which nothing listened are there again."""

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, TimeoutError
from twisted.logger import Logger
from twisted.python.failure import Failure

from slayq_tw.errors import DestinationRefused
from slayq_tw.http_failures import TRANSPORT_ERRORS
from slayq_tw.weburl import Origin

AT_FIRST, EVERY_FIRST, EVERY_LATER = 10, 1.0, 1.2
"""So many times it is tried each second, and then at an interval that leaves time for the rest of two: the events that
have waited must be claimed again."""
TIMEOUT = 3.0
"""Seconds for a connection, TLS included; a receiver that needs longer has to wait for its deliveries' own probe."""
PACE = 25.0
"""Connections that are begun in a second, at most: with many origins in trouble, each has to wait for its turn."""
AT_ONCE = 50
"""Connections that are under way, at most."""


class ConnectProbes(Service):
    """Connects to origins, again and again, until it succeeds or nobody wants to know any more.

    Args:
        connect: to an origin, as a delivery would, and closes at once; fails with what connecting failed with.
        clock: IReactorTime.
    """

    log = Logger()

    def __init__(self, connect: Callable[[Origin], "Deferred[None]"], clock: Any) -> None:
        self.setName("connect-probes")
        self._connect = connect
        self._clock = clock
        self._probes: dict[Origin, _Probe] = {}
        self._due: list[tuple[float, int, _Probe]] = []
        self._order = count()
        self._under_way = 0
        self._earliest = 0.0
        self._timer: Any = None
        self._over = False

    def begin(self, origin: Origin, reached: Callable[[], None], after: float = EVERY_FIRST) -> None:
        """Try an origin until it is reached.

        Args:
            origin: whom.
            reached: called then; nothing more is tried.
            after: seconds until it is tried first.
        """
        self.end(origin)
        if self._over:
            return
        probe = self._probes[origin] = _Probe(origin, reached)
        self._queue(probe, self._clock.seconds() + after)

    def end(self, origin: Origin) -> None:
        """Nobody wants to know any more."""
        probe = self._probes.pop(origin, None)
        if probe is not None:
            probe.wanted = False
            if probe.connecting is not None:
                probe.connecting.cancel()
        if not self._probes:
            self._due.clear()
            self._set_timer()

    def startService(self) -> None:
        """Begin anew."""
        super().startService()
        self._over = False

    def stopService(self) -> None:
        """Try nothing any more."""
        super().stopService()
        self._over = True
        for origin in list(self._probes):
            self.end(origin)

    def _queue(self, probe: "_Probe", at: float) -> None:
        heappush(self._due, (at, next(self._order), probe))
        self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._due and not self._due[0][2].wanted:
            heappop(self._due)
        if self._due and self._under_way < AT_ONCE:
            at = max(self._due[0][0], self._earliest)
            self._timer = self._clock.callLater(max(0.0, at - self._clock.seconds()), self._next)

    def _next(self) -> None:
        self._timer = None
        _, _, probe = heappop(self._due)
        began = self._clock.seconds()
        self._earliest = began + 1 / PACE
        self._under_way += 1
        connecting = self._connect(probe.origin)
        probe.connecting = connecting
        connecting.addTimeout(TIMEOUT, self._clock)
        connecting.addBoth(self._tried, probe, began)
        self._set_timer()

    def _tried(self, result: Any, probe: "_Probe", began: float) -> None:
        self._under_way -= 1
        probe.connecting = None
        if probe.wanted and not isinstance(result, Failure):
            self.end(probe.origin)
            probe.reached()
        elif probe.wanted:
            if result.check(TimeoutError, DestinationRefused, *TRANSPORT_ERRORS) is None:
                self.log.failure("{event}", result, event="connect_probe_bug")
            probe.tries += 1
            self._queue(probe, began + (EVERY_FIRST if probe.tries < AT_FIRST else EVERY_LATER))
        self._set_timer()


class _Probe:
    """One origin.

    Attributes:
        origin, reached: as given.
        wanted: whether anybody wants to know.
        tries: in vain so far.
        connecting: while it is tried.
    """

    __slots__ = ("connecting", "origin", "reached", "tries", "wanted")

    def __init__(self, origin: Origin, reached: Callable[[], None]) -> None:
        self.origin = origin
        self.reached = reached
        self.wanted = True
        self.tries = 0
        self.connecting: Deferred[None] | None = None
