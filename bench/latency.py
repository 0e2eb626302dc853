"""How long an event takes from the commit that stored it to its receiver."""

import itertools
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import psycopg2

from bench.adding import ADD
from bench.contestants import DAEMON, Contestant
from bench.figures import Samples, percentile
from bench.jobs import identifiers, payload, sample
from bench.plan import Plan
from bench.processes import BenchError
from bench.rig import Rig

SENDERS = 4
"""Connections that events are added on. One alone would wait for its commits at the higher rates."""
PATIENCE = 60.0
"""Seconds for the last event to arrive, after it was sent."""
CURVE_SECONDS = 5.0
"""For how long each rate of the curve is sent."""


@dataclass(frozen=True)
class Latencies:
    """Seconds of each event until its request was complete at the receiver, and what it cost.

    Attributes:
        from_commit: since `add_worker_job` had returned.
        from_call: since it was called.
        transactions: of the worker, from its start until after its stop.
    """

    from_commit: list[float]
    from_call: list[float]
    transactions: int


def latencies(rig: Rig, contestant: Contestant, rate: float, seconds: float) -> Latencies:
    """Send events over the sample configuration's queues, at a steady rate whatever becomes of them.

    Raises:
        BenchError: some did not arrive.
    """
    queues = list(sample()["queues"])
    with rig.database(contestant) as database:
        others = rig.server.transactions(database.name)
        with rig.worker(contestant, database) as worker:
            rig.warm_up(worker, database, identifiers(sample()))
            rig.stamping.arrivals()
            before = rig.stamping.count()
            sent = _send(database.url, rig.stamping.url, queues, rate, round(rate * seconds))
            deadline = time.monotonic() + PATIENCE
            while rig.stamping.count() - before < len(sent):
                worker.wait(0.05, deadline)
            arrived = rig.stamping.arrivals()
        database.close()
        rig.server.wait_until_alone(database.name)
        others += database.statements + len(sent)
        transactions = rig.server.transactions(database.name) - others
    if missing := sent.keys() - arrived.keys():
        raise BenchError(f"{contestant.name}: {len(missing)} events did not arrive")
    return Latencies(
        [arrived[number] - committed for number, (_, committed) in sent.items()],
        [arrived[number] - called for number, (called, _) in sent.items()],
        transactions,
    )


def _send(
    database_url: str, receiver_url: str, queues: Sequence[str], rate: float, count: int
) -> dict[int, tuple[float, float]]:
    """Add events by SQL; for each its number, and when it was called and committed, by the monotonic clock."""
    sent: dict[int, tuple[float, float]] = {}
    failures: list[Exception] = []
    begin = time.monotonic() + 0.1

    def work(first: int) -> None:
        try:
            for number, called, committed in _add(range(first, count, SENDERS)):
                sent[number] = (called, committed)
        except psycopg2.Error as error:
            failures.append(error)

    def _add(numbers: range) -> Iterator[tuple[int, float, float]]:
        with closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            for number in numbers:
                time.sleep(max(0.0, begin + number / rate - time.monotonic()))
                parameters = (queues[number % len(queues)], payload(receiver_url, number))
                called = time.monotonic()
                cursor.execute(ADD, parameters)
                yield number, called, time.monotonic()

    senders = [threading.Thread(target=work, args=(first,)) for first in range(SENDERS)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    if failures:
        raise BenchError(f"events could not be added: {failures[0]}")
    return sent


def measure_latency(rig: Rig, plan: Plan, samples: Samples) -> None:
    """At the rate of the target."""
    for contestant in itertools.chain.from_iterable(plan.turns()):
        taken = latencies(rig, contestant, plan.latency_rate, plan.latency_seconds)
        samples.record("latency p50", contestant.name, percentile(taken.from_commit, 0.5) * 1e3)
        samples.record("latency p99", contestant.name, percentile(taken.from_commit, 0.99) * 1e3)
        samples.record("singly", contestant.name, taken.transactions / len(taken.from_call))
        samples.record("latency p50 from the call", contestant.name, percentile(taken.from_call, 0.5) * 1e3)
        samples.record("latency p99 from the call", contestant.name, percentile(taken.from_call, 0.99) * 1e3)
    for _ in range(plan.rounds):
        stormy = latencies(rig, DAEMON, plan.storm_rate, plan.storm_seconds).from_commit
        samples.record("storm p50", DAEMON.name, percentile(stormy, 0.5) * 1e3)
        samples.record("storm p99", DAEMON.name, percentile(stormy, 0.99) * 1e3)


def measure_latency_curve(rig: Rig, plan: Plan, samples: Samples) -> None:
    """Over several rates."""
    for contestants in plan.fewer_turns():
        for rate, contestant in itertools.product(plan.rates, contestants):
            taken = latencies(rig, contestant, rate, CURVE_SECONDS).from_commit
            samples.record("latency p50", contestant.name, percentile(taken, 0.5) * 1e3, at=rate)
            samples.record("latency p99", contestant.name, percentile(taken, 0.99) * 1e3, at=rate)
