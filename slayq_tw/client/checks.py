"""What may be asked of the job tables: pure checks, made before anything is sent.

The limits are those of Graphile Worker's schema, where each violation has an error of its own; here all faults of a
request are reported at once, under the names that the caller used.
"""

import json
import math
import re
from collections.abc import Collection, Iterable, Iterator
from datetime import datetime, timedelta
from typing import Literal, TypeAlias, get_args

from slayq_tw.errors import SlayQError

JobKeyMode: TypeAlias = Literal["replace", "preserve_run_at", "unsafe_dedupe"]
"""What becomes of a job that already has the key. `replace`: it takes all new values. `preserve_run_at`: likewise,
but one never tried keeps its time. `unsafe_dedupe`: nothing, even if it is running or has failed for good."""

Delay: TypeAlias = float | timedelta
"""Seconds, or a `timedelta`."""

MAX_NAME = 128
"""Characters of a task identifier or the name of a serial queue."""
MAX_KEY = 512
"""Characters of a job key."""
SMALLINT = (-32768, 32767)
MAX_ATTEMPTS = (1, 32767)
INTEGER_ID = (1, 2**63 - 1)
MAX_DELAY = timedelta(days=36525)
"""A century: what lies beyond is a mistake in the unit."""

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class InvalidRequest(SlayQError, ValueError):
    """A request that can never be stored, or never be delivered. The text names every fault."""


class JobNotStored(SlayQError):
    """Other sessions kept taking the job under the key, as often as it was tried: nothing is stored."""


def require(faults: Iterable[str]) -> None:
    """Raise what is wrong, if anything is.

    Raises:
        InvalidRequest: all faults in one text.
    """
    if found := list(faults):
        raise InvalidRequest("; ".join(found))


def text_faults(
    name: str, value: object, longest: int | None = None, *, empty: bool = False
) -> Iterator[str]:
    """A text that Postgres can hold: of 1 to `longest` characters (0 if `empty`), without U+0000."""
    if not isinstance(value, str):
        yield f"{name}: must be a string, got {type(value).__name__}"
    elif not value and not empty:
        yield f"{name}: must not be empty"
    elif longest is not None and len(value) > longest:
        yield f"{name}: must have at most {longest} characters, got {len(value)}"
    elif "\0" in value:
        yield f"{name}: must not contain U+0000"
    elif _LONE_SURROGATE.search(value):
        yield f"{name}: must not contain half a surrogate pair"


def integer_faults(name: str, value: object, bounds: tuple[int, int]) -> Iterator[str]:
    """A whole number within bounds."""
    low, high = bounds
    if isinstance(value, bool) or not isinstance(value, int):
        yield f"{name}: must be an integer, got {type(value).__name__}"
    elif not low <= value <= high:
        yield f"{name}: must be from {low} to {high}, got {value}"


def flags_faults(value: object) -> Iterator[str]:
    """A collection of flags, none of them null."""
    if isinstance(value, str) or not isinstance(value, Collection):
        yield f"flags: must be a list of strings, got {type(value).__name__}"
        return
    for flag in value:
        yield from text_faults("flags", flag, empty=True)


def mode_faults(value: object) -> Iterator[str]:
    """One of the three job key modes."""
    if value not in get_args(JobKeyMode):
        yield "key_mode: must be one of " + ", ".join(repr(mode) for mode in get_args(JobKeyMode))


def time_faults(run_at: object, delay: object) -> Iterator[str]:
    """A moment or a delay, either or neither."""
    if run_at is not None and delay is not None:
        yield "run_at and delay: give one of them"
    if run_at is not None:
        if not isinstance(run_at, datetime):
            yield f"run_at: must be a datetime, got {type(run_at).__name__}"
        elif run_at.utcoffset() is None:
            yield "run_at: must have a time zone (a naive datetime is no moment)"
    if delay is not None:
        yield from _delay_faults(delay)


def _delay_faults(delay: object) -> Iterator[str]:
    if isinstance(delay, bool) or not isinstance(delay, int | float | timedelta):
        yield f"delay: must be seconds or a timedelta, got {type(delay).__name__}"
        return
    seconds = delay.total_seconds() if isinstance(delay, timedelta) else delay
    if not (math.isfinite(seconds) and 0 <= seconds <= MAX_DELAY.total_seconds()):
        yield f"delay: must be from 0 s to {MAX_DELAY.days} days, got {seconds:g} s"


def ids_faults(value: object) -> Iterator[str]:
    """A collection of job ids."""
    if isinstance(value, str) or not isinstance(value, Collection):
        yield f"ids: must be a list of integers, got {type(value).__name__}"
        return
    for number in value:
        yield from integer_faults("ids", number, INTEGER_ID)


def json_text(name: str, value: object) -> str:
    """JSON as `JSON.stringify` writes it, but for numbers: those keep Python's digits.

    No white space, and no escapes that JSON does not need: the same text that a Node client stores. A lone surrogate
    is escaped, since Postgres holds no such character.

    Raises:
        InvalidRequest: it is no JSON; the text does not quote it.
    """
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:  # no JSON type, NaN, infinity, a circle
        raise InvalidRequest(f"{name}: is no JSON: {error}") from error
    except RecursionError as error:
        raise InvalidRequest(f"{name}: is nested too deep") from error
    return _LONE_SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
