"""How long a worker takes from its start to its first delivery."""

import itertools

from bench.figures import Samples
from bench.jobs import identifiers, sample
from bench.plan import Plan
from bench.rig import START_TIMEOUT, Rig


def measure_start(rig: Rig, plan: Plan, samples: Samples) -> None:
    """From the start of the process to the arrival of the first job; the schema is in place, and jobs are due."""
    for contestant in itertools.chain.from_iterable(plan.turns()):
        with rig.database(contestant) as database:
            names = identifiers(sample())
            database.add(len(names), names, rig.stamping.url)
            database.settle()
            rig.stamping.arrivals()
            before = rig.stamping.count()
            with rig.worker(contestant, database) as worker:
                # At leisure: looking often would take its time from it.
                while rig.stamping.count() - before < len(names):
                    worker.wait(0.1, worker.began + START_TIMEOUT)
                first = min(rig.stamping.arrivals().values())
                samples.record("start", contestant.name, first - worker.began)
