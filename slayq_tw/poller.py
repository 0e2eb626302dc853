"""`QueuePoller`: the service of one queue. It asks, limits, and drains."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

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
from slayq_tw.prefetch import LAST, MOST, Window

POLL_INTERVAL = 1.0
"""Seconds between two looks at a queue that nothing announced."""


class _Held(NamedTuple):
    """A claimed job that has not begun.

    Attributes:
        since: when it came, by the monotonic clock.
    """

    job: Job
    since: float


class QueuePoller(Service):
    """Keeps one queue's slots busy.

    Beyond what it can begin, it claims what begins while the next claim is answered (`prefetch`), and hands back what
    did not after all: to everybody else, a job that is held looks as if it ran.

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
        self._window = Window(concurrency)
        self._held: deque[_Held] = deque()  # in the order in which they begin
        self._timer: Any = None  # for the first of them to go back
        self._in_flight: dict[Deferred[None], float] = {}  # and when each began, the oldest first
        self._last_finish = 0.0
        self._filling = False
        self._more = False  # whether there may be jobs that were not asked for yet
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
        """Whether it is time to claim: there may be jobs, and slots are free, or will be before more is in hand."""
        if not self._more:
            return False
        ahead, enough = self._ahead()
        return self._room(enough) >= 0 < self._room(ahead) and self._is_fit()

    def ask(self) -> int:
        """How many jobs it takes now."""
        if not (self._more and self._is_fit()):
            return 0
        room = max(0, self._room(self._ahead()[0]))
        self._more = room == 0  # what is announced from here on is not in the answer
        return room

    def take(self, jobs: Sequence[Job], asked: int) -> None:
        """Jobs to be delivered. If they are as many as were asked for, there may be more."""
        self._away = False
        if len(jobs) == asked:
            self._more = True
        if jobs:
            self._hold(jobs)
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
        self.wake()

    def _is_fit(self) -> bool:
        return bool(self.running) and self._may_begin()

    def _room(self, ahead: int) -> int:
        """How many jobs may come until so many are held; negative if there are more already."""
        return self._slots.limit + ahead - len(self._in_flight) - len(self._held)

    def _fill(self) -> None:
        if self._filling:
            return  # a job ended before its launch was over
        self._filling = True
        try:
            if not self._is_fit():
                while self._held:
                    self._release(self._held.popleft().job)
            while self._held and self._slots.tokens:
                self._launch(self._held.popleft().job)
            if self._too_many:
                self._hand_back_beyond(self._ahead()[0])
        finally:
            self._filling = False
        if self._held and self._timer is None:
            self._timer = self._clock.callLater(max(0.0, self._late_in()), self._look_again)

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
        self._in_flight[delivery] = begun
        delivery.addBoth(self._finished, job.id, delivery, begun)

    def _finished(self, result: object, job_id: int, delivery: Deferred[None], begun: float) -> None:
        if isinstance(result, Failure):
            self._lost(result, job_id)
        self._in_flight.pop(delivery, None)
        self._last_finish = self._clock.seconds()
        self._window.finished(self._last_finish, begun)
        self._slots.release()
        self._fill()
        if self.hungry:
            self._claimer.wake()

    def _lost(self, failure: Failure, job_id: int) -> None:
        self.log.failure(
            "{event}: job {job_id}", failure, event="job_lost", job_id=job_id, queue=self.names[0]
        )

    def _ahead(self) -> tuple[int, int]:
        """How many jobs may be held beyond those that begin at once, and with how many it is time to claim.

        While all are put off, as many again as have been: a receiver that is down may have ten thousand jobs before
        the first one of another.
        """
        ahead, enough = self._window.ahead(
            self._clock.seconds(), self._claimer.takes, self._in_flight.values()
        )
        if ahead < self._put_off:
            return min(MOST, self._put_off), 0
        return ahead, enough

    def _hold(self, jobs: Sequence[Job]) -> None:
        now = self._clock.seconds()
        overtakes = bool(self._held) and jobs[0].priority < self._held[-1].job.priority
        self._held.extend(_Held(job, now) for job in jobs)
        if overtakes:
            self._held = deque(sorted(self._held, key=lambda held: held.job.priority))

    def _late_in(self) -> float:
        """Seconds until the first of what is held should have begun, if no slot becomes free meanwhile."""
        since = self._held[0].since
        moved = max(since, self._last_finish) + self._window.patience(self._claimer.takes)
        now: float = self._clock.seconds()
        return min(moved, since + LAST) - now

    def _look_again(self) -> None:
        """It is late, unless there is an answer that has not been read yet: this daemon may have been busy itself."""
        self._timer = self._clock.callLater(0, self._hand_back_late)

    def _hand_back_late(self) -> None:
        """What should have begun and did not goes back at once, and what waits behind it: deliveries have become slow."""
        self._timer = None
        if self._held and self._late_in() <= 0:
            now = self._clock.seconds()
            if now - self._last_finish >= self._window.patience(self._claimer.takes):
                self._window.stalled(now)
            self._hand_back_beyond(0)
        else:
            self._fill()  # arms the timer anew

    def _hand_back_beyond(self, ahead: int) -> None:
        self._too_many = False
        beyond = [self._held.pop().job for _ in range(len(self._held) - ahead)]
        if beyond:
            self._more = True
        for job in reversed(beyond):
            self._release(job)

    async def _drain(self) -> None:
        await self._loop.stop()
        self._fill()  # not running: hands back what has not begun
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await self._claimer.settled()  # what it brings is handed back too
        await DeferredList([over(delivery) for delivery in self._in_flight])
