"""Postgres is there, and says no."""

import contextlib
from typing import Any

import psycopg2

from tests.chaos.disk import small_disk, unmount
from tests.chaos.postgres import APPLICATION, PASSWORD, now
from tests.chaos.processes import cpu_seconds
from tests.chaos.rig import Rig
from tests.chaos.scenarios.scenario import Scenario

RATE = 40.0
READ_ONLY = 6.0
"""Seconds for which the database may only be read."""
FULL = 6.0
"""Seconds for which the disk is full."""
TABLESPACE = "small"
IDLE_CONNECTIONS = 300
EXHAUSTED = 8.0
"""Seconds without a free connection."""

_END_OTHERS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
_FULL_TRIGGER = """
CREATE FUNCTION public.chaos_full() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100';
END
$$;
CREATE TRIGGER chaos_full BEFORE INSERT OR UPDATE ON graphile_worker._private_jobs
   FOR EACH STATEMENT EXECUTE FUNCTION public.chaos_full();
"""


async def no_connections(rig: Rig) -> None:
    """Others take every connection while the daemon has to connect again."""
    daemon = await rig.daemon()
    load = rig.load(RATE)
    await rig.delivery_after(now())
    idle: list[Any] = []
    rig.addCleanup(_close, idle)
    url = rig.server.url(rig.database, f"{APPLICATION}:{PASSWORD}")
    _fill(idle, url)
    daemon.signal("STOP")  # or it would be the first to take what becomes free
    rig.terminate_backends()
    _fill(idle, url)
    daemon.signal("CONT")
    begun = now()
    late = await rig.daemon(wait=False)
    await rig.sleep(EXHAUSTED)
    rig.note(f"{len(idle)} idle connections were all that the server took")
    rig.check(
        not any(one.began > begun + 1.0 for one in rig.arrivals()), "nothing could be claimed meanwhile"
    )
    for one in (daemon, late):
        rig.check(
            any("connection slots" in line for line in one.lines), "each daemon's log says what is lacking"
        )
    _close(idle)
    free = now()
    rig.recovered(await rig.back_at_work(free))
    await late.ready()
    load.stop()
    await rig.settle()


async def read_only(rig: Rig) -> None:
    """Every session finds a database that may only be read, as after a failover that took the wrong turn."""
    daemon = await rig.daemon()
    load = rig.load(RATE)
    await rig.delivery_after(now())
    rig.sql.rows(f"ALTER DATABASE {rig.database} SET default_transaction_read_only = on")
    rig.sql.rows(_END_OTHERS)
    await rig.sleep(READ_ONLY)
    rig.check(
        rig.book.refused.get("25006", 0) > 0, "applications were refused meanwhile, as read-only (25006)"
    )
    used = cpu_seconds(daemon.pid)
    lines = len(daemon.lines)
    rig.sql.rows(f"ALTER DATABASE {rig.database} RESET default_transaction_read_only")
    rig.check(used < READ_ONLY, f"the daemon did not spin: {used:.1f} s of CPU in all")
    rig.note(f"Its log has {lines} lines by then")
    ended = now()
    rig.recovered(await rig.back_at_work(ended))
    load.stop()
    await rig.settle()


async def disk_full(rig: Rig) -> None:
    """The disk under the tables fills up, and is freed."""
    disk = small_disk(rig.server.owner)
    if disk is not None:
        rig.addCleanup(unmount, disk)
        rig.server.tablespace(TABLESPACE, disk)
        rig.addCleanup(rig.server.drop_tablespace, TABLESPACE)
        rig.addCleanup(rig.server.drop, rig.database)
        rig.server.move(rig.database, TABLESPACE)
    daemon = await rig.daemon()
    load = rig.load(3 * RATE, "/slow/200")  # more than is delivered: there is something to claim
    await rig.delivery_after(now())
    await rig.sleep(2.0)
    if disk is None:
        rig.note("No tmpfs can be mounted here: a trigger raised 53100 instead")
        rig.sql.rows(_FULL_TRIGGER)
    else:
        rig.sql.rows("CREATE TABLE filler (text text)")
        with contextlib.suppress(psycopg2.errors.DiskFull):
            while True:
                rig.sql.rows("INSERT INTO filler SELECT repeat('x', 2000) FROM generate_series(1, 100)")
        with contextlib.suppress(psycopg2.errors.DiskFull):
            while True:
                rig.sql.rows("INSERT INTO filler VALUES ('x')")
    await rig.sleep(FULL)
    rig.check(
        rig.book.refused.get("53100", 0) > 0, "applications were refused meanwhile, for the full disk (53100)"
    )
    failed = any("claim_failed" in line for line in daemon.lines)
    rig.note(f"Claims {'failed meanwhile' if failed else 'found room in pages that deliveries had emptied'}")
    if disk is None:
        rig.sql.rows("DROP FUNCTION public.chaos_full CASCADE")
    else:
        rig.sql.rows("DROP TABLE filler")
    freed = now()
    rig.recovered(await rig.back_at_work(freed))
    load.stop()
    await rig.settle()


def _fill(idle: list[Any], url: str) -> None:
    with contextlib.suppress(psycopg2.OperationalError):
        while len(idle) < IDLE_CONNECTIONS:
            idle.append(psycopg2.connect(url))


def _close(idle: list[Any]) -> None:
    while idle:
        idle.pop().close()


ALL = (
    Scenario(
        "no-connections",
        "300 idle connections leave none for the daemon, whose own were terminated, and for one that starts",
        no_connections,
        "from the end until a new event is delivered and the results from before are written",
        bound=10.0,
    ),
    Scenario(
        "read-only",
        "The database may only be read for six seconds, and then again be written",
        read_only,
        "from the end until a new event is delivered and the results from before are written",
        bound=10.0,
        quick=True,
    ),
    Scenario(
        "disk-full",
        "The disk under the tables is full for six seconds",
        disk_full,
        "from the moment that there is room until a new event is delivered and the results from before are written",
        bound=10.0,
    ),
)
