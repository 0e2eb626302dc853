"""`slayq_tw.database` and `slayq_tw.connection` without a server: which connections are given up."""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.allowance import USUAL
from slayq_tw.connection import READ_WITHIN, Connection
from slayq_tw.database import STATEMENT_TIMEOUT, Database
from slayq_tw.errors import DatabaseMute, DatabaseUnavailable
from slayq_tw.suspicion import JUST_ASKED


class Wire:
    """Stands in for a connection: its test says when the server answers."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.alive = True
        self.heard_at = 0.0
        self.server_version = 0
        self.closed = False
        self.answer: Deferred[Any] = Deferred()

    def bounded(self, seconds: float, call: Callable[[], Any]) -> "Deferred[Any]":
        """Connection's."""
        self.answer = Deferred()
        call()
        return self.answer

    def rows(self, sql: str, parameters: object) -> "Deferred[Any]":
        """Connection's."""
        return self.answer

    def says(self) -> None:
        """An answer comes."""
        self.heard_at = self._clock.seconds()
        self.answer.callback([])

    def hangs(self) -> None:
        """No answer came in time; the connection is opened again."""
        self.heard_at = self._clock.seconds()
        self.answer.errback(DatabaseMute("no answer"))

    def close(self) -> None:
        """Connection's."""
        self.closed = True
        self.alive = False
        self.answer.addErrback(lambda failure: failure.trap(DatabaseUnavailable))
        self.answer.errback(DatabaseUnavailable("lost"))


