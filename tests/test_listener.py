"""`slayq_tw.listener` without a server: what it makes of announcements."""

from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.errors import DatabaseUnavailable
from slayq_tw.listener import JOBS_CHANNEL, LOOK_INTERVAL, MIGRATE_CHANNEL, Listener


class ListenerTests(SynchronousTestCase):
    """One listener, whose connection is never opened."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.wakes = 0
        self.looks: list[Deferred[None]] = []
        self.listener = Listener({}, self.clock, self.wake, self.query, look_at_schema=self.look)
        self.listener._schema_loop.start()
        self.addCleanup(self.listener._schema_loop.stop)

    def wake(self) -> None:
        self.wakes += 1

    async def query(self, *_: Any) -> list[tuple[Any, ...]]:
        raise AssertionError("nothing is asked")

    async def look(self) -> None:
        self.looks.append(Deferred())
        await self.looks[-1]

    def announce(self, channel: str, *payloads: str) -> None:
        self.listener._notified([SimpleNamespace(channel=channel, payload=one, pid=1) for one in payloads])

    def test_jobs(self) -> None:
        """Whatever says that jobs were added, or says nothing that we know, wakes; a removal does not."""
        for payload, wakes in (
            ('{"r":0.5,"count":1}', True),
            ('{"r" : 0.5, "count" : 12}', True),
            ("", True),
            ("[]", True),
            ('{"count":"0"}', True),
            ('{"count":0.5}', True),
            ('{"count":-1,' + 200 * " " + "}", True),
            ('{"r":0.5,"count":-1}', False),
            ('{"r":0.5,"count":-1.5}', False),
            ('{"count":0}', False),
            ('{"count": 0 ,"r":1}', False),
        ):
            self.wakes = 0
            self.announce(JOBS_CHANNEL, payload)
            self.assertEqual(self.wakes == 1, wakes, payload)

    def test_many_at_once(self) -> None:
        """What arrives together wakes once, even if most of it is of no interest."""
        self.announce(JOBS_CHANNEL, *1000 * ['{"count":-1}'], *1000 * ['{"count":1}'])
        self.assertEqual(self.wakes, 1)

    def test_schema(self) -> None:
        """After an announcement the database is asked, once at a time, and not again within some seconds."""
        self.announce(MIGRATE_CHANNEL, *100 * ['{"migrationNumber":999,"breaking":true}'])
        self.assertEqual(len(self.looks), 1)
        self.announce(MIGRATE_CHANNEL, "{}")
        self.looks[0].callback(None)
        self.announce(MIGRATE_CHANNEL, "{}")
        self.clock.advance(LOOK_INTERVAL - 0.1)
        self.assertEqual(len(self.looks), 1)
        self.clock.advance(0.1)
        self.assertEqual(len(self.looks), 2)  # one more was announced after the first look had begun
        self.looks[1].callback(None)
        self.clock.pump(10 * [LOOK_INTERVAL])
        self.assertEqual(len(self.looks), 2)
        self.announce(MIGRATE_CHANNEL, "")
        self.assertEqual(len(self.looks), 3)

    def test_schema_while_away(self) -> None:
        """A database that does not answer is asked again: the announcement may have been true."""
        self.announce(MIGRATE_CHANNEL, "")
        self.looks[0].errback(DatabaseUnavailable("away"))
        self.clock.advance(LOOK_INTERVAL)
        self.assertEqual(len(self.looks), 2)
        self.looks[1].callback(None)
        self.clock.advance(LOOK_INTERVAL)
        self.assertEqual(len(self.looks), 2)
