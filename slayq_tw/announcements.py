"""`ListeningConnection`: a connection that hands over what was announced, however much that is.

Anybody who may log in may announce anything, ten thousand times a second. txpostgres starts a task for each notification,
and reads as often as something arrives. Here all that has arrived is one list, and where many come, they gather for a
moment before they are read.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import psycopg2
from twisted.python.failure import Failure

from slayq_tw.connection import Connection
from slayq_tw.outage import Outage

WINDOW = 0.1
"""Seconds over which announcements are counted."""
CROWD = 40
"""Announcements in one window from which on they are many: twice what 200 events a second are."""
REST = 0.02
"""Seconds for which many gather before the next read."""
READS = 100
"""Reads on end of what has gathered; of one, libpq takes some 16 KB."""


class ListeningConnection(Connection):
    """A `Connection` that LISTENs.

    Args:
        parameters: libpq keywords.
        reactor: timers, readers and name resolution.
        observe: called with all notifications that have arrived, in order.
        outage: is told of losses.
    """

    def __init__(
        self,
        parameters: Mapping[str, str],
        reactor: Any,
        observe: Callable[[Sequence[Any]], None],
        outage: Outage | None = None,
    ) -> None:
        super().__init__(parameters, reactor, outage)
        self._observe = observe
        self._since = 0.0
        self._recent = self._before = 0
        self._crowded = False
        self._rest: Any = None

    def checkForNotifies(self) -> None:
        """As txpostgres does it; but all at once, and with what still waits to be read when there are many."""
        notices = self._taken()
        if not notices:
            return
        self._count(len(notices))
        lost = None
        if self._crowded and not self._cursors:  # a running cursor reads by itself
            notices, lost = self._drained(notices)
        self._observe(notices)
        if lost is not None:
            self.connectionLost(lost)

    def doRead(self) -> None:
        """As `Connection` does it; where many come, the next read is a moment later."""
        super().doRead()
        if self._crowded and self.alive and not self._cursors:
            self.reactor.removeReader(self)
            if self._rest is None:
                self._rest = self.reactor.callLater(REST, self._read_on)

    def close(self) -> None:
        """As `Connection` does it."""
        rest, self._rest = self._rest, None
        if rest is not None:
            rest.cancel()
        super().close()

    def _read_on(self) -> None:
        self._rest = None
        if self.alive and not self._cursors:
            self.reactor.addReader(self)
            self._count(0)

    def _taken(self) -> list[Any]:
        notices: list[Any] = self._connection.notifies[:]
        del self._connection.notifies[:]
        return notices

    def _drained(self, notices: list[Any]) -> tuple[list[Any], Failure | None]:
        """What has arrived by now, behind what was read already; and how the connection was lost, if it was."""
        for _ in range(READS):
            try:
                self._connection.poll()
            except psycopg2.Error:
                return notices, Failure()
            more = self._taken()
            if not more:
                break
            self._count(len(more))
            notices += more
        return notices, None

    def _count(self, number: int) -> None:
        now = self.reactor.seconds()
        if now - self._since >= WINDOW:
            self._before = self._recent if now - self._since < 2 * WINDOW else 0
            self._since, self._recent = now, 0
        self._recent += number
        self._crowded = max(self._recent, self._before) >= CROWD
