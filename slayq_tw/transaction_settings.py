"""What every transaction of ours sets first, so that its statements mean and cost the same whatever a role, a database
or another client of a pooler has set.

All of it is local to the transaction: behind a pooler in transaction mode no other setting lasts, and nothing leaks. What
is left alone is what an operator means to have an effect: `default_transaction_read_only` (a database that may only be read
says so to whoever writes), `synchronous_commit`, costs and memory.
"""

_EVERY = (
    # An older snapshot than the statement's own would miss what others committed, and two of ours would collide. (By the
    # name of the setting: SET TRANSACTION leaves a trace in the session.)
    "SET LOCAL transaction_isolation = 'read committed'",
    # Whoever may create in a schema on the path could have our statements call his functions, as us.
    "SET LOCAL search_path = pg_catalog, pg_temp",
    # Compiling a plan to machine code takes ten times as long as any statement here.
    "SET LOCAL jit = off",
    # Statements that shall not wait for locks say so themselves.
    "SET LOCAL lock_timeout = 0",
    # Arrays of numbers are sent as '{1,NULL}', of which `off` makes the word.
    "SET LOCAL array_nulls = on",
)
_WHOLE_TRANSACTION = 170_000
"""The server's version from which on there is a time-out for a transaction, which ends the session."""


def for_one_string(timeout: float, version: int = 0) -> str:
    """What to put before SQL that is sent as one string, and so is a transaction of its own.

    Args:
        timeout: seconds after which the server cancels it.
        version: the server's, such as 170002.
    """
    return _joined(_EVERY, timeout, version)


def for_transaction(timeout: float, version: int = 0) -> str:
    """What to send with BEGIN.

    Args:
        timeout: seconds after which the server cancels each statement.
        version: the server's, such as 170002.
    """
    return _joined((*_EVERY, "SET LOCAL idle_in_transaction_session_timeout = 0"), timeout, version)


def _joined(settings: tuple[str, ...], timeout: float, version: int) -> str:
    if version >= _WHOLE_TRANSACTION:
        settings = (*settings, "SET LOCAL transaction_timeout = 0")
    # First of all: until then the role's own may cancel us.
    return "; ".join((f"SET LOCAL statement_timeout = {round(timeout * 1000)}", *settings)) + ";\n"
