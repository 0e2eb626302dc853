"""`HousekeepingService`: stale locks, and rows that nobody needs any more, seen to now and then."""

import random
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from slayq_tw.configcheck import CRON_IDENTIFIER, HousekeepingConfig
from slayq_tw.database import Cursor, Database
from slayq_tw.errors import DatabaseError
from slayq_tw.loop import SupervisedLoop
from slayq_tw.pgerrors import LOCK_NOT_AVAILABLE, TOO_LONG
from slayq_tw.sqlfiles import named_queries

LOOK_INTERVAL = 5.0
"""Seconds between two looks whether a round is due."""
FIRST_WITHIN = 60.0
"""Seconds from the start within which the first round is taken."""
ROUND_INTERVAL = (480.0, 600.0)
"""Seconds from one round to the next, at least and at most; by chance, so that daemons started together drift apart."""
COLLECT_EVERY = 6
"""Rounds from one collection to the next: about an hour."""

BATCH = 5_000
"""Rows that one statement takes, at most."""
MAX_BATCHES = 20
"""Statements of one kind in a round, at most; the next round goes on."""
SCAN_TIMEOUT = 60.0
"""Seconds for a statement that reads the whole job table."""
COLLECT_TIMEOUT = 1.0
"""Seconds for which those who use serial queues may be kept waiting."""

