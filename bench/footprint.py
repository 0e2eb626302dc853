"""What a worker occupies: connections, memory, and what it does when there is nothing to do."""

import itertools
import time

from bench.contestants import DAEMON, Contestant
from bench.drain import TIMEOUT
from bench.figures import Samples
from bench.jobs import by_concurrency, identifiers, sample
from bench.plan import Plan
from bench.postgres import Database
from bench.processes import Child, cpu_seconds, resident_bytes
from bench.rig import START_TIMEOUT, Rig

FLUSH = 11.0
"""Seconds after which sessions have handed in the statistics of their last work: Postgres takes up to 10."""

_GLANCE = 0.1


def measure_footprint(rig: Rig, plan: Plan, samples: Samples) -> None:
    """Connections and memory while jobs are drained, then transactions and CPU of a worker that waits."""
    for contestant in itertools.chain.from_iterable(plan.fewer_turns()):
        if contestant in plan.watched:
            with rig.database(contestant) as database:
                database.add(plan.jobs, identifiers(sample()), rig.receiver.url)
                database.settle()
                database.close()  # or it would be counted
                with rig.worker(contestant, database) as worker:
                    _busy(rig, samples, contestant, database, worker, plan.jobs)
                    _idle(rig, samples, contestant, database, worker, plan.idle_seconds)


def _busy(
    rig: Rig, samples: Samples, contestant: Contestant, database: Database, worker: Child, jobs: int
) -> None:
    connections = memory = 0
    before = rig.receiver.count()
    done = False
    while not done:
        worker.wait(_GLANCE, worker.began + TIMEOUT)
        connections = max(connections, rig.server.connections(database.name))
        memory = max(memory, resident_bytes(worker.pid))
        done = rig.receiver.count() - before >= jobs
    samples.record("connections", contestant.name, connections)
    samples.record("memory", contestant.name, memory / 1e6)


def _idle(
    rig: Rig, samples: Samples, contestant: Contestant, database: Database, worker: Child, seconds: float
) -> None:
    time.sleep(FLUSH)
    begin = time.monotonic()
    transactions, cpu = rig.server.transactions(database.name), cpu_seconds(worker.pid)
    while time.monotonic() < begin + seconds:
        worker.wait(_GLANCE, begin + seconds + START_TIMEOUT)
    took = time.monotonic() - begin
    transactions = rig.server.transactions(database.name) - transactions
    cpu = cpu_seconds(worker.pid) - cpu
    samples.record("idle transactions", contestant.name, transactions / took)
    samples.record("idle cpu", contestant.name, 100 * cpu / took)


def measure_memory(rig: Rig, plan: Plan, samples: Samples) -> None:
    """The daemon's memory over many deliveries; a long one, so one round."""
    with rig.database() as database:
        database.add(plan.memory_jobs, by_concurrency(sample()), rig.receiver.url)
        database.settle()
        before = rig.receiver.count()
        with rig.worker(DAEMON, database) as worker:
            done = 0
            early: int | None = None
            while done < plan.memory_jobs:
                worker.wait(_GLANCE, worker.began + TIMEOUT)
                done = rig.receiver.count() - before
                memory = resident_bytes(worker.pid)
                samples.record("memory over deliveries", DAEMON.name, memory / 1e6, at=done)
                if early is None and done >= plan.memory_early:
                    early = memory
            assert early is not None
            samples.record("memory early", DAEMON.name, early / 1e6)
            samples.record("memory late", DAEMON.name, memory / 1e6)
