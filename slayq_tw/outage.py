"""`Outage`: tells the log when connections to a database are lost, and when they stand again: once, whatever their number."""

from collections.abc import Callable, Hashable
from typing import Any

from twisted.logger import Logger

from slayq_tw.errors import DatabaseError
from slayq_tw.pgerrors import may_pass

AT_ONCE = 0.4
"""Seconds after a loss until it is told: by then the other connections have noticed it too, or stand again."""
SOON = 5.0
"""Seconds after the first connection stands again until those that still do not are told: they were tried at once."""
PROVEN_AFTER = 12.0
"""Seconds for which a connection that was lost because the database may only be read must stand until that counts: a
new session tells no sooner whether it may write than when it does, which each daemon does every few seconds."""


class Outage:
    """What the connections to one database say of it, in as few lines as tell all.

    - `database_connection_lost`: some connections were lost, others stand, or all stand again already;
    - `database_unreachable`: none stands. Told once more only if what stands in the way becomes something that no
      waiting cures, such as a refused password;
    - `database_connection_restored`: the first one stands again after none did, or else the last one.

    Args:
        clock: IReactorTime, on monotonic time.
        display: how the log names the database: without its password.
    """

    log = Logger()

    def __init__(self, clock: Any, display: str = "Postgres") -> None:
        self._clock = clock
        self._display = display
        self._members: dict[Hashable, Callable[[], None]] = {}
        self._down: dict[Hashable, str] = {}  # with what stands in its way
        self._lost: set[Hashable] = set()  # since the last line
        self._reason = ""  # of the first loss
        self._since = 0.0
        self._look: Any = None
        self._proofs: dict[Hashable, Any] = {}  # timers of those that may yet turn out to be read-only
        self._read_only: set[Hashable] = set()
        self._told = False  # whether anything of it stands in the log, and what
        self._told_read_only = False
        self._all_down = False
        self._hopeless = ""

    def join(self, member: Hashable, try_now: Callable[[], None] = lambda: None) -> None:
        """One more connection.

        Args:
            member: which.
            try_now: has it tried at once, because another one stands again.
        """
        self._members[member] = try_now

    def leave(self, member: Hashable) -> None:
        """One less: it was closed for good, which is no loss."""
        self._members.pop(member, None)
        self._down.pop(member, None)
        self._lost.discard(member)
        self._read_only.discard(member)
        self._forget_proof(member)
        self._look_no_more()

    def lost(self, member: Hashable, reason: str, *, read_only: bool = False) -> None:
        """A connection was lost, or could not be opened.

        Args:
            member: which.
            reason: why.
            read_only: whether that is because its session may only read.
        """
        if not self._down:
            self._reason, self._since = reason, self._clock.seconds()
        self._forget_proof(member)
        self._down.pop(member, None)
        self._down[member] = reason
        self._lost.add(member)
        if read_only:
            self._read_only.add(member)
            if self._told and not self._told_read_only:
                self._say_lost()
        self._look_after(AT_ONCE)

    def refused(self, member: Hashable, error: DatabaseError) -> None:
        """It could not be opened again."""
        reason = str(error)
        self._down.pop(member, None)
        self._down[member] = reason  # the newest comes last
        if self._all_down and not may_pass(error) and reason != self._hopeless:
            self._hopeless = reason
            self._say_unreachable(reason)

    def restored(self, member: Hashable) -> None:
        """It stands again."""
        if member in self._read_only:
            self._read_only.discard(member)
            self._proofs[member] = self._clock.callLater(PROVEN_AFTER, self._proven, member)
        else:
            self._up(member)

    def _proven(self, member: Hashable) -> None:
        del self._proofs[member]
        self._up(member)

    def _forget_proof(self, member: Hashable) -> None:
        if (timer := self._proofs.pop(member, None)) is not None:
            timer.cancel()

    def _up(self, member: Hashable) -> None:
        self._down.pop(member, None)
        if self._told and (self._all_down or not self._down):
            self._say_restored()
            for other in list(self._down):
                self._members[other]()
        if self._down and not self._told:
            self._look_after(SOON)
        self._look_no_more()

    def _look_after(self, seconds: float) -> None:
        if self._look is None and (not self._told or len(self._down) == len(self._members)):
            self._look = self._clock.callLater(seconds, self._tell)

    def _look_no_more(self) -> None:
        """Nothing is left to be told."""
        if self._look is not None and not (self._down or self._lost):
            self._look.cancel()
            self._look = None

    def _tell(self) -> None:
        self._look = None
        if self._down and len(self._down) == len(self._members):
            if not self._all_down:
                self._all_down = self._told = True
                # What stands in the way now; a connection that has just been lost says nothing of that.
                others = [reason for reason in self._down.values() if reason != self._reason]
                newest = self._hopeless = others[-1] if others else self._reason
                self._say_unreachable(newest if newest == self._reason else f"{self._reason}; now: {newest}")
        elif not self._told:
            self._say_lost()

    def _say_unreachable(self, reason: str) -> None:
        self.log.warn(
            "{event}: no connection to {database} can be had ({reason}); tried until one stands",
            event="database_unreachable",
            database=self._display,
            reason=reason,
        )

    def _say_lost(self) -> None:
        lost = self._lost | self._down.keys()
        self._lost.clear()
        self._told = True
        self._told_read_only = bool(self._read_only or self._proofs)
        reason = next(reversed(self._down.values()), self._reason)
        self.log.warn(
            "{event}: {count} of {size} to {database} ({reason})",
            event="database_connection_lost",
            count=len(lost),
            size=len(self._members),
            database=self._display,
            reason=self._reason if reason == self._reason else f"{self._reason}; now: {reason}",
        )
        if not self._down:
            self._say_restored()

    def _say_restored(self) -> None:
        seconds = self._clock.seconds() - self._since
        self._told = self._all_down = self._told_read_only = False
        self._hopeless = ""
        self._lost.clear()
        self.log.info(
            "{event}: {database}, after {seconds:.1f} s",
            event="database_connection_restored",
            database=self._display,
            seconds=seconds,
        )
