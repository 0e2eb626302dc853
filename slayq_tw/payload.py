"""A job's payload, validated, and the request document built from it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from slayq_tw import plainjson
from slayq_tw.canonical import JSONValue, has_more_values, parse, write
from slayq_tw.errors import PayloadError
from slayq_tw.weburl import check_web_url

MAX_VALUES = 500_000
"""Values in a payload, at most. Each takes up to 6 µs to read, and the daemon does nothing else meanwhile: with a few
times as many it would look dead. A long text is read quickly."""

_MAYBE_DROPPED = re.compile(rb'"(?:__proto__":|constructor":\{)')


@dataclass(slots=True)
class Payload:
    """What a job asks for.

    Attributes:
        url: receiver, an absolute http or https URL.
        event: any text; from JSON it may hold lone surrogates, which neither UTF-8 nor Postgres takes.
        data: canonical JSON; None when there is none (JSON's null is `b"null"`).
        cache: likewise.
        doubt: why some receivers will refuse it, if they will.
    """

    url: str
    event: str
    data: bytes | None
    cache: bytes | None
    doubt: str | None = None


def parse_payload(text: str) -> Payload:
    """Read and check a job's payload.

    Raises:
        PayloadError: it can never be delivered; the text says why, and quotes no data.
    """
    if len(text) > MAX_VALUES and has_more_values(text, MAX_VALUES):
        raise PayloadError(f"payload has more than {MAX_VALUES:,} values")
    payload = _plain_payload(text)
    return payload if payload is not None else _payload(text)


def _plain_payload(text: str) -> Payload | None:
    """The common payload, quickly; None for any other, and for all that are refused."""
    members = plainjson.read(text)
    if members is None:
        return None
    url, event = members.get("url"), members.get("event")
    if type(url) is not str or type(event) is not str or type(members.get("retry")) is not int:
        return None
    data = cache = None
    if "data" in members and (data := plainjson.write(members["data"])) is None:
        return None
    if "cache" in members and (cache := plainjson.write(members["cache"])) is None:
        return None
    return None if check_web_url(url) else Payload(url, event, data, cache)


def _payload(text: str) -> Payload:
    """Any payload, thoroughly."""
    try:
        members = parse(text)
    except ValueError as error:
        raise PayloadError(f"payload is no deliverable JSON: {error}") from error
    if not isinstance(members, dict):
        raise PayloadError(f"payload must be an object, got {_kind(members)}")
    url = _string(members, "url")
    if fault := check_web_url(url):
        raise PayloadError(f"payload.url {fault}")
    retry = members.get("retry")
    if isinstance(retry, bool) or not isinstance(retry, int | float):
        raise PayloadError(f"payload.retry must be a number, got {_kind_of_member(members, 'retry')}")
    event, data = _string(members, "event"), _document(members, "data")
    if dropped := _first_dropped(members, "data", data):
        # A signature over members that the receiver drops before it checks can never verify.
        raise PayloadError(
            f"payload.data holds {dropped}, which receivers drop, so its signature cannot verify"
        )
    cache = _document(members, "cache")
    # The application has named its steps and made their results: with `JSON.parse` it reads them as it wrote them. Upstream
    # sends them too, and without one of them a step would be run, or slept, over and over.
    dropped = _first_dropped(members, "cache", cache)
    doubt = dropped and f"payload.cache holds {dropped}, which h3 drops before a signature is checked"
    return Payload(url, event, data, cache, doubt)


def request_body(payload: Payload, *, job_key: str, attempt: int, now_ms: int) -> bytes:
    """The document that is posted, as canonical JSON: its bytes are what is signed.

    Args:
        payload: of the job.
        job_key: the job's key, or what stands for one.
        attempt: 1 at the first delivery.
        now_ms: milliseconds since the epoch; receivers refuse a document older than 15 s.
    """
    head = b'{"job_key":%b,"retry":%d,"time":%d,"event":%b' % (
        write(job_key),
        attempt,
        now_ms,
        write(payload.event),
    )
    data = b"" if payload.data is None else b',"data":' + payload.data
    cache = b"" if payload.cache is None else b',"cache":' + payload.cache
    return b"%b%b%b}" % (head, data, cache)


def _string(members: dict[str, JSONValue], name: str) -> str:
    value = members.get(name)
    if not isinstance(value, str):
        raise PayloadError(f"payload.{name} must be a string, got {_kind_of_member(members, name)}")
    return value


def _document(members: dict[str, JSONValue], name: str) -> bytes | None:
    if name not in members:
        return None
    return write(members[name])


def _first_dropped(members: dict[str, JSONValue], name: str, document: bytes | None) -> str | None:
    """One of the members that h3 would remove from data or cache, if there are any."""
    if document is None or not _MAYBE_DROPPED.search(document):
        return None
    return next(_dropped(members[name]), None)


def _dropped(value: JSONValue) -> Iterator[str]:
    """The members at any depth that `destr`, the JSON reader of h3, removes."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += value
        elif isinstance(value, dict):
            waiting += value.values()
            if "__proto__" in value:
                yield "a member `__proto__`"
            constructor = value.get("constructor")
            if isinstance(constructor, dict) and "prototype" in constructor:
                yield "a member `constructor` with a `prototype`"


def _kind_of_member(members: dict[str, JSONValue], name: str) -> str:
    return _kind(members[name]) if name in members else "none"


def _kind(value: JSONValue) -> str:
    """What a JSON value is, for an error."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "an array"
    return "an object"
