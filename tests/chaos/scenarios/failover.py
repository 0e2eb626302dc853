"""The primary goes away for good, and its standby takes its place."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.chaos.pair import Pair
from tests.chaos.postgres import Session, now
from tests.chaos.rig import Rig
from tests.chaos.scenarios.scenario import Scenario

RATE = 40.0
UNTIL_PROMOTED = 2.0
"""Seconds for which no server takes writes; whoever promotes needs longer, as a rule."""
BEHIND = 1.0
"""Seconds of events that an asynchronous standby does not have."""
FIRST_DELIVERY = "from the promotion until the first delivery of an event that was stored after it"
OUTAGE_LINES = ("database_connection_lost", "database_unreachable", "database_connection_restored")


def _pair(rig: Rig, *, synchronous: bool) -> Pair:
    """Two servers for this scenario alone; the rig's database is then there."""
    folder = Path(tempfile.mkdtemp(prefix="slayq-chaos-pair-"))
    folder.chmod(0o711)
    pair = Pair(folder / "servers", synchronous=synchronous)
    rig.addCleanup(pair.remove)
    rig.server = pair
    rig.sql = Session(pair.url(rig.database))
    rig.addCleanup(rig.sql.close)
    pair.create(rig.database)
    return pair


async def _fail_over(rig: Rig, pair: Pair, end: Callable[[], object]) -> None:
    """The primary ends, and some time later the standby is promoted."""
    daemon = rig.running()[0]
    before = len(daemon.lines)
    ended = now()
    end()
    await rig.sleep(UNTIL_PROMOTED)
    pair.promote()
    promoted = now()
    rig.recovered(await _first_of_new(rig, promoted) - promoted)
    rig.disturbed(ended, now())
    await rig.until(lambda: any(OUTAGE_LINES[2] in line for line in daemon.lines[before:]), "line of its end")
    told = [line for line in daemon.lines[before:] if any(one in line for one in OUTAGE_LINES)]
    rig.note(f"The log told of the outage in {len(told)} lines")


async def _first_of_new(rig: Rig, moment: float) -> float:
    """When the first event that was accepted after a moment was delivered: one that was held already may be sooner."""
    began: list[float] = []

    def happened() -> bool:
        new = {number for number, added in rig.book.added.copy().items() if added > moment}
        began[:] = [one.began for one in rig.arrivals() if one.delivered and one.number in new]
        return bool(began)

    await rig.until(happened, "delivery of an event that was stored after the promotion")
    return min(began)


async def killed(rig: Rig) -> None:
    """With a synchronous standby nothing that was confirmed can be gone."""
    pair = _pair(rig, synchronous=True)
    daemon = await rig.daemon()
    load = rig.load(RATE)
    await rig.delivery_after(now())
    await rig.sleep(1.0)
    await _fail_over(rig, pair, pair.crash)
    await rig.sleep(2.0)
    load.stop()
    await rig.settle()
    arrived = [one.number for one in rig.arrivals()]
    rig.check(len(arrived) == len(set(arrived)), "no event arrived twice")
    for event, count in zip(OUTAGE_LINES, (0, 1, 1), strict=True):
        said = sum(f"{event}:" in line for line in daemon.lines)
        rig.check(said == count, f"{event} stands in the log {count} times")


async def asynchronous(rig: Rig) -> None:
    """What was committed and not replicated is gone: nobody can deliver it. Everything else is as before."""
    pair = _pair(rig, synchronous=False)
    await rig.daemon()
    load = rig.load(RATE, "/slow/300")
    await rig.delivery_after(now())
    await rig.sleep(1.0)
    pair.follow_no_more()
    behind = now()
    await rig.sleep(BEHIND)
    await _fail_over(rig, pair, pair.crash)
    (outage,) = rig.windows
    rig.disturbed(behind, outage.end)
    await rig.sleep(2.0)
    load.stop()
    await rig.settle(gone=lambda: rig.missing_since(behind))
    gone = rig.missing_since(behind)
    rig.lost_by_the_database(gone)
    late = sum(behind < added <= outage.begin for added in rig.book.added.values())
    rig.check(bool(gone), "what was committed and not replicated is gone")
    rig.note(
        f"Of {late} events that the standby did not have {len(gone)} are gone; the others had been delivered"
    )


ALL = (
    Scenario(
        "failover",
        "The primary killed under load and its synchronous standby promoted two seconds later; one URL with both hosts",
        killed,
        FIRST_DELIVERY,
        bound=5.0,
        quick=True,
    ),
    Scenario(
        "failover-async",
        "The primary killed when its asynchronous standby was a second behind: what it did not have is gone, and counted",
        asynchronous,
        FIRST_DELIVERY,
        bound=5.0,
    ),
)
