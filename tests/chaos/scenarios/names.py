"""Host names that cannot be looked up, beside those that can."""

import json
from pathlib import Path
from urllib.parse import urlsplit

from tests.chaos.ledger import Arrival
from tests.chaos.nameserver import ALIVE, DEAD, NameServer, asking
from tests.chaos.postgres import now
from tests.chaos.rig import CONFIG, QUEUE, Rig
from tests.chaos.scenarios.scenario import Scenario
from tests.chaos.sender import Load, arguments

DEAD_EVENTS = 1000
"""Events to so many names of which none is answered."""
RATE = 100.0
"""Events a second to the living receiver, half of them by its name."""
ALONE = 20.0
"""Seconds for which the living receiver's events come alone: what this machine is capable of."""
P99 = 0.020
"""Seconds from an event's commit to its receiver; on a busy machine, twice what it is without the others."""
GRACE = 2
STOP = GRACE + 1.0
MINUTE = 65.0
"""Seconds in which there is a cron tick."""


async def mute_names(rig: Rig) -> None:
    """A thousand events to dead names, in the same queue as those to a living receiver."""
    server = NameServer()
    server.listen()
    rig.addCleanup(server.close)
    folder = Path(rig.mktemp())
    folder.mkdir(parents=True)
    port = urlsplit(rig.receiver.url).port
    named = f"http://{ALIVE}:{port}"
    daemon = await rig.daemon(
        {**CONFIG, "grace": GRACE}, within=asking(folder), SLAY_Q_CRON_URL=f"{named}/ok"
    )
    urls = (f"{rig.receiver.url}/ok", f"{named}/ok")
    load = Load(
        rig.server.url(rig.database),
        rig.book,
        lambda number: {
            **arguments(number, QUEUE, urls[number % 2]),
            "lane": None,
            "key": None,
            "max_attempts": None,
        },
        RATE,
    )
    load.start()
    rig.addCleanup(load.stop)
    await rig.sleep(ALONE)
    alone = dict(rig.book.added)
    dead = _send_dead(rig)
    begun = now()
    ticks = len(rig.receiver.ticks())
    await rig.sleep(15.0 if rig.quick else MINUTE)
    ended = now()
    load.stop()
    sent = {number: at for number, at in rig.book.added.items() if at >= begun and number not in dead}
    await rig.until(
        lambda: sent.keys() <= {one.number for one in rig.arrivals() if one.delivered}, "living events"
    )
    _judge(rig, alone, sent, ended - begun)
    if not rig.quick:
        rig.check(len(rig.receiver.ticks()) > ticks, "the cron tick came")
    stopping = now()
    status = await daemon.stop()
    rig.check(status == 0, "the daemon ended with 0")
    rig.recovered(now() - stopping)
    opened = [line for line in daemon.lines if "circuit_opened" in line and DEAD not in line]
    rig.check(not opened, "no circuit of the living receiver opened")
    said = [row.last_error or "" for row in rig.stored() if row.last_error]
    rig.check(not any("has no address" in text for text in said), "nothing is claimed about the dead names")
    rig.note(
        f"{len(said)} of the {len(dead)} dead events were charged; {server.asked} questions to the name server"
    )


def _judge(rig: Rig, alone: dict[int, float], sent: dict[int, float], seconds: float) -> None:
    """How long the living events took: those before the dead ones came, and those beside them."""
    first: dict[int, Arrival] = {}
    for one in rig.arrivals():
        first.setdefault(one.number, one)
    usual, _ = _waits(rig, "alone", first, alone)
    p99, number = _waits(rig, f"beside {DEAD_EVENTS} dead names", first, sent)
    bound = max(P99, 2 * usual)
    rig.check(
        p99 <= bound,
        f"the living receiver has 99 of 100 events within {bound * 1000:.0f} ms; it was {p99 * 1000:.1f} ms",
    )
    rig.check(number >= 0.9 * RATE * seconds, "they were sent at the rate")
    charged = [number for number in sent if first[number].attempt != 1]
    rig.check(not charged, "none of them was charged an attempt in vain")


def _waits(rig: Rig, when: str, first: dict[int, Arrival], sent: dict[int, float]) -> tuple[float, int]:
    waits = sorted(first[number].began - at for number, at in sent.items() if number in first)
    p99 = waits[int(len(waits) * 0.99)]
    rig.note(
        f"{when}: {len(waits)} events to the living receiver, median {waits[len(waits) // 2] * 1000:.1f} ms, p99"
        f" {p99 * 1000:.1f} ms, longest {waits[-1] * 1000:.0f} ms"
    )
    return p99, len(waits)


def _send_dead(rig: Rig) -> set[int]:
    """All at once."""
    numbers = [rig.book.number() for _ in range(DEAD_EVENTS)]
    payloads = [
        json.dumps(
            {"url": f"http://{number}.{DEAD}/", "retry": 0, "event": "chaos/event", "data": {"n": number}}
        )
        for number in numbers
    ]
    rig.sql.once(
        "SELECT count(public.add_worker_job(%(queue)s, payload::json)) FROM unnest(%(payloads)s::text[]) AS payload",
        {"queue": QUEUE, "payloads": payloads},
    )
    for number in numbers:
        rig.book.accept(number)
    return set(numbers)


ALL = (
    Scenario(
        "mute-names",
        "1,000 events to names that the name server never answers for, in one queue with 100 a second to a receiver that "
        "lives, by its address and by its name",
        mute_names,
        "the stop, within the grace period and a second",
        bound=STOP,
    ),
)
