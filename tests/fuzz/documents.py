"""JSON that comes from the job table: canonical, plain, and as a payload."""

import json

from slayq_tw import plainjson
from slayq_tw.canonical import parse, write
from slayq_tw.errors import PayloadError
from slayq_tw.payload import Payload, _payload, _plain_payload, parse_payload, request_body
from slayq_tw.signing import canonical_json
from slayq_tw.worker import MAX_ERROR, storable
from tests.fuzz.ecmascript import stringified

MAX_BRACKETS = 800
"""What `json` nests without our help, at least."""
NOW_MS = 1_764_000_000_000

TOKENS = tuple(
    token.encode("utf-8", "surrogatepass")
    for token in (
        *'{}[],:" \\',
        *("null", "true", "false", "NaN", "Infinity", "-Infinity"),
        *(
            "0",
            "-0",
            "1",
            "10",
            "01",
            "1.0",
            "-0.0",
            "1e5",
            "1e-05",
            "1e-7",
            "1e21",
            "1E+21",
            "5e-324",
            "1e999",
        ),
        *("123456789012345", "1234567890123456", "9007199254740993", "12345678901234567890"),
        *('"4294967294":', '"4294967295":', '"0":', '"1":', '"-1":', '"01":', '"a":', '"b":'),
        *('"__proto__":', '"constructor":{', '"prototype":', '"x":{"y":[', "]}}"),
        *(
            "\\u0000",
            "\\ud83d",
            "\\ude00",
            "\\ud83d\\ude00",
            "\\u0031",
            "\\u005f",
            "\\n",
            "\\/",
            '\\"',
            "\\\\",
        ),
        *("é", "😀", "\ud83d", "\ude00", "\u2028", "\x7f", "\ufeff", "\0"),
    )
)
PAYLOAD_TOKENS = TOKENS + tuple(
    token.encode()
    for token in (
        *(
            '"url":',
            '"retry":',
            '"event":',
            '"data":',
            '"cache":',
            '"http://app.test/"',
            '"https://[::1]:1/"',
        ),
        '{"url":"http://app.test/","retry":0,"event":"e"',
        '{"url":"http://app.test/","retry":0,"event":"e","data":',
    )
)


def text_of(data: bytes) -> str:
    """Any bytes as a text, such that every text can come out, lone surrogates included."""
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return data.decode("utf-8", "surrogateescape")


def check_canonical(data: bytes) -> None:
    """It is what a slow and plain reading of ECMAScript says, a ValueError for what is no JSON, and a fixed point."""
    text = text_of(data)
    try:
        written = canonical_json(text)
    except ValueError as error:
        assert str(error), "an error without a word"
        written = None
    if text.count("[") + text.count("{") <= MAX_BRACKETS:
        expected = stringified(text)
        assert written == expected, f"{written!r}, expected {expected!r}"
    if written is not None:
        assert canonical_json(written.decode()) == written, "not a fixed point"


def check_plain(data: bytes) -> None:
    """The quick way says what the slow way says, or nothing: for the whole, and for each member."""
    text = text_of(data)
    members = plainjson.read(text)
    if members is None:
        return
    slow = parse(text)
    assert isinstance(slow, dict), "not an object"
    assert set(slow) == set(members), "other members"
    for name, value in members.items():
        written = plainjson.write(value)
        assert written in (None, write(slow[name])), f"member {name!r}: {written!r}"
    whole = plainjson.write(members)
    assert whole in (None, write(slow)), f"the whole: {whole!r}"


def check_payload(data: bytes) -> None:
    """A Payload or a PayloadError fit for `last_error`; the same quickly and slowly; a document that verifies."""
    text = text_of(data)
    try:
        payload = parse_payload(text)
    except PayloadError as error:
        stored = storable(str(error))
        assert stored.startswith("payload"), stored
        assert len(stored.encode()) <= MAX_ERROR and "\0" not in stored, stored
        assert _slowly(text) is None, "the quick way refuses what the slow way takes"
        return
    assert payload == _slowly(text), "the quick way differs from the slow one"
    assert _plain_payload(text) in (None, payload)
    body = request_body(payload, job_key=payload.event, attempt=1, now_ms=NOW_MS)
    assert canonical_json(body.decode()) == body, "the signature would not verify"
    members = [name for name in ("data", "cache") if getattr(payload, name) is not None]
    assert list(json.loads(body)) == ["job_key", "retry", "time", "event", *members]


def _slowly(text: str) -> Payload | None:
    try:
        return _payload(text)
    except PayloadError:
        return None
