"""`Heartbeat`: tells the other daemons that this one is alive, and returns the jobs of those that are not."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, TimeoutError
from twisted.logger import Logger
from twisted.python.failure import Failure

from slayq_tw import whereabouts
from slayq_tw.database import Database
from slayq_tw.errors import DatabaseError, DatabaseUnavailable
from slayq_tw.liveness import DEAD_AFTER, Beat, Liveness
from slayq_tw.loop import SupervisedLoop
from slayq_tw.sqlfiles import named_queries

INTERVAL = 2.5
"""Seconds between two beats. A dead daemon's jobs are due within this and `DEAD_AFTER`."""
RETRY = 0.5
"""Seconds until the next attempt at a beat that failed: another connection may work."""
BEAT_TIMEOUT = 2.0
"""Seconds for a beat; one that takes longer counts as an outage."""
SURE_FOR = DEAD_AFTER - 2.0
"""Seconds from a beat for which nobody can have taken this daemon for dead, with some time to begin a delivery in."""
LEAVE_TIMEOUT = 1.0
"""Seconds for taking one's own row away, and for a beat that is under way before it."""
RECOVERY_TIMEOUT = 60.0
"""Seconds for the return of a dead daemon's jobs, which are looked for in the whole table."""
SHOWN_IDS = 20
"""Ids of jobs in one line of the log, at most."""

STANDS_STILL = f"its heartbeat has stood still for {DEAD_AFTER:g} s"
GONE = "its process is gone"
LEFT_OVER = "found before"


