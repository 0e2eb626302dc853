"""What becomes of jobs that are cancelled, replaced or overtaken while a worker holds them and has not begun them.

A worker that claims more than it can begin locks jobs that the rest of the world takes for running: they can neither be
cancelled nor replaced, and nothing of higher priority comes before them. Here the worker has a backlog, the receiver
takes a known time, and somebody else cancels, sends again, or adds something urgent, always at the head of the line.
"""

import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from bench.arrivals import ASIDE
from bench.contestants import DAEMON, PER_QUEUE, Contestant
from bench.figures import Samples
from bench.jobs import single
from bench.plan import Plan
from bench.postgres import Database
from bench.processes import Child
from bench.rig import START_TIMEOUT, Rig

QUEUE = "general"
DURATIONS = (5, 20, 100)
"""Milliseconds that the functions take."""
MISSED = ("cancelled", "replaced", "overtaken")
"""The figures that are measured with each of them."""
CONCURRENCY = 10
AT_THE_HEAD = 20
"""Jobs that are cancelled, or sent again, one after the other: the next in line, the one behind it, and so on."""
TURNS = 3
"""How often that is done."""
LOOKS = 40
"""How often the locked jobs are looked at."""
URGENT = 15
"""Jobs of higher priority that are added, one after the other."""
SLOW = 300
"""Milliseconds that a receiver takes that has become slow."""
STALLED = 700
"""The same of one that stalls."""
CANCELLED_IN_STALL = 39

_BACKLOG = """
INSERT INTO graphile_worker._private_jobs (task_id, key, payload, run_at)
SELECT task.id, 'key/' || n, json_build_object('url', %(url)s::text, 'retry', 0, 'event', 'held/' || n,
                                               'data', json_build_object('n', n), 'cache', json_build_object()),
       now() + (n - %(count)s) * interval '1 microsecond'
  FROM generate_series(1, %(count)s) AS n
  JOIN graphile_worker._private_tasks AS task ON task.identifier = %(queue)s
 ORDER BY n
"""
_LOCKED = """
SELECT array_agg((payload -> 'data' ->> 'n')::integer) FROM graphile_worker._private_jobs WHERE locked_at IS NOT NULL
"""
_CANCEL = "SELECT public.cancel_pending_tasks('held/' || n, 'n', n::text) FROM generate_series(%s, %s) AS n"
_ADD = """
SELECT graphile_worker.add_job(%(queue)s, json_build_object('url', %(url)s::text, 'retry', 0, 'event', 'held/again',
                                                            'data', json_build_object('n', %(number)s::integer),
                                                            'cache', json_build_object()),
                               job_key => %(key)s, priority => %(priority)s)
"""


