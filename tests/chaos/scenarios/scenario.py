"""`Scenario`: one disturbance, and how soon the daemon has to be over it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.chaos.rig import Rig


@dataclass(frozen=True)
class Scenario:
    """One of the suite's.

    Attributes:
        name: on the command line.
        title: what happens, in a sentence without its full stop.
        play: does it, and says to the rig what it finds.
        recovery: from what to what a recovery is measured.
        bound: seconds that a recovery may take.
        quick: whether it belongs to the selection.
    """

    name: str
    title: str
    play: Callable[[Rig], Awaitable[None]]
    recovery: str
    bound: float
    quick: bool = False
