"""`Upcoming`: the next look at the queues, when a claim has told that one will be worth it before the usual second."""

from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred

from slayq_tw.job import Job

HORIZON = 1.5
"""Seconds ahead for which a timer is set: what is due later is told again by the claims that idle queues make anyway."""
SPACING = 0.005
"""Seconds until such a look, at least: jobs that become due one after the other are found together."""
SPACING_IN_VAIN = 0.25
"""The same while whatever such looks find is put off: jobs for a receiver that is down come up a hundred times a second."""
WALK = 2000
"""Serial lanes that one claim walks, at most (see `_private_lane_heads` in the migrations)."""
WALK_PAUSE = 0.1
"""Seconds from one part of such a walk to the next, which takes some milliseconds."""


class Upcoming(Service):
    """Wakes the queues when the next job is due, and while there are lanes that no claim has come to.

    Args:
        wake: has every queue looked at.
        clock: IReactorTime, on monotonic time.

    Attributes:
        after_lane: where the next claim goes on with its walk over the lanes.
    """

    def __init__(self, wake: Callable[[], None], clock: Any) -> None:
        self.setName("upcoming")
        self.after_lane = 0
        self._wake = wake
        self._clock = clock
        self._walk_at = 0.0
        self._in_vain = False
        self._timer: Any = None

    def following(
        self, work: Callable[[Job], Deferred[None] | None]
    ) -> Callable[[Job], Deferred[None] | None]:
        """The same work; whether jobs are delivered or put off decides how close looks may follow each other."""

        def followed(job: Job) -> Deferred[None] | None:
            working = work(job)
            self._in_vain = working is None
            return working

        return followed

    @property
    def steps(self) -> int:
        """How many lanes the next claim may walk; none shortly after a walk that did not come to its end."""
        return WALK if self._clock.seconds() >= self._walk_at else 0

    def told(self, due_in: float | None, next_lane: int, steps: int) -> None:
        """A claim has answered.

        Args:
            due_in: seconds until the next job of its tasks is due; None if that is far away.
            next_lane: where its walk ended, 0 at the end of all lanes.
            steps: how many lanes it was allowed.
        """
        if steps:
            self.after_lane = next_lane
        if next_lane:
            self._walk_at = self._clock.seconds() + WALK_PAUSE
            self._look_in(WALK_PAUSE)
        if due_in is not None and due_in <= HORIZON:
            self._look_in(due_in)

    def stopService(self) -> None:
        """Wake nobody any more."""
        super().stopService()
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _look_in(self, seconds: float) -> None:
        """At the latest. A claim does not speak for the queues that it did not ask for, so no look is put off."""
        if not self.running:
            return
        seconds = max(seconds, SPACING_IN_VAIN if self._in_vain else SPACING)
        if self._timer is None:
            self._timer = self._clock.callLater(seconds, self._look)
        elif self._timer.getTime() > self._clock.seconds() + seconds:
            self._timer.reset(seconds)

    def _look(self) -> None:
        self._timer = None
        self._wake()
