"""`slayq_tw.cron` on a real Postgres, whose row decides who ticks, with the clock in the test's hand."""

from datetime import UTC, datetime, timedelta

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.configcheck import CRON_IDENTIFIER
from slayq_tw.cron import CronService
from slayq_tw.errors import DatabaseUnavailable
from slayq_tw.jobs import JobStore
from tests.blocking import BlockingDatabase, finish
from tests.postgres import migrated_database

NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def minutes(number: int) -> datetime:
    return NOON + timedelta(minutes=number)


class Row:
    """The known-crontab row, and what this test's processes made of it.

    Attributes:
        ticks: the minutes that they have added, in order.
        away: whether the database cannot be asked.
        asked: how often they tried.
    """

    def __init__(self, case: SynchronousTestCase) -> None:
        self._database = BlockingDatabase(migrated_database(case))
        case.addCleanup(self._database.close)
        self._store = JobStore(self._database, ())  # type: ignore[arg-type]  # it has the methods that are used
        finish(self._store.register_crontab())
        self.ticks: list[datetime] = []
        self.away = False
        self.asked = 0

    async def schedule(
        self, minute: datetime, payload: str, stuck: datetime | None
    ) -> tuple[bool, datetime | None]:
        """`JobStore.schedule_tick`."""
        self.asked += 1
        if self.away:
            raise DatabaseUnavailable("away")
        added, before = await self._store.schedule_tick(minute, payload, stuck)
        if added:
            self.ticks.append(minute)
        return added, before

    def record(self, last: datetime) -> None:
        """What another process does that ticks."""
        finish(
            self._database.query(
                "UPDATE graphile_worker._private_known_crontabs SET last_execution = %s WHERE identifier = %s",
                [last, CRON_IDENTIFIER],
            )
        )


class CronServiceTests(SynchronousTestCase):
    """One tick a minute, at its beginning, whatever the clocks do."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.offset = NOON.timestamp() + 30.3  # wall time minus monotonic time
        self.row = Row(self)
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
        self.row.record(minutes(600))
        self.run_for(150)
        self.assertEqual(self.row.ticks, [minutes(2), minutes(3)])

    def test_peer_with_a_fast_clock(self) -> None:
        """As long as somebody ticks, however wrong his clock, this process does not tick beside him."""
        for number in range(1, 5):
            self.row.record(minutes(number + 5))
            self.run_for(60)
        self.assertEqual(self.row.ticks, [])

    def test_corrected_between(self) -> None:
        """A row that stood in the future, was put right, and stands there again is given the whole minute anew."""
        self.run_for(20)
        self.row.record(minutes(600))
        self.run_for(20)  # minute 1 begins: it is seen there
        self.row.record(minutes(2))
        self.run_for(60)  # minute 2: somebody else ticks
        self.row.record(minutes(600))
        self.run_for(60)  # minute 3: it is seen there, and may be about to move
        self.assertEqual(self.row.ticks, [])
        self.run_for(60)
        self.assertEqual(self.row.ticks, [minutes(4)])

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
