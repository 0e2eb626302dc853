"""`slayq_tw.circuit`."""

from collections.abc import Callable
from datetime import datetime
from heapq import heapify, heappop, heappush
from itertools import pairwise

from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.circuit import Circuits
from slayq_tw.weburl import Origin, origin_of

# Stated, not imported: they are promises.
FAILURES = 5
PAUSE_MIN, PAUSE_MAX = 1.0, 30.0
PACE, LANE_COST, WAIT_MAX = 100.0, 10.0, 600.0
CONNECTED_AFTER = 15.0
ORIGINS_MAX, FORGET_AFTER = 1000, 3600.0

APP = Origin("http", "app.test", 80)
OTHER = Origin("https", "other.test", 443)


class Waiting:
    """Counts."""

    def __init__(self) -> None:
        self.jobs: dict[int, datetime] = {}
        self.ended = 0

    def __len__(self) -> int:
        return len(self.jobs)

    def written(self, number: int, run_at: datetime) -> None:
        self.jobs[number] = run_at

    def over(self) -> int:
        self.ended += 1
        return len(self.jobs)


class Probes:
    """Connects when the test says so."""

    def __init__(self) -> None:
        self.reached: dict[Origin, Callable[[], None]] = {}
        self.after: list[float] = []

    def begin(self, origin: Origin, reached: Callable[[], None], after: float = 1.0) -> None:
        self.reached[origin] = reached
        self.after.append(after)

    def end(self, origin: Origin) -> None:
        self.reached.pop(origin, None)


