"""`slayq_tw.service`: the order at start and stop, with stand-ins for everything that waits."""

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.errors import DatabaseUnavailable, SchemaTooNew
from slayq_tw.service import EXIT_FAILED, EXIT_SCHEMA_TOO_NEW, FLUSH_TIMEOUT, SlayQService


class Parts:
    """Records what happens; what waits is a Deferred of the test's."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.opening: Deferred[None] = succeed(None)
        self.preparing: Deferred[None] = succeed(None)
        self.draining: Deferred[None] = succeed(None)
        self.mute = False  # whether what drains waits for an answer of the database

    # Database
    async def open(self) -> None:
        self.events.append("open")
        await self.opening

    async def persist(self, step: Callable[[], Awaitable[object]]) -> None:
        await step()

    async def close(self) -> None:
        self.events.append("close")
        if not self.opening.called:
            self.opening.errback(DatabaseUnavailable("closed while waiting"))
        if not self.draining.called:
            self.draining.callback(None)

    # migrations
    async def prepare(self) -> None:
        self.events.append("prepare")
        await self.preparing

    # results
    async def flush(self, timeout: float) -> None:
        self.events.append(f"flush {timeout}")


class FakeListener:
    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    async def open(self) -> None:
        self.parts.events.append("listen")

    def close(self) -> None:
        self.parts.events.append("unlisten")


class FakeHeartbeat(Service):
    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    async def enter(self) -> None:
        self.parts.events.append("beat")

    def stopService(self) -> Deferred[None]:
        if self.running:
            self.parts.events.append("last beat")
        super().stopService()
        return succeed(None)


class FakePoller(Service):
    in_flight = 1

    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    def startService(self) -> None:
        super().startService()
        self.parts.events.append("poll")

    def stopService(self) -> Deferred[None]:
        if not self.running:
            return succeed(None)
        super().stopService()
        self.parts.events.append("drain")
        return self.parts.draining

    def cut(self) -> None:
        self.parts.events.append("cut")
        if not self.parts.draining.called and not self.parts.mute:
            self.parts.draining.callback(None)

    def wake(self) -> None:
        self.parts.events.append("wake")


class Reactor(Clock):
    """A clock that can be told to stop."""

    stopped = 0

    def stop(self) -> None:
        self.stopped += 1


class SlayQServiceTests(SynchronousTestCase):
    """What is opened first is closed last."""

    def setUp(self) -> None:
        self.parts = Parts()
        self.reactor = Reactor()
        parts: Any = self.parts
        poller: Any = FakePoller(parts)
        listener: Any = FakeListener(parts)
        heart: Any = FakeHeartbeat(parts)
        self.service = SlayQService(
            parts, parts.prepare, listener, heart, [poller], [], parts, 8.0, self.reactor
        )
        self.addCleanup(lambda: self.assertEqual(self.reactor.getDelayedCalls(), []))

    def test_order(self) -> None:
        """Database, schema, announcements, heartbeat, pollers; and back, with the results before the last beat."""
        self.service.startService()
        self.assertEqual(self.parts.events, ["open", "prepare", "listen", "beat", "poll"])
        self.successResultOf(self.service.when_ready())
        self.parts.events.clear()
        self.successResultOf(self.service.stopService())
        self.assertEqual(
            self.parts.events, ["unlisten", "drain", f"flush {FLUSH_TIMEOUT}", "last beat", "close"]
        )
        self.assertEqual((self.service.exit_status, self.service.state), (0, "stopped"))

    def test_pollers_wait_for_the_schema(self) -> None:
        """Nothing is claimed before the schema is ready."""
        self.parts.preparing = Deferred()
        self.service.startService()
        ready = self.service.when_ready()
        self.assertEqual(self.parts.events, ["open", "prepare"])
        self.assertNoResult(ready)
        self.parts.preparing.callback(None)
        self.successResultOf(ready)
        self.assertEqual(self.parts.events[-1], "poll")
        self.successResultOf(self.service.stopService())

    def test_grace(self) -> None:
        """Deliveries have the grace period to finish, and not a moment more."""
        self.parts.draining = Deferred()
        self.service.startService()
        stopping = self.service.stopService()
        self.reactor.advance(7.9)
        self.assertNoResult(stopping)
        self.reactor.advance(0.1)
        self.successResultOf(stopping)
        self.assertEqual(self.parts.events[-4:], ["cut", f"flush {FLUSH_TIMEOUT}", "last beat", "close"])

    def test_statement_without_an_answer(self) -> None:
        """What still waits for the database after the grace period does so until that is closed, after the results."""
        self.parts.draining = Deferred()
        self.parts.mute = True
        self.service.startService()
        stopping = self.service.stopService()
        self.reactor.advance(8.0)
        self.successResultOf(stopping)
        self.assertEqual(self.parts.events[-4:], ["cut", f"flush {FLUSH_TIMEOUT}", "last beat", "close"])
        self.service.startService()  # and the next stop has its grace again
        self.parts.draining = Deferred()
        stopping = self.service.stopService()
        self.assertNoResult(stopping)
        self.reactor.advance(8.0)
        self.successResultOf(stopping)

    def test_grace_cut_short(self) -> None:
        """A second signal does not wait for it."""
        self.parts.draining = Deferred()
        self.service.startService()
        stopping = self.service.stopService()
        self.service.cut_grace()
        self.successResultOf(stopping)

    def test_stop_twice(self) -> None:
        """Two stops are one stop, and both wait for its end."""
        self.parts.draining = Deferred()
        self.service.startService()
        first, second = self.service.stopService(), self.service.stopService()
        self.assertNoResult(second)
        self.parts.draining.callback(None)
        self.successResultOf(first)
        self.successResultOf(second)
        self.assertEqual(self.parts.events.count("drain"), 1)

    def test_stop_while_waiting_for_the_database(self) -> None:
        """A start that waits is given up at once, and is no failure."""
        self.parts.opening = Deferred()
        self.service.startService()
        self.successResultOf(self.service.stopService())
        self.assertNotIn("prepare", self.parts.events)
        self.assertEqual((self.service.exit_status, self.reactor.stopped), (0, 0))

    def test_start_fails(self) -> None:
        """A start that fails stops the reactor, with the status that says why; stopping then works."""
        for error, status in (
            (DatabaseUnavailable("refused"), EXIT_FAILED),
            (SchemaTooNew("21"), EXIT_SCHEMA_TOO_NEW),
        ):
            self.setUp()
            self.parts.preparing = Deferred()
            self.service.startService()
            self.parts.preparing.errback(error)
            self.assertEqual((self.service.exit_status, self.reactor.stopped), (status, 1))
            self.successResultOf(self.service.stopService())
            self.assertEqual(self.parts.events[-1], "close")

    def test_schema_becomes_too_new(self) -> None:
        """A breaking migration beyond what this program knows stops it with 57; one that it knows does not."""
        self.service.startService()
        self.service.migrated(20)
        self.assertEqual(self.reactor.stopped, 0)
        self.service.migrated(21)
        self.assertEqual((self.service.exit_status, self.reactor.stopped), (EXIT_SCHEMA_TOO_NEW, 1))
        self.successResultOf(self.service.stopService())
