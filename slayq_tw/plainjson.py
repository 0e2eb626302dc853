"""The common case of `canonical`, quickly: JSON that Python reads and writes as a JavaScript engine does.

`read` and `write` give up, with None, on whatever the two languages might treat differently: fractions and large
numbers, keys that are array indices, half surrogates, deep nesting, and members that receivers drop. Who gets None
takes the slow way, which is right for everything; so this module can be too careful, but never wrong.
"""

import json
import re
from typing import Any

MAX_BRACKETS = 500
"""Objects and arrays in a text, at most: so it cannot be nested too deeply for either way."""

MAX_DIGITS = 15
"""Characters of a number, at most: any integer of so many is the same in both languages."""

_NOT_PLAIN = re.compile(r'"(?:[0-9]+":|__proto__":|constructor":\{)')
"""Searched in what was written. A string may hold such a thing too; it takes the slow way for nothing."""


class _NotPlainError(ValueError):
    """A fraction, an exponent, a large number, or a constant that is no JSON."""


def _refuse(number: str) -> None:
    raise _NotPlainError(number)


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise _NotPlainError(digits)
    return int(digits)


_decode = json.JSONDecoder(parse_int=_integer, parse_float=_refuse, parse_constant=_refuse).decode
_encode = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":")).encode


def read(text: str) -> dict[str, Any] | None:
    """The members of an object, or None when the text is none, or not plain.

    What is in them is for `write`, and not to be relied upon otherwise.
    """
    if text.count("{") + text.count("[") > MAX_BRACKETS:
        return None
    try:
        text.encode()
        members = _decode(text)
    except (ValueError, RecursionError):
        # Half a surrogate pair, no JSON at all, or a stack that is deep already: the slow way says what is wrong, if
        # anything is.
        return None
    return members if isinstance(members, dict) else None


def write(value: object) -> bytes | None:
    """What `read` has read, or a part of it, as canonical JSON; None when it is not plain."""
    if value == {}:
        return b"{}"  # the usual cache: making an encoder takes longer
    try:
        text = _encode(value)
        return None if _NOT_PLAIN.search(text) else text.encode()
    except (UnicodeEncodeError, RecursionError):
        return None
