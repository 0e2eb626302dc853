"""`Job`, as it was claimed, and two ways in which an attempt ends: `Failure` and `Deferral`."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

LARGE = 65536
"""Characters from which on a payload is not kept for longer than it is needed."""


class Job(NamedTuple):
    """A claimed job, as it was at its claim.

    Attributes:
        identifier: the task identifier, a queue's name or alias.
        payload: the JSON text, byte for byte; None when it is too large.
        attempts: this attempt's number, 1 at the first.
        run_at: when it was due, in seconds since the epoch; infinite at an infinite time.
        lane: id of the serial queue, or None.
        locked_us: when it was claimed, in microseconds since the epoch: with the worker's id, the claim's identity.
        revision: of the keyed request that was claimed.
        fault: why there is no payload.
    """

    id: int
    identifier: str
    payload: str | None
    attempts: int
    max_attempts: int
    key: str | None
    priority: int
    run_at: float
    lane: int | None
    locked_us: int
    revision: int
    fault: str | None = None

    def slim(self) -> "Job":
        """The same without a large payload, for whoever keeps it until its end is written."""
        return self if self.payload is None or len(self.payload) < LARGE else self._replace(payload=None)


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed attempt.

    Attributes:
        error: one line for `last_error`.
        delay: seconds from now before which it may not run again, 0 for the usual back-off.
        final: whether it fails for good, whatever attempts are left.
    """

    job: Job
    error: str
    delay: float = 0.0
    final: bool = False


@dataclass(frozen=True, slots=True)
class Deferral:
    """A job that goes back unworked, because its delivery would be in vain now.

    Attributes:
        seconds: from now until it may be claimed again.
        written: to be told the job's id and its new `run_at`.
    """

    job: Job
    seconds: float
    written: Callable[[int, datetime], None]
