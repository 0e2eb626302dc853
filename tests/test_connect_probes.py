"""`slayq_tw.connect_probes`."""

from collections import Counter
from functools import partial

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.connect_probes import ConnectProbes
from slayq_tw.errors import DestinationRefused, NameAwaited
from slayq_tw.weburl import Origin

APP = Origin("http", "app.test", 80)


class ConnectProbesTests(SynchronousTestCase):
    """When it is tried to connect, and what comes of it."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.tried: list[tuple[Origin, float]] = []
        self.reached: list[Origin] = []
        self.result: Exception | None = ConnectionRefusedError()
        self.hanging: list[Deferred[None]] | None = None
        self.cut: list[Deferred[None]] = []
        self.probes = ConnectProbes(self.connect, self.clock)
        self.probes.startService()

    def connect(self, origin: Origin) -> "Deferred[None]":
        self.tried.append((origin, self.clock.seconds()))
        if self.hanging is not None:
            self.hanging.append(Deferred(self.cut.append))
            return self.hanging[-1]
        return succeed(None) if self.result is None else fail(self.result)

    def begin(self, origin: Origin = APP, **how: float) -> None:
        self.probes.begin(origin, partial(self.reached.append, origin), **how)

    def turn(self, seconds: float) -> None:
        """Let time pass, from one timer to the next."""
        end = self.clock.seconds() + seconds
        while (calls := self.clock.getDelayedCalls()) and (at := min(c.getTime() for c in calls)) <= end:
            self.clock.rightNow = at
            self.clock.advance(0)
        self.clock.rightNow = end

    def times(self) -> list[float]:
        return [round(at, 1) for _, at in self.tried]

    def test_pace_of_one(self) -> None:
        """Each second at first, and then so often that a new listener is found within two, for ever."""
        self.begin()
        self.turn(15.01)
        self.assertEqual(
            self.times(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.2, 12.4, 13.6, 14.8]
        )
        self.tried.clear()
        self.turn(100_000.0)
        self.tried.clear()
        self.turn(20.0)
        self.assertGreaterEqual(len(self.tried), 16)
        self.assertEqual(self.reached, [])

    def test_reached(self) -> None:
        """A connection is told once, and ends it."""
        self.begin()
        self.turn(1.5)
        self.result = None
        self.turn(10.0)
        self.assertEqual((self.reached, self.times()), ([APP], [1.0, 2.0]))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_any_failure(self) -> None:
        """Whatever connecting fails with, it goes on: an address that is refused, a name that is being looked up."""
        for error in (DestinationRefused("refused"), NameAwaited("app.test", 60.0, lambda *_: None)):
            self.result = error
            self.begin()
            self.turn(3.0)
        self.assertEqual(len(self.tried), 6)

    def test_our_own_fault(self) -> None:
        """An error of ours is in the log, and ends nothing."""
        self.result = ZeroDivisionError()
        self.begin()
        self.turn(2.0)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    def test_later(self) -> None:
        """The first one can be put off."""
        self.begin(after=8.0)
        self.turn(9.0)
        self.assertEqual(self.times(), [8.0, 9.0])

    def test_ended(self) -> None:
        """Who does not want to know any more is not told, also when a connection is under way."""
        self.hanging = []
        self.begin()
        self.turn(1.0)
        self.probes.end(APP)
        self.assertEqual(self.cut, self.hanging)
        self.turn(10.0)
        self.assertEqual((self.reached, len(self.tried)), ([], 1))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_silent(self) -> None:
        """A connection that does not come about is given up, and tried again."""
        self.hanging = []
        self.begin()
        self.turn(4.5)
        self.assertEqual(self.times(), [1.0, 4.0])

    def test_stop(self) -> None:
        """The stop ends all, and nothing begins any more."""
        self.hanging = []
        self.begin()
        self.begin(Origin("http", "other.test", 80))
        self.turn(1.5)
        self.successResultOf(succeed(self.probes.stopService()))
        self.begin()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(len(self.tried), 2)

    def test_many(self) -> None:
        """A thousand origins share a bounded pace, each has its turn, and one that is there again is found."""
        origins = [Origin("http", f"{number}.test", 80) for number in range(1000)]
        for origin in origins:
            self.begin(origin)
        self.turn(81.0)
        self.assertLessEqual(len(self.tried), 81 * 25)
        self.assertGreaterEqual(len(self.tried), 75 * 25)
        tries = Counter(origin for origin, _ in self.tried)
        self.assertEqual(len(tries), 1000)
        self.assertLessEqual(max(tries.values()), 3)

    def test_many_that_hang(self) -> None:
        """So is the number of those under way."""
        self.hanging = []
        for number in range(1000):
            self.begin(Origin("http", f"{number}.test", 80))
        self.turn(2.9)
        self.turn(20.0)
        self.assertLessEqual(len([one for one in self.hanging if not one.called]), 50)
        self.assertGreater(len(self.tried), 200)

    def test_a_few(self) -> None:
        """Twenty at once are each tried as if they were alone."""
        for number in range(20):
            self.begin(Origin("http", f"{number}.test", 80))
        self.turn(10.0)
        self.assertLessEqual(set(Counter(origin for origin, _ in self.tried).values()), {9, 10})
