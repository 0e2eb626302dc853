"""What an answer means, and when the next attempt is due."""

import os
import time
from email.utils import formatdate

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.retry import MAX_RETRY_AFTER, Outcome, outcome_for, retry_after, retry_delay

NOW = 1_792_567_650.0  # 21 October 2026, 07:27:30 UTC


class OutcomeTests(SynchronousTestCase):
    """The contract's outcome table."""

    def test_every_status(self) -> None:
        """2xx and 666 deliver, 404 too with a warning, 307 and 308 redirect, all else is another attempt."""
        groups: dict[Outcome, list[int]] = {outcome: [] for outcome in Outcome}
        for status in range(100, 1000):
            groups[outcome_for(status)].append(status)
        self.assertEqual(groups[Outcome.DELIVERED], [*range(200, 300), 666])
        self.assertEqual(groups[Outcome.GONE], [404])
        self.assertEqual(groups[Outcome.REDIRECT], [307, 308])
        self.assertEqual(len(groups[Outcome.RETRY]), 900 - 104)


class RetryDelayTests(SynchronousTestCase):
    """Graphile Worker's rule."""

    def test_grows_to_a_bound(self) -> None:
        """e to the number of attempts, in seconds, to ten of them."""
        self.assertAlmostEqual(retry_delay(1), 2.718281828, places=6)
        self.assertAlmostEqual(retry_delay(2), 7.389056099, places=6)
        self.assertAlmostEqual(retry_delay(10), 22026.465794807, places=6)
        self.assertEqual(retry_delay(25), retry_delay(10))


class RetryAfterTests(SynchronousTestCase):
    """Both forms of `Retry-After`."""

    def test_seconds(self) -> None:
        """A whole number of seconds, at most a day."""
        self.assertEqual(retry_after("120", NOW), 120.0)
        self.assertEqual(retry_after(" 0 ", NOW), 0.0)
        self.assertEqual(retry_after("86401", NOW), MAX_RETRY_AFTER)
        self.assertEqual(retry_after("9" * 5000, NOW), MAX_RETRY_AFTER)

    def test_date(self) -> None:
        """An HTTP date in each of its three forms; one that has passed asks for nothing, a far one for a day."""
        self.assertEqual(retry_after("Wed, 21 Oct 2026 07:28:00 GMT", NOW), 30.0)
        self.assertEqual(retry_after("Wednesday, 21-Oct-26 07:28:00 GMT", NOW), 30.0)
        self.assertEqual(retry_after("Wed Oct 21 07:28:00 2026", NOW), 30.0)
        self.assertEqual(retry_after("Wed, 21 Oct 2026 09:28:00 +0200", NOW), 30.0)
        self.assertEqual(retry_after("Wed, 21 Oct 2020 07:28:00 GMT", NOW), 0.0)
        self.assertEqual(retry_after("Wed, 21 Oct 2099 07:28:00 GMT", NOW), MAX_RETRY_AFTER)

    def test_date_without_a_zone(self) -> None:
        """HTTP's dates are in UTC, also those that do not say so, wherever this machine is."""
        before = os.environ.get("TZ")
        self.addCleanup(time.tzset)
        self.addCleanup(lambda: os.environ.pop("TZ") if before is None else os.environ.update(TZ=before))
        for zone in ("UTC", "Pacific/Auckland", "America/Los_Angeles", "XYZ-7:30"):
            os.environ["TZ"] = zone
            time.tzset()
            for date in (
                "Wed Oct 21 07:28:00 2026",
                "Wed, 21 Oct 2026 07:28:00",
                "Wed, 21 Oct 2026 07:28:00 -0000",
            ):
                self.assertEqual(retry_after(date, NOW), 30.0, (zone, date))

    def test_malformed(self) -> None:
        """Anything else is as good as no header."""
        for value in ("", "soon", "-1", "1.5", "1e3", "٣", "Wed, 99 Oct 2026 07:28:00 GMT", "120, 240"):
            self.assertIsNone(retry_after(value, NOW), value)

    @given(
        st.text()
        | st.from_regex(r"[A-Z][a-z]{2}, [0-9]{1,3} [A-Z][a-z]{2} [0-9]{1,6} [0-9:]{1,9} [+-]?[0-9A-Z]{0,6}")
    )
    def test_any_text(self, value: str) -> None:
        """Never an error; nothing below zero or above a day."""
        seconds = retry_after(value, NOW)
        self.assertTrue(seconds is None or 0.0 <= seconds <= MAX_RETRY_AFTER)

    @given(st.integers(0, 4_000_000_000))
    def test_formatted_dates(self, moment: int) -> None:
        """A well-formed date is never malformed."""
        expected = min(max(moment - NOW, 0.0), MAX_RETRY_AFTER)
        self.assertEqual(retry_after(formatdate(moment, usegmt=True), NOW), expected)
