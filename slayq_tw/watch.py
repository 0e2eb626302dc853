"""`UnservedWatch`: says so when jobs wait for an identifier that nobody here serves."""

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from slayq_tw.errors import DatabaseError
from slayq_tw.loop import SupervisedLoop

INTERVAL = 30.0
"""Seconds between two looks."""


class UnservedWatch(Service):
    """Looks for due jobs outside the configuration; each identifier is logged once, and again when it comes back.

    Args:
        unserved: finds the identifiers.
        clock: IReactorTime.
    """

    log = Logger()

    def __init__(self, unserved: Callable[[], Awaitable[list[str]]], clock: Any) -> None:
        self.setName("unserved")
        self._unserved = unserved
        self._known: set[str] = set()
        self._loop = SupervisedLoop(self._look, INTERVAL, clock, "unserved identifiers")

    def startService(self) -> None:
        """Begin to look."""
        super().startService()
        self._loop.start()

    def stopService(self) -> Deferred[None]:
        """Stop looking."""
        super().stopService()
        return self._loop.stop()

    async def _look(self) -> None:
        try:
            found = set(await self._unserved())
        except DatabaseError:
            return  # the pollers say it
        for identifier in sorted(found - self._known):
            self.log.warn(
                "{event}: jobs wait for {identifier!r}, which is no queue or alias of this configuration",
                event="identifier_unserved",
                identifier=identifier,
            )
        for identifier in sorted(self._known - found):
            self.log.info(
                "{event}: no jobs wait for {identifier!r} any more",
                event="identifier_served",
                identifier=identifier,
            )
        self._known = found
