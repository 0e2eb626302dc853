"""`Suspicion`: which connections of a pool are half-open, probably, once one of them has proved so."""

from collections.abc import Sequence
from typing import Any

from slayq_tw.connection import Connection

JUST_ASKED = 1.0
"""Seconds for which a connection has not had the time to answer yet."""


class Suspicion:
    """Half-open connections come in numbers, and each would hold up a statement for as long as statements may take. So
    when one proved mute, and what was sent after that was answered on another, those are suspect on which the server
    has said nothing since the mute one was asked.

    Not those whose statement is known to take long; nor yet those that were just asked, which are looked at again with
    the next answer.

    Args:
        clock: IReactorTime, on monotonic time.
        connections: of the pool.
        usual: seconds after which any connection is given up whose statement is not known to take long.
    """

    def __init__(self, clock: Any, connections: Sequence[Connection], usual: float) -> None:
        self._clock = clock
        self._connections = connections
        self._usual = usual
        self._asked: dict[Connection, tuple[float, float]] = {}  # when, and after how long it is given up
        self._mute: tuple[float, float] | None = None  # when one was asked, and given up

    def asked(self, connection: Connection, seconds: float) -> None:
        """A statement is sent, and its connection given up after so many seconds."""
        self._asked[connection] = self._clock.seconds(), seconds

    def ended(self, connection: Connection, *, mute: bool) -> list[Connection]:
        """It is over.

        Args:
            connection: where.
            mute: whether there was no answer.

        Returns:
            Those that are suspect now.
        """
        asked_at, _ = self._asked.pop(connection)
        if mute:
            since = asked_at if self._mute is None else self._mute[0]
            self._mute = since, self._clock.seconds()
        elif self._mute is not None and connection.heard_at >= asked_at >= self._mute[1]:
            return self._suspects(self._mute[0])
        return []

    def _suspects(self, since: float) -> list[Connection]:
        silent = [one for one in self._connections if one.alive and one.heard_at <= since]
        latest = self._clock.seconds() - JUST_ASKED
        young = {one for one in silent if self._asked.get(one, (since, 0.0))[0] > latest}
        if not young:
            self._mute = None
        return [
            one for one in silent if one not in young and self._asked.get(one, (since, 0.0))[1] <= self._usual
        ]
