"""Somebody sets the clock."""

import time
from pathlib import Path

from tests.chaos.postgres import now
from tests.chaos.processes import cpu_seconds
from tests.chaos.rig import Rig
from tests.chaos.scenarios.scenario import Scenario
from tests.processes import Daemon, python_environment

RATE = 20.0
HOUR = 3600.0
TO_MINUTE = 3.0
"""Seconds from each step to the next full minute by the stepped clock, so that nobody waits a minute for the tick."""
AFTER = 5.0
"""Seconds that are looked at after each step."""
STEPPED = Path(__file__).parent.parent / "stepped"
BUSY = 0.5
"""Seconds of CPU per second beyond which the daemon spins."""


class Clock:
    """A daemon's wall clock.

    Args:
        rig: the scenario's.
    """

    def __init__(self, rig: Rig) -> None:
        self._path = Path(rig.mktemp())
        self.offset = 0.0
        self._write(0.0)

    def environment(self) -> dict[str, str]:
        """The variables of the daemon that it is of."""
        path = python_environment()["PYTHONPATH"]
        return {"PYTHONPATH": f"{STEPPED}:{path}", "CHAOS_CLOCK": str(self._path)}

    def step(self, daemon: Daemon, seconds: float) -> None:
        """Set it so much forward, or back if negative, and a little further: the next minute comes soon."""
        offset = self.offset + seconds
        to_minute = 60 - (time.time() + offset) % 60
        self._write(
            offset + to_minute - TO_MINUTE if to_minute > TO_MINUTE else offset + to_minute + 60 - TO_MINUTE
        )
        daemon.signal("USR1")

    def _write(self, offset: float) -> None:
        self.offset = offset
        self._path.write_text(str(offset))


async def stepped(rig: Rig) -> None:
    """Forwards and backwards by an hour, under the daemon alone; a second daemon watches."""
    clock = Clock(rig)
    daemon = await rig.daemon(**clock.environment())
    load = rig.load(RATE, "/slow/300")
    await rig.sleep(2.0)
    watcher = await rig.daemon({"queues": {"other": {"concurrency": 1}}})
    counts = []
    for seconds in (0.0, HOUR, -HOUR, 0.0, 0.0):
        before = len(rig.receiver.ticks())
        used = cpu_seconds(daemon.pid)
        begun = now()
        clock.step(daemon, seconds)
        rig.recovered(await rig.delivery_after(begun) - begun)
        await rig.sleep(AFTER)
        counts.append(len(rig.receiver.ticks()) - before)
        used = cpu_seconds(daemon.pid) - used
        rig.check(used < BUSY * AFTER, "the daemon did not spin after a step")
        skews = [one.behind + clock.offset for one in rig.arrivals() if one.began > begun + 0.5]
        rig.check(
            max(map(abs, skews)) < 1.0,
            "the deliveries' time was right, by the stepped clock, within half a second of a step",
        )
    load.stop()
    await rig.settle()
    rig.note(
        f"Cron ticks after each step (to a minute's end, an hour on, back, and twice a minute on): {counts}"
    )
    rig.check(1 <= counts[0] <= 2, "the tick came at the full minute")
    rig.check(1 <= counts[1] <= 2, "the tick went on after a step forwards, and no hour was made up for")
    rig.check(sum(counts[2:]) >= 1, "the tick went on within two minutes of a step backwards")
    rig.check(max(counts) <= 2, "no minute had more than its tick")
    for one in (daemon, watcher):
        rig.check(
            not any(word in line for line in one.lines for word in ("daemon_recovered", "declared_dead")),
            "nobody was taken for dead",
        )
    rig.check(all(one.attempt == 1 for one in rig.arrivals()), "no delivery under way was given up")


ALL = (
    Scenario(
        "clock-stepped",
        "The daemon's wall clock is set an hour forwards and backwards while it delivers",
        stepped,
        "from a step until the next delivery",
        bound=2.0,
    ),
)
