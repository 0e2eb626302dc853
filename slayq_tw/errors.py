"""The exception tree. Each message says what is wrong, where, and what to do about it."""

from collections.abc import Callable
from datetime import datetime


class SlayQError(Exception):
    """Root of what this package raises on purpose."""


class ConfigError(SlayQError):
    """The configuration or the environment is wrong. The text is a complete report, one fault per line."""


class PayloadError(SlayQError):
    """A job's payload can never be delivered: the job fails for good with this text as its `last_error`."""


class DeliveryError(SlayQError):
    """A request got no usable answer: refused, reset, timed out, or malformed. Worth another attempt."""


class NoAnswer(DeliveryError):
    """Nothing came back, not even a status: that speaks of the receiver rather than of the request.

    Attributes:
        connected: whether a connection stood.
    """

    def __init__(self, message: str, *, connected: bool) -> None:
        super().__init__(message)
        self.connected = connected


class DestinationRefused(SlayQError):
    """No delivery may go where this one would: the job fails for good, with this text as its `last_error`."""


class NameUnresolved(SlayQError):
    """A host name could not be looked up: whether it has an address is not known."""


class NameAwaited(NameUnresolved):
    """A host name is still being looked up, and whoever asked should not wait for it but come back.

    Attributes:
        seconds: until when, at the latest.
        written: to be told the job's id and its new `run_at`, when that is stored: it is then due with the name.
    """

    def __init__(self, host: str, seconds: float, written: Callable[[int, datetime], None]) -> None:
        super().__init__(f"the name {host} is still being looked up")
        self.seconds = seconds
        self.written = written


class DatabaseError(SlayQError):
    """Postgres answered with an error.

    Attributes:
        sqlstate: the five-character code, or None when the server gave none.
    """

    def __init__(self, message: str, sqlstate: str | None = None) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate


class DatabaseUnavailable(DatabaseError):
    """Postgres cannot be reached, or the connection was lost: the same call may succeed later."""


class DatabaseMute(DatabaseUnavailable):
    """A statement got no answer in time, and its connection was given up: it may be half-open."""


class MigrationError(DatabaseError):
    """The schema cannot be brought up to date by this program."""


class SchemaTooOld(MigrationError):
    """The job schema is at a revision that is not upgraded here, or only when that is asked for.

    Attributes:
        revision: which one.
    """

    def __init__(self, message: str, revision: int) -> None:
        super().__init__(message)
        self.revision = revision


class SchemaTooNew(MigrationError):
    """The job schema is at a breaking revision that this program does not know: exit status 57."""
