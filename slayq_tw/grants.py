"""`apply_grants`: who may call the functions in schema public and reach our schemas, brought in line at every start.

The functions run with their owner's rights, so EXECUTE on them is the right to enqueue, cancel and forge
results. It is nobody's by default. The migration that replaces upstream's functions, which everybody could call,
gives it to the roles that can log in at that moment, in its own transaction; what is left to do here is to say
so, once.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.logger import Logger

from slayq_tw.errors import MigrationError
from slayq_tw.schema_turn import Transactions, in_turn
from slayq_tw.sqlfiles import named_queries

PUBLIC_ROLES = frozenset({"anon", "authenticated"})
"""Supabase's roles behind the key that every visitor of an application has. They never get the right."""


@dataclass(frozen=True)
class GrantReport:
    """What one call of `apply_grants` did.

    Attributes:
        granted: pairs of function and role that got EXECUTE, sorted.
        revoked: pairs of function and role (`PUBLIC` included) that lost it, sorted.
        adopted: the roles that got it when upstream's database was adopted, reported for the first time; sorted.
    """

    granted: tuple[tuple[str, str], ...]
    revoked: tuple[tuple[str, str], ...]
    adopted: tuple[str, ...]


async def apply_grants(database: Transactions, roles: Sequence[str], clock: Any) -> GrantReport:
    """Revoke EXECUTE from PUBLIC, anon and authenticated; grant it to service_role and to the configured roles.

    What anon and authenticated were granted on the schemas `slayq` and `graphile_worker` is revoked too.

    Grants that an operator gave to other roles stay, and so do those of a role that the configuration no longer
    names: another daemon's may.

    Args:
        database: its schemas are up to date.
        roles: the configuration's `grant_execute_to`.
        clock: IReactorTime, to say who holds us up.

    Raises:
        MigrationError: a configured role does not exist, or is one that the right is taken from.
        DatabaseError: the daemon's role may not grant.
    """
    queries = named_queries("grants.sql")
    log = Logger()
    public = sorted(PUBLIC_ROLES.intersection(roles))
    if public:
        raise MigrationError(
            f"grant_execute_to: {_quoted(public)} may not call the functions: everybody who can open the "
            "application could then add and cancel jobs"
        )

    async def work(cursor: Any) -> GrantReport:
        parameters = {"roles": sorted(set(roles))}
        await cursor.execute(queries["unknown_roles"], parameters)
        unknown = [name for (name,) in cursor.fetchall()]
        if unknown:
            raise MigrationError(
                f"grant_execute_to: no such role in this database: {_quoted(unknown)}; "
                "create it, or take it out of the configuration"
            )
        await cursor.execute(queries["grant_execute"], parameters)
        changes = cursor.fetchall()
        await cursor.execute(queries["announce_adopted"])
        report = GrantReport(
            granted=tuple(
                sorted((function, role) for change, function, role in changes if change == "granted")
            ),
            revoked=tuple(
                sorted((function, role) for change, function, role in changes if change == "revoked")
            ),
            adopted=tuple(sorted({role for (role,) in cursor.fetchall()})),
        )
        await _close_schemas(cursor, queries, log)
        # Said before the commit that notes it: a crash in between repeats the warning rather than losing it.
        if report.adopted:
            log.warn(
                "{event}: everybody could call the functions in schema public, now only who is granted EXECUTE; the "
                "roles that can log in were: {roles}. Revoke it from those that send no events.",
                event="adopted_grants",
                roles=_quoted(report.adopted),
            )
        return report

    report = await in_turn(database, clock, "who may call the functions", work)
    if report.granted or report.revoked:
        log.info(
            "{event}: granted to {granted}, revoked from {revoked}",
            event="grants_changed",
            granted=_quoted(sorted({role for _, role in report.granted})) or "nobody",
            revoked=_quoted(sorted({role for _, role in report.revoked})) or "nobody",
        )
    return report


async def _close_schemas(cursor: Any, queries: Mapping[str, str], log: Logger) -> None:
    """Have the public roles reach nothing in our schemas; what they can reach all the same is said at each start."""
    parameters = {"roles": sorted(PUBLIC_ROLES)}
    await cursor.execute(queries["close_schemas"], parameters)
    if rows := cursor.fetchall():
        log.info(
            "{event}: taken from {roles}: what they were granted on {objects}",
            event="schemas_closed",
            roles=_named(role for _, role in rows),
            objects=_named(name for name, _ in rows),
        )
    await cursor.execute(queries["open_relations"], parameters)
    if rows := cursor.fetchall():
        log.warn(
            "{event}: {roles}, and with them everybody who has the application's public key, can reach {objects}: "
            "through PUBLIC or another role, or it is not ours to revoke. Revoke it by hand.",
            event="schemas_open",
            roles=_named(role for _, role in rows),
            objects=_named(name for name, _ in rows),
        )


def _named(names: Iterable[str]) -> str:
    return _quoted(sorted(set(names)))


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)
