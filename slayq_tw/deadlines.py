"""`Deadlines`: many time-outs on one timer."""

from collections.abc import Callable, Hashable
from itertools import takewhile
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Deadlines(Generic[K]):
    """Calls back for what is not over in time.

    Nearly all that is timed ends long before: a timer for each, set and cancelled, would cost more than the rest of
    a request. Those with the same time-out fall due in the order in which they came, so the first of each is enough.

    Args:
        clock: IReactorTime, on monotonic time.
        expired: called for each whose time is up; it is forgotten by then.
    """

    def __init__(self, clock: Any, expired: Callable[[K], None]) -> None:
        self._clock = clock
        self._expired = expired
        self._due: dict[float, dict[K, float]] = {}
        self._timer: Any = None

    def add(self, key: K, timeout: float) -> None:
        """Begin to wait, for `timeout` seconds."""
        at = self._clock.seconds() + timeout
        self._due.setdefault(timeout, {})[key] = at
        if self._timer is None or at < self._timer.getTime():
            self._set(timeout)

    def discard(self, key: K, timeout: float) -> None:
        """It is over: wait no longer. Harmless when its time is up already."""
        waiting = self._due.get(timeout)
        if waiting is None or waiting.pop(key, None) is None or waiting:
            return
        del self._due[timeout]
        if not self._due and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set(self, delay: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._clock.callLater(delay, self._look)

    def _look(self) -> None:
        self._timer = None
        now = self._clock.seconds()
        late: list[K] = []
        for timeout, waiting in list(self._due.items()):
            over = [key for key, _ in takewhile(lambda item: item[1] <= now, waiting.items())]
            for key in over:
                del waiting[key]
            late += over
            if not waiting:
                del self._due[timeout]
        if self._due:
            self._set(min(next(iter(waiting.values())) for waiting in self._due.values()) - now)
        for key in late:
            self._expired(key)
