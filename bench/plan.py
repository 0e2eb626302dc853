"""`Plan`: how much is measured. `FULL`, `QUICK` and `SMOKE` are the three that there are."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from bench.contestants import DAEMON, EVERYBODY, Contestant


@dataclass(frozen=True)
class Plan:
    """Sizes and repetitions.

    Attributes:
        measurements: which, in this order.
        contestants: who takes part where others are compared.
        watched: whose connections, memory and idleness are measured.
        rounds: of each measurement, or about half as many of a long one; figures are medians over them.
        nginx: whether drains go to nginx.
        jobs: of a drain.
        latency_rate: events a second.
        latency_seconds: for which they are sent.
        added: events that are stored, one call at a time; and in bulk.
        senders: sessions that store events side by side.
        sending_seconds: for how long, each time.
        storm_rate: events a second of a second measurement of latency.
        storm_seconds: for which they are sent.
        idle_seconds: for which a worker that has nothing to do is watched.
        memory_jobs: deliveries over which memory has to stay flat, after the first `memory_early`.
        backlog: jobs that wait, or are not due yet, beside those of a measurement.
        backlog_jobs: deliveries that are measured beside them.
        lanes: serial lanes, filled one after the other with `lane_jobs` each.
        many_lanes: serial lanes with one job each.
        churn_jobs: deliveries while jobs are added.
        curve_jobs: deliveries for each place on the throughput curve, but at most 500 for each unit of concurrency.
        concurrencies: those places.
        rates: places on the latency curve, in events a second.
    """

    measurements: tuple[str, ...]
    contestants: tuple[Contestant, ...] = EVERYBODY
    watched: tuple[Contestant, ...] = EVERYBODY
    rounds: int = 5
    nginx: bool = True
    jobs: int = 12_000
    latency_rate: int = 200
    latency_seconds: float = 15.0
    added: int = 5_000
    senders: tuple[int, ...] = (1, 8, 24)
    sending_seconds: int = 4
    storm_rate: int = 2_000
    storm_seconds: float = 5.0
    idle_seconds: float = 20.0
    memory_jobs: int = 200_000
    memory_early: int = 20_000
    backlog: int = 1_000_000
    backlog_jobs: int = 10_000
    lanes: int = 1_000
    lane_jobs: int = 100
    many_lanes: int = 100_000
    churn_jobs: int = 500_000
    curve_jobs: int = 6_000
    concurrencies: tuple[int, ...] = (1, 2, 5, 10, 20, 50, 100)
    rates: tuple[int, ...] = (50, 100, 200, 400, 800)

    @property
    def has_curves(self) -> bool:
        """Whether there is something to draw."""
        return not {"memory", "churn", "throughput-curve", "latency-curve"}.isdisjoint(self.measurements)

    def turns(self) -> Iterator[tuple[Contestant, ...]]:
        """The contestants of each round. Another one begins each time: the machine may get busier, or warmer."""
        for n in range(self.rounds):
            begin = n % len(self.contestants)
            yield self.contestants[begin:] + self.contestants[:begin]

    def fewer_turns(self) -> Iterator[tuple[Contestant, ...]]:
        """The same for measurements that take long: about half as many."""
        return itertools.islice(self.turns(), (self.rounds + 1) // 2)


FULL = Plan(
    (
        "drain",
        "steady",
        "latency",
        "due",
        "held",
        "adding",
        "senders",
        "footprint",
        "start",
        "memory",
        "backlog",
        "lanes",
        "many-lanes",
        "two",
        "churn",
        "throughput-curve",
        "latency-curve",
    ),
)
QUICK = Plan(
    ("drain", "latency", "footprint", "start"),
    rounds=1,
    jobs=3_000,
    watched=(DAEMON,),
    latency_seconds=5.0,
    storm_seconds=2.0,
    idle_seconds=10.0,
)
SMOKE = Plan(
    ("drain", "latency", "start"),
    contestants=(DAEMON,),
    rounds=1,
    nginx=False,
    jobs=300,
    latency_seconds=1.0,
    storm_seconds=1.0,
)
