"""`Rig`: what a scenario plays with, and where it says what it found."""

import functools
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import maybeDeferred
from twisted.internet.task import deferLater

from tests.chaos.ledger import Arrival, Balance, Stored, Window, balance
from tests.chaos.postgres import ROLE, Server, Session, now
from tests.chaos.processes import Receiver
from tests.chaos.result import Check
from tests.chaos.sender import ADD, Book, Load, arguments
from tests.processes import Daemon
from tests.waiting import until

SECRET = "chaos"
QUEUE = "mail"
CONCURRENCY = 8
CONFIG: dict[str, Any] = {"queues": {QUEUE: {"concurrency": CONCURRENCY}}}
PATIENCE = 40.0
"""Seconds until what should happen counts as not happening."""
SETTLE = 45.0
"""Seconds after a scenario in which everything has to be delivered."""
BUGS = ("Traceback", "Unhandled", "_bug", "loop_failed", "job_lost", "stop_failed")
"""What stands in a daemon's log only by a fault of ours."""

_STORED = """
SELECT (job.payload -> 'data' ->> 'n')::integer, job.attempts, job.max_attempts, job.locked_by IS NOT NULL, job.last_error
  FROM graphile_worker._private_jobs AS job
  JOIN graphile_worker._private_tasks AS task ON task.id = job.task_id
 WHERE task.identifier <> 'cronQueue'
"""
_HELD = """
SELECT (job.payload -> 'data' ->> 'n')::integer
  FROM graphile_worker._private_jobs AS job
  JOIN graphile_worker._private_tasks AS task ON task.id = job.task_id
 WHERE job.locked_by IS NOT NULL AND task.identifier <> 'cronQueue'
"""


