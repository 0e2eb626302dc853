"""`ResultWriter`: what became of claimed jobs, kept until Postgres has it."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure as TwistedFailure

from slayq_tw.errors import DatabaseError, DatabaseUnavailable
from slayq_tw.job import Deferral, Failure, Job
from slayq_tw.jobs import JobStore
from slayq_tw.over import over
from slayq_tw.pgerrors import LOCK_NOT_AVAILABLE, TOO_LONG

BATCH = 500
"""Results of one kind in one statement, at most."""
LINGER = 0.01
"""Seconds for which results wait for company while other deliveries are under way."""
BEHIND = 4 * BATCH
"""Results from which on no more jobs are claimed."""
ENOUGH = 100
"""Results for which no more company is waited for."""
RETRY_MIN, RETRY_MAX = 0.25, 1.0
"""Seconds between two attempts to write the same results. While there is no connection an attempt costs nothing, and a
daemon that dies before it has written them has delivered them in vain."""
RETRY_AT_STOP = 0.1
"""Seconds between two attempts when the process is about to end."""
REFUSED_INTERVAL = 30.0
"""Seconds between two attempts to write a result that the database refuses though it is there."""
LOCKED_INTERVAL = 5.0
"""The same for one whose job somebody else's transaction has locked."""
OWN_ATTEMPT = 10.0
"""Seconds for which an attempt that was given up may hold its locks: its commit may wait for a disk."""

Write = Callable[[Sequence[Any]], Awaitable[None]]


