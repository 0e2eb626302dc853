"""`QueuePoller`: the service of one queue. It asks, limits, and drains."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, DeferredSemaphore
from twisted.logger import Logger
from twisted.python.failure import Failure

from slayq_tw.claims import Claimer
from slayq_tw.errors import DatabaseError, DatabaseUnavailable
from slayq_tw.job import Job
from slayq_tw.loop import SupervisedLoop
from slayq_tw.over import over
from slayq_tw.pgerrors import TOO_LONG

POLL_INTERVAL = 1.0
"""Seconds between two looks at a queue that nothing announced."""
AHEAD = 0.1
"""Seconds of work that may be claimed ahead of free slots: a claim then serves many deliveries."""
MAX_AHEAD = 500
"""Jobs claimed ahead, at most."""
SMOOTHING = 0.1
"""Weight of the newest delivery in the average duration."""


class QueuePoller(Service):
    """Keeps one queue's slots busy.

    Args:
        names: the queue's identifiers, its own name first; they share the slots.
        concurrency: deliveries in flight at once.
        claimer: claims for this queue and others.
        work: delivers one job and records its end; does not fail. None if it was put off instead.
        release: records that a job goes back unworked.
        clock: IReactorTime, on monotonic time.
        may_begin: whether this daemon is sure of its claims. While it is not, jobs that have not begun go back, and none
            are asked for.
    """

    log = Logger()

    def __init__(
        self,
        names: Sequence[str],
        concurrency: int,
        claimer: Claimer,
        work: Callable[[Job], Deferred[None] | None],
        release: Callable[[Job], None],
        clock: Any,
        may_begin: Callable[[], bool] = lambda: True,
    ) -> None:
        self.setName(f"queue {names[0]}")  # a queue may be called `cron`
        self.names = tuple(names)
        self._claimer = claimer
        self._work = work
        self._release = release
        self._clock = clock
        self._may_begin = may_begin
        self._slots = DeferredSemaphore(concurrency)
        self._unstarted: deque[Job] = deque()
        self._in_flight: set[Deferred[None]] = set()
        self._filling = False
        self._more = False  # whether there may be jobs that were not asked for yet
        self._duration: float | None = None
        self._last_finish = 0.0
        self._put_off = 0  # jobs since the last delivery
        self._too_many = False  # whether more may be held than can begin soon
        self._loop = SupervisedLoop(self._poll, POLL_INTERVAL, clock, f"queue {names[0]}")
        self._away = False
        claimer.serve(self)

    def startService(self) -> None:
        """Begin to poll."""
        super().startService()
        self._loop.start()

    def stopService(self) -> Deferred[None]:
        """Claim nothing more; fires when no delivery is in flight. `cut` makes that soon."""
        super().stopService()
        return Deferred.fromCoroutine(self._drain())

    def wake(self) -> None:
        """Look for jobs now."""
        if self.running:
            self._more = True
            if self.hungry:
                self._claimer.wake()

    def cut(self) -> None:
        """End the deliveries in flight; their jobs are handed back."""
        for delivery in list(self._in_flight):
            delivery.cancel()

    def hand_back(self) -> None:
        """Hand back what has not begun."""
        self._hand_back_beyond(0)

    @property
    def in_flight(self) -> int:
        """Deliveries under way."""
        return len(self._in_flight)

    @property
    def hungry(self) -> bool:
        """Whether it is time to claim: there may be jobs, and less than half of what may be held is."""
        if not self._more:
            return False
        ahead = self._ahead()
        return self._room(ahead) > ahead // 2 and self._is_fit()

    def ask(self) -> int:
        """How many jobs it takes now."""
        if not (self._more and self._is_fit()):
            return 0
        room = max(0, self._room(self._ahead()))
        self._more = room == 0  # what is announced from here on is not in the answer
        return room

    def take(self, jobs: Sequence[Job], asked: int) -> None:
        """Jobs to be delivered. If they are as many as were asked for, there may be more."""
        self._away = False
        if len(jobs) == asked:
            self._more = True
        self._unstarted.extend(jobs)
        self._fill()

    def claim_failed(self, error: DatabaseError) -> None:
        """The next look asks again. That a connection was lost is told by `Outage`, once for all queues."""
        lost = isinstance(error, DatabaseUnavailable) and error.sqlstate != TOO_LONG
        if not self._away and not lost:
            self._away = True
            self.log.warn(
                "{event}: {queue}: {reason}", event="claim_failed", queue=self.names[0], reason=str(error)
            )

    async def _poll(self) -> None:
        self._hand_back_stalled()
        self.wake()

    def _is_fit(self) -> bool:
        return bool(self.running) and self._may_begin()

    def _room(self, ahead: int) -> int:
        return self._slots.limit + ahead - len(self._in_flight) - len(self._unstarted)

    def _fill(self) -> None:
        if self._filling:
            return  # a job ended before its launch was over
        self._filling = True
        try:
            if not self._is_fit():
                while self._unstarted:
                    self._release(self._unstarted.popleft())
            while self._unstarted and self._slots.tokens:
                self._launch(self._unstarted.popleft())
            if self._too_many:
                self._hand_back_beyond(self._ahead())
        finally:
            self._filling = False

    def _launch(self, job: Job) -> None:
        begun = self._clock.seconds()
        delivery = self._work(job)
        if delivery is None:
            self._put_off += 1
            return
        if self._put_off:
            self._put_off = 0
            self._too_many = True
        self._slots.acquire()  # at once: there is a token
        self._in_flight.add(delivery)
        delivery.addBoth(self._finished, job.id, delivery, begun)

    def _finished(self, result: object, job_id: int, delivery: Deferred[None], begun: float) -> None:
        if isinstance(result, Failure):
            self._lost(result, job_id)
        self._in_flight.discard(delivery)
        self._last_finish = self._clock.seconds()
        taken = self._last_finish - begun
        self._duration = (
            taken if self._duration is None else self._duration + SMOOTHING * (taken - self._duration)
        )
        self._slots.release()
        self._fill()
        if self.hungry:
            self._claimer.wake()

    def _lost(self, failure: Failure, job_id: int) -> None:
        self.log.failure(
            "{event}: job {job_id}", failure, event="job_lost", job_id=job_id, queue=self.names[0]
        )

    def _ahead(self) -> int:
        """How many jobs can begin within `AHEAD` seconds, at the present pace.

        While all are put off, as many again as have been: a receiver that is down may have ten thousand jobs before
        the first one of another.
        """
        ahead = int(self._slots.limit * AHEAD / self._duration) if self._duration else 0
        return min(MAX_AHEAD, max(ahead, self._put_off))

    def _hand_back_stalled(self) -> None:
        """Jobs claimed ahead of a receiver that has become slow go back: somebody else may be faster."""
        if self._unstarted and self._clock.seconds() - self._last_finish > POLL_INTERVAL:
            self._duration = None
            self._hand_back_beyond(0)

    def _hand_back_beyond(self, ahead: int) -> None:
        self._too_many = False
        jobs = list(self._unstarted)
        if len(jobs) > ahead:
            self._unstarted = deque(jobs[:ahead])
            self._more = True
            for job in jobs[ahead:]:
                self._release(job)

    async def _drain(self) -> None:
        await self._loop.stop()
        self._fill()  # not running: hands back what has not begun
        await self._claimer.settled()  # what it brings is handed back too
        await DeferredList([over(delivery) for delivery in self._in_flight])
