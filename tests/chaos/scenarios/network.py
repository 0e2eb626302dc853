"""A connection to Postgres stays open and carries nothing any more."""

from urllib.parse import urlsplit

from tests.chaos.postgres import now
from tests.chaos.rig import Rig
from tests.chaos.scenarios.scenario import Scenario
from tests.proxy import Proxy

RATE = 20.0
PROMPT = 2.0
"""Seconds until an event arrives while announcements do not: the queues are looked at every second."""
NOTICED = 90.0
"""Seconds until the daemon has found out that it hears nothing."""


def _through(rig: Rig) -> tuple[Proxy, str]:
    """A proxy before the database, and the daemons' URL through it."""
    url = urlsplit(rig.server.daemon_url(rig.database))
    assert url.hostname and url.port
    proxy = Proxy(rig, url.hostname, url.port)
    login = url.netloc.rpartition("@")[0]
    return proxy, url._replace(netloc=f"{login}@127.0.0.1:{proxy.listening_on}").geturl()


async def deaf_pool(rig: Rig) -> None:
    """All connections of the daemon are half-open."""
    proxy, url = _through(rig)
    await rig.daemon(url=url)
    load = rig.load(RATE)
    await rig.sleep(3.0)
    begun = now()
    rig.check(proxy.swallow() == 5, "all five connections were half-open")
    rig.disturbed(begun, begun)
    rig.recovered(await rig.back_at_work(begun + 1.0, patience=NOTICED) + 1.0)
    load.stop()
    await rig.settle()


async def one_deaf(rig: Rig) -> None:
    """One connection of the pool is, which every fourth statement gets."""
    proxy, url = _through(rig)
    await rig.daemon(url=url, SLAY_Q_LISTEN_URL=rig.server.daemon_url(rig.database))
    load = rig.load(RATE)
    await rig.sleep(3.0)
    begun = now()
    rig.check(proxy.swallow(1) == 1, "one connection was half-open")
    rig.disturbed(begun, begun)
    rig.recovered(await rig.back_at_work(begun + 1.0, patience=NOTICED) + 1.0)
    load.stop()
    await rig.settle()


async def deaf_listener(rig: Rig) -> None:
    """Only the connection that is told of new jobs is."""
    proxy, url = _through(rig)
    await rig.daemon(SLAY_Q_LISTEN_URL=url)
    load = rig.load(RATE / 4, "/ok")
    await rig.sleep(3.0)
    begun = now()
    rig.check(proxy.swallow() == 1, "the listening connection was half-open")
    await rig.until(
        lambda: any(not one.swallowed for one in proxy.open), "second listening connection", NOTICED
    )
    rig.recovered(now() - begun)
    load.stop()
    await rig.settle()
    late = [
        one.began - rig.book.added[one.number]
        for one in rig.arrivals()
        if rig.book.added[one.number] > begun and one.number % 5  # the others wait for their lane
    ]
    rig.check(
        max(late) < PROMPT,
        f"all the while {len(late)} events arrived within {PROMPT:g} s of being added; the slowest took {max(late):.1f} s",
    )


ALL = (
    Scenario(
        "half-open-pool",
        "The daemon's connections to Postgres stay open and carry nothing any more; TCP acknowledges everything",
        deaf_pool,
        "from the beginning, for it has no end, until a new event is delivered and the results from before are written",
        bound=15.0,
        quick=True,
    ),
    Scenario(
        "half-open-one",
        "One of the pool's connections stays open and carries nothing any more",
        one_deaf,
        "as above",
        bound=15.0,
    ),
    Scenario(
        "half-open-listen",
        "The same of the listening connection alone",
        deaf_listener,
        "from the beginning until the daemon listens on another one",
        bound=80.0,
    ),
)
