"""JSON as a JavaScript engine reads and writes it: `write(parse(text))` is `JSON.stringify(JSON.parse(text))`.

The standard library's C decoder and encoder do the work. What differs between the two languages is put right around
them: numbers and the order of keys while reading; small exponents, infinities and lone surrogates while writing.
"""

import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import TypeAlias, TypeVar

A = TypeVar("A")
T = TypeVar("T")

JSONValue: TypeAlias = "dict[str, JSONValue] | list[JSONValue] | str | int | float | bool | None"
"""What `parse` returns. Whole numbers below 1e21 are `int`, with the digits that JavaScript prints; infinities are
`float`; an object's members stand in JavaScript's order."""

MAX_DEPTH = 1000
"""Objects and arrays within one another, at most. Our own bound, whatever the interpreter's stack would bear."""

_MAX_EXACT_INT = 2**53
_MAX_ARRAY_INDEX = 4294967294  # 2**32 - 2
_EXPONENT_FROM = 1e21
_LAST_PLAIN_REPR = 1e-4
_LAST_PLAIN_IN_JS = 1e-6

# Possessive, with an optional end: linear on any text, also on one whose last string is never closed.
_STRING = r'"(?:[^"\\]|\\.)*+"?'
_STRINGS = re.compile(_STRING, re.DOTALL)
_BRACKETS = re.compile(_STRING + r"|[\[{]|[\]}]", re.DOTALL)
_CONSTANTS = re.compile(_STRING + r"|-?Infinity|NaN", re.DOTALL)
_FOREIGN_NUMBERS = re.compile(_STRING + r"|-?Infinity|-?[0-9.]+e-[0-9]+", re.DOTALL)
_ARRAY_INDEX = re.compile(r"(?:0|[1-9][0-9]{0,9})\Z")
_ESCAPE_OR_SURROGATE = re.compile("\\\\.|[\ud800-\udfff]", re.DOTALL)


class NestingError(ValueError):
    """A JSON text is nested deeper than `MAX_DEPTH`."""

    def __init__(self) -> None:
        super().__init__(f"nested more than {MAX_DEPTH:,} levels deep")


def parse(text: str) -> JSONValue:
    """Read a JSON text as `JSON.parse` does.

    Raises:
        ValueError: not JSON (a `json.JSONDecodeError`, which has the position), or a `NestingError`.
    """
    text = _surrogates_escaped(text)
    if text.count("[") + text.count("{") > MAX_DEPTH and _depth(text) > MAX_DEPTH:
        raise NestingError
    try:
        return _with_room(_decode, text)
    except _ForeignConstant:
        position = next(found.start() for found in _CONSTANTS.finditer(text) if found[0][0] != '"')
        raise json.JSONDecodeError("Expecting value", text, position) from None


def write(value: JSONValue) -> bytes:
    """Write what `parse` returned as `JSON.stringify` does, in UTF-8.

    Other strings are written well too, whatever surrogates they hold.
    """
    text = _with_room(_ENCODER.encode, value)
    if "e-" in text or "Infinity" in text:
        text = _FOREIGN_NUMBERS.sub(_number_in_js, text)
    try:
        return text.encode()
    except UnicodeEncodeError:  # surrogates: two that meet are one character, what is left is escaped
        paired = text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
        return paired.encode("utf-8", "backslashreplace")  # which writes `\udxxx`, as JavaScript does


class _ForeignConstant(Exception):
    """Python's decoder met `NaN` or `Infinity`, which are no JSON."""


def _refuse(constant: str) -> None:
    raise _ForeignConstant(constant)


def _integer(digits: str) -> int | float:
    """A JSON number without fraction and exponent; one of many digits never becomes a Python integer of as many."""
    return int(digits) if len(digits) <= 15 else _double(digits)


def _double(digits: str) -> int | float:
    """A JSON number as an IEEE double, in the Python type whose `repr` is nearest to what JavaScript prints."""
    number = float(digits)
    size = abs(number)
    if size >= _EXPONENT_FROM or not number.is_integer():
        return number
    if size <= _MAX_EXACT_INT:
        return int(number)
    return int(Decimal(repr(number)))  # the shortest digits, then zeros: not the double's own digits


def _in_js_order(members: dict[str, JSONValue]) -> dict[str, JSONValue]:
    """An object's members: array indices first, ascending; the others as they came."""
    if not any("0" <= key < ":" for key in members):  # nearly every object
        return members
    indices = [key for key in members if _ARRAY_INDEX.match(key) and int(key) <= _MAX_ARRAY_INDEX]
    return {key: members[key] for key in sorted(indices, key=int)} | members


# Members that repeat need no hook: a dict keeps the first place and the last value, as JavaScript does.
_DECODER = json.JSONDecoder(
    object_hook=_in_js_order, parse_int=_integer, parse_float=_double, parse_constant=_refuse
)
_decode: Callable[[str], JSONValue] = _DECODER.decode
_ENCODER = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":"))


def _number_in_js(found: re.Match[str]) -> str:
    """What JavaScript prints for a number that Python prints otherwise; a string stays as it is."""
    token = found[0]
    if token[0] == '"':
        return token
    if token.endswith("Infinity"):
        return "null"
    if abs(float(token)) >= _LAST_PLAIN_IN_JS:
        return f"{Decimal(token):f}"
    digits, exponent = token.split("e-")
    return f"{digits}e-{int(exponent)}"


def _surrogates_escaped(text: str) -> str:
    """Write surrogate code points as escapes, so that two halves meet in the decoder however each was written."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return _ESCAPE_OR_SURROGATE.sub(
            lambda found: found[0] if found[0][0] == "\\" else f"\\u{ord(found[0]):04x}", text
        )
    return text


def has_more_values(text: str, limit: int) -> bool:
    """Whether a JSON text has more values than that, as its commas and opening brackets tell."""
    if _separators(text) <= limit:  # those in strings included
        return False
    return _separators(_STRINGS.sub("", text)) > limit


def _separators(text: str) -> int:
    return text.count(",") + text.count("[") + text.count("{")


def _depth(text: str) -> int:
    """The deepest nesting of a JSON text; of a text that is none, at least that of its longest valid beginning."""
    deepest = depth = 0
    for found in _BRACKETS.finditer(text):
        bracket = found[0][0]
        if bracket in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif bracket != '"':
            depth -= 1
    return deepest


def _with_room(work: Callable[[A], T], argument: A) -> T:
    """Call the C decoder or encoder again with a raised recursion limit when it needs more levels than are left.

    They recurse once a level, at most `MAX_DEPTH` times, which takes little of the real stack.
    """
    try:
        return work(argument)
    except RecursionError:
        with _recursion_limit_raised_by(2 * MAX_DEPTH):
            return work(argument)


@contextmanager
def _recursion_limit_raised_by(levels: int) -> Iterator[None]:
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(limit + levels)
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)
