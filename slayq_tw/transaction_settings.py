"""What every transaction of ours sets first, so that its statements mean and cost the same whatever a role, a database
or another client of a pooler has set.

All of it is local to the transaction: behind a pooler in transaction mode no other setting lasts, and nothing leaks. What
is left alone is what an operator means to have an effect: `default_transaction_read_only` (a database that may only be read
says so to whoever writes), `synchronous_commit`, costs and memory.
"""

_EVERY = (
    # An older snapshot than the statement's own would miss what others committed, and two of ours would collide. (By the name of
    # the setting: SET TRANSACTION leaves a trace in the session.)
    "SET LOCAL transaction_isolation = 'read committed'",
    # Whoever may create in a schema on the path could have our statements call his functions, as us.
    "SET LOCAL search_path = pg_catalog, pg_temp",
    # Compiling a plan to machine code takes ten times as long as any statement here.
    "SET LOCAL jit = off",
    # Statements that shall not wait for locks say so themselves.
    "SET LOCAL lock_timeout = 0",
)
_IN_SEVERAL_STRINGS = ("SET LOCAL idle_in_transaction_session_timeout = 0",)


def for_one_string(timeout: float) -> str:
    """What to put before SQL that is sent as one string, and so is a transaction of its own.

    Args:
        timeout: seconds after which the server cancels it.
    """
    return _joined(_EVERY, timeout)


def for_transaction(timeout: float) -> str:
    """What to send first after BEGIN.

    Args:
        timeout: seconds after which the server cancels each statement.
    """
    return _joined((*_EVERY, *_IN_SEVERAL_STRINGS), timeout)


def _joined(settings: tuple[str, ...], timeout: float) -> str:
    return "; ".join((*settings, f"SET LOCAL statement_timeout = {round(timeout * 1000)}")) + ";\n"
