"""How fast a backlog is worked off, and what a delivery costs."""

import contextlib
import itertools
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.contestants import Contestant
from bench.figures import Samples
from bench.jobs import Config, by_concurrency, identifiers, sample
from bench.plan import Plan
from bench.postgres import Database
from bench.processes import BenchError, Child, cpu_seconds
from bench.rig import START_TIMEOUT, Rig

TIMEOUT = 600.0
"""Seconds for a drain."""

_GLANCE = 0.01
"""Seconds between two looks at the receiver's count: this is how exact a drain's end is."""


@dataclass(frozen=True)
class Drain:
    """What a run took: from the first claim to the last completion, and in brackets (`whole_…`) from the very start.

    Attributes:
        deliveries: how many there were.
        seconds: of the wall clock.
        cpu: seconds of CPU of the worker's processes.
        postgres_cpu: seconds of CPU of the database server.
        whole_seconds: of the wall clock, from the start of the process.
        whole_cpu: the same with what the start cost.
        transactions: of the worker, from its start until after its stop.
        wal: bytes of write-ahead log.
    """

    deliveries: int
    seconds: float
    cpu: float
    postgres_cpu: float
    whole_seconds: float
    whole_cpu: float
    transactions: int
    wal: int


def drain(
    rig: Rig,
    contestant: Contestant,
    database: Database,
    config: Config,
    *,
    deliveries: int,
    everything: bool,
    wrap: Sequence[str] = (),
    workers: int = 1,
) -> Drain:
    """Start a worker on a database that is filled, and see how long it takes. The worker is stopped in the end.

    The receiver is asked how far it is, not the database, so that watching costs nothing. The first claim's time is
    what the database wrote into the jobs of that claim; it is read as soon as the first request has arrived.

    Args:
        rig: where.
        contestant: who.
        database: whose jobs.
        config: the worker's.
        deliveries: how many are measured.
        everything: whether these are all; then the end is when the table is empty, else when the last one arrived.
        wrap: a command to run the worker under.
        workers: how many are started.

    Raises:
        BenchError: they did not work the jobs off, or made more requests than there were jobs.
    """
    first_due = database.row(_FIRST_DUE)[0]
    database.close()
    rig.server.wait_until_alone(database.name)
    transactions = rig.server.transactions(database.name)
    wal = rig.server.wal_position()
    counted = rig.receiver.count()
    statements = database.statements
    with contextlib.ExitStack() as stack:
        running = [
            stack.enter_context(rig.worker(contestant, database, config, wrap)) for _ in range(workers)
        ]
        worker = running[0]
        before = rig.receiver.count()
        while rig.receiver.count() == before:
            worker.wait(0.002, worker.began + START_TIMEOUT)
        arrived = time.monotonic()
        first_cpu, first_postgres = _cpu_of(running), cpu_seconds(rig.server.pid)
        first = _first_claim(database, first_due, arrived)
        while rig.receiver.count() - counted < deliveries:
            worker.wait(_GLANCE, worker.began + TIMEOUT)
        while everything and not database.empty():
            worker.wait(0.002, worker.began + TIMEOUT)
        now = time.monotonic()
        cpu, postgres_cpu = _cpu_of(running), cpu_seconds(rig.server.pid)
        wal = rig.server.wal_position() - wal
    database.close()
    rig.server.wait_until_alone(database.name)
    if everything and (requests := rig.receiver.count() - counted) != deliveries:
        raise BenchError(f"{contestant.name} made {requests} requests for {deliveries} jobs")
    return Drain(
        deliveries=deliveries,
        seconds=now - first,
        cpu=cpu - first_cpu,
        postgres_cpu=postgres_cpu - first_postgres,
        whole_seconds=now - worker.began,
        whole_cpu=cpu,
        transactions=rig.server.transactions(database.name)
        - transactions
        - (database.statements - statements),
        wal=wal,
    )


def _cpu_of(workers: Iterable[Child]) -> float:
    return sum(cpu_seconds(worker.pid) for worker in workers)


def _first_claim(database: Database, first_due: int, arrived: float) -> float:
    """When the oldest claim was made, by our monotonic clock.

    Args:
        database: where the claims are.
        first_due: the lowest id of a job that is due. Jobs become due in the order of their ids, so the first claim is
            soon found from there; looking at all of a million jobs would take time from the worker.
        arrived: when the first request was seen; the answer if there is no claim left by now.
    """
    age = database.row(_AGE_OF_FIRST_CLAIM, {"first": first_due})[0]
    return arrived if age is None else time.monotonic() - float(age)


_FIRST_DUE = "SELECT min(id) FROM graphile_worker._private_jobs WHERE run_at <= now()"

_AGE_OF_FIRST_CLAIM = """
SELECT extract(epoch FROM clock_timestamp() - min(locked_at))
  FROM (SELECT locked_at FROM graphile_worker._private_jobs WHERE id >= %(first)s ORDER BY id LIMIT 1000) AS job
"""


def measure_drain(rig: Rig, plan: Plan, samples: Samples) -> None:
    """The sample configuration's queues and aliases with equal parts of the jobs: everybody drains them in turn."""
    for contestant in itertools.chain.from_iterable(plan.turns()):
        run = _sample_drain(rig, contestant, identifiers(sample()), plan.jobs)
        name = contestant.name
        samples.record("rate", name, plan.jobs / run.seconds)
        samples.record("rate with start", name, plan.jobs / run.whole_seconds)
        samples.record("cpu", name, run.cpu / plan.jobs * 1e6)
        samples.record("cpu with start", name, run.whole_cpu / plan.jobs * 1e6)
        samples.record("postgres cpu", name, run.postgres_cpu / plan.jobs * 1e6)
        samples.record("statements", name, run.transactions / plan.jobs)
        samples.record("wal", name, run.wal / plan.jobs)


def measure_steady(rig: Rig, plan: Plan, samples: Samples) -> None:
    """The same with jobs in proportion to each queue's concurrency, so that no queue is left over in the end."""
    for contestant in itertools.chain.from_iterable(plan.turns()):
        run = _sample_drain(rig, contestant, by_concurrency(sample()), plan.jobs)
        samples.record("steady rate", contestant.name, plan.jobs / run.seconds)
        samples.record("steady cpu", contestant.name, run.cpu / plan.jobs * 1e6)


def _sample_drain(rig: Rig, contestant: Contestant, spread: Sequence[str], jobs: int) -> Drain:
    with rig.database(contestant) as database:
        database.add(jobs, spread, rig.receiver.url)
        database.settle()
        return drain(rig, contestant, database, sample(), deliveries=jobs, everything=True)
