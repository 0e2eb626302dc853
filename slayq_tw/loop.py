"""`SupervisedLoop`: work that is repeated, survives its own failures, and stops when told."""

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure


class SupervisedLoop:
    """A `LoopingCall` whose failures are logged instead of ending it, and which can be woken between its turns.

    Turns never overlap. A wake during a turn leads to one more turn right after it.

    Args:
        work: a coroutine function, one turn.
        interval: seconds from one turn to the next.
        clock: IReactorTime.
        name: how the log names it.
    """

    log = Logger()

    def __init__(self, work: Callable[[], Awaitable[None]], interval: float, clock: Any, name: str) -> None:
        self._work = work
        self._interval = interval
        self._name = name
        self._looping = LoopingCall(self._tick)
        self._looping.clock = clock
        self._turn: Deferred[None] | None = None
        self._again = False
        self._waiting: list[Deferred[None]] = []

    def start(self) -> None:
        """Begin with a turn now."""
        # It ends only by `stop`: `_tick` does not raise.
        self._looping.start(self._interval, now=True)

    def wake(self) -> None:
        """Take a turn now, or right after the one under way."""
        if not self._looping.running:
            return
        if self._turn is not None:
            self._again = True
        else:
            self._begin()

    def stop(self) -> Deferred[None]:
        """Take no further turn; fires when the one under way is over. Stopping twice is harmless."""
        if self._looping.running:
            self._looping.stop()
        self._again = False
        if self._turn is None:
            return succeed(None)
        ended: Deferred[None] = Deferred()
        self._waiting.append(ended)
        return ended

    def _tick(self) -> None:
        if self._turn is None:
            self._begin()

    def _begin(self) -> None:
        turn = self._turn = Deferred.fromCoroutine(self._supervised())
        turn.addErrback(self._report)
        turn.addBoth(self._ended)

    async def _supervised(self) -> None:
        await self._work()

    def _report(self, failure: Failure) -> None:
        self.log.failure("{event}: {loop} goes on", failure, event="loop_failed", loop=self._name)

    def _ended(self, _: Any) -> None:
        self._turn = None
        if self._again and self._looping.running:
            self._again = False
            self._begin()
            return
        waiting, self._waiting = self._waiting, []
        for ended in waiting:
            ended.callback(None)
