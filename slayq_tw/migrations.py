"""`migrate`: brings both schemas up to date, whoever else is doing the same."""

import json
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from twisted.internet.task import deferLater
from twisted.logger import Logger

from slayq_tw.database import Cursor, Database
from slayq_tw.errors import DatabaseError, DatabaseUnavailable, MigrationError, SchemaTooOld
from slayq_tw.graphile import BREAKING, Plan, plan
from slayq_tw.schema_turn import in_turn
from slayq_tw.sqlfiles import Migration, migration_files, named_queries, script

UPSTREAM_MIGRATION = "20240110.up.sql"
"""Upstream's only migration, under its own name for it."""
PREFIX = "slayq_tw/"
"""Before the names of ours."""
ATTEMPTS = 20
"""How often to go round again when somebody else installs at the same moment."""

_SOMEBODY_ELSE = frozenset({"23505", "42P06", "42P07", "42710", "42701", "40P01"})
"""Codes of objects and rows that have just appeared, or that both wanted to make: a Node migrator, or a daemon like this
one in an empty database, was faster."""
_log = Logger()
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class MigrationReport:
    """What `migrate` did.

    Attributes:
        applied: names of what was applied, in order; `graphile_worker/N` for the job schema's revisions.
        adopted: whether upstream had made the database.
    """

    applied: tuple[str, ...]
    adopted: bool


async def migrate(database: Database, clock: Any, *, upgrade_old: bool = False) -> MigrationReport:
    """Apply what is missing, each migration in a transaction that first takes its turn and then looks again. Where nothing
    is missing, nothing is locked.

    Args:
        database: open.
        clock: IReactorTime, for the pause after a collision, and to say who holds us up.
        upgrade_old: whether a job schema of before revision 16 may be upgraded; no worker survives that.

    Raises:
        SchemaTooNew: the job schema is newer than this program, and not compatible.
        MigrationError: it is too old, or the daemon's role lacks a privilege.
        DatabaseError: as the database does.
    """
    revisions = await _patiently(clock, lambda: _job_schema(database, clock, upgrade_old))
    adopted = await _patiently(clock, lambda: _step(database, clock, "schema slayq", _bootstrap, table=False))
    applied = [f"graphile_worker/{number}" for number in revisions]
    present = await _applied(database)
    for migration in migration_files():
        name = PREFIX + migration.name
        if name in present:
            continue

        async def apply(cursor: Cursor, name: str = name, migration: Migration = migration) -> bool:
            return await _apply(cursor, name, migration)

        def step(name: str = name, apply: Callable[[Cursor], Awaitable[bool]] = apply) -> Awaitable[bool]:
            return _step(database, clock, name, apply)

        if await _patiently(clock, step):
            applied.append(name)
    await _check_row_security(database)
    await _warn_of_unknown(database)
    if applied:
        _log.info("{event}: {applied}", event="migrated", applied=", ".join(applied))
    return MigrationReport(tuple(applied), adopted)


async def breaking_revision(database: Database) -> int:
    """The job schema's largest breaking revision.

    Raises:
        DatabaseError: as the database does.
    """
    ((_, breaking),) = await database.query(_sql("revision"))
    return int(breaking or 0)


async def _step(
    database: Database, clock: Any, what: str, work: Callable[[Cursor], Awaitable[T]], *, table: bool = True
) -> T:
    """Run one migration's transaction in its turn; a missing privilege becomes an error that says what to grant."""
    try:
        return await in_turn(database, clock, what, work, table=table)
    except DatabaseError as error:
        if error.sqlstate != "42501":
            raise
        ((_, role, name),) = await database.query(_sql("server"))
        raise MigrationError(
            f"{what}: role {role!r} lacks a privilege in database {name!r} ({error}); let it own the schemas "
            "graphile_worker and slayq, or GRANT CREATE ON DATABASE, and CREATE ON SCHEMA public",
            error.sqlstate,
        ) from error


async def _patiently(clock: Any, install: Callable[[], Awaitable[T]]) -> T:
    """Go round again when somebody else turns out to be installing meanwhile.

    A Node worker commits each of its migrations, so a schema that looks too old may just be on its way; one that stands still
    is what it looks like.
    """
    seen_revision = None
    for _ in range(ATTEMPTS):
        try:
            return await install()
        except DatabaseUnavailable:
            raise
        except SchemaTooOld as error:
            if error.revision == seen_revision:
                raise
            seen_revision, reason = error.revision, f"revision {error.revision} for the moment"
        except DatabaseError as error:
            if error.sqlstate not in _SOMEBODY_ELSE:
                raise
            reason = str(error)
        _log.info("{event}: {reason}; looking again", event="migration_collided", reason=reason)
        await deferLater(clock, random.uniform(0.4, 0.6))
    return await install()