class ResultWriter:
    """Collects the ends of jobs and writes them in batches.

    One write is in flight at a time; what ends meanwhile is the next batch. A lone result is written at once, and so
    is one for whose lane the next job waits; while other deliveries are under way, the rest wait a moment for each
    other. A result is forgotten only when the database has confirmed it: through an outage it is kept and tried
    again, and writing it twice changes nothing, since it is written under its claim.

    Args:
        store: writes.
        clock: IReactorTime.
        claimable: called when jobs can be claimed that could not before: after jobs of serial lanes were written, the next
            of their lane; and what was handed back.
        busy: whether further results are to be expected soon.
    """

    log = Logger()

    def __init__(
        self, store: JobStore, clock: Any, claimable: Callable[[], None], busy: Callable[[], bool]
    ) -> None:
        self._store = store
        self._clock = clock
        self._claimable = claimable
        self._busy = busy
        self._urgent = False
        self._lingering = False
        self._completed: list[Job] = []
        self._failed: list[Failure] = []
        self._released: list[Job] = []
        self._deferred: list[Deferral] = []
        self._waiting = 0  # results in these lists
        self._refused = 0  # those that wait apart, because the database will not have them
        self._writing: Deferred[None] | None = None
        self._pause: Deferred[None] | None = None
        self._trouble = False
        self._lost_at = -OWN_ATTEMPT  # when an attempt was given up; it may still be under way on the server
        self._stopping = False

    @property
    def pending(self) -> int:
        """Results that Postgres does not have yet."""
        return self._waiting + self._refused

    @property
    def behind(self) -> bool:
        """Whether jobs end faster than that can be written."""
        return self._waiting >= BEHIND

    def completed(self, job: Job) -> None:
        """The job was delivered."""
        self._completed.append(job)
        self._begin(job)

    def failed(self, failure: Failure) -> None:
        """The attempt failed."""
        self._failed.append(failure)
        self._begin(failure.job)

    def released(self, job: Job) -> None:
        """The job goes back unworked. Somebody may be waiting to cancel or replace it, or to take it."""
        self._released.append(job)
        self._urgent = True
        self._begin(job)

    def deferred(self, deferral: Deferral) -> None:
        """The job goes back unworked, to come up later."""
        self._deferred.append(deferral)
        self._begin(deferral.job)

    async def flush(self, timeout: float) -> None:
        """Write everything now, for at most `timeout` seconds; what cannot be written is named in the log."""
        self._stopping = True
        if self._pause is not None:
            self._pause.cancel()
        if self._writing is not None:
            with suppress(TimeoutError):
                await over(self._writing).addTimeout(timeout, self._clock)
        if self.pending:
            self.log.error(
                "{event}: {count} results could not be written before the stop; "
                "their jobs stay locked until another worker recovers them, and are then delivered again",
                event="results_lost",
                count=self.pending,
            )

    def _begin(self, job: Job) -> None:
        self._waiting += 1
        self._urgent = self._urgent or job.lane is not None
        if self._lingering:
            if self._pause is not None and not self._may_linger():
                self._pause.cancel()
        elif self._writing is None:
            self._writing = deferLater(self._clock, 0)  # what ends in this turn goes out together
            self._writing.addCallback(lambda _: Deferred.fromCoroutine(self._write_all()))
            self._writing.addBoth(self._ended)

    def _ended(self, result: Any) -> None:
        self._writing = None
        if isinstance(result, TwistedFailure):
            self.log.failure("{event}", result, event="results_bug")

    async def _write_all(self) -> None:
        delay = RETRY_MIN
        while self._waiting:
            await self._linger()
            try:
                await self._write_some()
            except DatabaseError as error:
                if isinstance(error, DatabaseUnavailable):
                    self._lost_at = self._clock.seconds()
                self._report_trouble(error)
                await self._rest(RETRY_AT_STOP if self._stopping else delay)
                delay = min(delay * 2, RETRY_MAX)
            else:
                delay = RETRY_MIN
                self._report_recovery()

    def _may_linger(self) -> bool:
        return self._waiting < ENOUGH and not self._urgent and not self._stopping and self._busy()

    async def _linger(self) -> None:
        if not self._trouble and self._may_linger():
            self._lingering = True
            await self._rest(LINGER)
            self._lingering = False
        self._urgent = False

    async def _write_some(self) -> None:
        """One batch of each kind. A batch is taken off its list only when it is written or set apart."""
        claimable = bool(self._released)
        kinds: tuple[tuple[list[Any], Write, Callable[[Any], None]], ...] = (
            (self._failed, self._write_failures, self.failed),
            (self._completed, self._write_completed, self.completed),
            (self._released, self._write_released, self.released),
            (self._deferred, self._write_deferred, self.deferred),
        )
        for results, write, again in kinds:
            if batch := results[:BATCH]:
                await self._write(batch, write, again)
                del results[: len(batch)]
                self._waiting -= len(batch)
                claimable = claimable or any(_job_of(result).lane is not None for result in batch)
        if claimable:
            self._claimable()

    async def _write(self, batch: Sequence[Any], write: Write, again: Callable[[Any], None]) -> None:
        """Write a batch; if the database refuses it though it is there, write each result by itself."""
        try:
            await write(batch)
            return
        except DatabaseUnavailable:
            raise
        except DatabaseError as error:
            if self._may_be_locked_by_ourselves(error):
                raise
            if len(batch) == 1:
                self._set_apart(batch[0], again, error)
                return
        refused = []
        for one in batch:
            try:
                await write([one])
            except DatabaseError as error:
                if isinstance(error, DatabaseUnavailable) and error.sqlstate != TOO_LONG:
                    raise  # the whole batch comes again, which changes nothing for what is written already
                refused.append((one, error))
        for result, reason in refused:
            self._set_apart(result, again, reason)

    def _may_be_locked_by_ourselves(self, error: DatabaseError) -> bool:
        """Whether it may be our own attempt, given up without an answer, that the server has not finished yet."""
        lately = self._clock.seconds() - self._lost_at < OWN_ATTEMPT
        return lately and error.sqlstate == LOCK_NOT_AVAILABLE

    def _set_apart(self, result: Any, again: Callable[[Any], None], error: DatabaseError) -> None:
        job = _job_of(result)
        delay = LOCKED_INTERVAL if error.sqlstate == LOCK_NOT_AVAILABLE else REFUSED_INTERVAL
        self.log.error(
            "{event}: job {job_id}: the database refuses its result ({reason}); next attempt in {delay:g} s",
            event="result_refused",
            job_id=job.id,
            queue=job.identifier,
            reason=str(error),
            delay=delay,
        )
        self._refused += 1

        def retry() -> None:
            self._refused -= 1
            again(result)

        self._clock.callLater(delay, retry)

    async def _write_completed(self, jobs: Sequence[Job]) -> None:
        await self._store.complete(jobs)

    async def _write_released(self, jobs: Sequence[Job]) -> None:
        await self._store.release(jobs)

    async def _write_deferred(self, deferrals: Sequence[Deferral]) -> None:
        due = await self._store.defer((deferral.job, deferral.seconds) for deferral in deferrals)
        for deferral in deferrals:
            if run_at := due.get(deferral.job.id):
                deferral.written(deferral.job.id, run_at)

    async def _write_failures(self, failures: Sequence[Failure]) -> None:
        exhausted = await self._store.fail(failures)
        for failure in failures:
            job = failure.job
            if exhausted.get(job.id):
                self.log.warn(
                    "{event}: job {job_id} of {queue} after attempt {attempt}: {error}",
                    event="job_failed_for_good",
                    job_id=job.id,
                    queue=job.identifier,
                    attempt=job.attempts,
                    error=failure.error,
                )
            elif job.id not in exhausted and not self._trouble:
                self.log.warn(
                    "{event}: job {job_id} of {queue}: its failure was not recorded, somebody else has it",
                    event="claim_lost",
                    job_id=job.id,
                    queue=job.identifier,
                )

    async def _rest(self, delay: float) -> None:
        self._pause = deferLater(self._clock, delay)
        try:
            await self._pause
        except CancelledError:
            pass  # `flush` wants the next attempt now
        finally:
            self._pause = None

    def _report_trouble(self, error: DatabaseError) -> None:
        if not self._trouble:
            self._trouble = True
            self.log.warn(
                "{event}: {count} results wait for the database ({reason})",
                event="results_waiting",
                count=self.pending,
                reason=str(error),
            )

    def _report_recovery(self) -> None:
        if self._trouble:
            self._trouble = False
            self.log.info("{event}: the database has all results again", event="results_written")


def _job_of(result: Job | Failure | Deferral) -> Job:
    return result if isinstance(result, Job) else result.job
