"""An application forgets to end its transaction."""

import psycopg2

from tests.chaos.postgres import now
from tests.chaos.rig import Rig
from tests.chaos.scenarios.scenario import Scenario

RATE = 20.0
IDLE = 60.0
LOCKED = 5
"""Jobs that are locked while they are delivered, and as many that fall due under the lock."""
PROMPT = 2.0
"""Seconds until another event arrives, at most."""
UNWRITTEN = 50
"""Results that may wait for the database in spite of its being there, beside those of the locked jobs."""

_LOCK = """
SELECT id FROM graphile_worker._private_jobs WHERE (payload -> 'data' ->> 'n')::integer = ANY (%s) FOR UPDATE
"""


async def idle_in_transaction(rig: Rig) -> None:
    """A transaction holds an old snapshot and the rows of some jobs, and does nothing for a minute."""
    await rig.daemon()
    load = rig.load(RATE)
    await rig.delivery_after(now())
    plain = {"key": None, "lane": None, "max_attempts": None}
    under_way = set(rig.send(LOCKED, "/slow/1500", **plain))
    to_come = set(rig.send(LOCKED, "/ok", **plain, delay=4.0))
    await rig.until(lambda: under_way <= {one.number for one in rig.arrivals()}, "deliveries under way")
    connection = psycopg2.connect(rig.server.url(rig.database))
    rig.addCleanup(connection.close)
    connection.set_session(isolation_level="REPEATABLE READ")
    with connection.cursor() as cursor:
        cursor.execute(_LOCK, [list(under_way | to_come)])
        rig.check(
            cursor.rowcount == 2 * LOCKED, "the transaction holds rows of jobs under way and of jobs to come"
        )
    begun = now()
    most = 0
    while now() - begun < IDLE:
        await rig.sleep(1.0)
        stored = {row.number for row in rig.stored()} - under_way
        done = {one.number for one in rig.arrivals() if one.delivered and (one.ended or 0) < now() - 1.0}
        most = max(most, len(stored & done))
    connection.commit()
    ended = now()
    rig.recovered(await rig.all_delivered_after(under_way | to_come, begun) - ended)
    rig.recovered(await rig.back_at_work(ended))
    load.stop()
    await rig.settle()
    late = [
        one.began - rig.book.added[one.number]
        for one in rig.arrivals()
        if begun < rig.book.added[one.number] < ended and one.number not in under_way | to_come
    ]
    rig.check(
        max(late) < PROMPT,
        f"meanwhile {len(late)} other events arrived within {PROMPT:g} s of being added; the slowest took {max(late):.1f} s",
    )
    rig.check(most <= UNWRITTEN, f"at most {UNWRITTEN} results of others had to wait; it was {most}")


ALL = (
    Scenario(
        "long-transaction",
        "A transaction that is idle for a minute, with an old snapshot and locks on ten jobs, five of them under way",
        idle_in_transaction,
        "from its end until the jobs that it had locked are delivered and all results are written",
        bound=8.0,
    ),
)
