"""`Liveness`: which daemons are dead, judged by their beats and by one's own clock."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

DEAD_AFTER = 10.0
"""Seconds for which a beat must be seen to stand still."""
LONGEST_GAP = 6.0
"""Seconds between two looks, at most, or what was between them was not seen."""


@dataclass(frozen=True, slots=True)
class Beat:
    """What was seen of a daemon.

    Attributes:
        worker: its id, which its locks carry.
        number: of its latest beat; it never has the same number twice. A negative one was found dead before.
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
        self._seen: dict[str, tuple[Beat, float]] = {}  # the beat, and since when it stands still
        self._looked_at: float | None = None
        self._server: datetime | None = None

    def look(self, beats: Iterable[Beat], server: datetime, now: float) -> None:
        """Take note of the others' beats.

        Args:
            beats: all of them.
            server: since when the database server runs.
            now: seconds on the monotonic clock.
        """
        if self._is_late(now) or server != self._server:
            self._seen.clear()
        self._looked_at = now
        self._server = server
        seen: dict[str, tuple[Beat, float]] = {}
        for beat in beats:
            before, since = self._seen.get(beat.worker, (beat, now))
            seen[beat.worker] = (beat, since if beat.number == before.number else now)
        self._seen = seen

    def dead(self, now: float) -> list[Beat]:
        """Who is dead if nothing has changed since the last look, which whoever acts upon it must make sure of."""
        if self._is_late(now):
            return []
        return [beat for beat, since in self._seen.values() if now >= since + DEAD_AFTER]

    def next_death(self, now: float) -> float | None:
        """When the next one will be dead, on the monotonic clock."""
        moments = (since + DEAD_AFTER for _, since in self._seen.values())
        return min((moment for moment in moments if moment > now), default=None)

    def interrupted(self) -> None:
        """The database could not be asked."""
        self._looked_at = None

    def _is_late(self, now: float) -> bool:
        return self._looked_at is None or now - self._looked_at > LONGEST_GAP
