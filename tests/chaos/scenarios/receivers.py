"""Receivers misbehave, each beside a good one in the same queue."""

import os

from tests.chaos.misbehaviour import MISBEHAVIOURS
from tests.chaos.postgres import now
from tests.chaos.processes import Receiver, memory
from tests.chaos.rig import CONFIG, Rig
from tests.chaos.scenarios.scenario import Scenario
from tests.processes import Daemon

TIMEOUT = 3.0
"""Seconds for a delivery: so long the worst of them hold a slot."""
BAD, GOOD = 4, 20
"""Events for either receiver: of eight slots, four are left to the good one."""
PROMPT = 2.0
"""Seconds until the good receiver has its events."""
GROWTH = 40 * 1024 * 1024
"""Bytes of memory that the daemon may need beyond those of good deliveries, at any moment."""
WARM = 100
MB = 1024 * 1024

ENDS = {"slow/2000": True, "status/500": False, **dict.fromkeys(MISBEHAVIOURS, False)}
"""What the bad receiver does, and whether that delivers the event."""
QUICK = ("body", "one-header", "redirect-bomb", "nothing")


async def misbehaving(rig: Rig) -> None:
    """One kind after the other, in one queue with a good receiver."""
    daemon = await rig.daemon({**CONFIG, "timeout": TIMEOUT})
    bad = await rig.another_receiver()
    rig.send(WARM)
    await rig.settle()
    before, _ = memory(daemon.pid)
    files = _files(daemon)
    for kind in QUICK if rig.quick else ENDS:
        rig.recovered(await _beside(rig, daemon, bad, kind))
    await rig.settle()
    _, most = memory(daemon.pid)
    rig.check(
        most - before < GROWTH,
        f"the daemon needed at most {GROWTH // MB} MB more than before; it was {(most - before) / MB:.1f} MB",
    )
    await rig.until(lambda: _files(daemon) <= files + 2, "end of the connections to the bad receiver", 15.0)
    rig.check(True, "no connection to a bad receiver was left open")


async def _beside(rig: Rig, daemon: Daemon, bad: Receiver, kind: str) -> float:
    """One kind; seconds until the good receiver had its events."""
    plain = {"lane": None, "max_attempts": 1}
    wrong = set(rig.send(BAD, f"/{kind}", receiver=bad, **plain))
    await rig.until(lambda: wrong <= {one.number for one in bad.arrivals()}, f"request for {kind}", 5.0)
    begun = now()
    good = set(rig.send(GOOD, "/slow/20", lane=None))

    def delivered() -> set[int]:
        return {one.number for one in rig.arrivals() if one.delivered}

    await rig.until(lambda: good <= delivered(), f"delivery beside {kind}", 20.0)
    taken = now() - begun
    rows: dict[int, str | None] = {}

    def ended() -> bool:
        rows.clear()
        rows.update(
            {row.number: row.last_error for row in rig.stored() if row.number in wrong and row.failed}
        )
        return wrong <= rows.keys() | delivered()

    await rig.until(ended, f"end of {kind}", 20.0)
    rig.check(
        not rows if ENDS[kind] else rows.keys() == wrong, f"{kind}: {'delivered' if ENDS[kind] else 'failed'}"
    )
    said = next(iter(rows.values()), None) or "delivered"
    resident, _ = memory(daemon.pid)
    rig.note(
        f"{kind}: {now() - begun:.1f} s until its end ({said.partition(': ')[2][:90] or said}); the good receiver had"
        f" its {GOOD} events in {taken:.2f} s; {resident / MB:.0f} MB"
    )
    return taken


def _files(daemon: Daemon) -> int:
    return len(os.listdir(f"/proc/{daemon.pid}/fd"))


ALL = (
    Scenario(
        "bad-receivers",
        "Receivers that answer slowly, drip, reset in mid-answer, send garbage, endless headers, an endless body, gzip"
        " bombs, redirect loops, 1xx only, 500s, or nothing",
        misbehaving,
        "the time that a good receiver waits for its events beside each of them",
        bound=PROMPT,
        quick=True,
    ),
)