class SuspectsTests(SynchronousTestCase):
    """One connection proved mute."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.database = Database({}, self.clock)
        self.wires = [Wire(self.clock) for _ in range(4)]
        self.database._connections[:] = self.wires  # type: ignore[assignment]
        self.database._idle = self.wires[:]  # type: ignore[assignment]
        self.clock.advance(100.0)

    def begin(self, timeout: float = STATEMENT_TIMEOUT) -> Wire:
        """Send a statement; on which connection."""
        wire: Any = self.database._idle[0]
        Deferred.fromCoroutine(self.database.query("SELECT 1", timeout=timeout)).addErrback(
            lambda failure: failure.trap(DatabaseUnavailable) and None
        )
        return wire  # type: ignore[no-any-return]

    def find_one_mute(self) -> None:
        """The first connection is asked, and never answers."""
        self.begin()
        self.clock.advance(3.0)
        self.wires[0].hangs()

    def beat(self) -> None:
        """Something urgent is asked and answered at once."""
        wire: Any = self.database._idle[-1]
        asked = Deferred.fromCoroutine(self.database.urgent_query("SELECT 1", timeout=1.0))
        wire.says()
        self.successResultOf(asked)

    def closed(self) -> list[bool]:
        return [wire.closed for wire in self.wires]

    def test_silent(self) -> None:
        """Those that have said nothing since the mute one was asked are closed, as soon as the server answers."""
        self.find_one_mute()
        self.assertEqual(self.closed(), [False] * 4)
        self.clock.advance(0.5)
        with capturedLogs() as events:
            self.beat()
        self.assertEqual(self.closed(), [False, True, True, True])
        (event,) = [event for event in events if event.get("event") == "database_connections_suspected"]
        self.assertEqual(event["count"], 3)

    def test_heard_since(self) -> None:
        """One that has answered since is above suspicion."""
        self.begin()
        other = self.begin()
        self.clock.advance(1.0)
        other.says()
        self.clock.advance(2.0)
        self.wires[0].hangs()
        self.clock.advance(0.5)
        self.beat()
        self.assertEqual(self.closed(), [False, False, True, True])

    def test_asked_before(self) -> None:
        """An answer to what was sent before the mute one was given up proves nothing: the server may have gone since."""
        other = self.begin_second()
        self.clock.advance(3.0)
        self.wires[0].hangs()
        self.clock.advance(0.5)
        other.says()
        self.assertEqual(self.closed(), [False] * 4)
        self.clock.advance(0.5)
        self.beat()
        self.assertEqual(self.closed(), [False, False, True, True])

    def begin_second(self) -> Wire:
        """Send a statement on the first connection, and one on the next; the latter."""
        self.begin()
        self.clock.advance(1.0)
        return self.begin()

    def test_just_asked(self) -> None:
        """One that was just asked has a moment to answer, and no more than that."""
        self.find_one_mute()
        self.begin()
        self.clock.advance(0.5)
        self.beat()
        self.assertEqual(self.closed(), [False, False, True, True])
        self.clock.advance(JUST_ASKED)
        self.beat()
        self.assertEqual(self.closed(), [False, True, True, True])

    def test_just_asked_and_answered(self) -> None:
        """If it does answer, that is all."""
        self.find_one_mute()
        other = self.begin()
        self.clock.advance(0.5)
        self.beat()
        other.says()
        self.clock.advance(JUST_ASKED)
        self.beat()
        self.assertEqual(self.closed(), [False, False, True, True])

    def test_known_to_take_long(self) -> None:
        """A statement that may take longer than the usual ones is waited for."""
        self.begin()
        self.begin(timeout=2 * STATEMENT_TIMEOUT)
        self.clock.advance(3.0)
        self.wires[0].hangs()
        self.clock.advance(0.5)
        self.beat()
        self.assertEqual(self.closed(), [False, False, True, True])

    def test_waiting_for_a_connection(self) -> None:
        """A brief statement that waited for a free connection, and was quick then, is as brief as ever."""
        busy = [self.begin() for _ in range(3)]
        brief = Deferred.fromCoroutine(self.database.brief_query("SELECT 2"))
        self.clock.advance(20.0)
        busy[0].says()
        self.wires[3].says()
        self.successResultOf(brief)
        self.assertEqual(self.database._allowances.of("SELECT 2"), USUAL)

    def test_slow_on_its_connection(self) -> None:
        """One that is slow itself is not."""
        brief = Deferred.fromCoroutine(self.database.brief_query("SELECT 2"))
        self.clock.advance(3.0)
        self.wires[0].says()
        self.successResultOf(brief)
        self.assertEqual(self.database._allowances.of("SELECT 2"), 6.0)


class BoundedTests(SynchronousTestCase):
    """How long a connection waits for an answer."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.connection = Connection({}, self.clock)
        self.closed: list[float] = []
        self.patch(self.connection, "close", lambda: self.closed.append(self.clock.seconds()))
        self.answer: Deferred[int] = Deferred()
        self.waiting = self.connection.bounded(5.0, lambda: self.answer)

    def test_in_time(self) -> None:
        """An answer ends the waiting."""
        self.clock.advance(4.9)
        self.answer.callback(7)
        self.assertEqual(self.successResultOf(self.waiting), 7)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_mute(self) -> None:
        """Without one, the connection is given up."""
        self.clock.pump([5.0])
        self.assertEqual(self.closed, [5.0])
        self.answer.errback(DatabaseUnavailable("lost"))
        failure = self.failureResultOf(self.waiting, DatabaseMute)
        self.assertEqual(str(failure.value), "no answer from Postgres within 5 s")

    def test_held_up(self) -> None:
        """A process that was suspended reads first what has come meanwhile."""
        self.clock.advance(60.0)
        self.assertEqual(self.closed, [])
        self.answer.callback(7)
        self.assertEqual(self.successResultOf(self.waiting), 7)

    def test_held_up_and_mute(self) -> None:
        """If nothing has, it gives up then."""
        self.clock.advance(60.0)
        self.clock.advance(READ_WITHIN)
        self.assertEqual(self.closed, [60.0 + READ_WITHIN])
        self.answer.errback(DatabaseUnavailable("lost"))
        self.failureResultOf(self.waiting, DatabaseMute)
