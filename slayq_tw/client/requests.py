"""`Event` and `NewJob`: what an application asks for, checked when it is made."""

from collections.abc import Collection, Iterator
from dataclasses import KW_ONLY, dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from slayq_tw.client.checks import (
    MAX_ATTEMPTS,
    MAX_KEY,
    MAX_NAME,
    SMALLINT,
    Delay,
    InvalidRequest,
    JobKeyMode,
    flags_faults,
    integer_faults,
    json_text,
    mode_faults,
    require,
    text_faults,
    time_faults,
)
from slayq_tw.errors import PayloadError
from slayq_tw.payload import parse_payload


@dataclass(frozen=True)
class NewJob:
    """A job for any Graphile Worker task.

    Args:
        identifier: of the task, 1 to 128 characters.
        payload: anything that `json.dumps` takes; None stores `{}`, as Node's client does.
        queue_name: serial queue: its jobs run one after another.
        run_at: when it is due, with a time zone; at once by default.
        delay: or how long from now, on the database's clock.
        max_attempts: 1 to 32767; 25 by default.
        key: job key, 1 to 512 characters: an unstarted job with the same key is replaced as `key_mode` says.
        priority: -32768 to 32767, lower runs first; 0 by default.
        flags: marks by which workers may leave jobs out.

    Raises:
        InvalidRequest: with every fault.
    """

    identifier: str
    payload: Any = None
    _: KW_ONLY
    queue_name: str | None = None
    run_at: datetime | None = None
    delay: Delay | None = None
    max_attempts: int | None = None
    key: str | None = None
    priority: int | None = None
    flags: Collection[str] | None = None
    key_mode: JobKeyMode = "replace"

    def __post_init__(self) -> None:
        """Check everything, the payload too."""
        require(self._faults())
        _ = self.payload_text

    def _faults(self) -> Iterator[str]:
        yield from text_faults("identifier", self.identifier, MAX_NAME)
        if self.max_attempts is not None:
            yield from integer_faults("max_attempts", self.max_attempts, MAX_ATTEMPTS)
        yield from _common_faults(self)

    @cached_property
    def payload_text(self) -> str | None:
        """The JSON that is stored, or None for the default."""
        return None if self.payload is None else json_text("payload", self.payload)


@dataclass(frozen=True)
class Event:
    """An event for a SlayQ application, as the SlayQ client stores it.

    Args:
        name: such as `mail/welcome`.
        data: what the function gets, anything that `json.dumps` takes; absent when None.
        queue: the queue that delivers it, or an alias: a name of the server's configuration.
        endpoint: URL of the application's receiver.
        retries: attempts after the first, 0 to 32766; None leaves Graphile Worker's 25 attempts in all.
        queue_name: serial lane: its events are delivered one after another.
        run_at, delay, key, priority, flags, key_mode: as `NewJob` has them.

    Raises:
        InvalidRequest: with every fault; also when the event could never be delivered.
    """

    name: str
    data: Any = None
    _: KW_ONLY
    queue: str
    endpoint: str
    run_at: datetime | None = None
    delay: Delay | None = None
    key: str | None = None
    priority: int | None = None
    retries: int | None = None
    queue_name: str | None = None
    flags: Collection[str] | None = None
    key_mode: JobKeyMode = "replace"

    def __post_init__(self) -> None:
        """Check everything, and that the payload is one that the daemon delivers."""
        require(self._faults())
        try:
            parse_payload(self.payload_text)
        except PayloadError as error:
            # The daemon calls the members by their stored names, the caller by the arguments'.
            text = str(error).replace("payload.url", "endpoint:").replace("payload.data", "data:")
            raise InvalidRequest(text) from error

    def _faults(self) -> Iterator[str]:
        yield from text_faults("name", self.name)
        yield from text_faults("queue", self.queue, MAX_NAME)
        yield from text_faults("endpoint", self.endpoint)
        if self.retries is not None:
            yield from integer_faults("retries", self.retries, (0, MAX_ATTEMPTS[1] - 1))
        yield from _common_faults(self)

    @property
    def identifier(self) -> str:
        """The task identifier: the queue."""
        return self.queue

    @property
    def max_attempts(self) -> int | None:
        """The first attempt and the retries."""
        return None if self.retries is None else self.retries + 1

    @cached_property
    def payload_text(self) -> str:
        """The JSON that is stored."""
        members = {"url": self.endpoint, "retry": self.retries or 0, "event": self.name}
        return json_text("data", members if self.data is None else {**members, "data": self.data})


def _common_faults(request: NewJob | Event) -> Iterator[str]:
    if request.queue_name is not None:
        yield from text_faults("queue_name", request.queue_name, MAX_NAME)
    if request.key is not None:
        yield from text_faults("key", request.key, MAX_KEY)
    if request.priority is not None:
        yield from integer_faults("priority", request.priority, SMALLINT)
    if request.flags is not None:
        yield from flags_faults(request.flags)
    yield from mode_faults(request.key_mode)
    yield from time_faults(request.run_at, request.delay)


def due(run_at: datetime | None, delay: Delay | None, now: datetime | None) -> datetime | None:
    """The moment that a time or a delay means; None is at once.

    Args:
        now: aware; needed where there is a delay.
    """
    if delay is None or now is None:
        return run_at
    return now + (delay if isinstance(delay, timedelta) else timedelta(seconds=delay))
