"""What an answer means for a job, and when the next attempt is due."""

import math
import re
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import Enum

MAX_RETRY_AFTER = 24 * 60 * 60.0
"""Seconds that a receiver can ask us to stay away, at most."""
MAX_COUNTED_ATTEMPTS = 10
"""The delay grows no further after this many attempts: about six hours."""

_SECONDS = re.compile(r"[0-9]+\Z")


class Outcome(Enum):
    """What becomes of a job after an answer."""

    DELIVERED = "delivered"
    """Completed."""
    GONE = "gone"
    """Completed, with a warning: the application does not know the event any more."""
    REDIRECT = "redirect"
    """The same request goes to the answer's `Location`."""
    RETRY = "retry"
    """A failed attempt."""


def outcome_for(status: int) -> Outcome:
    """The outcome of an answer with this HTTP status.

    Source: slay-q's client answers 666 for "failed, do not retry", 404 for an event that it does not know. 301, 302
    and 303 are failures: following them would turn the POST into a GET, which loses the event.
    """
    if 200 <= status <= 299 or status == 666:
        return Outcome.DELIVERED
    if status == 404:
        return Outcome.GONE
    if status in (307, 308):
        return Outcome.REDIRECT
    return Outcome.RETRY


def retry_delay(attempts: int) -> float:
    """Seconds from a failed attempt to the next, at least; chance adds up to a tenth (`fail_jobs`).

    Args:
        attempts: how many were made, the failed one included.

    Source: Graphile Worker's `exp(least(attempts, 10))`.
    """
    return math.exp(min(attempts, MAX_COUNTED_ATTEMPTS))


def retry_after(header_value: str, now: float) -> float | None:
    """Seconds to stay away, as a `Retry-After` header asks: 0 to 24 h, or None when it is malformed.

    Args:
        header_value: a number of seconds or an HTTP date.
        now: seconds since the epoch.

    Source: RFC 9110, 10.2.3.
    """
    value = header_value.strip()
    if _SECONDS.match(value):
        seconds = float(value)
    else:
        try:
            date = parsedate_to_datetime(value)
        except (ValueError, IndexError, OverflowError):
            return None
        seconds = date.replace(tzinfo=date.tzinfo or UTC).timestamp() - now
    return min(max(seconds, 0.0), MAX_RETRY_AFTER)
