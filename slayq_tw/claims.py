"""`Claimer`: one statement claims for all queues that have room."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from slayq_tw.errors import DatabaseError
from slayq_tw.job import Job
from slayq_tw.jobs import MAX_CLAIM, JobStore

BACKLOG_GLANCE = 0.02
"""Seconds between two looks whether results are still behind."""

REFRESH_INTERVAL = 30.0
"""Seconds after which task ids are read again: a clean-up may have deleted a row that an application recreated."""

SECOND_SWEEP = 15.0
"""Seconds after a lost answer until strays are looked for once more: its commit may have waited for a disk."""
LAST_SWEEP = 60.0
"""And for the last time: its statement may have arrived late, since TCP goes on sending (`tcp_user_timeout`)."""

SMOOTHING = 0.1
"""Weight of the newest claim in the average time that one takes."""
LONGEST = 0.1
"""Seconds that a claim counts at most in that average: one that met with a dead connection says nothing of the next."""

LARGE = MAX_CLAIM // 8
"""Characters of payload from which on a claim may have been cut short: a character has four bytes at most, and JSON's
text is longer than what Postgres counts of a compressed one."""


class Queue(Protocol):
    """Who wants jobs.

    Attributes:
        names: the queue's identifiers, which share its room.
        hungry: whether it is worth a statement that this queue asks.
    """

    @property
    def names(self) -> Sequence[str]: ...

    @property
    def hungry(self) -> bool: ...

    def ask(self) -> int:
        """How many jobs it takes now; 0 when it expects none. The answer, if it is more, is `take` or `claim_failed`."""

    def take(self, jobs: Sequence[Job], asked: int) -> None:
        """The claimed jobs, by priority and run_at, and how many there was room for in the claim."""

    def claim_failed(self, error: DatabaseError) -> None:
        """The statement failed."""


class Claimer:
    """Claims while somebody is hungry, one statement at a time. Whoever has room is served by the same statement.

    Since no claim is under way between two statements, this is also where lost claims are looked for: after an
    answer was lost, jobs that carry our id and that nobody here holds are handed back before anything is claimed.

    Args:
        store: claims and finds.
        clock: IReactorTime, on monotonic time.
        behind: whether more results wait to be written than should. Nothing is claimed then: jobs that are put off end
            as fast as they are claimed, and would fill the memory.

    Attributes:
        takes: seconds from a claim to its answer, on average; 0 before the first.
    """

    log = Logger()

    def __init__(self, store: JobStore, clock: Any, behind: Callable[[], bool]) -> None:
        self._store = store
        self._clock = clock
        self._behind = behind
        self._queues: list[Queue] = []
        self._busy = False
        self._waiting: list[Deferred[None]] = []
        self._refreshed_at: float | None = None
        self.takes = 0.0
        self._sweeps: list[float] = []  # monotonic times at which strays are due to be looked for

    def serve(self, queue: Queue) -> None:
        """Claim for this queue too, from now on."""
        self._queues.append(queue)

    def wake(self) -> None:
        """Somebody has become hungry. What happens in the same turn of the reactor is answered together."""
        if not self._busy:
            self._busy = True
            self._clock.callLater(0, self._send)

    @property
    def misses_an_answer(self) -> bool:
        """Whether jobs may carry our id that nobody here knows of: a claim's answer was lost, or has not come yet."""
        return self._busy or bool(self._sweeps)

    def settled(self) -> "Deferred[None]":
        """Fires when no claim is under way."""
        settled: Deferred[None] = Deferred()
        if self._busy:
            self._waiting.append(settled)
        else:
            settled.callback(None)
        return settled

    def _send(self) -> None:
        if self._behind():
            self._next(BACKLOG_GLANCE)
            return
        asked = [(queue, limit) for queue in self._queues if (limit := queue.ask())]
        if not asked:
            self._rest()
            return
        claiming = Deferred.fromCoroutine(self._claim([(queue.names, limit) for queue, limit in asked]))
        claiming.addCallbacks(_deal, self._failed, callbackArgs=(asked,), errbackArgs=(asked,))
        claiming.addErrback(self._report)
        claiming.addCallback(lambda _: self._next())

    async def _claim(self, requests: list[tuple[Sequence[str], int]]) -> list[list[Job]]:
        await self._refresh()
        await self._sweep()
        sent = self._clock.seconds()
        claimed = await self._store.claim(requests)
        taken = min(LONGEST, self._clock.seconds() - sent)
        self.takes += (SMOOTHING if self.takes else 1.0) * (taken - self.takes)
        return claimed

    async def _refresh(self) -> None:
        now = self._clock.seconds()
        if self._refreshed_at is None or now - self._refreshed_at >= REFRESH_INTERVAL:
            await self._store.register()
            self._refreshed_at = now

    async def _sweep(self) -> None:
        now = self._clock.seconds()
        due = [at for at in self._sweeps if at <= now]
        if not due:
            return
        strays, left = await self._store.release_strays()
        self._sweeps = [at for at in self._sweeps if at not in due]
        if left:
            self._sweeps.append(now + SECOND_SWEEP)
        if strays:
            self.log.warn(
                "{event}: {count} jobs were claimed but their answer was lost; handed back",
                event="strays_released",
                count=len(strays),
                job_ids=strays[:20],
            )

    def _failed(self, failure: Failure, asked: list[tuple[Queue, int]]) -> None:
        now = self._clock.seconds()
        # Also after a fault of ours: the statement may have been committed.
        self._sweeps = [now, now + SECOND_SWEEP, now + LAST_SWEEP]
        failure.trap(DatabaseError)
        for queue, _ in asked:
            queue.claim_failed(failure.value)  # type: ignore[arg-type]

    def _report(self, failure: Failure) -> None:
        self.log.failure("{event}: the next look claims again", failure, event="claim_bug")

    def _next(self, delay: float = 0) -> None:
        if any(queue.hungry for queue in self._queues):
            self._clock.callLater(delay, self._send)
        else:
            self._rest()

    def _rest(self) -> None:
        self._busy = False
        waiting, self._waiting = self._waiting, []
        for settled in waiting:
            settled.callback(None)


def _length(job: Job) -> int:
    """Characters of the payload; of one that was too large to be read, more than `LARGE`."""
    return LARGE + 1 if job.payload is None else len(job.payload)


def _deal(claimed: list[list[Job]], asked: list[tuple[Queue, int]]) -> None:
    large = sum(_length(job) for jobs in claimed for job in jobs) > LARGE
    for (queue, limit), jobs in zip(asked, claimed, strict=True):
        # A claim that was cut short for the size of its payloads has as many jobs as there were room for.
        queue.take(jobs, len(jobs) if large else limit)
