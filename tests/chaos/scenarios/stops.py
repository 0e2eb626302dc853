"""The daemon is told to stop while it has more to do than it can."""

from tests.chaos.postgres import now
from tests.chaos.rig import CONFIG, QUEUE, Rig
from tests.chaos.scenarios.scenario import Scenario

RATE = 20.0
DELIVERY = 1.0
"""Seconds of each delivery: eight slots are never free."""
SHORT, LONG = 0.2, 5.0
"""Grace periods: one that cuts deliveries off, and one that does not."""
CLOSING = 3.0
"""Seconds that a stop may take beyond the grace period."""


async def under_pressure(rig: Rig) -> None:
    """Stopped and started again, with either grace."""
    load = rig.load(RATE, f"/slow/{round(DELIVERY * 1000)}")
    for turn in range(2 if rig.quick else 6):
        grace = (SHORT, LONG)[turn % 2]
        daemon = await rig.daemon({**CONFIG, "grace": grace})
        await rig.delivery_after(now())
        await rig.sleep(0.5 + 0.17 * turn)
        begun = now()
        rig.check(await daemon.stop() == 0, "each stop ended with status 0")
        ended = now()
        if grace == SHORT:
            rig.disturbed(begun, ended)
        rig.check(ended - begun < grace + CLOSING, f"each stop took at most {CLOSING:g} s beyond its grace")
        left = rig.stored()
        rig.check(not any(row.locked for row in left), "no job was left locked")
        rig.check(all(row.attempts == 0 for row in left), "every attempt that was cut off was given back")
        rig.recovered(await _next(rig, ended))
    load.stop()
    rig.note(f"In the end {len(rig.stored())} events were left for a daemon with more slots")
    await rig.daemon({"queues": {QUEUE: {"concurrency": 100}}})
    await rig.settle()


async def _next(rig: Rig, moment: float) -> float:
    """Seconds until another daemon, started now and stopped again, delivers."""
    daemon = await rig.daemon({**CONFIG, "grace": LONG})
    taken = await rig.delivery_after(moment) - moment
    rig.check(await daemon.stop() == 0, "each stop ended with status 0")
    return taken


ALL = (
    Scenario(
        "sigterm",
        "SIGTERM with all slots taken and a growing backlog, with a grace period that cuts deliveries off and one that"
        " does not, in turn",
        under_pressure,
        "from the end of one daemon until the next one delivers",
        bound=5.0,
        quick=True,
    ),
)
