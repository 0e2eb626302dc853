"""The daemon's process is killed."""

import psycopg2

from tests.chaos.postgres import now
from tests.chaos.rig import CONCURRENCY, Rig
from tests.chaos.scenarios.scenario import Scenario

RATE = 40.0
"""Events a second, each of which takes a tenth of a second: four of eight slots."""


async def restarted(rig: Rig) -> None:
    """One daemon, killed and started again and again."""
    daemon = await rig.daemon()
    load = rig.load(RATE)
    for turn in range(3 if rig.quick else 10):
        await rig.delivery_after(now())
        await rig.sleep(0.2 + 0.13 * turn)  # another phase of its turns each time
        killed = await rig.kill(daemon)
        held = rig.held()
        daemon = await rig.daemon()
        rig.recovered(await rig.all_delivered_after(held, killed) - killed)
    load.stop()
    await rig.settle()


async def beside_another(rig: Rig) -> None:
    """Two daemons, of which one is killed and stays away."""
    first = await rig.daemon()
    await rig.daemon()
    load = rig.load(2 * RATE)
    await rig.sleep(2.0)
    mine = f"SELECT worker FROM slayq._private_daemons WHERE process LIKE '{first.pid} %'"
    worker = rig.sql.value(mine)
    killed = await rig.kill(first)
    held = {
        row[0]
        for row in rig.sql.rows(
            "SELECT (payload -> 'data' ->> 'n')::integer FROM graphile_worker._private_jobs WHERE locked_by = %s",
            [worker],
        )
    }
    rig.check(bool(held), "the killed daemon held jobs")
    rig.recovered(await rig.all_delivered_after(held, killed) - killed)
    load.stop()
    await rig.settle()


async def beside_a_lock(rig: Rig) -> None:
    """The daemon is killed and started again while a transaction of an application holds one of its jobs."""
    daemon = await rig.daemon()
    plain = {"key": None, "lane": None, "max_attempts": None}
    events = rig.send(CONCURRENCY, "/slow/1000", **plain)
    await rig.until(lambda: len(rig.arrivals()) == len(events), "deliveries under way")
    connection = psycopg2.connect(rig.server.url(rig.database))
    rig.addCleanup(connection.close)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT FROM graphile_worker._private_jobs WHERE (payload -> 'data' ->> 'n')::integer = %s FOR UPDATE",
            [events[0]],
        )
    killed = await rig.kill(daemon)
    await rig.daemon()
    rig.recovered(await rig.all_delivered_after(set(events[1:]), killed) - killed)
    connection.rollback()
    free = now()
    rig.recovered(await rig.all_delivered_after({events[0]}, killed) - free)
    await rig.settle()


ALL = (
    Scenario(
        "kill-restarted",
        "kill -9 of the daemon, ten times under load, started again each time",
        restarted,
        "from the kill until everything that it held is delivered",
        bound=8.0,
        quick=True,
    ),
    Scenario(
        "kill-beside",
        "kill -9 of one of two daemons, which stays away",
        beside_another,
        "from the kill until everything that it held is delivered by the other",
        bound=15.0,
        quick=True,
    ),
    Scenario(
        "kill-locked",
        "kill -9 while a transaction of an application has one of the daemon's jobs locked, and a start",
        beside_a_lock,
        "from the kill until the others are delivered; from the end of the transaction until that one is",
        bound=15.0,
    ),
)
