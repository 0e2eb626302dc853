"""`LookUp`: one look-up of a host name, who waits for it, and how the last one went."""

from collections.abc import Sequence
from datetime import datetime
from enum import Enum
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure


class Lane(Enum):
    """What is known of a name."""

    KNOWN = "known"
    NEW = "new"
    MUTE = "mute"


class Waiting(Protocol):
    """Whoever was told to come back for one name."""

    def written(self, number: int, run_at: datetime) -> None:
        """A job was put off until then."""

    def over(self) -> int:
        """The look-up is over."""


class Past:
    """How a name's last look-up went.

    Attributes:
        lane: where the next one belongs.
        fresh_until: until when it serves further askers.
        addresses, failure: what came of it.
    """

    __slots__ = ("addresses", "failure", "fresh_until", "lane")

    def __init__(
        self, lane: Lane, fresh_until: float, addresses: Sequence[str], failure: Failure | None
    ) -> None:
        self.lane = lane
        self.fresh_until = fresh_until
        self.addresses = addresses
        self.failure = failure


class LookUp:
    """One look-up, queued, running or late.

    Attributes:
        host, lane: of what.
        slow: whether it counts as slow: from the beginning, for a mute name.
        past_brisk: whether it has taken longer than `BRISK`.
        late: whether its time was up.
        timer: until it is slow, then until its time is up.
        askers: who waits.
        waiting: the jobs of those who were sent away; None while there are none.
    """

    __slots__ = ("askers", "host", "lane", "late", "past_brisk", "slow", "timer", "waiting")

    def __init__(self, host: str, lane: Lane) -> None:
        self.host = host
        self.lane = lane
        self.slow = self.past_brisk = self.late = False
        self.timer: Any = None
        self.askers: set[Deferred[Sequence[str]]] = set()
        self.waiting: Waiting | None = None