async def _job_schema(database: Database, clock: Any, upgrade_old: bool) -> tuple[int, ...]:
    """Create, adopt or upgrade schema graphile_worker; the revisions that were recorded."""

    async def work(cursor: Cursor) -> tuple[int, ...]:
        ((version, _, _),) = await _rows(cursor, "server")
        if version < 120000:
            raise MigrationError(f"Postgres 12 or newer is required, this one is {version // 10000}")
        todo = plan(*await _revision(cursor), upgrade_old=upgrade_old)
        if todo.warning:
            _log.warn("{event}: {warning}", event="schema_newer", warning=todo.warning)
        await _carry_out(cursor, todo)
        return todo.rows

    return await _step(database, clock, "schema graphile_worker", work, table=False)


async def _revision(cursor: Cursor) -> tuple[int | None, int | None]:
    """The largest revision, and the largest breaking one. Makes the table that they stand in, if need be."""
    ((present,),) = await _rows(cursor, "has_table", table="graphile_worker.migrations")
    if not present:
        ((schema,),) = await _rows(cursor, "has_schema", schema="graphile_worker")
        if not schema:
            await cursor.execute("CREATE SCHEMA graphile_worker")
        await cursor.execute(_sql("create_migrations"))
        return None, None
    ((breaking,),) = await _rows(cursor, "has_breaking")
    if not breaking:
        await cursor.execute(_sql("add_breaking"))
        await cursor.execute(_sql("mark_breaking"), {"breaking": sorted(BREAKING)})
    ((revision, largest_breaking),) = await _rows(cursor, "revision")
    return revision, largest_breaking


async def _carry_out(cursor: Cursor, todo: Plan) -> None:
    if todo.offline:
        ((locked,),) = await _rows(cursor, "locked_jobs")
        if locked:
            raise MigrationError(
                f"the job schema cannot be upgraded while workers run: {locked} jobs or queues were locked within "
                "the last 4 hours. Stop all workers, and unlock what dead ones have left"
            )
    # The rows first: on their primary key, we wait for a Node migrator, or he for us.
    for number in todo.rows:
        await cursor.execute(_sql("record_revision"), {"id": number, "breaking": number in BREAKING})
    for name in todo.scripts:
        await cursor.execute(script("graphile_worker", name))
    for number in todo.rows if "create.sql" not in todo.scripts else todo.rows[-1:]:
        notice = {"migrationNumber": number, "breaking": number in BREAKING}
        await cursor.execute(
            _sql("announce_revision"), {"payload": json.dumps(notice, separators=(",", ":"))}
        )


async def _bootstrap(cursor: Cursor) -> bool:
    """Make the table of migrations; whether upstream had done so."""
    ((present,),) = await _rows(cursor, "has_table", table="slayq._migrations")
    if present:
        names = {name for (name,) in await _rows(cursor, "applied")}
        if UPSTREAM_MIGRATION in names:
            return not any(name.startswith(PREFIX) for name in names)
    ((schema,),) = await _rows(cursor, "has_schema", schema="slayq")
    if not schema:
        await cursor.execute("CREATE SCHEMA slayq")
    await cursor.execute(script("slayq", "bootstrap.sql"))
    return False


async def _apply(cursor: Cursor, name: str, migration: Migration) -> bool:
    """Apply one numbered file unless that has been done; whether it was."""
    if name in {applied for (applied,) in await _rows(cursor, "applied")}:
        return False
    await cursor.execute(migration.sql)
    await cursor.execute(_sql("record_migration"), {"name": name})
    return True


async def _check_row_security(database: Database) -> None:
    """A role that may use the tables and does not own them would be told that they are empty, without an error."""
    ((hidden,),) = await database.query(_sql("rows_hidden"))
    if hidden:
        ((_, role, _),) = await database.query(_sql("server"))
        raise MigrationError(
            f"row level security hides the jobs from role {role!r}; let it own the schema graphile_worker and its "
            "tables, or give it BYPASSRLS"
        )


async def _applied(database: Database) -> set[str]:
    return {name for (name,) in await database.query(_sql("applied"))}


async def _warn_of_unknown(database: Database) -> None:
    known = {UPSTREAM_MIGRATION, *(PREFIX + migration.name for migration in migration_files())}
    unknown = sorted(await _applied(database) - known)
    if unknown:
        _log.warn(
            "{event}: slayq._migrations names migrations that this version does not know: {names}",
            event="unknown_migrations",
            names=", ".join(unknown),
        )


async def _rows(cursor: Cursor, name: str, **parameters: Any) -> list[tuple[Any, ...]]:
    await cursor.execute(_sql(name), parameters or None)
    return cursor.fetchall()


def _sql(name: str) -> str:
    return named_queries("migrations.sql")[name]
