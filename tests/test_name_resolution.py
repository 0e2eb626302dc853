"""`slayq_tw.name_resolution`: a mute name server holds up nobody else."""

from collections.abc import Sequence
from datetime import datetime

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import DNSLookupError
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.errors import NameAwaited, NameUnresolved
from slayq_tw.name_resolution import NameResolution

BRISK, PATIENCE, PATIENCE_NEW, TIMEOUT = 0.25, 1.0, 0.05, 8.0
PLACES, SLOW, SLOW_AND_MUTE, THREADS, THREADS_LEFT = 8, 32, 24, 128, 32


class Waiting:
    """Jobs that wait for one name."""

    def __init__(self) -> None:
        self.ended = 0

    def written(self, number: int, run_at: datetime) -> None:
        """Nothing."""

    def over(self) -> int:
        self.ended += 1
        return 0


class ResolutionCase(SynchronousTestCase):
    """A resolver that answers when the test says so."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.running: dict[str, Deferred[list[str]]] = {}
        self.asked: list[str] = []
        self.groups: list[Waiting] = []
        self.names = NameResolution(self.clock, self.resolve, trusted={"cron.test"}, waiting=self.new_group)

    def new_group(self) -> Waiting:
        self.groups.append(Waiting())
        return self.groups[-1]

    def resolve(self, host: str) -> "Deferred[list[str]]":
        """Has a thread of its own, until the test ends it."""
        assert host not in self.running
        self.asked.append(host)
        self.running[host] = Deferred()
        return self.running[host]

    def end(self, host: str, result: "list[str] | Exception") -> None:
        """The system's resolver answers."""
        ending = self.running.pop(host)
        if isinstance(result, Exception):
            ending.errback(result)
        else:
            ending.callback(result)

    def ask(self, host: str, *, patient: bool = True) -> "Deferred[Sequence[str]]":
        asking = self.names.addresses(host, patient=patient)
        self.addCleanup(lambda: asking.addErrback(lambda _: None))
        return asking

    def know(self, *hosts: str) -> None:
        """Have names looked up and found, so long ago that they must be asked for again."""
        for host in hosts:
            asking = self.ask(host)
            self.end(host, ["10.0.0.1"])
            self.successResultOf(asking)
        self.clock.advance(2.0)
        self.asked.clear()

    def mute(self, host: str) -> None:
        """Have a name looked up, in vain, so long ago that it must be asked for again."""
        asking = self.ask(host)
        self.clock.pump([BRISK, TIMEOUT])
        self.failureResultOf(asking, NameUnresolved)
        self.end(host, NameUnresolved("the host name cannot be looked up: Temporary failure"))
        self.clock.advance(5.0)
        self.asked.clear()


