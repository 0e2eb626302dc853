"""`Recall`: jobs that were put off are due at once when there is nothing to wait for any more."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from slayq_tw.errors import DatabaseError

REMEMBERED = 50_000
"""Waiting jobs that are remembered, about 150 bytes each. Further ones come when they are due."""
BATCH = 5_000
"""Jobs in one statement, at most."""
STOP_TIMEOUT = 1.5
"""Seconds at stop for bringing back what waits."""


class Recall(Service):
    """Remembers which jobs were put off until when, and brings them back.

    It keeps no promise: a job that is not brought back comes when it is due. At stop all are brought back, since
    whoever takes over knows nothing of them.

    Args:
        recall: makes jobs due now, if they are still put off until the time beside their id; in their order.
        wake: has every queue looked at.
        clock: IReactorTime.
    """

    log = Logger()

    def __init__(
        self,
        recall: Callable[[Sequence[tuple[int, datetime]]], Awaitable[Any]],
        wake: Callable[[], None],
        clock: Any,
    ) -> None:
        self.setName("recall")
        self._recall = recall
        self._wake = wake
        self._clock = clock
        self._groups: dict[WaitingJobs, None] = {}
        self._remembered = 0
        self._due: dict[int, datetime] = {}
        self._writing: Deferred[None] | None = None

    def waiting(self) -> "WaitingJobs":
        """A new collection of jobs, which wait together."""
        group = WaitingJobs(self)
        self._groups[group] = None
        return group

    @property
    def full(self) -> bool:
        """Whether no more jobs can be remembered."""
        return self._remembered >= REMEMBERED

    def remembers(self, change: int) -> None:
        """Of a collection: it remembers so many jobs more, or fewer."""
        self._remembered += change

    def stopService(self) -> "Deferred[None]":
        """Bring all back, for a moment at most."""
        super().stopService()
        for group in list(self._groups):
            group.over()
        return Deferred.fromCoroutine(self._settle())

    def ended(self, group: "WaitingJobs") -> None:
        """Forget a collection."""
        self._groups.pop(group, None)

    def bring_back(self, jobs: dict[int, datetime]) -> None:
        """Make jobs due, soon; what is asked for in one turn of the reactor goes together."""
        self._due.update(jobs)
        if self._writing is None and self._due:
            self._writing = deferLater(self._clock, 0)
            self._writing.addCallback(lambda _: Deferred.fromCoroutine(self._write()))
            self._writing.addBoth(self._written)

    async def _write(self) -> None:
        while self._due:
            jobs, self._due = list(self._due.items()), {}
            try:
                for start in range(0, len(jobs), BATCH):
                    await self._recall(jobs[start : start + BATCH])
            except DatabaseError as error:
                self.log.warn(
                    "{event}: {count} jobs were to be due at once, and come later ({reason})",
                    event="recall_failed",
                    count=len(jobs),
                    reason=str(error),
                )
        self._wake()

    def _written(self, result: Any) -> None:
        self._writing = None
        if isinstance(result, Failure):
            self.log.failure("{event}", result, event="recall_bug")

    async def _settle(self) -> None:
        if self._writing is not None:
            done: Deferred[None] = Deferred()
            self._writing.addBoth(lambda _: done.callback(None))
            with suppress(TimeoutError):
                await done.addTimeout(STOP_TIMEOUT, self._clock)


class WaitingJobs:
    """Jobs that wait together, as `Circuits` wants them.

    They come back in the order in which they were first put off, which is that of their queue, though they came up
    several times since. (A dictionary keeps it: a job that is put off again keeps its place.)

    Args:
        recall: brings them back.
    """

    def __init__(self, recall: Recall) -> None:
        self._recall = recall
        self._run_at: dict[int, datetime] = {}
        self._over = False

    def __len__(self) -> int:
        return len(self._run_at)

    def written(self, number: int, run_at: datetime) -> None:
        """A job was put off until then. It may be told late, when there is nothing to wait for any more."""
        if self._over:
            self._recall.bring_back({number: run_at})
        elif number in self._run_at:
            self._run_at[number] = run_at
        elif not self._recall.full:
            self._run_at[number] = run_at
            self._recall.remembers(1)

    def over(self) -> int:
        """There is nothing to wait for any more; how many jobs have waited."""
        self._over = True
        jobs, self._run_at = self._run_at, {}
        self._recall.remembers(-len(jobs))
        self._recall.ended(self)
        self._recall.bring_back(jobs)
        return len(jobs)
