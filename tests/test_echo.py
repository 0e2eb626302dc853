"""`slayq_tw.echo`."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.echo import CHANNEL, GLANCES, PATIENCE, Echo
from slayq_tw.errors import DatabaseUnavailable

TOLD = 7
"""The server process, as it was told at log-in."""

CALLER = 17
"""The server process that the pool's call is made in."""


class FakeConnection:
    """Answers with the server process that the test names."""

    process_id = TOLD

    def __init__(self) -> None:
        self.server = TOLD
        self.asked: list[str] = []

    def bounded(self, seconds: float, call: Callable[[], Deferred[Any]]) -> Deferred[Any]:
        """As Connection's, without the bound."""
        return call()

    def rows(self, sql: str, parameters: Any) -> Deferred[list[tuple[Any, ...]]]:
        """As Connection's."""
        self.asked.append(sql)
        return succeed([(self.server,)] if sql.startswith("SELECT") else [])


class EchoTests(SynchronousTestCase):
    """One connection, and a pool whose server process the test names too."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.connection = FakeConnection()
        self.pool: int | Exception = 8
        self.calls: list[str] = []
        self.at_once = False
        self.hear_as = CALLER
        self.echo = Echo(self.connection, self.query, self.clock)  # type: ignore[arg-type]
        self.addCleanup(lambda: self.assertEqual(self.clock.getDelayedCalls(), []))

    async def query(self, sql: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        if isinstance(self.pool, Exception):
            raise self.pool
        if parameters is None:
            return [(self.pool,)]
        self.calls.append(parameters["token"])
        if self.at_once:
            self.hear(parameters["token"], self.hear_as)
        return [("", CALLER)]

    def hear(self, token: str, sender: int = CALLER) -> None:
        self.echo.notified(SimpleNamespace(channel=CHANNEL, payload=token, pid=sender))

    def begin(self) -> Deferred[bool]:
        return Deferred.fromCoroutine(self.echo.arrives())

    def test_heard(self) -> None:
        """The pool's call comes back: announcements arrive. A direct connection is not compared with the pool's."""
        arriving = self.begin()
        self.assertNoResult(arriving)
        self.hear(self.calls[-1])
        self.assertTrue(self.successResultOf(arriving))
        self.assertEqual(self.connection.asked[1:], [f'LISTEN "{CHANNEL}"'])
        self.assertTrue(self.successResultOf(Deferred.fromCoroutine(self.echo.is_direct())))

    def test_heard_at_once(self) -> None:
        """The echo may be faster than the answer to the call."""
        self.at_once = True
        self.assertTrue(self.successResultOf(self.begin()))

    def test_silent(self) -> None:
        """Calls of others, and the one before, are no echo; after the wait the channel is left."""
        self.at_once = True
        self.assertTrue(self.successResultOf(self.begin()))
        self.at_once = False
        arriving = self.begin()
        self.hear("another's")
        self.hear(self.calls[0])
        self.clock.advance(PATIENCE - 0.1)
        self.assertNoResult(arriving)
        self.clock.advance(0.1)
        self.assertFalse(self.successResultOf(arriving))
        self.assertEqual(self.connection.asked[-1], f'UNLISTEN "{CHANNEL}"')
        self.hear(self.calls[1])  # too late, and harmless

    def test_repeated_by_a_stranger(self) -> None:
        """The right word from another server process, before or after it is known which one called, is no echo."""
        self.at_once = True
        self.hear_as = CALLER + 1
        arriving = self.begin()
        self.hear(self.calls[-1], CALLER + 1)
        self.assertNoResult(arriving)
        self.hear(self.calls[-1])
        self.assertTrue(self.successResultOf(arriving))

    def test_shared(self) -> None:
        """Where the pool works on our own server process, nothing is listened to at all."""
        self.connection.server = self.pool = 9
        self.assertFalse(self.successResultOf(self.begin()))
        self.assertFalse(any("LISTEN" in sql for sql in self.connection.asked))
        self.assertFalse(self.successResultOf(Deferred.fromCoroutine(self.echo.is_direct())))

    def test_pooler_that_shares_nothing(self) -> None:
        """A pooler in session mode is seen to share nothing, several times, and is then tried like any other."""
        self.connection.server = 9
        arriving = self.begin()
        self.hear(self.calls[-1])
        self.assertTrue(self.successResultOf(arriving))
        self.assertEqual(len(self.connection.asked), GLANCES + 1)

    def test_nothing_is_known(self) -> None:
        """A pool that fails is no silence."""
        self.pool = DatabaseUnavailable("away")
        self.failureResultOf(self.begin(), DatabaseUnavailable)

    def test_give_up(self) -> None:
        """Who stops need not wait."""
        arriving = self.begin()
        self.echo.give_up()
        self.assertFalse(self.successResultOf(arriving))
        self.echo.give_up()
