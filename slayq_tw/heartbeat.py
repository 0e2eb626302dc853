"""`Heartbeat`: tells the other daemons that this one is alive, and returns the jobs of those that are not."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from slayq_tw import whereabouts
from slayq_tw.database import Cursor, Database
from slayq_tw.errors import DatabaseError
from slayq_tw.liveness import Beat, Liveness
from slayq_tw.loop import SupervisedLoop
from slayq_tw.sqlfiles import named_queries

INTERVAL = 2.0
"""Seconds between two beats."""
BEAT_TIMEOUT = 4.0
"""Seconds for a beat; one that takes longer counts as an outage."""
LEAVE_TIMEOUT = 1.0
"""Seconds for taking one's own row away."""
RECOVERY_TIMEOUT = 60.0
"""Seconds for the return of a dead daemon's jobs, which are looked for in the whole table."""
SHOWN_IDS = 20
"""Ids of jobs in one line of the log, at most."""


class Heartbeat(Service):
    """Beats from the moment that jobs may be claimed until their last result is written.

    Args:
        database: with the schema in place.
        worker: the id that this daemon's locks carry.
        clock: IReactorTime, on monotonic time.
        holds_jobs: whether this daemon's locks may still be on anything.
        recovered: called when jobs were returned, so that somebody claims them soon.
    """

    log = Logger()

    def __init__(
        self,
        database: Database,
        worker: str,
        clock: Any,
        holds_jobs: Callable[[], bool],
        recovered: Callable[[], None],
    ) -> None:
        self.setName("heartbeat")
        self._database = database
        self._worker = worker
        self._clock = clock
        self._holds_jobs = holds_jobs
        self._recovered = recovered
        self._queries = named_queries("daemons.sql")
        self._return_jobs = named_queries("jobs.sql")["return_jobs"]
        self._liveness = Liveness()
        self._entered = False
        self._recoveries: dict[str, Deferred[None]] = {}  # by the dead worker
        self._loop = SupervisedLoop(self._turn, INTERVAL, clock, "heartbeat")

    async def enter(self) -> None:
        """Beat for the first time, and return at once what a daemon left that demonstrably is gone.

        Raises:
            DatabaseError: as the database does.
        """
        for beat in await self._beat():
            if whereabouts.is_gone(beat.place, beat.process):
                with suppress(DatabaseError):  # then its heartbeat will be seen to stand still
                    await self._recover(beat, "its process is gone")

    def startService(self) -> None:
        """Go on beating."""
        super().startService()
        self._loop.start()

    def stopService(self) -> Deferred[None]:
        """Beat no more. What is still held then is for others to return; otherwise nobody needs to wait for it."""
        super().stopService()
        return Deferred.fromCoroutine(self._leave())

    async def _leave(self) -> None:
        await self._loop.stop()
        if not self._entered or self._holds_jobs() or not self._database.reachable:
            return
        self._entered = False
        with suppress(DatabaseError):  # then it is the others who take the row away
            await self._database.query(
                self._queries["leave"], {"worker": self._worker}, timeout=LEAVE_TIMEOUT
            )

    async def _turn(self) -> None:
        try:
            dead = await self._beat()
        except DatabaseError:
            self._liveness.interrupted()  # the pollers say it
            return
        for beat in dead:
            if beat.worker not in self._recoveries:
                # Beside the beats: in a large table it takes longer than they may stand still.
                recovery = Deferred.fromCoroutine(self._recover(beat, "its heartbeat stands still"))
                self._recoveries[beat.worker] = recovery
                recovery.addErrback(self._not_recovered).addBoth(self._forget, beat.worker)

    def _not_recovered(self, failure: Failure) -> None:
        failure.trap(DatabaseError)
        self._liveness.interrupted()

    def _forget(self, result: Any, worker: str) -> None:
        del self._recoveries[worker]
        if isinstance(result, Failure):
            self.log.failure("{event}", result, event="recovery_bug")

    async def _beat(self) -> list[Beat]:
        """Beat; at the start, the other daemons, afterwards the dead."""
        place = whereabouts.here()
        rows = await self._database.query(
            self._queries["beat"],
            {"worker": self._worker, "place": place, "process": whereabouts.this_process()},
            timeout=BEAT_TIMEOUT,
        )
        others = [Beat(*row[:4]) for row in rows if row[0] != self._worker]
        if not self._entered:
            self._entered = True
            return others
        if len(others) == len(rows):
            self.log.warn(
                "{event}: another daemon took this one for dead and has returned its jobs; deliveries that were under "
                "way may be made twice. Was the process suspended, or cut off from the database?",
                event="declared_dead",
            )
        if not rows:
            return []
        return self._liveness.look(others, rows[0][4], self._clock.seconds())

    async def _recover(self, beat: Beat, reason: str) -> None:
        rows = await self._database.transaction(
            lambda cursor: self._returned(cursor, beat), timeout=RECOVERY_TIMEOUT
        )
        jobs = [number for number, returned in rows or () if returned]
        if rows is None or (rows and not jobs):
            return  # somebody else does it; or what is left is locked by some transaction, and will be tried again
        self.log.warn(
            "{event}: {worker} is dead ({reason}); {count} jobs that it held are due again",
            event="daemon_recovered",
            worker=beat.worker,
            reason=reason,
            count=len(jobs),
            job_ids=jobs[:SHOWN_IDS],
        )
        self._recovered()

    async def _returned(self, cursor: Cursor, beat: Beat) -> list[tuple[int, bool]] | None:
        """Its jobs, and of each whether it was returned; None when it is not for us to do."""
        await cursor.execute(self._queries["recover"], {"worker": beat.worker, "beat": beat.number})
        if not cursor.fetchall():
            return None
        await cursor.execute(self._return_jobs, {"worker": beat.worker, "held": [], "lanes": []})
        rows: list[Any] = cursor.fetchall()
        if all(returned for _, returned in rows):
            await cursor.execute(self._queries["leave"], {"worker": beat.worker})
        else:
            self._liveness.forget(beat.worker)
        return rows