def measure_held(rig: Rig, plan: Plan, samples: Samples) -> None:
    """All of it, of the daemon and of what upstream does: fetch jobs one at a time, by as many workers as slots."""
    measured = [one for one in (DAEMON, PER_QUEUE) if one in plan.contestants]
    for _, contestant in itertools.product(range((plan.rounds + 1) // 2), measured):
        for milliseconds in DURATIONS:
            with _Line(rig, contestant, milliseconds, CONCURRENCY).at_work() as line:
                locked, held = line.locked()
                samples.record(f"locked {milliseconds} ms", contestant.name, locked)
                samples.record(f"held {milliseconds} ms", contestant.name, held)
                for figure, change in (("cancelled", line.cancel), ("replaced", line.replace)):
                    begun = line.begun_all_the_same(change)
                    samples.record(f"{figure} {milliseconds} ms", contestant.name, begun)
                samples.record(f"overtaken {milliseconds} ms", contestant.name, line.overtaken())
        with _Line(rig, contestant, 1, 1).at_work() as line:
            before, late = line.slow()
            samples.record("slow", contestant.name, before)
            samples.record("slow late", contestant.name, late)
        with _Line(rig, contestant, 1, CONCURRENCY).at_work() as line:
            samples.record("stall", contestant.name, line.stall())


class _Line:
    """A worker, its backlog, and whoever interferes.

    Args:
        rig: where.
        contestant: who.
        milliseconds: that the receiver takes.
        concurrency: of the only queue.
    """

    _worker: Child
    _database: Database

    def __init__(self, rig: Rig, contestant: Contestant, milliseconds: int, concurrency: int) -> None:
        self._rig = rig
        self._contestant = contestant
        self._milliseconds = milliseconds
        self._concurrency = concurrency
        self._receiver = rig.stamping
        self._added = ASIDE

    @contextmanager
    def at_work(self) -> "Iterator[_Line]":
        """Begin, and see some deliveries made; in the end the rest of the backlog is thrown away."""
        # The peer too: cancelling finds its jobs by an index of ours, which the peer's databases lack.
        with self._rig.database() as self._database:
            count = 3_000 + 10_000 * self._concurrency // self._milliseconds
            self._database.execute(_BACKLOG, {"url": self._receiver.url, "count": count, "queue": QUEUE})
            self._database.settle()
            self._receiver.delay(self._milliseconds)
            self._receiver.arrivals()
            self._receiver.forget()
            with self._rig.worker(
                self._contestant, self._database, single(self._concurrency)
            ) as self._worker:
                self._pass(20 * self._concurrency)
                yield self
                self._receiver.delay(0)

    def locked(self) -> tuple[float, float]:
        """Jobs that are locked, and those of them that begin only later; the medians of all looks."""
        looks = []
        for _ in range(LOOKS):
            found = self._database.row(_LOCKED)[0] or []
            looks.append((found, time.monotonic()))
            self._worker.wait(0.013, looks[-1][1] + 1)
        self._pass(self._receiver.last() + 1_000 // self._milliseconds)
        arrived = self._receiver.arrivals()
        return (
            statistics.median(len(found) for found, _ in looks),
            statistics.median(
                sum(arrived.get(number, at + 1) > at for number in found) for found, at in looks
            ),
        )

    def begun_all_the_same(self, change: Callable[[int], None]) -> float:
        """Of `AT_THE_HEAD` jobs that had not begun when the change of each had returned, those that did."""
        changed = {}
        for _ in range(TURNS):
            last = 0
            for place in range(1, AT_THE_HEAD + 1):
                last = max(last + 1, self._receiver.last() + place)
                change(last)
                changed[last] = time.monotonic()
            self._pass(last + 2 * self._concurrency)
        arrived = self._receiver.arrivals()
        waiting = [number for number, at in changed.items() if arrived.get(number, at) >= at]
        begun = sum(number in arrived for number in waiting)
        return AT_THE_HEAD * begun / max(1, len(waiting))

    def cancel(self, first: int, last: int | None = None) -> None:
        """Cancel a job of the backlog, or some."""
        self._database.execute(_CANCEL, (first, last or first))

    def replace(self, number: int) -> None:
        """Send a job again, under its key."""
        self._add(f"key/{number}", 0)

    def overtaken(self) -> float:
        """Jobs of the backlog that begin after one of higher priority was stored, and before it begins; the median."""
        overtaken = []
        for _ in range(URGENT):
            urgent = self._add(None, -1)
            stored = time.monotonic()
            arrived = self._arrived([urgent])
            begun = [at for number, at in arrived.items() if number < ASIDE]
            overtaken.append(sum(stored < at < arrived[urgent] for at in begun))
        return statistics.median(overtaken)

    def slow(self) -> tuple[float, float]:
        """The receiver becomes slow, and then three urgent jobs are stored.

        Returns:
            Jobs of the backlog that begin before the last urgent one, and seconds until the first one does.
        """
        self._receiver.delay(SLOW)
        self._worker.wait(SLOW / 2 / 1_000, time.monotonic() + 1)
        urgent = [self._add(None, -1) for _ in range(3)]
        stored = time.monotonic()
        arrived = self._arrived(urgent)
        end = arrived[urgent[-1]]
        before = sum(number < ASIDE and stored < at < end for number, at in arrived.items())
        return before, arrived[urgent[0]] - stored

    def stall(self) -> float:
        """The receiver stalls, and then the next jobs are cancelled; those of them that begin."""
        self._receiver.delay(STALLED)
        self._worker.wait(0.1, time.monotonic() + 1)
        last = self._receiver.last()
        self.cancel(last + 1, last + CANCELLED_IN_STALL)
        cancelled = time.monotonic()
        self._receiver.delay(self._milliseconds)
        self._pass(last + 2 * CANCELLED_IN_STALL)
        arrived = self._receiver.arrivals()
        return sum(
            number in arrived and arrived[number] > cancelled
            for number in range(last + 1, last + CANCELLED_IN_STALL + 1)
        )

    def _add(self, key: str | None, priority: int) -> int:
        self._added += 1
        self._database.execute(
            _ADD,
            {
                "queue": QUEUE,
                "url": self._receiver.url,
                "number": self._added,
                "key": key,
                "priority": priority,
            },
        )
        return self._added

    def _arrived(self, numbers: Sequence[int]) -> dict[int, float]:
        """When these jobs arrived, and whatever else arrived by then."""
        deadline = time.monotonic() + START_TIMEOUT
        arrived = self._receiver.arrivals()
        while not arrived.keys() >= set(numbers):
            self._worker.wait(0.02, deadline)
            arrived |= self._receiver.arrivals()
        return arrived

    def _pass(self, number: int) -> None:
        """Wait until the backlog has been worked off to there."""
        deadline = time.monotonic() + START_TIMEOUT
        while self._receiver.last() < number:
            self._worker.wait(0.01, deadline)
