"""What the driver's errors mean: which are ours, and what each says of its connection."""

import psycopg2
from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.python.failure import Failure
from txpostgres.reconnection import ConnectionDead

from slayq_tw.errors import DatabaseError, DatabaseUnavailable

READ_ONLY = "25006"
"""The session may only read. A session stays as it was opened, whatever becomes of the database: only a new one can tell
whether it may be written again."""

TOO_LONG = "57014"
"""A statement was cancelled: it ran longer than its `statement_timeout`."""
UNTRANSLATABLE = "22P05"
"""A character that the database's encoding does not have."""
LOCK_NOT_AVAILABLE = "55P03"
"""Somebody else's transaction held a lock for longer than `lock_timeout`."""

# Server messages that no amount of waiting cures. libpq gives no SQLSTATE for a connection that never came up.
_HOPELESS = (
    "password authentication failed",
    "no password supplied",
    "authentication failed for user",
    "does not exist",  # database or role
    "permission denied for database",
    "is not permitted to log in",
    "no pg_hba.conf entry",
    "is not currently accepting connections",
    "no such database",  # PgBouncer's, as are the next two
    "no such user",
    "unsupported startup parameter",
    "Tenant or user not found",  # Supabase's pooler
)


def is_dead(failure: Failure) -> bool:
    """Whether a failure means that its connection is gone, or good for nothing any more.

    The driver raises OperationalError for lock time-outs, deadlocks and a full disk as well; those carry a code.
    """
    if failure.check(ConnectionDone, ConnectionLost, ConnectionDead):
        return True
    error = failure.value
    if not isinstance(error, psycopg2.Error):
        return False
    if error.pgcode is None:
        return isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError) or (
            type(error) is psycopg2.DatabaseError
        )
    return error.pgcode.startswith("08") or error.pgcode in ("57P01", "57P02", "57P03", READ_ONLY)


def translate(failure: Failure) -> DatabaseError | None:
    """The driver's error as one of ours, or None when it is not the driver's."""
    error = failure.value
    if failure.check(CancelledError):
        return DatabaseError(
            "the statement was cancelled: it ran longer than its statement_timeout", TOO_LONG
        )
    if is_dead(failure):
        if isinstance(error, psycopg2.Error):
            return DatabaseUnavailable(
                one_line(str(error)) or "the connection to Postgres was lost", error.pgcode
            )
        return DatabaseUnavailable("the connection to Postgres was lost")
    if isinstance(error, psycopg2.Error):
        return DatabaseError(one_line(str(error)), error.pgcode)
    return None


def one_line(text: str) -> str:
    """A server's message without its line breaks."""
    return " ".join(text.split())


def may_pass(error: DatabaseError) -> bool:
    """Whether waiting may cure it: a server that is away, full, or may only be read, or a transaction that lost.

    Not a refused password, or a missing database, role or privilege.
    """
    if isinstance(error, DatabaseUnavailable):
        return not any(text in str(error) for text in _HOPELESS)
    return error.sqlstate is not None and error.sqlstate[:2] in ("40", "53")
