"""Log observers: one line an event, as text for people or as JSON for programs."""

import json
import re
from datetime import UTC, datetime
from typing import IO, Any

from twisted.logger import (
    FileLogObserver,
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    eventAsText,
    formatEvent,
    formatEventAsClassicLogText,
)
from zope.interface import implementer

LEVELS = tuple(level.name for level in LogLevel.iterconstants())
FORMATS = ("text", "json")
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters but for tab and line feed, halves of surrogate pairs, and what turns the direction of writing."""


def observer(stream: IO[str], log_format: str, level: str) -> ILogObserver:
    """An observer that writes events of a level and above.

    Args:
        stream: written to, and flushed after each event.
        log_format: one of `FORMATS`.
        level: one of `LEVELS`.
    """
    write = JSONLines(stream) if log_format == "json" else FileLogObserver(stream, as_text)
    return FilteringLogObserver(write, [LogLevelFilterPredicate(LogLevel.lookupByName(level))])


def as_text(event: LogEvent) -> str | None:
    """An event as Twisted writes it, without what would make a terminal do or show something else."""
    text = formatEventAsClassicLogText(event)
    return text and _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def as_json(event: LogEvent) -> str:
    """An event as one JSON object: `time`, `level`, `namespace`, `message`, `event`, and the event's own fields.

    Fields whose values are not plain JSON, and those that Twisted adds for itself, are left out; a traceback goes
    to `traceback`.
    """
    record: dict[str, Any] = {
        "time": datetime.fromtimestamp(event["log_time"], UTC).isoformat(timespec="milliseconds"),
        "level": event["log_level"].name if event.get("log_level") else "info",
        "namespace": event.get("log_namespace", ""),
        "message": formatEvent(event),
    }
    for name, value in event.items():
        if not name.startswith("log_") and name not in record and _is_plain(value):
            record[name] = value
    if "log_failure" in event:
        record["traceback"] = eventAsText(event, includeTimestamp=False, includeSystem=False)
    return _UNPRINTABLE.sub(_escaped, json.dumps(record, ensure_ascii=False))


def _escaped(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


def _is_plain(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(_is_plain(item) for item in value)
    return value is None or isinstance(value, str | int | float | bool)


@implementer(ILogObserver)
class JSONLines:
    """Writes each event as a line of JSON."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def __call__(self, event: LogEvent) -> None:
        """Write one event."""
        self._stream.write(as_json(event) + "\n")
        self._stream.flush()
