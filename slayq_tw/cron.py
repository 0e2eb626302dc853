"""`CronService`: the cron tick, once a minute over all processes."""

import json
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from slayq_tw.errors import DatabaseError
from slayq_tw.loop import SupervisedLoop

LOOK_INTERVAL = 1.0
"""Seconds between two looks at the wall clock; the boundary of a minute is met exactly, not at the next look."""

MEMORY = 2880
"""Minutes remembered as ticked: two days."""

Schedule = Callable[[datetime, str, datetime | None], Awaitable[tuple[bool, datetime | None]]]
"""`JobStore.schedule_tick`."""


def minute_of(now: float) -> datetime:
    """The minute that a wall-clock time, in seconds since the epoch, is in."""
    return datetime.fromtimestamp(now // 60 * 60, UTC)


def tick_payload(url: str, minute: datetime) -> str:
    """The tick's payload, as Graphile Worker's crontab stores it: JSON text with the nominal minute in `_cron`.

    It is ASCII, which every database can hold, whatever its encoding.
    """
    stamp = minute.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    tick = {"url": url, "retry": 0, "event": "cron", "data": {}, "_cron": {"ts": stamp, "backfilled": False}}
    return json.dumps(tick, separators=(",", ":"))


class CronService(Service):
    """Asks once per minute for its tick; the database row decides which process adds it.

    It looks at the wall clock every second and waits out the rest of a minute's last second, so a clock that is
    stepped makes at most one tick late. A minute that was missed is not made up for: ticks share one key, so only
    the newest would be left. A minute that this process has seen ticked is never ticked again.

    Args:
        url: receiver of the tick.
        schedule: adds the tick of a minute unless some process did.
        clock: IReactorTime, on monotonic time.
        now: wall-clock time, seconds since the epoch.
    """

    log = Logger()

    def __init__(self, url: str, schedule: Schedule, clock: Any, now: Callable[[], float]) -> None:
        self.setName("cron")
        self._url = url
        self._schedule = schedule
        self._clock = clock
        self._now = now
        self._settled: datetime | None = None  # the minute that needs no more attention
        self._seen: OrderedDict[datetime, None] = OrderedDict()  # minutes known to have had their tick
        self._stands_at: datetime | None = None
        self._away = False
        self._loop = SupervisedLoop(self._look, LOOK_INTERVAL, clock, "cron")

    def startService(self) -> None:
        """Begin to look at the clock."""
        super().startService()
        self._settled = minute_of(self._now())  # it began before this process: the next one is the first
        self._loop.start()

    def stopService(self) -> Deferred[None]:
        """Stop; a minute that is just being added is still added."""
        super().stopService()
        return self._loop.stop()

    async def _look(self) -> None:
        to_boundary = 60 - self._now() % 60
        if to_boundary <= LOOK_INTERVAL:
            await deferLater(self._clock, to_boundary)
        minute = minute_of(self._now())
        if minute != self._settled and self.running:
            if minute not in self._seen and not await self._ticked(minute):
                return  # again at the next look, while the minute lasts
            self._settled = minute

    async def _ticked(self, minute: datetime) -> bool:
        """Whether the database could be asked for the minute's tick; an outage is logged once."""
        try:
            await self._tick(minute)
        except DatabaseError as error:
            if not self._away:
                self._away = True
                self.log.warn("{event}: the tick waits ({reason})", event="cron_waiting", reason=str(error))
            return False
        self._away = False
        return True

    async def _tick(self, minute: datetime) -> None:
        """Add the tick, or learn that another process has.

        A `last_execution` in the future stands there because some clock was wrong. If it stands still for a whole
        minute, nobody ticks, and it is overruled.
        """
        stuck = self._stands_at
        added, last = await self._schedule(minute, tick_payload(self._url, minute), stuck)
        if added or last == minute:
            self._remember(minute)
        self._stands_at = last if not added and last is not None and last > minute else None
        if added:
            late = timedelta(seconds=self._now()) - timedelta(seconds=minute.timestamp())
            self.log.debug(
                "{event}: {minute}, {late_ms} ms after it began",
                event="cron_tick",
                minute=minute.isoformat(),
                late_ms=late // timedelta(milliseconds=1),
            )
        if added and stuck is not None and last == stuck:
            self.log.warn(
                "{event}: the last tick was recorded for {last}, in the future; ticking again from {minute}",
                event="cron_clock_jumped",
                last=last.isoformat() if last else None,
                minute=minute.isoformat(),
            )

    def _remember(self, minute: datetime) -> None:
        self._seen[minute] = None
        if len(self._seen) > MEMORY:
            self._seen.popitem(last=False)
