"""`Liveness`: which daemons are dead, judged by their beats and by one's own clock."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

DEAD_AFTER = 10.0
"""Seconds for which a beat must be seen to stand still."""
LONGEST_GAP = 5.0
"""Seconds between two looks, at most, or what was between them was not seen."""


@dataclass(frozen=True, slots=True)
class Beat:
    """What was seen of a daemon.

    Attributes:
        worker: its id, which its locks carry.
        number: how often it has beaten.
        place, process: where it runs, see `slayq_tw.whereabouts`.
    """

    worker: str
    number: int
    place: str | None
    process: str | None


class Liveness:
    """Watches beats. Nothing but their numbers and the watcher's own monotonic clock counts.

    After an outage of the database, or of the watcher itself, everybody gets the whole time again: they could not
    beat either, or nobody looked.
    """

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, float]] = {}  # the number, and since when it stands still
        self._looked_at: float | None = None
        self._server: datetime | None = None

    def look(self, beats: Iterable[Beat], server: datetime, now: float) -> list[Beat]:
        """Take note of the others' beats.

        Args:
            beats: all of them.
            server: since when the database server runs.
            now: seconds on the monotonic clock.

        Returns:
            The dead.
        """
        if self._looked_at is None or now - self._looked_at > LONGEST_GAP or server != self._server:
            self._seen.clear()
        self._looked_at = now
        self._server = server
        seen: dict[str, tuple[int, float]] = {}
        dead = []
        for beat in beats:
            number, since = self._seen.get(beat.worker, (beat.number, now))
            seen[beat.worker] = (beat.number, since if beat.number == number else now)
            if now - seen[beat.worker][1] >= DEAD_AFTER:
                dead.append(beat)
        self._seen = seen
        return dead

    def forget(self, worker: str) -> None:
        """Watch a daemon anew: not all that it left could be returned."""
        self._seen.pop(worker, None)

    def interrupted(self) -> None:
        """The database could not be asked."""
        self._looked_at = None
