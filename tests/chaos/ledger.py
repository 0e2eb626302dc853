"""The invariant: each accepted event was delivered, is still in the table, or has failed for good. Nothing else.

Accepted is an event whose INSERT, a call of `add_worker_job`, was seen to commit by its sender. Everything here is
computed from three lists (what was accepted, what arrived, what is stored), so that a test can show it at fault.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

SLACK = 0.5
"""Seconds that the result of an answered delivery may take to the database. A daemon that dies meanwhile is not at fault
for a second delivery."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request, as its receiver saw it.

    Attributes:
        number: the event's, in its data.
        attempt: what the request says it is.
        began: when it had come whole, by the monotonic clock.
        ended: when it was answered, or its connection was lost; None while it is under way.
        status: what was answered; None when nothing could be.
        behind: seconds by which the document's time was behind the receiver's wall clock.
    """

    number: int
    attempt: int
    began: float
    ended: float | None
    status: int | None
    behind: float

    @property
    def delivered(self) -> bool:
        """Whether it was answered with success."""
        return self.status is not None and 200 <= self.status <= 299

    @property
    def refused(self) -> bool:
        """Whether its receiver wanted another attempt, or misbehaved."""
        return self.status is not None and not self.delivered


@dataclass(frozen=True, slots=True)
class Stored:
    """One row of the job table."""

    number: int
    attempts: int
    max_attempts: int
    locked: bool
    last_error: str | None

    @property
    def failed(self) -> bool:
        """Whether it has failed for good, and says why."""
        return self.exhausted and self.last_error is not None

    @property
    def exhausted(self) -> bool:
        """Whether nobody will ever run it."""
        return self.attempts >= self.max_attempts and not self.locked


@dataclass(frozen=True, slots=True)
class Window:
    """A time in which deliveries may be cut off, by the monotonic clock."""

    begin: float
    end: float

    def excuses(self, arrival: Arrival) -> bool:
        """Whether this may be why a delivery was made again: its result had not reached the database."""
        return arrival.began <= self.end and (arrival.ended is None or arrival.ended >= self.begin - SLACK)


@dataclass(frozen=True)
class Balance:
    """What became of the events.

    Attributes:
        accepted: how many there were.
        delivered: of these, answered with success.
        stored: of these, undelivered and still to be run.
        failed: of these, undelivered and failed for good.
        lost: the numbers of all others; those that nobody will run and that do not say why are among them.
        twice: numbers of the events that arrived more than once though their receiver wanted no other attempt.
        unexcused: those among them for which no disturbance is the reason.
        unknown: numbers that arrived or are stored and that nobody sent.
    """

    accepted: int
    delivered: int
    stored: int
    failed: int
    lost: tuple[int, ...]
    twice: tuple[int, ...]
    unexcused: tuple[int, ...]
    unknown: tuple[int, ...]

    @property
    def holds(self) -> bool:
        """Whether the invariant does."""
        return not (self.lost or self.unexcused or self.unknown)


def balance(
    accepted: Collection[int],
    sent: Collection[int],
    stored: Iterable[Stored],
    arrivals: Iterable[Arrival],
    windows: Sequence[Window] = (),
) -> Balance:
    """Account for every event.

    Args:
        accepted: numbers of the events whose INSERT was seen to commit.
        sent: numbers of all that were tried; some of them may have been stored unseen.
        stored: the rows of the job table, read before `arrivals` were: an event leaves the one after it is in the other.
        arrivals: at the receivers.
        windows: when deliveries may have been cut off.
    """
    requests: dict[int, list[Arrival]] = defaultdict(list)
    for arrival in sorted(arrivals, key=lambda one: one.began):
        requests[arrival.number].append(arrival)
    rows = {row.number: row for row in stored}
    delivered = {number for number, came in requests.items() if any(one.delivered for one in came)}
    open_numbers = set(accepted) - delivered
    failed = {number for number in open_numbers if number in rows and rows[number].failed}
    waiting = {number for number in open_numbers if number in rows and not rows[number].exhausted}
    twice = {}
    for number, came in requests.items():
        counted = [one for one in came if not one.refused]
        if len(counted) > 1:
            twice[number] = counted
    unexcused = [
        number
        for number, came in twice.items()
        if not all(any(window.excuses(one) for window in windows) for one in came[:-1])
    ]
    return Balance(
        accepted=len(accepted),
        delivered=len(delivered & set(accepted)),
        stored=len(waiting),
        failed=len(failed),
        lost=tuple(sorted(open_numbers - failed - waiting)),
        twice=tuple(sorted(twice)),
        unexcused=tuple(sorted(unexcused)),
        unknown=tuple(sorted((requests.keys() | rows.keys()) - set(sent))),
    )
