"""Postgres goes away, or its sessions do."""

from tests.chaos.postgres import now
from tests.chaos.rig import Rig
from tests.chaos.scenarios.scenario import Scenario

RATE = 40.0
OUTAGE = 2.0
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
)
