"""Postgres goes away, or its sessions do."""

from tests.chaos.postgres import now
from tests.chaos.rig import Rig
from tests.chaos.scenarios.scenario import Scenario

RATE = 40.0
OUTAGE = 2.0
STALLS = (2.0, 4.0, 7.0, 13.0)
"""Seconds for which it is frozen: less and more than a statement, a heartbeat and a lifetime may take."""
BACK_AT_WORK = "from the end until a new event is delivered and the results from before are written"


async def crashed(rig: Rig) -> None:
    """Postgres stops without writing anything, and recovers from its log."""
    await rig.daemon()
    load = rig.load(RATE)
    for _ in range(1 if rig.quick else 4):
        await rig.delivery_after(now())
        await rig.sleep(1.0)
        rig.server.crash()
        await rig.sleep(OUTAGE)
        rig.server.start()
        back = now()
        rig.recovered(await rig.back_at_work(back))
    load.stop()
    took = await rig.settle()
    rig.note(f"Everything was delivered {took:.1f} s after the last event was sent")


async def terminated(rig: Rig) -> None:
    """All sessions of the daemon are ended by an administrator, again and again."""
    daemon = await rig.daemon()
    load = rig.load(RATE)
    await rig.delivery_after(now())
    for _ in range(10):
        await rig.sleep(0.7)
        rig.check(rig.terminate_backends() > 0, "there were sessions to terminate")
    ended = now()
    rig.recovered(await rig.back_at_work(ended))
    load.stop()
    await rig.settle()
    restored = sum("database_connection_restored" in line for line in daemon.lines)
    rig.note(f"The daemon reconnected {restored} times")


async def frozen(rig: Rig) -> None:
    """Postgres answers nothing for a while, as when its disk hangs, and then answers everything."""
    daemon = await rig.daemon()
    load = rig.load(RATE)
    for stall in STALLS:
        await rig.delivery_after(now())
        await rig.sleep(1.0)
        thaw = rig.server.freeze()
        rig.addCleanup(thaw)
        await rig.sleep(stall)
        thaw()
        rig.recovered(await rig.back_at_work(now()))
    load.stop()
    took = await rig.settle()
    suspected = sum("database_connections_suspected" in line for line in daemon.lines)
    strays = sum("strays_released" in line for line in daemon.lines)
    rig.note(
        f"Connections were suspected {suspected} times, strays found {strays} times; all done after {took:.1f} s"
    )


ALL = (
    Scenario(
        "immediate-stop",
        "Postgres stopped with `immediate` and started again two seconds later, four times under load",
        crashed,
        BACK_AT_WORK,
        bound=5.0,
        quick=True,
    ),
    Scenario(
        "terminated",
        "pg_terminate_backend on all sessions of the daemon, ten times, 0.7 s apart",
        terminated,
        BACK_AT_WORK,
        bound=3.0,
    ),
    Scenario(
        "frozen",
        "All processes of Postgres suspended, for 2, 4, 7 and 13 seconds",
        frozen,
        BACK_AT_WORK,
        bound=8.0,
    ),
)