class Heartbeat(Service):
    """Beats from the moment that jobs may be claimed until their last result is written.

    Args:
        database: with the schema in place.
        worker: the id that this daemon's locks carry.
        clock: IReactorTime, on monotonic time.
        holds_jobs: whether this daemon's locks may still be on anything.
        recovered: called when jobs were returned, so that somebody claims them soon.
        declared_dead: called when others have taken this daemon's jobs: what has not begun may not begin.
    """

    log = Logger()

    def __init__(
        self,
        database: Database,
        worker: str,
        clock: Any,
        holds_jobs: Callable[[], bool],
        recovered: Callable[[], None],
        declared_dead: Callable[[], None],
    ) -> None:
        self.setName("heartbeat")
        self._database = database
        self._worker = worker
        self._clock = clock
        self._holds_jobs = holds_jobs
        self._recovered = recovered
        self._declared_dead = declared_dead
        self._queries = named_queries("daemons.sql")
        self._liveness = Liveness()
        self._number = 0
        self._beaten_at: float | None = None
        self._unsure = False
        self._recoveries: dict[str, Deferred[None]] = {}  # by the dead worker
        self._timers: dict[str, Any] = {}  # by what they call
        self._loop = SupervisedLoop(self._turn, INTERVAL, clock, "heartbeat")

    @property
    def sure(self) -> bool:
        """Whether nobody can have taken this daemon for dead, as far as its own clock tells."""
        return self._beaten_at is not None and self._clock.seconds() - self._beaten_at < SURE_FOR

    async def enter(self) -> None:
        """Enter the table of daemons, and see to what those have left that demonstrably are gone.

        Raises:
            DatabaseError: as the database does.
        """
        others, _, _ = await self._say("enter")
        self._bury(others)

    def startService(self) -> None:
        """Beat from now on."""
        super().startService()
        self._loop.start()

    def stopService(self) -> "Deferred[None]":
        """Beat no more. What is still held then is for others to return; otherwise nobody needs to wait for it."""
        super().stopService()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        return Deferred.fromCoroutine(self._leave())

    async def _leave(self) -> None:
        stopped = self._loop.stop()
        if self._holds_jobs() or self._beaten_at is None or not self._database.reachable:
            return
        # If it cannot be done in time, it is the others who take the row away.
        with suppress(DatabaseError, TimeoutError):
            await stopped.addTimeout(LEAVE_TIMEOUT, self._clock)
            await self._database.urgent_query(
                self._queries["leave"], {"worker": self._worker}, timeout=LEAVE_TIMEOUT
            )

    async def _turn(self) -> None:
        try:
            others, entered, server = await self._say("beat")
            if not entered:
                self._report_death()
                others, _, server = await self._say("enter")
        except DatabaseError as error:
            self._liveness.interrupted()
            self._missed(error)
            return
        self._unsure = False
        self._liveness.look(others, server, self._clock.seconds())
        self._bury(others)
        self._judge()

    async def _say(self, what: str) -> tuple[list[Beat], bool, Any]:
        """Beat, or enter.

        Returns:
            The others, whether our own row is there, and since when the server runs.
        """
        self._number += 1
        said_at = self._clock.seconds()
        rows = await self._database.urgent_query(
            self._queries[what],
            {
                "worker": self._worker,
                "beat": self._number,
                "place": whereabouts.here(),
                "process": whereabouts.this_process(),
            },
            timeout=BEAT_TIMEOUT,
        )
        others = [Beat(*row[:4]) for row in rows if row[0] != self._worker]
        entered = len(others) < len(rows)
        if entered:
            self._beaten_at = said_at
        return others, entered, rows[0][4] if rows else None

    def _missed(self, error: DatabaseError) -> None:
        """No beat. Whether it is our fault or the database's is seen only when it is there again."""
        if not self._unsure and not self.sure:
            self._unsure = True
            self.log.warn(
                "{event}: no heartbeat for {seconds:g} s ({reason}): until it goes on no delivery is begun, for other "
                "daemons may take this one for dead",
                event="heartbeat_missing",
                seconds=SURE_FOR,
                reason=str(error),
            )
        self._later("beat", RETRY, self._loop.wake)

    def _report_death(self) -> None:
        self.log.warn(
            "{event}: another daemon took this one for dead and has returned its jobs; deliveries that were under "
            "way may be made twice. Was the process suspended, or cut off from the database?",
            event="declared_dead",
        )
        self._declared_dead()

    def _bury(self, others: list[Beat]) -> None:
        """Nothing is to be waited for with a process that is gone from this machine, or one that was found dead before."""
        for beat in others:
            if beat.number < 0:
                self._begin_recovery(beat, LEFT_OVER)
            elif whereabouts.is_gone(beat.place, beat.process):
                self._begin_recovery(beat, GONE)

    def _judge(self) -> None:
        """Whoever stands still is dead when his time is up, not at the next look: it may be a while until then."""
        now = self._clock.seconds()
        for beat in self._liveness.dead(now):
            self._begin_recovery(beat, STANDS_STILL)
        if (moment := self._liveness.next_death(now)) is not None:
            self._later("judge", moment - now, self._judge)

    def _later(self, what: str, seconds: float, call: Callable[[], None]) -> None:
        if timer := self._timers.pop(what, None):
            timer.cancel()
        if self.running:

            def due() -> None:
                del self._timers[what]
                call()

            self._timers[what] = self._clock.callLater(seconds, due)

    def _begin_recovery(self, beat: Beat, reason: str) -> None:
        """Beside the beats: in a large table it takes longer than they may stand still."""
        if beat.worker not in self._recoveries:
            self._recoveries[beat.worker] = recovery = Deferred.fromCoroutine(self._recover(beat, reason))
            recovery.addErrback(self._put_off, beat).addBoth(self._over, beat)

    async def _recover(self, beat: Beat, reason: str) -> None:
        rows = await self._database.query(
            self._queries["recover"], {"worker": beat.worker, "beat": beat.number}, timeout=RECOVERY_TIMEOUT
        )
        for worker, jobs, left, _ in rows:
            if jobs or not left:
                self._report_recovery(worker, reason, jobs, left)
                self._recovered()

    def _report_recovery(self, worker: str, reason: str, jobs: list[int], left: int) -> None:
        self.log.warn(
            "{event}: {worker} is dead ({reason}); {count} jobs that it held are due again{rest}",
            event="daemon_recovered",
            worker=worker,
            reason=reason,
            count=len(jobs),
            rest=f", {left} when the transactions that have locked them end" if left else "",
            job_ids=jobs[:SHOWN_IDS],
        )

    def _put_off(self, failure: Failure, beat: Beat) -> None:
        """The next look tries again, if the daemon is still dead then."""
        failure.trap(DatabaseError)
        if failure.check(DatabaseUnavailable):
            self._liveness.interrupted()
        self.log.warn(
            "{event}: {worker} is dead, but its jobs cannot be returned now ({reason})",
            event="recovery_put_off",
            worker=beat.worker,
            reason=str(failure.value),
        )

    def _over(self, result: Any, beat: Beat) -> None:
        self._recoveries.pop(beat.worker, None)
        if isinstance(result, Failure):
            self.log.failure("{event}", result, event="recovery_bug")