class LookUpTests(ResolutionCase):
    """What is found, and by how many look-ups."""

    def test_literals(self) -> None:
        """An address needs no look-up, in no spelling: what the system takes it for is what is returned."""
        for host, address in {
            "127.0.0.1": "127.0.0.1",
            "10.1.2.3": "10.1.2.3",
            "127.1": "127.0.0.1",
            "0x7f.1": "127.0.0.1",
            "0177.0.0.1": "127.0.0.1",
            "2852039166": "169.254.169.254",
            "0": "0.0.0.0",
            "::1": "::1",
            "::ffff:169.254.169.254": "::ffff:169.254.169.254",
        }.items():
            self.assertEqual(self.successResultOf(self.ask(host)), [address])
        self.assertEqual(self.asked, [])

    def test_no_literals(self) -> None:
        """What only looks like an address is a name."""
        for host in ("127.0.0.1.", "1.2.3.4.5", "256.1.1.1", "127.0.0.1.test", "my_app", "0x7g"):
            self.ask(host)
            self.assertEqual(self.asked.pop(), host)

    def test_shared(self) -> None:
        """One look-up serves all who ask meanwhile, and those who ask a moment later."""
        asking = [self.ask("app.test") for _ in range(5)]
        self.end("app.test", ["10.0.0.1", "10.0.0.2"])
        for one in asking:
            self.assertEqual(self.successResultOf(one), ["10.0.0.1", "10.0.0.2"])
        self.clock.advance(1.9)
        self.assertEqual(self.successResultOf(self.ask("app.test")), ["10.0.0.1", "10.0.0.2"])
        self.assertEqual(self.asked, ["app.test"])
        self.clock.advance(0.1)
        self.ask("app.test")
        self.assertEqual(self.asked, ["app.test"] * 2)

    def test_cancelled(self) -> None:
        """Who does not want to know any more leaves the look-up to the others."""
        first, second = self.ask("app.test"), self.ask("app.test")
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.end("app.test", ["10.0.0.1"])
        self.successResultOf(second)

    def test_no_such_host(self) -> None:
        """That is known for a second."""
        first = self.ask("nowhere.test")
        self.end("nowhere.test", DNSLookupError("no address"))
        self.failureResultOf(first, DNSLookupError)
        self.clock.advance(0.9)
        self.failureResultOf(self.ask("nowhere.test"), DNSLookupError)
        self.clock.advance(0.1)
        self.assertNoResult(self.ask("nowhere.test"))

    def test_no_addresses(self) -> None:
        """An empty answer is no answer that can be connected to."""
        asking = self.ask("empty.test")
        self.end("empty.test", [])
        self.failureResultOf(asking, DNSLookupError)

    def test_time_out(self) -> None:
        """A look-up that takes too long has failed, without a word about the name; the thread is not asked again."""
        first = self.ask("mute.test")
        self.clock.advance(BRISK)
        self.clock.advance(TIMEOUT - BRISK - 0.01)
        self.assertNoResult(first)
        self.clock.advance(0.01)
        failure = self.failureResultOf(first, NameUnresolved)
        self.assertEqual(str(failure.value), "the host name cannot be looked up: no answer within 8 s")
        self.failureResultOf(self.ask("mute.test"), NameUnresolved)
        self.clock.advance(5.0)
        second = self.ask("mute.test")
        self.assertNoResult(second)
        self.assertEqual(self.asked, ["mute.test"])
        self.end("mute.test", ["10.0.0.1"])
        self.assertEqual(self.successResultOf(second), ["10.0.0.1"])

    def test_second_time_out(self) -> None:
        """Whoever asks while the thread still hangs waits as long as the first."""
        self.failed(self.ask("mute.test"))
        self.clock.advance(5.0)
        second = self.ask("mute.test")
        self.clock.advance(TIMEOUT - 0.01)
        self.assertNoResult(second)
        self.clock.advance(0.01)
        self.failureResultOf(second, NameUnresolved)
        self.assertEqual(self.asked, ["mute.test"])

    def failed(self, asking: "Deferred[Sequence[str]]") -> None:
        self.clock.pump([BRISK, TIMEOUT - BRISK])
        self.failureResultOf(asking, NameUnresolved)

    def test_failures_are_new(self) -> None:
        """Each asker gets an exception of its own: one that is raised again and again would grow."""
        asking = [self.ask("nowhere.test"), self.ask("nowhere.test")]
        self.end("nowhere.test", DNSLookupError("no address"))
        asking.append(self.ask("nowhere.test"))
        errors = [self.failureResultOf(one).value for one in asking]
        self.assertEqual(len({id(error) for error in errors}), 3)

    def test_leaves_no_timers(self) -> None:
        """Look-ups that are over wait for nothing."""
        self.know("app.test")
        asking = self.ask("other.test", patient=False)
        self.end("other.test", ["10.0.0.1"])
        self.successResultOf(asking)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class BoundsTests(ResolutionCase):
    """Many mute names: how many look-ups run, and whose."""

    def ask_many(self, count: int, name: str = "dead") -> None:
        for number in range(count):
            self.ask(f"{name}-{number}.test")

    def test_known_names_pass(self) -> None:
        """However many names are mute, those that were found the last time, and the operator's, are asked for at once."""
        self.know("app.test")
        self.ask_many(1000)
        for _ in range(200):
            self.clock.advance(BRISK)
        known, own = self.ask("app.test"), self.ask("cron.test")
        for host in ("app.test", "cron.test"):
            self.end(host, ["10.0.0.1"])
        self.successResultOf(known)
        self.successResultOf(own)

    def test_bounded(self) -> None:
        """So many run at once, and no more; whose time was up, and that still run, are counted too."""
        self.know(*[f"app-{number}.test" for number in range(100)])
        self.ask_many(1000)
        self.assertEqual(len(self.running), PLACES)
        self.clock.advance(BRISK)
        self.assertEqual(len(self.running), 2 * PLACES)
        self.clock.pump([BRISK] * 20)
        self.assertEqual(len(self.running), SLOW + PLACES - 1)
        for _ in range(1000):
            self.clock.advance(BRISK)
        self.assertEqual(len(self.running), THREADS - THREADS_LEFT)
        for number in range(100):
            self.ask(f"app-{number}.test")
            self.clock.advance(BRISK)
        self.assertEqual(len(self.running), THREADS)

    def test_freed(self) -> None:
        """A look-up that ends makes room for the next, in the order in which they were asked for."""
        self.ask_many(1000)
        self.clock.pump([BRISK] * 20)
        for number in range(SLOW):
            self.end(f"dead-{number}.test", NameUnresolved("no"))
        self.assertEqual(self.asked, [f"dead-{number}.test" for number in range(SLOW - 1 + 2 * PLACES)])

    def test_mute_names_leave_room(self) -> None:
        """Names that were mute the last time do not take the places of new ones."""
        for number in range(100):
            self.mute(f"mute-{number}.test")
        for number in range(100):
            self.ask(f"mute-{number}.test")
        self.clock.advance(BRISK)
        self.assertEqual(len(self.running), SLOW_AND_MUTE)
        asking = self.ask("new.test")
        self.end("new.test", ["10.0.0.1"])
        self.successResultOf(asking)

    def test_found_again(self) -> None:
        """A mute name that is found is a known one."""
        self.mute("app.test")
        self.know("app.test")
        self.ask_many(1000)
        self.clock.pump([BRISK] * 20)
        self.ask("app.test")
        self.assertIn("app.test", self.running)

    def test_forgotten(self) -> None:
        """What is remembered of names is bounded."""
        for number in range(10_100):
            asking = self.ask(f"{number}.test")
            self.end(f"{number}.test", ["10.0.0.1"])
            self.successResultOf(asking)
        self.assertLessEqual(len(self.names._past), 10_000)

    def test_log(self) -> None:
        """That many names get no answer is one warning, and its end one line."""
        with capturedLogs() as events:
            self.ask_many(100)
            self.clock.pump([BRISK] * 40)
            for host in list(self.asked):
                if host in self.running:
                    self.end(host, ["10.0.0.1"])
            while self.running:
                self.end(next(iter(self.running)), ["10.0.0.1"])
        self.assertEqual(
            [(event["event"], event["log_level"]) for event in events],
            [("names_unanswered", LogLevel.warn), ("names_answered", LogLevel.info)],
        )