class CircuitCase(SynchronousTestCase):
    """Deliveries that end as the test says."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.groups: list[Waiting] = []
        self.probes = Probes()
        self.circuits = Circuits(self.clock, self.new_waiting, self.probes)
        self.next_job = 1000

    def new_waiting(self) -> Waiting:
        self.groups.append(Waiting())
        return self.groups[-1]

    def unanswered(
        self, origin: Origin = APP, number: int = 1, times: int = 1, connected: bool = False
    ) -> None:
        for _ in range(times):
            self.circuits.failed(origin, number, connected=connected, reason="Connection was refused")

    def wait(self, origin: Origin = APP, **how: bool) -> float | None:
        """Ask for one more job: None when its delivery begins, else how long it waits."""
        self.next_job += 1
        wait = self.circuits.ask(origin, self.next_job, **how)
        return None if wait is None else wait.seconds

    def probe(self, origin: Origin = APP) -> int:
        """A job that may be the probe; its id."""
        self.assertIsNone(self.wait(origin))
        return self.next_job


class CircuitsTests(CircuitCase):
    """When jobs wait, and for how long."""

    def test_no_trouble(self) -> None:
        """Nothing is known of origins that answer."""
        self.assertFalse(self.circuits.trouble)
        self.assertIsNone(self.wait())
        self.circuits.answered(APP)
        self.assertFalse(self.circuits.trouble)

    def test_opens(self) -> None:
        """After so many deliveries in a row without an answer, further jobs wait for the first probe."""
        self.unanswered(times=FAILURES - 1)
        self.assertIsNone(self.wait())
        self.unanswered()
        self.assertEqual(self.wait(), PAUSE_MIN)

    def test_answer_in_between(self) -> None:
        """An answer in between begins the count anew."""
        self.unanswered(times=FAILURES - 1)
        self.circuits.answered(APP)
        self.unanswered(times=FAILURES - 1)
        self.assertIsNone(self.wait())
        self.assertEqual(self.groups, [])

    def test_hanging_functions(self) -> None:
        """Deliveries that hang beside others that are answered speak of their function, however many they are."""
        began = self.circuits.seconds()
        for _ in range(30):
            self.clock.advance(1.0)
            self.circuits.answered(APP)
        self.clock.advance(1.0)
        for number in range(50):
            self.circuits.failed(APP, number, connected=True, reason="no answer", began=began)
        self.assertIsNone(self.wait())
        self.assertFalse(self.circuits.trouble)
        for number in range(5):
            self.circuits.failed(OTHER, number, connected=True, reason="no answer", began=began)
        self.assertIsNotNone(self.wait(OTHER))

    def test_silent_since(self) -> None:
        """What was answered before a delivery began does not speak against its silence."""
        self.circuits.answered(APP)
        self.clock.advance(0.001)
        began = self.circuits.seconds()
        self.clock.advance(30.0)
        for number in range(4):
            self.circuits.failed(APP, number, connected=True, reason="no answer", began=began)
        self.assertIsNone(self.wait())
        self.circuits.failed(APP, 4, connected=True, reason="no answer", began=began)
        self.assertIsNotNone(self.wait())

    def test_heard_is_bounded(self) -> None:
        """Of answers, no more origins are remembered than so many."""
        for number in range(10_001):
            self.circuits.answered(Origin("http", f"{number}.test", 80))
        self.assertLessEqual(len(self.circuits._heard), 10_000)

    def test_one_probe(self) -> None:
        """After the pause one delivery is made, and while it is under way, no other."""
        self.unanswered(times=FAILURES)
        self.clock.advance(PAUSE_MIN - 0.01)
        self.assertIsNotNone(self.wait())
        self.clock.advance(0.01)
        self.probe()
        for _ in range(20):
            self.assertIsNotNone(self.wait())

    def test_growing_pauses(self) -> None:
        """Each probe that fails doubles the pause, up to a bound."""
        self.unanswered(times=FAILURES)
        pause = PAUSE_MIN
        for _ in range(10):
            self.clock.advance(pause)
            self.unanswered(number=self.probe())
            pause = min(pause * 2, PAUSE_MAX)
            self.clock.advance(pause * 0.99)
            self.assertIsNotNone(self.wait())
            self.clock.rightNow -= pause * 0.99
        self.assertEqual(pause, PAUSE_MAX)

    def test_full_concurrency(self) -> None:
        """A probe that is answered ends it: everybody goes, and those who have waited are told."""
        self.unanswered(times=FAILURES)
        self.clock.advance(PAUSE_MIN)
        self.probe()
        self.circuits.answered(APP)
        self.assertEqual([self.wait() for _ in range(50)], [None] * 50)
        self.assertEqual([group.ended for group in self.groups], [1])
        self.assertFalse(self.circuits.trouble)

    def test_late_answer(self) -> None:
        """So does the answer to a delivery that had begun before."""
        self.unanswered(times=FAILURES)
        self.circuits.answered(APP)
        self.assertIsNone(self.wait())

    def test_late_failures(self) -> None:
        """Deliveries that began before and fail now are no probes: neither the pause nor the probe changes."""
        self.unanswered(times=FAILURES)
        self.clock.advance(PAUSE_MIN / 2)
        self.unanswered(times=10)
        self.assertEqual(self.wait(), PAUSE_MIN / 2)
        self.clock.advance(PAUSE_MIN)
        self.probe()
        self.unanswered(times=10)
        self.assertIsNotNone(self.wait())

    def test_withdrawn(self) -> None:
        """A probe that was cut off makes room for another; the end of any other job does not."""
        self.unanswered(times=FAILURES)
        self.clock.advance(PAUSE_MIN)
        number = self.probe()
        self.circuits.withdrawn(number + 1)
        self.assertIsNotNone(self.wait())
        self.circuits.withdrawn(number)
        self.probe()

    def test_independent(self) -> None:
        """Each origin has its own circuit: scheme, host and port."""
        self.unanswered(times=FAILURES)
        self.unanswered(OTHER, times=FAILURES)
        self.clock.advance(PAUSE_MIN)
        self.unanswered(OTHER, number=self.probe(OTHER))
        self.assertIsNotNone(self.wait(OTHER))
        self.probe()
        self.circuits.answered(APP)
        self.assertIsNone(self.wait())
        self.assertIsNotNone(self.wait(OTHER))
        self.assertEqual([group.ended for group in self.groups], [1, 0])

    def test_tick(self) -> None:
        """Who cannot wait is the next probe, before its time, unless there is one."""
        self.unanswered(times=FAILURES)
        self.assertIsNone(self.wait(at_once=True))
        self.assertIsNotNone(self.wait(at_once=True))

    def test_turns(self) -> None:
        """Waiting jobs come up one after the other, in the order in which they were put off, at a bounded pace."""
        self.unanswered(times=FAILURES)
        waits = [self.wait() or 0.0 for _ in range(1000)]
        self.assertEqual(waits, sorted(waits))
        self.assertEqual(waits[0], PAUSE_MIN)
        self.assertAlmostEqual(waits[-1], PAUSE_MIN + 999 / PACE)

    def test_steady_state(self) -> None:
        """Ten thousand waiting jobs, each asking again when it comes up: the pace holds, and probes are made in time."""
        self.unanswered(times=FAILURES)
        due = [(self.wait() or 0.0, number) for number in range(10_000)]
        heapify(due)
        asked = []
        probes = []
        while self.clock.seconds() < 300.0:
            at, number = heappop(due)
            self.clock.advance(at - self.clock.seconds())
            asked.append(at)
            wait = self.circuits.ask(APP, number)
            if wait is None:
                probes.append(at)
                self.unanswered(number=number)
                heappush(due, (at + 30_000.0, number))
            else:
                heappush(due, (at + wait.seconds, number))
        self.assertLess(len(asked) / 300.0, PACE * 1.01)
        pauses = [later - earlier for earlier, later in pairwise(probes)]
        self.assertLess(max(pauses), PAUSE_MAX + 1.0)
        self.assertGreater(len(probes), 12)

    def test_pace_over_all(self) -> None:
        """The pace is that of all origins together."""
        for number in range(10):
            self.unanswered(Origin("http", f"{number}.test", 80), times=FAILURES)
        for number in range(10):
            waits = [self.wait(Origin("http", f"{number}.test", 80)) or 0.0 for _ in range(100)]
            self.assertAlmostEqual(waits[-1] - waits[0], 99 * 10 / PACE)

    def test_lanes(self) -> None:
        """Jobs in lanes come up more slowly, since each costs a claim."""
        self.unanswered(times=FAILURES)
        waits = [self.wait(serial=True) or 0.0 for _ in range(11)]
        self.assertAlmostEqual(waits[-1] - waits[0], 10 * LANE_COST / PACE)

    def test_longest_wait(self) -> None:
        """However many wait, each comes up within a bounded time."""
        self.unanswered(times=FAILURES)
        waits = [self.wait() or 0.0 for _ in range(int(WAIT_MAX * PACE) + 1000)]
        self.assertEqual(max(waits), WAIT_MAX)

    def test_long_function(self) -> None:
        """When connecting had failed, a probe that must have a connection by now is as good as answered."""
        self.unanswered(times=FAILURES)
        self.clock.advance(PAUSE_MIN)
        self.probe()
        self.clock.advance(CONNECTED_AFTER - 0.1)
        self.assertIsNotNone(self.wait())
        self.clock.advance(0.2)
        self.assertIsNone(self.wait())
        self.assertEqual(self.groups[0].ended, 1)

    def test_long_silence(self) -> None:
        """When it was connected and silent, a connection says nothing."""
        self.unanswered(times=FAILURES, connected=True)
        self.clock.advance(PAUSE_MIN)
        self.probe()
        self.clock.advance(CONNECTED_AFTER * 10)
        self.assertIsNotNone(self.wait())

    def test_silence_is_remembered(self) -> None:
        """So it is when it was silent once, whatever the last failure was."""
        self.unanswered(connected=True)
        self.unanswered(times=4)
        self.clock.advance(PAUSE_MIN)
        self.probe()
        self.clock.advance(CONNECTED_AFTER * 10)
        self.assertIsNotNone(self.wait())

    def test_log(self) -> None:
        """A circuit is announced when its first probe has failed, and once; its end likewise."""
        with capturedLogs() as events:
            self.unanswered(times=FAILURES)
            self.groups[0].jobs = dict.fromkeys(range(3), datetime(2026, 1, 1))
            self.clock.advance(PAUSE_MIN)
            number = self.probe()
            self.assertEqual(events, [])
            for _ in range(5):
                self.unanswered(number=number)
                self.clock.advance(PAUSE_MAX)
                number = self.probe()
            self.circuits.answered(APP)
        opened, closed = events
        self.assertEqual((opened["event"], opened["log_level"]), ("circuit_opened", LogLevel.warn))
        self.assertEqual((opened["origin"], opened["failures"], opened["count"]), ("http://app.test", 6, 3))
        self.assertEqual((closed["event"], closed["log_level"]), ("circuit_closed", LogLevel.info))
        self.assertEqual((closed["failures"], closed["count"], closed["seconds"]), (10, 3, 151.0))

    def test_short_trouble(self) -> None:
        """Trouble that is over with the first probe is no event."""
        with capturedLogs() as events:
            self.unanswered(times=FAILURES)
            self.clock.advance(PAUSE_MIN)
            self.probe()
            self.circuits.answered(APP)
        self.assertEqual(events, [])

    def test_forgotten(self) -> None:
        """Failures that lie far back do not count, and origins that nobody asks for are not kept."""
        self.unanswered(times=FAILURES - 1)
        self.unanswered(OTHER, times=FAILURES)
        self.clock.advance(FORGET_AFTER)
        self.unanswered()
        self.assertIsNone(self.wait())
        self.assertIsNone(self.wait(OTHER))
        self.assertEqual(self.groups[0].ended, 1)

    def test_bounded(self) -> None:
        """Of many dead origins the one whose last failure lies farthest back is forgotten."""
        for number in range(ORIGINS_MAX):
            self.unanswered(Origin("http", f"{number}.test", 80), times=FAILURES)
        self.unanswered(Origin("http", "0.test", 80))
        self.unanswered(APP)
        self.assertIsNotNone(self.wait(Origin("http", "0.test", 80)))
        self.assertIsNotNone(self.wait(Origin("http", f"{ORIGINS_MAX - 1}.test", 80)))
        self.assertIsNotNone(self.wait(Origin("http", "2.test", 80)))
        self.assertIsNone(self.wait(Origin("http", "1.test", 80)))


class ConnectingTests(CircuitCase):
    """Where nothing listened, a connection tells that somebody does."""

    def reach(self, origin: Origin = APP) -> None:
        """Somebody listens there: it can be connected to, which ends the trying."""
        self.probes.reached.pop(origin)()

    def test_back(self) -> None:
        """A connection ends it: all who wait are told, and everybody goes. Nobody's delivery was needed."""
        self.unanswered(times=FAILURES)
        self.assertEqual(self.probes.after, [1.0])
        self.assertIsNotNone(self.wait())
        self.reach()
        self.assertEqual([group.ended for group in self.groups], [1])
        self.assertEqual([self.wait() for _ in range(50)], [None] * 50)
        self.circuits.answered(APP)
        self.assertFalse(self.circuits.trouble)
        self.unanswered(times=FAILURES - 1)
        self.assertIsNone(self.wait())

    def test_only_while_open(self) -> None:
        """It is tried while the circuit is open, and no longer."""
        self.unanswered(times=FAILURES - 1)
        self.assertEqual(self.probes.reached, {})
        self.unanswered()
        self.assertIn(APP, self.probes.reached)
        self.circuits.answered(APP)
        self.assertEqual(self.probes.reached, {})

    def test_not_for_the_silent(self) -> None:
        """Where requests were taken and not answered, a connection would say nothing."""
        self.unanswered(times=FAILURES - 1)
        self.unanswered(connected=True)
        self.assertIsNotNone(self.wait())
        self.assertEqual(self.probes.reached, {})
        self.unanswered(OTHER, times=FAILURES)
        self.assertIn(OTHER, self.probes.reached)
        self.unanswered(OTHER, connected=True)
        self.assertEqual(self.probes.reached, {})

    def test_taken_and_cut(self) -> None:
        """What takes connections and cuts them does not flap: one failure, and it counts as silent."""
        self.unanswered(times=FAILURES)
        self.clock.advance(5.0)
        self.reach()
        self.clock.advance(0.1)
        self.assertIsNone(self.wait())
        self.unanswered(connected=True)
        self.assertIsNotNone(self.wait())
        self.assertEqual(self.probes.reached, {})
        self.clock.advance(PAUSE_MAX)
        self.probe()
        self.clock.advance(CONNECTED_AFTER * 10)
        self.assertIsNotNone(self.wait())

    def test_comes_and_goes(self) -> None:
        """What listens and is gone again before it has answered is tried less and less often, until it answers."""
        self.unanswered(times=FAILURES)
        for pause in (2.0, 4.0, 8.0, 16.0, 30.0, 30.0):
            self.clock.advance(1.0)
            self.reach()
            self.clock.advance(0.1)
            self.unanswered()
            self.assertEqual(self.probes.after[-1], pause)
            self.assertIsNotNone(self.wait())
        self.clock.advance(1.0)
        self.reach()
        self.circuits.answered(APP)
        self.unanswered(times=FAILURES)
        self.assertEqual(self.probes.after[-1], 1.0)

    def test_late_failures_after_reaching(self) -> None:
        """Deliveries that began before it was reached, the probe among them, do not open the circuit again."""
        self.unanswered(times=FAILURES)
        self.clock.advance(PAUSE_MIN)
        number, began = self.probe(), self.circuits.seconds()
        self.clock.advance(0.5)
        self.reach()
        for _ in range(10):
            self.circuits.failed(APP, number, connected=False, reason="refused", began=began)
        self.assertIsNone(self.wait())

    def test_announced_again(self) -> None:
        """Each time it opens and stays open the log has a warning, and each time it closes a line."""
        with capturedLogs() as events:
            self.unanswered(times=FAILURES)
            self.clock.advance(PAUSE_MIN)
            self.unanswered(number=self.probe())
            self.reach()
            self.clock.advance(0.1)
            self.unanswered(connected=True)
            self.clock.advance(PAUSE_MAX)
            self.unanswered(number=self.probe(), connected=True)
            self.circuits.answered(APP)
        self.assertEqual([event["event"] for event in events], ["circuit_opened", "circuit_closed"] * 2)


class OriginTests(SynchronousTestCase):
    """Whom a URL leads to."""

    def test_origin(self) -> None:
        """Scheme, host and port; nothing else."""
        self.assertEqual(origin_of("HTTP://User:secret@App.test/hook?x=1"), APP)
        self.assertEqual(origin_of("https://other.test/a"), OTHER)
        self.assertEqual(origin_of("http://[::1]:3000/"), Origin("http", "::1", 3000))
