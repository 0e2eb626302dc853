"""Waiting, in tests on the real reactor, for what nobody announces."""

from collections.abc import Callable

from twisted.internet import reactor
from twisted.internet.defer import Deferred

GLANCE = 0.02
"""Seconds between two looks."""
PATIENCE = 20.0
"""Seconds until the test fails."""


async def until(happened: Callable[[], bool], what: str, patience: float = PATIENCE) -> None:
    """Wait for a condition, bounded."""
    for _ in range(round(patience / GLANCE)):
        if happened():
            return
        await after(GLANCE)
    raise AssertionError(f"no {what} within {patience:g} s")


async def after(seconds: float) -> None:
    """Let time pass, where it is time that a test is about."""
    passing: Deferred[None] = Deferred()
    reactor.callLater(seconds, passing.callback, None)  # type: ignore[attr-defined]
    await passing
