"""Receivers that were away, and come back."""

import socket

from tests.chaos.postgres import now
from tests.chaos.processes import Receiver, cpu_seconds
from tests.chaos.rig import QUEUE, Rig
from tests.chaos.scenarios.scenario import Scenario
from tests.chaos.sender import arguments

OUTAGES, QUICK, LONG = (3.0, 12.0, 25.0), (5.0,), (3.0, 12.0, 25.0, 90.0)
"""Seconds for which nothing listens."""
WAITING = 50
"""Events for each of these receivers from before."""
BACK = 2.0
"""Seconds from a port's opening to the first delivery."""
LOOK = 1.0
"""Seconds between two looks at the table: what a poller has handed back, because it held more than can begin soon, may
wait for the next one."""
CROWD, CROWD_QUICK = 10_000, 1_000
WATCHED = 10.0
CORE = 0.01
CHARGED = 20
"""Deliveries to an absent receiver, at most, that count: five, those under way with them, and a probe now and then."""


async def comebacks(rig: Rig) -> None:
    """Outages of different lengths; each time a new event is sent while the circuit is open."""
    daemon = await rig.daemon()
    for outage in QUICK if rig.quick else LONG if rig.long else OUTAGES:
        port = _free_port()
        waiting = set(_send(rig, port, WAITING))
        begun = now()
        await rig.sleep(outage * 0.8)
        charged = sum(row.attempts > 0 and not row.locked for row in rig.stored() if row.number in waiting)
        rig.check(charged <= CHARGED, f"at most {CHARGED} deliveries to an absent receiver were charged")
        (new,) = _send(rig, port, 1)
        await rig.sleep(max(0.0, begun + outage - now()))
        receiver = await rig.another_receiver(port)
        opened = now()
        came = await _first(rig, receiver, {new})
        first = await _first(rig, receiver, waiting)
        rig.recovered(first - opened)
        rig.check(
            came - opened <= BACK + LOOK,
            f"what was sent meanwhile came within {BACK + LOOK:g} s, behind the others",
        )
        rig.note(
            f"away for {outage:g} s: the first event {first - opened:.2f} s after the port opened, the new one"
            f" {came - opened:.2f} s; {charged} of {WAITING} were charged"
        )
    rig.check(not any("circuit_bug" in line for line in daemon.lines), "no fault of ours is in the log")
    port = _free_port()
    count = CROWD_QUICK if rig.quick else CROWD
    _send(rig, port, count)
    await daemon.wait_for_line(f"circuit_opened: http://127.0.0.1:{port} ")
    await rig.sleep(15.0)
    before = cpu_seconds(daemon.pid)
    await rig.sleep(WATCHED)
    used = (cpu_seconds(daemon.pid) - before) / WATCHED
    rig.note(f"{count:,} waiting events cost {used * 100:.1f} % of a core")
    receiver = await rig.another_receiver(port)
    opened = now()
    rig.recovered(await _first(rig, receiver, None) - opened)


async def _first(rig: Rig, receiver: Receiver, numbers: set[int] | None) -> float:
    """When the first of these events, or any, came to a receiver."""

    def came() -> list[float]:
        return [one.began for one in receiver.arrivals() if numbers is None or one.number in numbers]

    await rig.until(lambda: bool(came()), "delivery to the receiver that is back")
    return min(came())


def _send(rig: Rig, port: int, count: int) -> list[int]:
    """Events for whoever listens there."""
    numbers = [rig.book.number() for _ in range(count)]
    url = f"http://127.0.0.1:{port}/ok"
    payloads = [arguments(number, QUEUE, url)["payload"] for number in numbers]
    rig.sql.once(
        "SELECT count(public.add_worker_job(%(queue)s, payload::json)) FROM unnest(%(payloads)s::text[]) AS payload",
        {"queue": QUEUE, "payloads": payloads},
    )
    for number in numbers:
        rig.book.accept(number)
    return numbers


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


ALL = (
    Scenario(
        "comebacks",
        "Nothing listens where events are to go, for different lengths of time, with new ones meanwhile, and in the end"
        " 10,000 that wait",
        comebacks,
        "from the port's opening to the first delivery",
        bound=BACK,
        quick=True,
    ),
)