SHOWN_IDS = 20
"""Ids of jobs in one line of the log, at most."""


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep did.

    Attributes:
        jobs: how many were unlocked.
        queues: likewise, serial queues.
        ticks: how many cron ticks were removed.
        exhausted: ids of the jobs that had no attempts left, and have now failed for good.
    """

    jobs: int
    queues: int
    ticks: int
    exhausted: list[int]


class Housekeeping:
    """The statements.

    Args:
        database: with the schema in place.
        served: identifiers that this process serves, which are never collected.
    """

    def __init__(self, database: Database, served: Collection[str]) -> None:
        self._database = database
        self._served = served
        self._queries = named_queries("housekeeping.sql")

    async def sweep(self) -> Swept:
        """Unlock what was locked for four hours, one batch."""
        (row,) = await self._scan("sweep", tick=CRON_IDENTIFIER, batch=BATCH)
        return Swept(*row)

    async def identifiers_of(self, ids: Sequence[int]) -> dict[str, int]:
        """How many of the jobs each task has."""
        return dict(await self._scan("identifiers_of", ids=ids))

    async def delete_failed(self, days: float) -> int:
        """Delete jobs that failed for good so many days ago, one batch; how many there were."""
        return len(await self._scan("delete_failed", days=days, batch=BATCH))

    async def collect_queues(self) -> int | None:
        """Delete serial queues without a job, one batch; how many, or None when they were in use all the time."""
        deleted = await self._collect("queues", await self._scan("idle_queues", batch=BATCH))
        return None if deleted is None else len(deleted)

    async def collect_tasks(self) -> list[str] | None:
        """Delete task identifiers without a job, one batch; which, or None when they were in use all the time."""
        idle = await self._scan("idle_tasks", batch=BATCH, keep=[*self._served, CRON_IDENTIFIER])
        deleted = await self._collect("tasks", idle)
        return None if deleted is None else sorted(row[0] for row in deleted)

    async def recover_queues(self) -> list[str]:
        """Give jobs whose serial queue is gone a new one; the names."""
        return sorted(row[0] for row in await self._scan("recover_queues"))

    async def _scan(self, query: str, **parameters: object) -> list[tuple[Any, ...]]:
        return await self._database.query(self._queries[query], parameters, timeout=SCAN_TIMEOUT)

    async def _collect(self, kind: str, idle: Sequence[tuple[int]]) -> list[tuple[Any, ...]] | None:
        """Delete those that are idle still, while nobody can be adding a job that needs them."""
        if not idle:
            return []

        async def delete(cursor: Cursor) -> list[tuple[Any, ...]]:
            await cursor.execute(self._queries[f"shut_out_{kind[:-1]}_users"])
            await cursor.execute(self._queries[f"delete_{kind}"], {"ids": [row[0] for row in idle]})
            return cursor.fetchall()

        try:
            return await self._database.transaction(delete, timeout=COLLECT_TIMEOUT)
        except DatabaseError as error:
            if error.sqlstate in (LOCK_NOT_AVAILABLE, TOO_LONG):
                return None
            raise


class HousekeepingService(Service):
    """Takes rounds: each sweeps stale locks, and about once an hour one also collects and deletes.

    Args:
        housekeeping: the statements.
        config: what to collect and delete.
        clock: IReactorTime.
        chance: numbers from 0 to below 1, evenly spread.
    """

    log = Logger()

    def __init__(
        self,
        housekeeping: Housekeeping,
        config: HousekeepingConfig,
        clock: Any,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.setName("housekeeping")
        self._housekeeping = housekeeping
        self._config = config
        self._clock = clock
        self._chance = chance
        self._rounds = 0
        self._due = 0.0
        self._loop = SupervisedLoop(self._look, LOOK_INTERVAL, clock, "housekeeping")

    def startService(self) -> None:
        """Begin: the first round is taken at a random moment within a minute."""
        super().startService()
        self._due = self._clock.seconds() + self._chance() * (FIRST_WITHIN - LOOK_INTERVAL)
        self._loop.start()

    def stopService(self) -> Deferred[None]:
        """Stop; the statement under way is waited for, and no further one begun."""
        super().stopService()
        return self._loop.stop()

    async def _look(self) -> None:
        if self._clock.seconds() < self._due:
            return
        shortest, longest = ROUND_INTERVAL
        self._due = self._clock.seconds() + shortest + self._chance() * (longest - shortest - LOOK_INTERVAL)
        number, self._rounds = self._rounds, self._rounds + 1
        await self._unless_it_fails("sweep", self._sweep)
        if number % COLLECT_EVERY:
            return
        if (days := self._config.delete_failed_after) is not None:
            await self._unless_it_fails("deletion of failed jobs", lambda: self._delete_failed(days))
        if self._config.collect_queues:
            await self._unless_it_fails("collection of serial queues", self._collect_queues)
        if self._config.collect_tasks:
            await self._unless_it_fails("collection of task identifiers", self._collect_tasks)

    async def _unless_it_fails(self, what: str, chore: Callable[[], Awaitable[None]]) -> None:
        """Do a chore; a database that is away or refuses is logged, and the next round tries again."""
        if not self.running:
            return
        try:
            await chore()
        except DatabaseError as error:
            self.log.warn(
                "{event}: {chore} is put off ({reason})",
                event="housekeeping_put_off",
                chore=what,
                reason=str(error),
            )

    async def _sweep(self) -> None:
        for _ in range(MAX_BATCHES):
            swept = await self._housekeeping.sweep()
            if swept.jobs or swept.queues:
                self.log.warn(
                    "{event}: {jobs} jobs and {queues} serial queues had been locked for more than four hours and "
                    "are free again; whoever held them has crashed, or takes too long",
                    event="stale_locks_swept",
                    jobs=swept.jobs,
                    queues=swept.queues,
                )
            if swept.ticks:
                self.log.warn(
                    "{event}: {count} cron ticks were never delivered, and are removed",
                    event="stale_ticks_removed",
                    count=swept.ticks,
                )
            if swept.exhausted:
                await self._report_exhausted(swept.exhausted)
            if max(swept.jobs + swept.ticks, swept.queues) < BATCH or not self.running:
                return

    async def _report_exhausted(self, ids: Sequence[int]) -> None:
        """Graphile Worker lets these fail in silence."""
        self.log.warn(
            "{event}: {count} jobs have failed for good, since their last attempt never came to an end: "
            "{identifiers}; ids {ids}",
            event="jobs_failed_by_sweep",
            count=len(ids),
            identifiers=await self._housekeeping.identifiers_of(ids),
            ids=ids[:SHOWN_IDS],
        )

    async def _delete_failed(self, days: float) -> None:
        count = 0
        try:
            for _ in range(MAX_BATCHES):
                deleted = await self._housekeeping.delete_failed(days)
                count += deleted
                if deleted < BATCH or not self.running:
                    return
        finally:
            if count:
                self.log.info(
                    "{event}: {count} jobs that had failed for good more than {days:g} days ago",
                    event="failed_jobs_deleted",
                    count=count,
                    days=days,
                )

    async def _collect_queues(self) -> None:
        if recovered := await self._housekeeping.recover_queues():
            self.log.warn(
                "{event}: the serial queues of some jobs had been deleted; the jobs can run again, in {queues}",
                event="queues_recovered",
                queues=recovered,
            )
        self._report_collected("serial queues", await self._housekeeping.collect_queues())

    async def _collect_tasks(self) -> None:
        collected = await self._housekeeping.collect_tasks()
        self._report_collected("task identifiers", None if collected is None else len(collected))

    def _report_collected(self, what: str, count: int | None) -> None:
        if count is None:
            self.log.info(
                "{event}: {what} were in use all the time, or took more than {timeout:g} s to check",
                event="collection_put_off",
                what=what,
                timeout=COLLECT_TIMEOUT,
            )
        elif count:
            self.log.info("{event}: {count} {what} without a job", event="collected", count=count, what=what)
