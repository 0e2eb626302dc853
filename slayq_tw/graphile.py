"""What has to be done to a job schema of any revision: decisions only.

Source: graphile-worker.md, sections 2.2 (texts of the refusals), 2.4 and 2.7.
"""

from dataclasses import dataclass

from slayq_tw.errors import SchemaTooNew, SchemaTooOld

REVISION = 20
"""The revision that this program creates and knows."""
BREAKING = frozenset({1, 3, 11, 13, 14, 16})
"""Revisions recorded as breaking. 19, which Node records so too, is not: no worker of 0.16 would start beside us."""
OLDEST_UPGRADABLE = 11
OLDEST_ONLINE = 16
"""From here on an upgrade leaves the tables' names alone, and live workers with them."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How to bring a schema to `REVISION`.

    Attributes:
        scripts: files of `sql/graphile_worker`, in order; empty when there is nothing to do.
        rows: revisions to record, in order.
        offline: whether no worker may be running.
        warning: what the operator should know, if anything.
    """

    scripts: tuple[str, ...] = ()
    rows: tuple[int, ...] = ()
    offline: bool = False
    warning: str | None = None


def plan(revision: int | None, breaking: int | None = None, *, upgrade_old: bool = False) -> Plan:
    """Decide.

    Args:
        revision: the largest recorded one; None, or 0, for a schema that is not there or empty.
        breaking: the largest that is recorded as breaking.
        upgrade_old: whether the operator asked for an upgrade that no running worker survives.

    Raises:
        SchemaTooNew: a breaking revision beyond what this program knows.
        SchemaTooOld: a revision that this program does not upgrade, or only when it is asked to.
    """
    if not revision:
        return Plan(("create.sql", "view.sql", "functions.sql"), tuple(range(1, REVISION + 1)))
    if revision > REVISION:
        return _newer(revision, breaking or 0)
    if revision < OLDEST_UPGRADABLE:
        raise SchemaTooOld(
            f"the job schema graphile_worker is at revision {revision}, which is too old to be upgraded here: "
            "start Graphile Worker 0.16 once on this database (graphile-worker --schema-only), then this program",
            revision,
        )
    if revision < OLDEST_ONLINE and not upgrade_old:
        raise SchemaTooOld(
            f"the job schema graphile_worker is at revision {revision}: upgrading it renames tables under every "
            "running worker. Stop all workers, then start this program once with --upgrade-old-schema",
            revision,
        )
    return Plan(
        _upgrade(revision), tuple(range(revision + 1, REVISION + 1)), offline=revision < OLDEST_ONLINE
    )


def _newer(revision: int, breaking: int) -> Plan:
    known = f"but the currently running worker only supports up to revision {REVISION}"
    if breaking > REVISION:
        raise SchemaTooNew(
            f"Database is using Graphile Worker schema revision {revision} which includes breaking migration "
            f"{breaking}, {known}. It would be unsafe to continue; please ensure all versions of Graphile Worker "
            "are compatible."
        )
    return Plan(
        warning=f"Database is using Graphile Worker schema revision {revision}, {known} which may or may not be "
        "compatible."
    )


def _upgrade(revision: int) -> tuple[str, ...]:
    scripts = []
    if revision <= 15:
        scripts.append("until_15_rename_tables.sql")
    if revision <= 17:
        scripts.append("until_17_drop_trigger.sql")
    if revision <= 15:
        scripts.append("until_15_drop_functions.sql")
    if revision <= 12:
        scripts.append("until_12_alter_job_spec.sql")
    if revision <= 16:
        scripts.append("view.sql")
    if revision < REVISION:
        scripts.append("functions.sql")
    return tuple(scripts)
