"""`slayq_tw.dev.session`."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.client import Event
from slayq_tw.dev.scenario import Sample
from slayq_tw.dev.session import PATIENCE, Session
from slayq_tw.dev.timeline import Timeline


class StoppableClock(Clock):
    """A reactor as far as a session needs one."""

    stopped = False

    def stop(self) -> None:
        """Note it."""
        self.stopped = True


class FakeDatabase:
    """Takes transactions, and shows what was executed."""

    def __init__(self) -> None:
        self.executed: list[Any] = []
        self.broken = False

    async def transaction(self, work: Any) -> Any:
        return await work(self)

    async def execute(self, query: str, parameters: Any = None) -> None:
        if self.broken:
            raise ZeroDivisionError("a fault")
        self.executed.append(parameters)

    def fetchall(self) -> list[tuple[Any, ...]]:
        return []


class FakeService:
    """A daemon that becomes ready when told."""

    def __init__(self) -> None:
        self.ready: Deferred[None] = Deferred()
        self.database = FakeDatabase()

    def when_ready(self) -> "Deferred[None]":
        return self.ready


class FakeScenario:
    """Is complete when told."""

    def __init__(self) -> None:
        self.complete: Deferred[None] = Deferred()

    def when_complete(self) -> "Deferred[None]":
        return self.complete

    def missing(self) -> list[str]:
        return ["demo/delayed", "demo/sleeps"]


class SessionTests(SynchronousTestCase):
    """From ready to done."""

    def begin(self, farewell: list[str] | None) -> Session:
        """A session that waits for its daemon."""
        self.clock = StoppableClock()
        self.service: Any = FakeService()
        self.scenario: Any = FakeScenario()
        self.lines: list[str] = []
        write = self.lines.append
        timeline = Timeline(self.clock.seconds, write)
        session = Session(self.service, self.scenario, timeline, write, self.clock, farewell)
        event = Event("demo/plain", queue="mail", endpoint="http://127.0.0.1:1/mail")
        session.begin([Sample(event, 1, "a remark")])
        return session

    def test_once(self) -> None:
        """Nothing is sent before the daemon is ready; when everything has arrived it ends, with 0."""
        session = self.begin(None)
        self.assertEqual((self.lines, self.service.database.executed), ([], []))
        self.service.ready.callback(None)
        self.assertEqual(len(self.service.database.executed), 1)
        self.assertTrue(self.lines[-1].endswith("a remark"))
        self.assertEqual((session.status, self.clock.stopped), (1, False))
        self.scenario.complete.callback(None)
        self.assertEqual((session.status, self.clock.stopped), (0, True))
        self.assertEqual(self.lines[-1].strip(), "Everything has arrived.")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_once_missing(self) -> None:
        """What has not come in time is named, and it ends with 1."""
        session = self.begin(None)
        self.service.ready.callback(None)
        self.clock.advance(PATIENCE - 1)
        self.assertFalse(self.clock.stopped)
        self.clock.advance(1)
        self.assertEqual((session.status, self.clock.stopped), (1, True))
        self.assertEqual(self.lines[-1].strip(), "Missing after 60 s: demo/delayed, demo/sleeps")

    def test_goes_on(self) -> None:
        """Otherwise it goes on, and says how to."""
        session = self.begin(["Send one of your own"])
        self.service.ready.callback(None)
        self.scenario.complete.callback(None)
        self.assertEqual((session.status, self.clock.stopped), (0, False))
        self.assertEqual(self.lines[-1], "Send one of your own")

    def test_interrupted(self) -> None:
        """An interrupted `--once` has not shown that anything works; an interrupted session was meant to end so."""
        self.assertEqual(self.begin(None).status, 1)
        self.assertEqual(self.begin([]).status, 0)

    def test_fault(self) -> None:
        """A fault is in the log, and ends the process."""
        session = self.begin([])
        self.service.database.broken = True
        self.service.ready.callback(None)
        self.assertEqual((session.status, self.clock.stopped), (1, True))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
