"""Postgres is there, and says no."""

import contextlib
from typing import Any

import psycopg2

from tests.chaos.postgres import APPLICATION, PASSWORD, now
from tests.chaos.rig import Rig
from tests.chaos.scenarios.scenario import Scenario

RATE = 40.0
IDLE_CONNECTIONS = 300
EXHAUSTED = 8.0
"""Seconds without a free connection."""


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
)