class PatienceTests(ResolutionCase):
    """Who has a slot does not wait for long in it."""

    def sent_away(self, asking: "Deferred[Sequence[str]]") -> NameAwaited:
        error = self.failureResultOf(asking, NameAwaited).value
        assert isinstance(error, NameAwaited)
        return error

    def test_new_name(self) -> None:
        """For a new name the asker waits a moment, then comes back when it is found."""
        asking = self.ask("new.test", patient=False)
        self.clock.advance(PATIENCE_NEW - 0.01)
        self.assertNoResult(asking)
        self.clock.advance(0.01)
        error = self.sent_away(asking)
        self.assertEqual(str(error), "the name new.test is still being looked up")
        self.assertEqual(error.written, self.groups[0].written)
        self.assertEqual(error.seconds, 60.0)
        self.sent_away(self.ask("new.test", patient=False))
        self.assertEqual([group.ended for group in self.groups], [0])
        self.end("new.test", ["10.0.0.1"])
        self.assertEqual([group.ended for group in self.groups], [1])
        self.successResultOf(self.ask("new.test", patient=False))

    def test_in_time(self) -> None:
        """A name that is found within the moment costs nobody more than that."""
        asking = self.ask("new.test", patient=False)
        self.end("new.test", ["10.0.0.1"])
        self.successResultOf(asking)
        self.assertEqual((self.groups, self.clock.getDelayedCalls()), ([], []))

    def test_known_name(self) -> None:
        """A known name is waited for longer, by those who were first; later ones are sent away."""
        self.know("app.test")
        asking = self.ask("app.test", patient=False)
        self.clock.pump([BRISK, PATIENCE - BRISK - 0.01])
        self.assertNoResult(asking)
        self.sent_away(self.ask("app.test", patient=False))
        self.clock.advance(0.01)
        self.sent_away(asking)

    def test_mute_name(self) -> None:
        """For a name that was mute the last time nobody waits; the failure awaits those who come back."""
        self.mute("mute.test")
        self.sent_away(self.ask("mute.test", patient=False))
        self.clock.pump([BRISK, TIMEOUT - BRISK])
        self.assertEqual([group.ended for group in self.groups], [1])
        self.clock.advance(4.9)
        self.failureResultOf(self.ask("mute.test", patient=False), NameUnresolved)
        self.clock.advance(0.1)
        self.sent_away(self.ask("mute.test", patient=False))

    def test_strained(self) -> None:
        """While several names are mute, nobody waits for a new one; for known ones they do."""
        self.know("app.test")
        for number in range(4):
            self.ask(f"dead-{number}.test", patient=False)
        self.clock.advance(BRISK)
        self.sent_away(self.ask("new.test", patient=False))
        self.assertNoResult(self.ask("app.test", patient=False))

    def test_queued(self) -> None:
        """Nobody waits for a look-up that has not begun."""
        for number in range(PLACES):
            self.assertNoResult(self.ask(f"new-{number}.test", patient=False))
        self.sent_away(self.ask("new.test", patient=False))
        for number in range(PLACES):
            self.end(f"new-{number}.test", ["10.0.0.1"])
        self.end("new.test", ["10.0.0.1"])
        self.assertEqual([group.ended for group in self.groups], [1])

    def test_too_many(self) -> None:
        """However many names somebody thinks of, the look-ups that wait for their turn are bounded; known names pass."""
        self.know("app.test")
        for number in range(10_000):
            asking = self.ask(f"dead-{number}.test", patient=False)
            if number >= PLACES:
                self.sent_away(asking)
        self.assertEqual(len(self.names._under_way), 2000)
        self.assertEqual(len(self.groups), 2000 - PLACES)
        late = self.sent_away(self.ask("dead-9999.test", patient=False))
        self.assertGreater(late.seconds, 100.0)
        late.written(1, datetime(2026, 1, 1))
        for _ in range(100_000):
            self.names.awaited("dead-9999.test")
        awaited = self.names.awaited("dead-9999.test")
        assert awaited is not None
        self.assertLessEqual(awaited.seconds, 600.0)
        failure = self.failureResultOf(self.ask("dead-9999.test"), NameUnresolved)
        self.assertIn("more than 2,000 others", str(failure.value))
        known = self.ask("app.test", patient=False)
        self.end("app.test", ["10.0.0.1"])
        self.successResultOf(known)

    def test_trusted(self) -> None:
        """The operator's own host is waited for."""
        asking = self.ask("cron.test", patient=False)
        self.clock.pump([BRISK, TIMEOUT - BRISK - 0.01])
        self.assertNoResult(asking)
        self.clock.advance(0.01)
        self.failureResultOf(asking, NameUnresolved)

    def test_spread(self) -> None:
        """Those who were sent away come back, if nothing else happens, one after the other."""
        seconds = []
        for number in range(1000):
            asking = self.ask(f"dead-{number}.test", patient=False)
            self.clock.pump([BRISK] if number < 10 else [0])
            seconds.append(self.sent_away(asking).seconds)
        self.assertGreater(seconds[-1] - seconds[0], 9.0)

    def test_cancelled(self) -> None:
        """Who is cut off while waiting is not sent away later."""
        asking = self.ask("new.test", patient=False)
        asking.cancel()
        self.failureResultOf(asking, CancelledError)
        self.clock.advance(BRISK)
        self.assertEqual(self.groups, [])

    def test_awaited(self) -> None:
        """Asked beforehand, it says the same at once, and has the look-up begun; of what may be waited for, nothing."""
        self.assertFalse(self.names.trouble)
        self.know("app.test")
        self.mute("mute.test")
        for number in range(PLACES):
            self.ask(f"dead-{number}.test")
        self.assertTrue(self.names.trouble)
        for host in ("app.test", "cron.test", "127.0.0.1", "127.1", "::1"):
            self.assertIsNone(self.names.awaited(host))
        for host in ("mute.test", "new.test"):
            awaited = self.names.awaited(host)
            assert awaited is not None
            self.assertEqual(awaited.written, self.groups[-1].written)
            self.sent_away(self.ask(host, patient=False))
        self.end("mute.test", ["10.0.0.1"])
        self.assertEqual([group.ended for group in self.groups], [1, 0])
        self.assertIsNone(self.names.awaited("mute.test"))
