"""The grammar of `.env` files, as Node's `dotenv` reads them.

Who swaps this daemon in for the Node server has one already, and must get the same values out of it, odd ones too: the
application at the other end reads its secret with that library.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

_SPACE = "\t\v\f \xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"
"""White space of JavaScript's, within a line."""
_BLANK = re.compile(f"[\n{_SPACE}]*")
_EXPORT = re.compile(f"export[\n{_SPACE}]+")
_NAME = re.compile("[A-Za-z0-9_.-]+")
_SIGN = re.compile(f"[\n{_SPACE}]*=|:[\n{_SPACE}]")
_UNQUOTED = re.compile("[^#\n]*")
_REST_OF_LINE = re.compile(f"[{_SPACE}]*(?:[#\n]|\\Z)")
_QUOTES = "'\"`"


class Setting(NamedTuple):
    """What a file says of one variable.

    Attributes:
        value: may be empty.
        line: where its name stands, from 1.
        unclosed: whether it begins with a quotation mark that does not close at its end. Node's library then takes the
            mark for a part of the value, which hardly anybody has meant.
    """

    value: str
    line: int
    unclosed: bool


def settings(text: str) -> dict[str, Setting]:
    """The variables of a file; the last word on each counts.

    A line is `NAME=value` or `NAME: value`, perhaps after `export`; any other is passed over. A value ends at its line's
    end or at a `#`, unless it is in quotation marks of one of three kinds, which must be the whole of it: then it may
    have several lines. Between double ones `\\n` and `\\r` are line breaks; no other backslash means anything.

    Source: the library's documentation (https://github.com/motdotla/dotenv), and the library, asked by the tests.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    found: dict[str, Setting] = {}
    start: int | None = 0
    while start is not None:
        end = start
        if (assigned := _assigned(text, start)) is not None:
            name, at = assigned
            written, end = _written(text, at)
            found[name[0]] = _setting(written, text.count("\n", 0, name.start()) + 1)
        start = _next_line(text, start, end)
    return found


def _next_line(text: str, start: int, end: int) -> int | None:
    """Where the first line begins that is not read yet."""
    if end > start and text[end - 1] == "\n":
        return end
    line_break = text.find("\n", end)
    return None if line_break < 0 else line_break + 1


def _assigned(text: str, start: int) -> tuple[re.Match[str], int] | None:
    """The name that stands next, and where its value may begin."""
    first = _end(_BLANK, text, start)
    exported = _EXPORT.match(text, first)
    for at in (first,) if exported is None else (exported.end(), first):
        if (name := _NAME.match(text, at)) and (sign := _SIGN.match(text, name.end())):
            return name, sign.end()
    return None


def _written(text: str, start: int) -> tuple[str, int]:
    """A value as it is written, with its quotation marks; and where it ends."""
    at = _end(_BLANK, text, start)
    if (quote := text[at : at + 1]) and quote in _QUOTES:
        for closing in _closings(text, at + 1, quote):
            if _REST_OF_LINE.match(text, closing + 1):
                return text[at : closing + 1], closing + 1
    end = _end(_UNQUOTED, text, start)
    return text[start:end], end


def _closings(text: str, start: int, quote: str) -> Iterator[int]:
    """Where a quotation may end: at the first mark without a backslash, or, if need be, at an earlier one with it."""
    with_backslash = []
    at = text.find(quote, start)
    while at >= 0:
        if at == start or text[at - 1] != "\\":
            yield at
            break
        with_backslash.append(at)
        at = text.find(quote, at + 1)
    yield from reversed(with_backslash)


def _setting(written: str, line: int) -> Setting:
    value = re.sub(f"\\A[\n{_SPACE}]+|[\n{_SPACE}]+\\Z", "", written)
    quote = value[:1]
    quoted = quote != "" and quote in _QUOTES
    closed = len(value) > 1 and value[-1] == quote
    if quoted and closed:
        value = value[1:-1]
    if quote == '"':
        value = value.replace("\\n", "\n").replace("\\r", "\r")
    return Setting(value, line, quoted and not closed)


def _end(pattern: re.Pattern[str], text: str, start: int) -> int:
    """Where a pattern ends that matches anywhere."""
    found = pattern.match(text, start)
    assert found is not None
    return found.end()
