"""What a receiver says, fit for logs and errors: text, on one line, and without the secrets that it may echo.

A receiver that fails may show what it was asked (frameworks do, while one develops) and what it knows: header fields,
the URL with its query, its environment. The beginning of that goes into `last_error` and into the log.
"""

import codecs
import html
import json
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from urllib.parse import quote, unquote

from slayq_tw.weburl import credentials, parsed

MASK = "…"
SHORTEST = 4
"""Characters of what is taken for a secret, at least: less is a word like another."""

_NO_TEXT = re.compile("[\x00-\x08\x0e-\x1f\x7f]")
_SIGNATURES = re.compile(r"\b(?:[0-9a-f]{128}|v1,[A-Za-z0-9+/]{43}=)")


def excerpt(beginning: bytes) -> str:
    """The beginning of an answer's body, as one line; it may end within a character.

    What is no text, such as a body that came compressed, is only named.
    """
    if not beginning:
        return ""
    try:
        text = beginning.decode()
    except UnicodeDecodeError:
        text = codecs.getincrementaldecoder("utf-8")("replace").decode(beginning)
    return "(no text)" if _NO_TEXT.search(text) else " ".join(text.split())


def redacted(text: str, secrets: Iterable[str]) -> str:
    """A line of a receiver's, with `MASK` for each secret in it, in the spellings of JSON, HTML and URLs too, also for
    one that the line's end cuts off; and for each of our signatures.
    """
    hidden = {spelling for secret in secrets for spelling in _spellings(secret)}
    in_order = sorted((one for one in hidden if len(one) >= SHORTEST), key=len, reverse=True)
    for secret in in_order:
        text = text.replace(secret, MASK)
    text = _SIGNATURES.sub(MASK, text)
    cut_off = max((_cut_off(text, secret) for secret in in_order), default=0)
    return text[: len(text) - cut_off] + MASK if cut_off else text


def secrets_of(url: str) -> Iterator[str]:
    """What in a checked URL may be a secret: its password, or its user name if it has none, and its query's values."""
    read = parsed(url)
    if found := credentials(url):
        user, password = found
        yield b64encode(f"{user}:{password}".encode()).decode("ascii")
        yield password or user
        yield read.password
    for pair in filter(None, read.query.split("&")):
        name, is_given, value = pair.partition("=")
        raw = value if is_given else name
        yield raw
        yield unquote(raw)


def _spellings(secret: str) -> Iterator[str]:
    line = " ".join(secret.split())  # as in a line of text
    yield line
    yield json.dumps(line)[1:-1]
    yield json.dumps(line, ensure_ascii=False)[1:-1]
    yield html.escape(line)
    yield html.escape(line, quote=False)
    yield quote(line, safe="", errors="replace")


def _cut_off(text: str, secret: str) -> int:
    """How many characters at a text's end are the beginning of a secret."""
    return next((n for n in range(len(secret) - 1, SHORTEST - 1, -1) if text.endswith(secret[:n])), 0)
