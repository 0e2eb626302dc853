"""`slayq_tw.cron`."""

import json
from datetime import UTC, datetime, timedelta

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.cron import CronService, minute_of, tick_payload
from slayq_tw.errors import DatabaseUnavailable

NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def minutes(number: int) -> datetime:
    return NOON + timedelta(minutes=number)


class PureTests(SynchronousTestCase):
    """Minutes and payloads."""

    def test_minute_of(self) -> None:
        """A minute includes its first moment and not its last."""
        self.assertEqual(minute_of(NOON.timestamp()), NOON)
        self.assertEqual(minute_of(NOON.timestamp() + 59.999), NOON)
        self.assertEqual(minute_of(NOON.timestamp() - 0.001), minutes(-1))

    def test_payload(self) -> None:
        """The payload is the contract's, with the nominal minute as Graphile Worker stores it."""
        self.assertEqual(
            tick_payload("http://app.test/api/slay-q", NOON),
            '{"url":"http://app.test/api/slay-q","retry":0,"event":"cron","data":{},'
            '"_cron":{"ts":"2026-11-24T12:00:00.000Z","backfilled":false}}',
        )
        self.assertEqual(json.loads(tick_payload('http://app.test/"ü', NOON))["url"], 'http://app.test/"ü')


class Row:
    """The known-crontab row: the rule of `schedule_tick`, in memory."""

    def __init__(self) -> None:
        self.last: datetime | None = None
        self.ticks: list[datetime] = []
        self.away = False
        self.asked = 0

    async def schedule(
        self, minute: datetime, payload: str, stuck: datetime | None
    ) -> tuple[bool, datetime | None]:
        self.asked += 1
        if self.away:
            raise DatabaseUnavailable("away")
        before = self.last
        if before is None or before < minute or before == stuck:
            self.last = minute
            self.ticks.append(minute)
            return True, before
        return False, before


class CronServiceTests(SynchronousTestCase):
    """One tick a minute, at its beginning, whatever the clocks do."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.offset = NOON.timestamp() + 30.3  # wall time minus monotonic time
        self.row = Row()
        self.cron = self.a_service()

    def a_service(self) -> CronService:
        cron = CronService("http://app.test/", self.row.schedule, self.clock, self.wall)
        cron.startService()
        self.addCleanup(cron.stopService)
        return cron

    def wall(self) -> float:
        return self.clock.seconds() + self.offset

    def run_for(self, seconds: float) -> None:
        """Let time pass in steps of 50 ms."""
        self.clock.pump([0.05] * round(seconds / 0.05))

    def test_first_tick_is_the_next_minute(self) -> None:
        """The minute in which the daemon starts began before it; the next one is ticked as it begins."""
        self.run_for(29.65)
        self.assertEqual(self.row.ticks, [])
        self.run_for(0.1)
        self.assertEqual(self.row.ticks, [minutes(1)])

    def test_every_minute_once(self) -> None:
        """Five minutes are five ticks, over two processes as well."""
        self.a_service()
        self.run_for(300)
        self.assertEqual(self.row.ticks, [minutes(n) for n in range(1, 6)])

    def test_outage(self) -> None:
        """A tick that could not be added is tried again every second while its minute lasts (item 70)."""
        self.row.away = True
        self.run_for(33)
        self.row.away = False
        self.run_for(1.05)
        self.assertEqual(self.row.ticks, [minutes(1)])
        self.assertEqual(self.row.asked, 6)
        self.run_for(60)
        self.assertEqual(self.row.ticks, [minutes(1), minutes(2)])

    def test_clock_stepped_back(self) -> None:
        """Minutes that come again are not ticked again; then it goes on (item 69)."""
        self.run_for(150)
        self.assertEqual(self.row.ticks, [minutes(1), minutes(2), minutes(3)])
        self.offset -= 120
        self.run_for(240)
        self.assertEqual(self.row.ticks, [minutes(n) for n in range(1, 6)])

    def test_clock_stepped_forward(self) -> None:
        """Missed minutes are not made up for: the minute it is now is ticked, and so on."""
        self.run_for(60)
        self.offset += 600
        self.run_for(60)
        self.assertEqual(self.row.ticks, [minutes(1), minutes(11), minutes(12)])

    def test_wrong_clock_corrected(self) -> None:
        """A tick recorded far in the future silences the following ones for two minutes at most."""
        self.row.last = minutes(600)
        self.run_for(150)
        self.assertEqual(self.row.ticks, [minutes(2), minutes(3)])

    def test_peer_with_a_fast_clock(self) -> None:
        """As long as somebody ticks, however wrong his clock, this process does not tick beside him."""
        for number in range(1, 5):
            self.row.last = minutes(number + 5)
            self.run_for(60)
        self.assertEqual(self.row.ticks, [])

    def test_stop_during_a_tick(self) -> None:
        """Stopping waits for the tick that is being added."""
        answer: Deferred[tuple[bool, None]] = Deferred()

        async def slow(minute: datetime, payload: str, stuck: datetime | None) -> tuple[bool, None]:
            return await answer

        cron = CronService("http://app.test/", slow, self.clock, self.wall)
        cron.startService()
        self.run_for(31)
        stopping = cron.stopService()
        self.assertNoResult(stopping)
        answer.callback((True, None))
        self.successResultOf(stopping)
