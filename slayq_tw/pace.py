"""`Pace`: how often the queues are looked at while jobs are not announced, or not each of them is."""

from collections.abc import Callable
from typing import Any, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred

from slayq_tw.job import Job

FASTEST = 0.05
"""Seconds between two looks right after work: a job is often followed by another."""
SLOWEST = 1.0
"""Seconds between two looks of idle queues: what the pollers do by themselves, announcements or not."""
SLOWING = 10.0
"""The interval is the time since the last work divided by this: 0.05 s for half a second, 1 s after ten."""

AGAIN = 0.004
"""Seconds after which what was stored beside an announcement, and not announced itself, is looked for."""
ONCE_MORE = 0.02
"""Seconds from that look to the next: a commit that waits for a disk takes longer."""

T = TypeVar("T")
Work = Callable[[Job], Deferred[None] | None]
"""What a poller does with a job. None: nothing, it was put off."""


def interval(idle: float) -> float:
    """Seconds until the next look, when there has been no work for so many seconds."""
    return min(SLOWEST, max(FASTEST, idle / SLOWING))


class Pace(Service):
    """Wakes all queues at once, whose claims then are one statement.

    Under load not every job is announced (`slayq._private_announce`): the announcements say so, and the queues are
    looked at again shortly after each, and then as after work. A transaction that stored a job beside one and was
    committed much later waits no longer than a tenth of that time.

    An idle daemon is not woken at all: at the slowest pace the pollers' own interval is enough.

    Args:
        announced: whether new jobs are announced, so that nothing needs to be done.
        wake: has every queue looked at.
        clock: IReactorTime, on monotonic time.
    """

    def __init__(self, announced: Callable[[], bool], wake: Callable[[], None], clock: Any) -> None:
        self.setName("pace")
        self._announced = announced
        self._wake = wake
        self._clock = clock
        self._worked_at = 0.0
        self._thinned_at: float | None = None
        self._timer: Any = None
        self._looks_again = False  # whether the timer is that of `AGAIN`

    def following(self, work: Work) -> Work:
        """The same work; a job's beginning and end set the pace. An application often adds jobs in both."""

        def followed(job: Job) -> Deferred[None] | None:
            working = work(job)
            if working is None or self._announced():
                return working
            self._worked(None)
            return working.addBoth(self._worked)

        return followed

    def thinned(self) -> None:
        """A job was announced, and others may have been stored that are not."""
        self._thinned_at = self._clock.seconds()
        if self._timer is not None:
            # A look that this puts off is made up for by that at the announcement itself.
            self._timer.reset(AGAIN)
            self._looks_again = True

    def startService(self) -> None:
        """Begin, at the fastest pace."""
        super().startService()
        self._worked_at = self._clock.seconds()
        self._timer = self._clock.callLater(FASTEST, self._turn)

    def stopService(self) -> None:
        """Wake nobody any more."""
        super().stopService()
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _worked(self, result: T) -> T:
        self._worked_at = now = self._clock.seconds()
        if self._timer is not None and self._timer.getTime() - now > FASTEST:
            self._timer.reset(FASTEST)
        return result

    def _turn(self) -> None:
        now = self._clock.seconds()
        wait = interval(now - self._worked_at)
        due = wait < SLOWEST and not self._announced()
        if self._thinned_at is not None:
            since = interval(now - self._thinned_at)
            due = due or since < SLOWEST
            wait = ONCE_MORE if self._looks_again else min(wait, since)
        self._looks_again = False
        self._timer = self._clock.callLater(wait, self._turn)
        if due:
            self._wake()
