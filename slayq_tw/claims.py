"""`Claimer`: what the pollers ask for within one turn of the reactor becomes one statement."""

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from slayq_tw.errors import DatabaseError
from slayq_tw.jobs import Job, JobStore

REFRESH_INTERVAL = 30.0
"""Seconds after which task ids are read again: a clean-up may have deleted a row that an application recreated."""

SECOND_SWEEP = 15.0
"""Seconds after a lost answer until strays are looked for once more: its statement may have arrived late."""


class Claimer:
    """Folds claims; one statement is in flight at a time.

    Since no claim is under way between two statements, this is also where lost claims are looked for: after an
    answer was lost, jobs that carry our id and that nobody here holds are handed back before anything is claimed.

    Args:
        store: claims and finds.
        clock: IReactorTime, on monotonic time.
        now_is_settled: called whenever strays were handed back, so that somebody claims them soon.
    """

    log = Logger()

    def __init__(self, store: JobStore, clock: Any) -> None:
        self._store = store
        self._clock = clock
        self._asked: list[tuple[Sequence[str], int, Deferred[list[Job]]]] = []
        self._busy = False
        self._refreshed_at: float | None = None
        self._sweeps: list[float] = []  # monotonic times at which strays are due to be looked for

    def claim(self, names: Sequence[str], limit: int) -> Deferred[list[Job]]:
        """Ask for due jobs.

        Args:
            names: a queue's identifiers, which share the limit.
            limit: how many at most.

        Returns:
            A Deferred of the jobs, by priority and run_at; it fails with DatabaseError.
        """
        answer: Deferred[list[Job]] = Deferred()
        self._asked.append((names, limit, answer))
        if not self._busy:
            self._busy = True
            self._clock.callLater(0, self._send)
        return answer

    def _send(self) -> None:
        asked, self._asked = self._asked, []
        sending = Deferred.fromCoroutine(self._claim([(names, limit) for names, limit, _ in asked]))
        answers = [answer for _, _, answer in asked]
        sending.addCallbacks(_deliver, self._failed, callbackArgs=(answers,), errbackArgs=(answers,))
        sending.addBoth(self._next)

    async def _claim(self, requests: list[tuple[Sequence[str], int]]) -> list[list[Job]]:
        await self._refresh()
        await self._sweep()
        return await self._store.claim(requests)

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
        strays = await self._store.release_strays()
        self._sweeps = [at for at in self._sweeps if at not in due]
        if strays:
            self.log.warn(
                "{event}: {count} jobs were claimed but their answer was lost; handed back",
                event="strays_released",
                count=len(strays),
                job_ids=strays[:20],
            )

    def _failed(self, failure: Failure, answers: list[Deferred[list[Job]]]) -> None:
        if failure.check(DatabaseError):
            now = self._clock.seconds()
            self._sweeps = [now, now + SECOND_SWEEP]
        for answer in answers:
            answer.errback(failure)

    def _next(self, result: Any) -> Any:
        if self._asked:
            self._clock.callLater(0, self._send)
        else:
            self._busy = False
        return result


def _deliver(claimed: list[list[Job]], answers: list[Deferred[list[Job]]]) -> None:
    for jobs, answer in zip(claimed, answers, strict=True):
        answer.callback(jobs)


Claim = Callable[[Sequence[str], int], Deferred[list[Job]]]
"""What a poller is given."""
