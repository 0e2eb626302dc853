"""`Allowances`: how much time a statement gets that takes milliseconds, as a rule."""

from typing import Any

USUAL = 4.0
"""Seconds for such a statement."""
LONGEST = 30.0
"""Seconds that it gets in the end, as any other statement does."""
REMEMBERED_FOR = 300.0
"""Seconds for which a statement that was slow gets more time from the beginning."""


class Allowances:
    """Little time is better on a half-open connection, where a statement waits in vain, and much on a slow server. Which
    of the two it is shows only afterwards: an attempt that was too short is followed by one with twice the time; and
    one that succeeds slowly proves that it is not the connection.

    Args:
        clock: IReactorTime, on monotonic time.
    """

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self._tried: dict[str, float] = {}  # by statement: what was too short, twice
        self._proven: dict[str, tuple[float, float]] = {}  # what it needs, and until when that is remembered

    def of(self, statement: str) -> float:
        """Seconds for the next attempt."""
        return min(LONGEST, max(USUAL, self._tried.get(statement, 0.0), self._needed(statement)))

    def too_short(self, statement: str, seconds: float) -> None:
        """An attempt had so many seconds, and got no answer."""
        self._tried[statement] = 2 * seconds

    def took(self, statement: str, seconds: float) -> None:
        """An attempt got its answer after so many seconds."""
        self._tried.pop(statement, None)
        if 2 * seconds > USUAL:
            needed = max(2 * seconds, self._needed(statement))
            self._proven[statement] = needed, self._clock.seconds() + REMEMBERED_FOR

    def _needed(self, statement: str) -> float:
        seconds, until = self._proven.get(statement, (0.0, 0.0))
        return seconds if self._clock.seconds() < until else 0.0
