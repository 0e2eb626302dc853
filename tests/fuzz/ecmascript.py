"""`JSON.stringify(JSON.parse(text))` by the letter of ECMAScript: slow, plain, and made of nothing of ours."""

import re
from decimal import Decimal
from typing import Any

_BLANK = re.compile(r"[ \t\n\r]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_WORDS = {"null": None, "true": True, "false": False}
_ESCAPED = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_UNIT = re.compile("[0-9A-Fa-f]{4}")
_INDEX = re.compile(r"(?:0|[1-9][0-9]{0,9})\Z")
_SHORT = {character: "\\" + name for name, character in _ESCAPED.items() if name != "/"}


def stringified(text: str) -> bytes | None:
    """What a JavaScript engine makes of a text; None when it is no JSON."""
    try:
        value = _Reader(text).document()
    except _NoJSON:
        return None
    return _written(value).encode()


class _NoJSON(Exception):
    """A SyntaxError of JavaScript's."""


class _Reader:
    """JSON.parse."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def document(self) -> Any:
        value = self._value()
        if self._at != len(self._text):
            raise _NoJSON
        return value

    def _value(self) -> Any:
        """A value and the white space around it."""
        self._skip()
        if self._take("{"):
            value: Any = self._members()
        elif self._take("["):
            value = self._elements()
        elif self._take('"'):
            value = self._string()
        else:
            value = self._word()
        self._skip()
        return value

    def _members(self) -> dict[str, Any]:
        members: dict[str, Any] = {}  # which keeps the first place and the last value
        self._skip()
        if self._take("}"):
            return members
        while True:
            self._skip()
            self._demand('"')
            key = self._string()
            self._skip()
            self._demand(":")
            members[key] = self._value()
            if self._take("}"):
                return members
            self._demand(",")

    def _elements(self) -> list[Any]:
        self._skip()
        if self._take("]"):
            return []
        elements = [self._value()]
        while not self._take("]"):
            self._demand(",")
            elements.append(self._value())
        return elements

    def _string(self) -> str:
        """Code units; halves that meet become one character, however each was written."""
        units = []
        while not self._take('"'):
            character = self._next()
            if character < " ":
                raise _NoJSON
            units.append(self._escaped() if character == "\\" else character)
        return "".join(units).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")

    def _escaped(self) -> str:
        name = self._next()
        if name == "u" and (unit := _UNIT.match(self._text, self._at)):
            self._at = unit.end()
            return chr(int(unit[0], 16))
        if name not in _ESCAPED:
            raise _NoJSON
        return _ESCAPED[name]

    def _word(self) -> float | bool | None:
        for word, value in _WORDS.items():
            if self._take(word):
                return value
        number = _NUMBER.match(self._text, self._at)
        if number is None:
            raise _NoJSON
        self._at = number.end()
        return float(number[0])

    def _skip(self) -> None:
        blank = _BLANK.match(self._text, self._at)
        assert blank is not None
        self._at = blank.end()

    def _next(self) -> str:
        if self._at == len(self._text):
            raise _NoJSON
        self._at += 1
        return self._text[self._at - 1]

    def _take(self, piece: str) -> bool:
        found = self._text.startswith(piece, self._at)
        self._at += len(piece) * found
        return found

    def _demand(self, piece: str) -> None:
        if not self._take(piece):
            raise _NoJSON


def _written(value: Any) -> str:
    """JSON.stringify."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case float():
            return _number(value)
        case str():
            return _quoted(value)
        case dict():
            indices = sorted((key for key in value if _is_index(key)), key=int)
            keys = indices + [key for key in value if not _is_index(key)]
            members = ",".join(f"{_quoted(key)}:{_written(value[key])}" for key in keys)
            return f"{{{members}}}"
    return f"[{','.join(map(_written, value))}]"


def _is_index(key: str) -> bool:
    return _INDEX.match(key) is not None and int(key) < 2**32 - 1


def _quoted(text: str) -> str:
    """QuoteJSONString."""
    characters = (
        _SHORT.get(c) or (f"\\u{ord(c):04x}" if c < " " or "\ud800" <= c <= "\udfff" else c) for c in text
    )
    return f'"{"".join(characters)}"'


def _number(number: float) -> str:
    """Number::toString; infinities are null in JSON. Names as in the standard: `s` has `k` digits, times 10**(n-k)."""
    if number in (float("inf"), float("-inf")):
        return "null"
    if number == 0:
        return "0"
    if number < 0:
        return "-" + _number(-number)
    _, digits, exponent = Decimal(repr(number)).normalize().as_tuple()
    s, k = "".join(map(str, digits)), len(digits)
    n = k + int(exponent)
    if k <= n <= 21:
        return s + "0" * (n - k)
    if 0 < n <= 21:
        return f"{s[:n]}.{s[n:]}"
    if -6 < n <= 0:
        return "0." + "0" * -n + s
    e = f"e{'+' if n > 0 else '-'}{abs(n - 1)}"
    return s + e if k == 1 else f"{s[0]}.{s[1:]}{e}"
