"""A delivery takes long, and much happens meanwhile."""

from urllib.parse import urlsplit

from tests.chaos.postgres import now
from tests.chaos.rig import CONFIG, Rig
from tests.chaos.scenarios.scenario import Scenario
from tests.proxy import Proxy

AWAY = 20.0
"""Seconds for which the database is away."""
DELIVERY, LONG = 25.0, 300.0
"""Seconds of the delivery, and of the one that the promise names."""
BEFORE = 3.0


async def long_delivery(rig: Rig) -> None:
    """The database is away for most of it, and another daemon of the same queue watches."""
    url = urlsplit(rig.server.daemon_url(rig.database))
    assert url.hostname and url.port
    proxy = Proxy(rig, url.hostname, url.port)
    login = url.netloc.rpartition("@")[0]
    through = url._replace(netloc=f"{login}@127.0.0.1:{proxy.listening_on}").geturl()
    seconds = LONG if rig.long else DELIVERY
    daemons = [await rig.daemon({**CONFIG, "timeout": seconds + 30}, url=through) for _ in range(2)]
    plain = {"key": None, "max_attempts": None}
    long = rig.send(4, f"/slow/{round(seconds * 1000)}", **plain, lane=None)
    in_lane = rig.send(2, f"/slow/{round(seconds * 500)}", **plain, lane="lane")
    begun = now()
    await rig.until(lambda: {*long, in_lane[0]} <= {one.number for one in rig.arrivals()}, "begin")
    await rig.sleep(BEFORE)
    await proxy.refuse()  # type: ignore[misc]
    away = now()
    await rig.sleep(AWAY)
    proxy.let_through()
    back = now()
    rig.send(10, "/ok", **plain, lane=None)
    rig.recovered(await rig.delivery_after(back) - back)
    await rig.settle(seconds + 60)
    await rig.sleep(12.0)  # as long as it takes to declare somebody dead
    rig.note(
        f"The deliveries took {seconds:g} s, the database was away from {away - begun:.0f} to {back - begun:.0f} s"
    )
    rig.check(len(rig.arrivals()) == len(rig.book.accepted), "each event was delivered once")
    ends = {one.number: (one.began, one.ended or 0.0) for one in rig.arrivals()}
    rig.check(
        ends[in_lane[1]][0] >= ends[in_lane[0]][1],
        "the second job of the lane began after the first had ended",
    )
    for daemon in daemons:
        rig.check(
            not any(word in line for line in daemon.lines for word in ("daemon_recovered", "declared_dead")),
            "nobody was taken for dead",
        )


ALL = (
    Scenario(
        "long-delivery",
        "Deliveries of 25 seconds (with --long, of five minutes) with the database away for 20 of them, and a second"
        " daemon watching",
        long_delivery,
        "from the database's return until a new event is delivered",
        bound=17.0,
    ),
)
