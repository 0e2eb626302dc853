"""The client for Twisted: the same calls on a `Database`, or on the cursor of a transaction of the caller's.

On a `Database` each call is a transaction of its own. To add a job together with other work, hand it the cursor:

    async def sign_up(cursor):
        await cursor.execute("INSERT INTO public.account …")
        await send_event(cursor, "mail/welcome", {"account": 7}, queue="mail", endpoint=ENDPOINT)

    await database.transaction(sign_up)

(A `Database` has nothing but Postgres's own schema on its search_path: the application's tables are named with theirs.)
"""

from collections.abc import Awaitable, Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, runtime_checkable

from slayq_tw.client import adding, changing
from slayq_tw.client.operation import Operation, signature_after

P = ParamSpec("P")
T = TypeVar("T")


class Cursor(Protocol):
    """What is used of a transaction's cursor, as `slayq_tw.database.Database.transaction` hands it to its work."""

    def execute(self, query: str, params: Any = None, /) -> Awaitable[Any]:
        """Run a statement with `%(name)s` parameters."""

    def fetchall(self) -> list[tuple[Any, ...]]:
        """All rows of it."""


@runtime_checkable
class Transactions(Protocol):
    """What is used of `slayq_tw.database.Database`."""

    async def transaction(self, work: Callable[[Any], Awaitable[T]], /) -> T:
        """Run `work(cursor)` between BEGIN and COMMIT."""
        ...


Call = Callable[Concatenate[Transactions | Cursor, P], Coroutine[Any, Any, T]]


def _asynchronous(operation: Callable[P, Operation[T]]) -> Call[P, T]:
    @wraps(operation)
    async def call(where: Transactions | Cursor, /, *args: P.args, **kwargs: P.kwargs) -> T:
        async def work(cursor: Cursor) -> T:
            steps = operation(*args, **kwargs)
            try:
                statement = next(steps)
                while True:
                    await cursor.execute(statement.sql, statement.parameters)
                    statement = steps.send(cursor.fetchall())
            except StopIteration as end:
                result: T = end.value
                return result

        if isinstance(where, Transactions):
            return await where.transaction(work)
        return await work(where)

    call.__signature__ = signature_after("where", Transactions | Cursor, operation)  # type: ignore[attr-defined]
    return call


send_event = _asynchronous(adding.send_event)
send_events = _asynchronous(adding.send_events)
add_job = _asynchronous(adding.add_job)
add_jobs = _asynchronous(adding.add_jobs)
remove_job = _asynchronous(changing.remove_job)
complete_jobs = _asynchronous(changing.complete_jobs)
permanently_fail_jobs = _asynchronous(changing.permanently_fail_jobs)
reschedule_jobs = _asynchronous(changing.reschedule_jobs)
force_unlock_workers = _asynchronous(changing.force_unlock_workers)
