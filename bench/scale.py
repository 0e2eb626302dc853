"""Whether the daemon stays as fast when there is more of everything: backlogs, serial lanes, churn, concurrency."""

import contextlib
import itertools
import time

from bench.contestants import DAEMON
from bench.drain import TIMEOUT, drain
from bench.figures import Samples, percentile
from bench.jobs import by_concurrency, identifiers, sample, single
from bench.plan import Plan
from bench.postgres import Database
from bench.rig import START_TIMEOUT, Rig

_DAY = 86_400.0
_CLAIMS = 50
"""Claims of which the median is taken."""
_CHUNK = 5_000
"""Jobs that are added at a time while others are delivered."""


def measure_backlog(rig: Rig, plan: Plan, samples: Samples) -> None:
    """The rate over the same number of deliveries alone, beside a great many due jobs, and beside as many future ones.

    The last tenth is left out: where there are no further jobs the queues run dry one after the other.
    """
    spread = by_concurrency(sample())
    with contextlib.ExitStack() as stack:
        alone, waiting, future = (stack.enter_context(rig.database()) for _ in range(3))
        waiting.add(plan.backlog, spread, rig.receiver.url)
        future.add(plan.backlog, spread, rig.receiver.url, due_in=_DAY)
        measured = round(plan.backlog_jobs * 0.9)
        for _ in range(plan.rounds):
            for what, database in (("alone", alone), ("waiting", waiting), ("future", future)):
                database.add(plan.backlog_jobs, spread, rig.receiver.url)
                database.settle()
                run = drain(rig, DAEMON, database, sample(), deliveries=measured, everything=False)
                samples.record(f"backlog {what}", DAEMON.name, measured / run.seconds)


def measure_lanes(rig: Rig, plan: Plan, samples: Samples) -> None:
    """The rate of jobs in serial lanes, which were filled one after the other, and of as many without."""
    jobs = plan.lanes * plan.lane_jobs
    for _ in plan.fewer_turns():
        for what, lanes in (("without", 0), ("with", plan.lanes)):
            with rig.database() as database:
                database.add(jobs, by_concurrency(sample()), rig.receiver.url, lanes=lanes)
                database.settle()
                run = drain(rig, DAEMON, database, sample(), deliveries=jobs, everything=True)
            samples.record(f"lanes {what}", DAEMON.name, jobs / run.seconds)


def measure_many_lanes(rig: Rig, plan: Plan, samples: Samples) -> None:
    """A lane for each user or order: the rate where each job has one of its own, by that without; and what a claim takes
    beside as many lanes again, and more, whose jobs are due tomorrow.
    """
    for _ in plan.fewer_turns():
        for what, lanes in (("without", 0), ("with", plan.many_lanes)):
            with rig.database() as database:
                database.add(plan.many_lanes, by_concurrency(sample()), rig.receiver.url, lanes=lanes)
                database.settle()
                run = drain(rig, DAEMON, database, sample(), deliveries=plan.many_lanes, everything=True)
            samples.record(f"many lanes {what}", DAEMON.name, plan.many_lanes / run.seconds)
        with rig.database() as database:
            samples.record("claim alone", DAEMON.name, _claim_seconds(database) * 1e3)
            count = 3 * plan.many_lanes
            database.add(count, by_concurrency(sample()), rig.receiver.url, lanes=count, due_in=_DAY)
            database.settle()
            samples.record("claim beside lanes", DAEMON.name, _claim_seconds(database) * 1e3)


def _claim_seconds(database: Database) -> float:
    """What a claim takes that finds nothing, for all queues of the sample configuration, by one session: the median."""
    database.execute("INSERT INTO slayq._private_daemons (worker) VALUES ('bench') ON CONFLICT DO NOTHING")
    taken = []
    for _ in range(_CLAIMS):
        begun = time.perf_counter()
        database.row(_CLAIM, {"names": identifiers(sample())})
        taken.append(time.perf_counter() - begun)
    return percentile(taken, 0.5)


def measure_two(rig: Rig, plan: Plan, samples: Samples) -> None:
    """Two daemons on one database beside one, with the same number of jobs; each of them is delivered once."""
    for _ in plan.fewer_turns():
        for workers in (1, 2):
            with rig.database() as database:
                database.add(2 * plan.jobs, by_concurrency(sample()), rig.receiver.url)
                database.settle()
                run = drain(
                    rig,
                    DAEMON,
                    database,
                    sample(),
                    deliveries=2 * plan.jobs,
                    everything=True,
                    workers=workers,
                )
            samples.record(f"daemons {workers}", DAEMON.name, 2 * plan.jobs / run.seconds)


def measure_throughput_curve(rig: Rig, plan: Plan, samples: Samples) -> None:
    """The rate of one queue over its concurrency."""
    for contestants in plan.fewer_turns():
        for concurrency, contestant in itertools.product(plan.concurrencies, contestants):
            config = single(concurrency)
            jobs = min(plan.curve_jobs, 500 * concurrency)
            with rig.database(contestant) as database:
                database.add(jobs, identifiers(config), rig.receiver.url)
                database.settle()
                run = drain(rig, contestant, database, config, deliveries=jobs, everything=True)
            samples.record("rate", contestant.name, jobs / run.seconds, at=concurrency)


def measure_churn(rig: Rig, plan: Plan, samples: Samples) -> None:
    """Sizes of the job table and of its indexes while jobs are added and delivered without a pause; one round.

    They are recorded in megabytes, each under its name, at every twentieth of the deliveries.
    """
    spread = by_concurrency(sample())
    with rig.database() as database, rig.worker(DAEMON, database) as worker:
        rig.warm_up(worker, database, spread[:1])
        before = rig.receiver.count()
        added = done = 0
        step = plan.churn_jobs // 20
        marks = iter(range(0, plan.churn_jobs + 1, step))
        mark: int | None = next(marks)
        last = time.monotonic()
        while mark is not None:
            while added < plan.churn_jobs and added - done < 2 * _CHUNK:
                database.add(_CHUNK, spread, rig.receiver.url)
                added += _CHUNK
            worker.wait(0.05, last + TIMEOUT)
            done = rig.receiver.count() - before
            if done >= mark:
                sizes = database.rows(_SIZES)
                for name, size in sizes:
                    samples.record("size", name, size / 1e6, at=mark)
                now = time.monotonic()
                if mark:
                    samples.record("churn rate", DAEMON.name, step / (now - last), at=mark)
                last, mark = now, next(marks, None)
        while not database.empty():
            worker.wait(0.1, last + START_TIMEOUT)


_CLAIM = """
SELECT count(claimed.id)
  FROM (SELECT array_agg(id) AS tasks, array_agg(0) AS groups, array_agg(20) AS limits
          FROM graphile_worker._private_tasks WHERE identifier = ANY (%(names)s)) AS asked
 CROSS JOIN LATERAL slayq._private_claim_jobs(tasks, groups, limits, 'bench', 16777216, 16777216, 0, 2000) AS claimed
"""

_SIZES = """
SELECT relname::text, pg_relation_size(oid)
  FROM pg_class
 WHERE oid = 'graphile_worker._private_jobs'::regclass
    OR oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = 'graphile_worker._private_jobs'::regclass)
"""
