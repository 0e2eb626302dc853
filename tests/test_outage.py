"""`slayq_tw.outage`: what the log says of lost connections."""

from typing import Any

from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.errors import DatabaseUnavailable
from slayq_tw.outage import AT_ONCE, PROVEN_AFTER, SOON, Outage

LOST, UNREACHABLE, RESTORED = (
    "database_connection_lost",
    "database_unreachable",
    "database_connection_restored",
)
MEMBERS = "abcde"


class OutageTests(SynchronousTestCase):
    """Five connections."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(100)
        self.outage = Outage(self.clock, "here")
        self.tried: list[str] = []
        for member in MEMBERS:
            self.outage.join(member, lambda member=member: self.tried.append(member))  # type: ignore[misc]
        logs = capturedLogs()
        self.events: Any = logs.__enter__()
        self.addCleanup(logs.__exit__, None, None, None)
        self.addCleanup(lambda: self.assertEqual(self.clock.getDelayedCalls(), []))

    def lose(self, members: str, reason: str = "cut", *, read_only: bool = False) -> None:
        for member in members:
            self.outage.lost(member, reason, read_only=read_only)

    def refuse(self, members: str, reason: str) -> None:
        for member in members:
            self.outage.refused(member, DatabaseUnavailable(reason))

    def restore(self, members: str) -> None:
        for member in members:
            self.outage.restored(member)

    def said(self) -> list[str]:
        """The events so far, which are then forgotten."""
        said = [event["event"] for event in self.events]
        self.last = self.events[-1] if self.events else None
        self.events.clear()
        return said

    def test_outage(self) -> None:
        """However many attempts fail: a line when none stands any more, and one when the first does again."""
        self.lose(MEMBERS)
        self.clock.advance(AT_ONCE)
        self.assertEqual(self.said(), [UNREACHABLE])
        self.assertEqual(self.last["log_level"], LogLevel.warn)
        for number in range(40):
            self.refuse(MEMBERS, f"refused on port {number}")
            self.clock.advance(1)
        self.assertEqual(self.said(), [])
        self.restore(MEMBERS)
        self.assertEqual(self.said(), [RESTORED])
        self.assertEqual(
            (self.last["log_level"], round(self.last["seconds"], 3)), (LogLevel.info, 40 + AT_ONCE)
        )
        self.clock.advance(10)
        self.assertEqual(self.said(), [])

    def test_what_stands_in_the_way(self) -> None:
        """The line has both, why they were lost and why they do not come back."""
        self.lose(MEMBERS, "terminating connection")
        self.refuse(MEMBERS, "Connection refused")
        self.clock.advance(AT_ONCE)
        self.assertEqual(self.said(), [UNREACHABLE])
        self.assertEqual(self.last["reason"], "terminating connection; now: Connection refused")
        self.restore(MEMBERS)
        self.said()

    def test_what_waiting_does_not_cure(self) -> None:
        """That is told also when it comes to stand in the way during the outage; once."""
        self.lose(MEMBERS)
        self.clock.advance(AT_ONCE)
        self.said()
        for _ in range(3):
            self.refuse(MEMBERS, "password authentication failed for user")
        self.assertEqual(self.said(), [UNREACHABLE])
        self.assertIn("password authentication failed", self.last["reason"])
        self.restore(MEMBERS)
        self.assertEqual(self.said(), [RESTORED])

    def test_one(self) -> None:
        """One that is lost while others stand."""
        self.lose("b")
        self.clock.advance(AT_ONCE)
        self.assertEqual(self.said(), [LOST])
        self.assertEqual((self.last["count"], self.last["size"], self.last["reason"]), (1, 5, "cut"))
        self.refuse("b", "too many clients")
        self.clock.advance(60)
        self.restore("b")
        self.assertEqual(self.said(), [RESTORED])

    def test_back_at_once(self) -> None:
        """Losses that are over before they are told are told all the same, with their end."""
        for count in (1, 5):
            self.lose(MEMBERS[:count])
            self.restore(MEMBERS[:count])
            self.clock.advance(AT_ONCE)
            lost, *_ = self.events
            self.assertEqual(lost["count"], count)
            self.assertEqual(self.said(), [LOST, RESTORED])

    def test_the_last_ones_stay_away(self) -> None:
        """After an outage, those that do not come back are told."""
        self.lose(MEMBERS)
        self.clock.advance(AT_ONCE)
        self.restore("ab")
        self.assertEqual(self.said(), [UNREACHABLE, RESTORED])
        self.assertEqual(self.tried, list("bcde"))  # at once, when the first one stood
        self.refuse("cde", "too many clients")
        self.clock.advance(SOON - 0.1)
        self.assertEqual(self.said(), [])
        self.clock.advance(0.1)
        self.assertEqual(self.said(), [LOST])
        self.assertEqual((self.last["count"], self.last["reason"]), (3, "cut; now: too many clients"))
        self.restore("cde")
        self.assertEqual(self.said(), [RESTORED])

    def test_grows_into_an_outage(self) -> None:
        """First one, then all: that is an outage, told as one."""
        self.lose("a")
        self.clock.advance(AT_ONCE)
        self.lose("bcde")
        self.clock.advance(AT_ONCE)
        self.assertEqual(self.said(), [LOST, UNREACHABLE])
        self.restore(MEMBERS)
        self.assertEqual(self.said(), [RESTORED])

    def test_read_only(self) -> None:
        """Where sessions can be opened and may only read, that is one loss, though each session is found so anew."""
        self.lose("a", "read-only", read_only=True)
        for _ in range(20):
            self.clock.advance(5)
            self.restore("ab")
            self.clock.advance(2)
            self.lose("ab", "read-only", read_only=True)
        self.clock.advance(5)
        self.restore("ab")
        self.assertEqual(self.said(), [LOST])
        self.clock.advance(PROVEN_AFTER)
        self.assertEqual(self.said(), [RESTORED])

    def test_found_read_only_later(self) -> None:
        """That is told also when the loss was told already, for another reason; once."""
        self.lose("abcd", "terminated")
        self.restore("abcd")
        self.lose("a", "terminated")
        self.clock.advance(AT_ONCE)
        self.assertEqual(self.said(), [LOST])
        self.restore("a")
        self.assertEqual(self.said(), [RESTORED])
        self.lose("b", "cut")
        self.clock.advance(AT_ONCE)
        self.said()
        for _ in range(3):
            self.lose("cd", "read-only", read_only=True)
            self.restore("cd")
        self.assertEqual(self.said(), [LOST])
        self.assertEqual(self.last["reason"], "cut; now: read-only")
        self.restore("b")
        self.clock.advance(PROVEN_AFTER)
        self.assertEqual(self.said(), [RESTORED])

    def test_closed(self) -> None:
        """A stop is no loss, whatever stood at the moment."""
        self.lose("ab")
        self.lose("c", read_only=True)
        self.restore("c")
        for member in MEMBERS:
            self.outage.leave(member)
        self.clock.advance(60)
        self.assertEqual(self.said(), [])
