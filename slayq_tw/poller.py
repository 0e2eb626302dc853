"""`QueuePoller`: the service of one queue. It claims, limits, and drains."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, DeferredSemaphore
from twisted.logger import Logger
from twisted.python.failure import Failure

from slayq_tw.claims import Claim
from slayq_tw.errors import DatabaseError
from slayq_tw.jobs import Job
from slayq_tw.loop import SupervisedLoop

POLL_INTERVAL = 1.0
"""Seconds between two looks at a queue that nothing announced."""
AHEAD = 0.1
"""Seconds of work that may be claimed ahead of free slots: a claim then serves many deliveries."""
MAX_AHEAD = 200
"""Jobs claimed ahead, at most."""
SMOOTHING = 0.1
"""Weight of the newest delivery in the average duration."""


class QueuePoller(Service):
    """Keeps one queue's slots busy.

    Args:
        names: the queue's identifiers, its own name first; they share the slots.
        concurrency: deliveries in flight at once.
        claim: asks for due jobs.
        work: delivers one and records its end; does not fail.
        release: records that a job goes back unworked.
        clock: IReactorTime, on monotonic time.
    """

    log = Logger()

    def __init__(
        self,
        names: Sequence[str],
        concurrency: int,
        claim: Claim,
        work: Callable[[Job], Deferred[None]],
        release: Callable[[Job], None],
        clock: Any,
    ) -> None:
        self.setName(f"queue {names[0]}")  # a queue may be called `cron`
        self._names = tuple(names)
        self._claim = claim
        self._work = work
        self._release = release
        self._clock = clock
        self._slots = DeferredSemaphore(concurrency)
        self._unstarted: deque[Job] = deque()
        self._in_flight: set[Deferred[None]] = set()
        self._duration: float | None = None
        self._last_finish = 0.0
        self._loop = SupervisedLoop(self._poll, POLL_INTERVAL, clock, f"queue {names[0]}")
        self._away = False

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
            self._loop.wake()

    def cut(self) -> None:
        """End the deliveries in flight; their jobs are handed back."""
        for delivery in list(self._in_flight):
            delivery.cancel()

    @property
    def in_flight(self) -> int:
        """Deliveries under way."""
        return len(self._in_flight)

    async def _poll(self) -> None:
        self._hand_back_stalled()
        ahead = self._ahead()
        room = self._slots.limit + ahead - len(self._in_flight) - len(self._unstarted)
        if room <= ahead // 2 or not self.running:
            return
        try:
            jobs = await self._claim(self._names, room)
        except DatabaseError as error:
            self._report_away(error)
            return
        self._away = False
        self._unstarted.extend(jobs)
        self._fill()
        if len(jobs) == room:
            self._loop.wake()  # there may be more than was asked for

    def _fill(self) -> None:
        if not self.running:
            while self._unstarted:
                self._release(self._unstarted.popleft())
        while self._unstarted and self._slots.tokens:
            self._launch(self._unstarted.popleft())

    def _launch(self, job: Job) -> None:
        begun = self._clock.seconds()

        def deliver() -> Deferred[None]:
            delivery = self._work(job)
            self._in_flight.add(delivery)
            return delivery.addBoth(self._finished, delivery, begun)

        self._slots.run(deliver).addErrback(self._lost, job).addCallback(lambda _: self._slot_freed())

    def _finished(self, result: Any, delivery: Deferred[None], begun: float) -> Any:
        self._in_flight.discard(delivery)
        self._last_finish = self._clock.seconds()
        taken = self._last_finish - begun
        self._duration = (
            taken if self._duration is None else self._duration + SMOOTHING * (taken - self._duration)
        )
        return result

    def _slot_freed(self) -> None:
        self._fill()
        self.wake()

    def _lost(self, failure: Failure, job: Job) -> None:
        self.log.failure(
            "{event}: job {job_id}", failure, event="job_lost", job_id=job.id, queue=job.identifier
        )

    def _ahead(self) -> int:
        """How many jobs can begin within `AHEAD` seconds, at the present pace."""
        if not self._duration:
            return 0
        return min(MAX_AHEAD, int(self._slots.limit * AHEAD / self._duration))

    def _hand_back_stalled(self) -> None:
        """Jobs claimed ahead of a receiver that has become slow go back: somebody else may be faster."""
        if self._unstarted and self._clock.seconds() - self._last_finish > POLL_INTERVAL:
            self._duration = None
            while self._unstarted:
                self._release(self._unstarted.popleft())

    async def _drain(self) -> None:
        await self._loop.stop()
        self._fill()  # not running: hands back what has not begun
        await DeferredList([_over(delivery) for delivery in self._in_flight])

    def _report_away(self, error: DatabaseError) -> None:
        if not self._away:
            self._away = True
            self.log.warn(
                "{event}: {queue}: {reason}", event="claim_failed", queue=self._names[0], reason=str(error)
            )


def _over(delivery: Deferred[None]) -> Deferred[None]:
    """Fires when a delivery that somebody else watches is over, however it ended."""
    over: Deferred[None] = Deferred()

    def pass_on(result: Any) -> Any:
        over.callback(None)
        return result

    delivery.addBoth(pass_on)
    return over