class Rig:
    """One scenario's database, receivers, senders and daemons.

    Args:
        server: shared by the scenarios of a run.
        name: the scenario's.
        quick: whether to be content with less.
        long: whether to take the time that the promises name.
    """

    def __init__(self, server: Server, name: str, *, quick: bool = False, long: bool = False) -> None:
        self.server = server
        self.quick = quick
        self.long = long
        self.database = f"chaos_{name.replace('-', '_')}"
        self.book = Book()
        self.windows: list[Window] = []
        self._lost_by_the_database: set[int] = set()
        self.recoveries: list[float] = []
        self.checks: list[Check] = []
        self.notes: list[str] = []
        self._daemons: list[Daemon] = []
        self._receivers: list[Receiver] = []
        self._cleanups: list[Callable[[], Any]] = []
        self._folder = tempfile.TemporaryDirectory(prefix="slayq-chaos-")
        self._folders = 0
        self.sql = Session(server.url(self.database))
        self.addCleanup(self.sql.close)

    async def set_up(self, options: str = "") -> None:
        """Make the database and the good receiver.

        Args:
            options: of CREATE DATABASE.
        """
        self.server.create(self.database, options)
        self.addCleanup(self.server.drop, self.database)
        self.receiver = await self.another_receiver()

    async def another_receiver(self, port: int = 0) -> Receiver:
        """A receiver, on a port or any; its arrivals count like the first one's."""
        receiver = Receiver(self, SECRET, port)
        await receiver.ready()
        self._receivers.append(receiver)
        return receiver

    # What `tests.processes` wants of whoever owns a process.

    def addCleanup(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Have something done at the end; what was asked for last is done first."""
        self._cleanups.append(functools.partial(function, *arguments))

    def mktemp(self) -> str:
        """The path of a new folder."""
        self._folders += 1
        return str(Path(self._folder.name) / str(self._folders))

    async def close(self) -> None:
        """End everything that was started."""
        while self._cleanups:
            await maybeDeferred(self._cleanups.pop())
        self._folder.cleanup()

    # Daemons.

    async def daemon(
        self,
        config: Mapping[str, Any] = CONFIG,
        *,
        url: str | None = None,
        wait: bool = True,
        within: Sequence[str] = (),
        **environment: str,
    ) -> Daemon:
        """Start a daemon, and wait until it claims jobs unless told not to.

        Args:
            config: the configuration file's document.
            url: of the database, another way than the direct one.
            wait: whether to wait.
            within: a command that runs the one after it, in other surroundings.
            environment: further variables.
        """
        variables = {
            "SLAY_Q_DATABASE_URL": url or self.server.daemon_url(self.database),
            "SLAY_Q_SECRET": SECRET,
            "SLAY_Q_CRON_URL": f"{self.receiver.url}/ok",
            **environment,
        }
        daemon = Daemon(self, config, variables, ["--log-level=info"], within)
        self._daemons.append(daemon)
        if wait:
            await daemon.ready()
        return daemon

    def running(self) -> list[Daemon]:
        """The daemons that have not ended."""
        return [daemon for daemon in self._daemons if daemon.output.ended is None]

    async def kill(self, daemon: Daemon) -> float:
        """`kill -9`; when, by the monotonic clock."""
        at = now()
        await daemon.stop("KILL")
        self.disturbed(at, now())
        return at

    # Events.

    def load(self, rate: float, path: str = "/slow/100", queue: str = QUEUE) -> Load:
        """Begin to send so many events a second."""
        url = self.receiver.url + path
        load = Load(
            self.server.url(self.database), self.book, lambda number: arguments(number, queue, url), rate
        )
        load.start()
        self.addCleanup(load.stop)
        return load

    def send(
        self, count: int, path: str = "/ok", *, receiver: Receiver | None = None, **changes: Any
    ) -> list[int]:
        """Send so many events now; their numbers.

        Args:
            count: how many.
            path: of the receiver.
            receiver: another than the good one.
            changes: to the parameters of the statement.
        """
        url = (receiver or self.receiver).url + path
        numbers = []
        for _ in range(count):
            number = self.book.number()
            self.sql.once(ADD, {**arguments(number, QUEUE, url), **changes})
            self.book.accept(number)
            numbers.append(number)
        return numbers

    def arrivals(self) -> list[Arrival]:
        """What has come so far, at all receivers."""
        return [arrival for receiver in self._receivers for arrival in receiver.arrivals()]

    def stored(self) -> list[Stored]:
        """What is in the job table."""
        return [Stored(*row) for row in self.sql.rows(_STORED)]

    def held(self) -> set[int]:
        """Numbers of the events that some daemon has locked."""
        return {row[0] for row in self.sql.rows(_HELD)}

    # Waiting.

    async def sleep(self, seconds: float) -> None:
        """Let things happen."""
        await deferLater(reactor, seconds)  # type: ignore[arg-type]

    async def until(self, happened: Callable[[], bool], what: str, patience: float = PATIENCE) -> None:
        """Wait for a condition."""
        await until(happened, what, patience)

    async def delivery_after(self, moment: float, patience: float = PATIENCE) -> float:
        """Wait for an answered delivery that began after a moment; when it began."""
        began: list[float] = []

        def happened() -> bool:
            began[:] = [one.began for one in self.arrivals() if one.delivered and one.began > moment]
            return bool(began)

        await self.until(happened, "delivery", patience)
        return min(began)

    async def all_delivered_after(
        self, numbers: set[int], moment: float, patience: float = PATIENCE
    ) -> float:
        """Wait until each of these events has an answered delivery that ended after a moment; when the last one ended.

        Those that are neither in the table nor delivered later were done before.
        """
        ended: dict[int, float] = {}

        def happened() -> bool:
            open_numbers = numbers & {row.number for row in self.stored()}
            for one in self.arrivals():
                if one.delivered and one.ended is not None and one.ended > moment and one.number in numbers:
                    ended.setdefault(one.number, one.ended)
            return not open_numbers

        await self.until(happened, f"second delivery of {len(numbers)} events", patience)
        return max(ended.values(), default=moment)

    async def back_at_work(self, moment: float, patience: float = PATIENCE) -> float:
        """Wait, after a disturbance that ended at a moment, for the next answered delivery, and until all results from
        before are written; seconds since then.
        """
        await self.delivery_after(moment, patience)
        before = {
            one.number
            for one in self.arrivals()
            if one.delivered and one.ended is not None and one.ended < moment
        }
        await self.until(lambda: before.isdisjoint(row.number for row in self.stored()), "results", patience)
        return now() - moment

    async def settle(
        self, patience: float = SETTLE, *, gone: Callable[[], Collection[int]] = frozenset
    ) -> float:
        """Wait until no event waits any more: each was delivered or has failed for good; how long that took.

        Args:
            patience: seconds.
            gone: those that the database itself has lost.
        """
        begun = now()

        def happened() -> bool:
            rows = {row.number: row for row in self.stored()}
            waiting = self._open_numbers() - set(gone())
            return not any(number not in rows or not rows[number].failed for number in waiting)

        await self.until(happened, "end of the work", patience)
        return now() - begun

    def missing_since(self, moment: float) -> set[int]:
        """Events that were accepted after a moment, and are neither stored nor delivered."""
        stored = {row.number for row in self.stored()}
        late = {number for number in self.book.accepted if self.book.added[number] > moment}
        return (late - stored) & self._open_numbers()

    def _open_numbers(self) -> set[int]:
        delivered = {one.number for one in self.arrivals() if one.delivered}
        return set(self.book.accepted) - delivered

    # Findings.

    def disturbed(self, begin: float, end: float) -> None:
        """Between these moments deliveries may have been cut off."""
        self.windows.append(Window(begin, end))

    def lost_by_the_database(self, numbers: Collection[int]) -> None:
        """These were accepted, and what the database confirmed it does not have any more: they are not counted."""
        self._lost_by_the_database |= set(numbers)

    def recovered(self, seconds: float) -> None:
        """A recovery took so long."""
        self.recoveries.append(seconds)

    def check(self, holds: bool, what: str) -> None:
        """Record whether something holds that this scenario is about."""
        check = Check(what, bool(holds))
        if check not in self.checks:
            self.checks.append(check)

    def note(self, text: str) -> None:
        """Record something worth knowing."""
        self.notes.append(text)

    def terminate_backends(self) -> int:
        """End every session of the daemons; how many there were."""
        rows = self.sql.rows(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", [ROLE]
        )
        return len(rows)

    async def account(self) -> Balance:
        """Stop what still runs, in order, and account for every event."""
        for daemon in self.running():
            status = await daemon.stop()
            if status != 0:
                self.check(False, f"a daemon ended with status {status}")
        for number, daemon in enumerate(self._daemons, 1):
            for line in daemon.lines:
                if any(bug in line for bug in BUGS):
                    self.check(False, f"daemon {number} logged: {line[:200]}")
                    break
        stored = self.stored()
        accepted = self.book.accepted - self._lost_by_the_database
        return balance(accepted, self.book.sent, stored, self.arrivals(), self.windows)
