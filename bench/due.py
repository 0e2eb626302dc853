"""How late jobs are delivered that become due one after the other."""

import itertools
import time

from bench.contestants import Contestant
from bench.figures import Samples, percentile
from bench.jobs import identifiers, payload_around, sample
from bench.plan import Plan
from bench.processes import BenchError
from bench.rig import Rig

AHEAD = 1.0
"""Seconds from the moment that jobs are stored until the first is due."""
PATIENCE = 30.0
"""Seconds for the last one to arrive after it was due."""

_SPREAD = """
INSERT INTO graphile_worker._private_jobs (task_id, payload, run_at)
SELECT task.id, (%(before)s || n || %(after)s)::json, now() + (%(ahead)s + n / %(rate)s) * interval '1 second'
  FROM generate_series(0, %(count)s - 1) AS n
  JOIN graphile_worker._private_tasks AS task
    ON task.identifier = (%(identifiers)s::text[])[1 + n %% cardinality(%(identifiers)s::text[])]
RETURNING id, date_part('epoch', run_at)
"""


def lateness(rig: Rig, contestant: Contestant, rate: float, seconds: float) -> list[float]:
    """Store jobs at once, unannounced, of which so many become due in a second; for how long each was due at arrival.

    Raises:
        BenchError: some did not arrive.
    """
    names = list(sample()["queues"])
    count = round(rate * seconds)
    before, after = payload_around(rig.stamping.url)
    with rig.database(contestant) as database, rig.worker(contestant, database) as worker:
        rig.warm_up(worker, database, identifiers(sample()))
        rig.stamping.arrivals()
        stored = database.rows(
            _SPREAD,
            {
                "before": before,
                "after": after,
                "ahead": AHEAD,
                "rate": float(rate),
                "count": count,
                "identifiers": names,
            },
        )
        to_monotonic = time.monotonic() - time.time()
        first = min(moment for _, moment in stored) + to_monotonic
        deadline = first + seconds + PATIENCE
        arrived: dict[int, float] = {}
        while len(arrived) < count and time.monotonic() < deadline:
            worker.wait(0.2, deadline)
            arrived |= rig.stamping.arrivals()
    if len(arrived) < count:
        raise BenchError(f"{contestant.name}: {count - len(arrived)} jobs did not arrive")
    return [arrived[n] - (first + n / rate) for n in range(count)]


def measure_due(rig: Rig, plan: Plan, samples: Samples) -> None:
    """At the rate of the latency's target, and at one at which queues are idle between two."""
    for contestant in itertools.chain.from_iterable(plan.turns()):
        for what, rate in (("due", plan.latency_rate), ("due idle", plan.latency_rate / 50)):
            late = lateness(rig, contestant, rate, plan.latency_seconds)
            samples.record(f"{what} p50", contestant.name, percentile(late, 0.5) * 1e3)
            samples.record(f"{what} p99", contestant.name, percentile(late, 0.99) * 1e3)
