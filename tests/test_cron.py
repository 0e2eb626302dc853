"""`slayq_tw.cron`: minutes and payloads; `tests/integration/test_cron.py` has the service."""

import json
from datetime import UTC, datetime, timedelta

from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.cron import minute_of, tick_payload

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
