"""`slayq_tw.results`."""

from datetime import datetime

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.errors import DatabaseError, DatabaseUnavailable
from slayq_tw.job import Deferral, Failure
from slayq_tw.pgerrors import LOCK_NOT_AVAILABLE, TOO_LONG
from slayq_tw.results import (
    BEHIND,
    ENOUGH,
    LINGER,
    LOCKED_INTERVAL,
    OWN_ATTEMPT,
    REFUSED_INTERVAL,
    RETRY_AT_STOP,
    RETRY_MAX,
    RETRY_MIN,
    ResultWriter,
)
from tests.fakes import START, RecordingStore, a_job


class ResultWriterTests(SynchronousTestCase):
    """Every result is written in the end, and as early as possible."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.store = RecordingStore()
        self.freed = 0
        self.busy = False
        self.writer = ResultWriter(
            self.store,  # type: ignore[arg-type]
            self.clock,
            self.claimable,
            lambda: self.busy,
        )

    def claimable(self) -> None:
        self.freed += 1

    def test_one_turn_is_one_batch(self) -> None:
        """A lone result is written at once; those of one turn go together, by kind."""
        self.writer.completed(a_job(1))
        self.writer.failed(Failure(a_job(2), "no"))
        self.writer.completed(a_job(3))
        self.clock.advance(0)
        self.assertEqual(self.store.asked(), [("fail", [2])])
        self.store.answer({2: False})
        self.assertEqual(self.store.asked()[1:], [("complete", [1, 3])])
        self.store.answer({1, 3})
        self.assertEqual(self.writer.pending, 0)

    def test_what_ends_during_a_write_is_the_next_batch(self) -> None:
        """One write is in flight; the results of its duration are the next one."""
        self.writer.completed(a_job(1))
        self.clock.advance(0)
        self.writer.completed(a_job(2))
        self.writer.completed(a_job(3))
        self.clock.advance(0)
        self.assertEqual(self.store.asked(), [("complete", [1])])
        self.store.answer({1})
        self.assertEqual(self.store.asked()[1:], [("complete", [2, 3])])
        self.store.answer({2, 3})
        self.assertEqual(self.writer.pending, 0)

    def test_company(self) -> None:
        """While other deliveries are under way, results wait a moment for each other."""
        self.busy = True
        self.writer.completed(a_job(1))
        self.clock.advance(0)
        self.assertEqual(self.store.asked(), [])
        self.writer.completed(a_job(2))
        self.clock.advance(LINGER)
        self.assertEqual(self.store.asked(), [("complete", [1, 2])])
        self.store.answer({1, 2})
        self.assertEqual(self.writer.pending, 0)

    def test_enough_company(self) -> None:
        """Many results wait no longer, and neither does one for whose lane the next job waits."""
        self.busy = True
        for number in range(1, ENOUGH + 1):
            self.writer.completed(a_job(number))
        self.clock.advance(0)
        self.assertEqual(len(self.store.calls), 1)
        self.writer.completed(a_job(201))
        self.store.answer(set())
        self.assertEqual(len(self.store.calls), 1)
        self.writer.completed(a_job(202, lane=5))
        self.assertEqual(self.store.asked()[1:], [("complete", [201, 202])])
        self.store.answer({201, 202})
        self.assertEqual((self.writer.pending, self.freed), (0, 1))

    def test_handed_back_at_once(self) -> None:
        """A job that goes back unworked waits for no company: somebody may want to cancel it, and cannot until then."""
        self.busy = True
        self.writer.completed(a_job(1))
        self.clock.advance(0)
        self.assertEqual(self.store.asked(), [])
        self.writer.released(a_job(2))
        self.assertEqual(self.store.asked(), [("complete", [1])])
        self.store.answer({1})
        self.assertEqual(self.store.asked()[1:], [("release", [2])])
        self.store.answer({2})

    def test_outage(self) -> None:
        """Through an outage results are kept, tried with a growing delay, and written when it is over."""
        self.writer.completed(a_job(1))
        self.clock.advance(0)
        delay = RETRY_MIN
        for number in range(1, 9):
            self.store.answer(DatabaseUnavailable("away"))
            self.clock.advance(delay * 0.99)
            self.assertEqual(len(self.store.calls), number)
            self.clock.advance(delay * 0.02)
            self.assertEqual(len(self.store.calls), number + 1)
            delay = min(delay * 2, RETRY_MAX)
        self.writer.completed(a_job(2))
        self.store.answer(DatabaseUnavailable("away"))
        self.clock.advance(RETRY_MAX)
        self.assertEqual(self.store.asked()[-1], ("complete", [1, 2]))
        self.store.answer({1, 2})
        self.assertEqual(self.writer.pending, 0)

    def test_refused_result(self) -> None:
        """A result that the database refuses does not hold up the others, and is tried again."""
        for number in (1, 2, 3):
            self.writer.completed(a_job(number))
        self.clock.advance(0)
        self.store.answer(DatabaseError("violates a foreign key", "23503"))
        self.store.answer({1})
        self.store.answer(DatabaseError("violates a foreign key", "23503"))
        self.store.answer({3})
        self.assertEqual([ids for _, ids in self.store.asked()], [[1, 2, 3], [1], [2], [3]])
        self.assertEqual(self.writer.pending, 1)
        self.clock.advance(REFUSED_INTERVAL)
        self.clock.advance(0)
        self.assertEqual(self.store.asked()[-1], ("complete", [2]))
        self.store.answer({2})
        self.assertEqual(self.writer.pending, 0)

    def test_locked(self) -> None:
        """A result whose job somebody else has locked does not hold up the others either, and is tried again soon."""
        locked = DatabaseError("canceling statement due to lock timeout", LOCK_NOT_AVAILABLE)
        for number in (1, 2):
            self.writer.completed(a_job(number))
        self.clock.advance(0)
        for answer in (locked, locked, {2}):
            self.store.answer(answer)
        self.assertEqual([ids for _, ids in self.store.asked()], [[1, 2], [1], [2]])
        self.clock.advance(LOCKED_INTERVAL)
        self.clock.advance(0)
        self.assertEqual(self.store.asked()[-1], ("complete", [1]))
        self.store.answer({1})
        self.assertEqual(self.writer.pending, 0)

    def test_slow(self) -> None:
        """Neither does one that is slow for itself alone, though it will have more time with the next attempt."""
        self.writer.completed(a_job(1))
        self.writer.completed(a_job(2))
        self.clock.advance(0)
        self.store.answer(DatabaseError("canceling statement due to statement timeout", TOO_LONG))
        self.store.answer(DatabaseUnavailable("the next attempt has more than 4 s", TOO_LONG))
        self.store.answer({2})
        self.assertEqual([ids for _, ids in self.store.asked()], [[1, 2], [1], [2]])
        self.assertEqual(self.writer.pending, 1)
        self.clock.advance(REFUSED_INTERVAL)
        self.clock.advance(0)
        self.assertEqual(self.store.asked()[-1], ("complete", [1]))

    def test_our_own_lock(self) -> None:
        """An attempt that was given up may be about to commit: it is waited for, for a while, before results are
        written one by one."""
        locked = DatabaseError("canceling statement due to lock timeout", LOCK_NOT_AVAILABLE)
        self.writer.completed(a_job(1))
        self.writer.completed(a_job(2))
        self.clock.advance(0)
        self.store.answer(DatabaseUnavailable("no answer"))
        for _ in range(round(OWN_ATTEMPT)):
            self.clock.advance(RETRY_MAX)
            self.assertEqual(self.store.asked()[-1], ("complete", [1, 2]))
            self.store.answer(locked)
        self.assertEqual(self.store.asked()[-1], ("complete", [1]))

    def test_lane(self) -> None:
        """After a job of a serial lane is written, and not before, its lane is announced as free."""
        self.writer.completed(a_job(1, lane=5))
        self.clock.advance(0)
        self.assertEqual(self.freed, 0)
        self.store.answer({1})
        self.assertEqual(self.freed, 1)
        self.writer.completed(a_job(2))
        self.clock.advance(0)
        self.store.answer({2})
        self.assertEqual(self.freed, 1)

    def test_handed_back(self) -> None:
        """What was handed back can be claimed when that is written: a look before that has not found it."""
        self.writer.released(a_job(1))
        self.clock.advance(0)
        self.assertEqual(self.freed, 0)
        self.store.answer({1})
        self.assertEqual(self.freed, 1)

    def test_put_off(self) -> None:
        """What is put off is written with its seconds; who asked is told from when on it can be claimed."""
        told: list[tuple[int, datetime]] = []
        for number in (1, 2):
            deferral = Deferral(a_job(number, lane=5), number * 10.0, lambda *when: told.append(when))
            self.writer.deferred(deferral)
        self.assertEqual(self.writer.pending, 2)
        self.clock.advance(0)
        self.assertEqual(self.store.asked(), [("defer", [(1, 10.0), (2, 20.0)])])
        self.store.answer({2: START})  # somebody else has the first
        self.assertEqual((told, self.freed, self.writer.pending), ([(2, START)], 1, 0))

    def test_behind(self) -> None:
        """When the database does not keep up, it says so until it does."""
        for number in range(BEHIND):
            self.assertFalse(self.writer.behind)
            self.writer.deferred(Deferral(a_job(number), 1.0, lambda *when: None))
        self.assertTrue(self.writer.behind)
        self.clock.advance(0)
        self.store.answer({})
        self.assertFalse(self.writer.behind)

    def test_failed_for_good(self) -> None:
        """A job without attempts left is a warning that names it."""
        with capturedLogs() as events:
            self.writer.failed(Failure(a_job(1, attempts=25), "POST http://app.test/: 500"))
            self.clock.advance(0)
            self.store.answer({1: True})
        (event,) = [event for event in events if event.get("event") == "job_failed_for_good"]
        self.assertEqual(event["log_level"], LogLevel.warn)
        self.assertEqual((event["job_id"], event["queue"], event["attempt"]), (1, "mail", 25))

    def test_flush(self) -> None:
        """Flushing waits for the writes, and cuts the pause between two attempts short."""
        self.writer.released(a_job(1))
        self.clock.advance(0)
        self.store.answer(DatabaseUnavailable("away"))
        flushing = Deferred.fromCoroutine(self.writer.flush(1.5))
        self.assertEqual(len(self.store.calls), 2)
        self.assertNoResult(flushing)
        self.store.answer({1})
        self.successResultOf(flushing)

    def test_flush_tries_often(self) -> None:
        """A flush does not rest as long as an outage would have it: there is little time."""
        self.writer.completed(a_job(1))
        self.clock.advance(0)
        for _ in range(4):
            self.store.answer(DatabaseUnavailable("away"))
            self.clock.advance(RETRY_MAX)
        self.store.answer(DatabaseUnavailable("away"))
        flushing = Deferred.fromCoroutine(self.writer.flush(1.5))
        self.store.answer(DatabaseUnavailable("just coming back"))
        self.clock.advance(RETRY_AT_STOP)
        self.store.answer({1})
        self.successResultOf(flushing)
        self.assertEqual(self.writer.pending, 0)

    def test_flush_gives_up(self) -> None:
        """What cannot be written in time is counted in the log."""
        self.writer.completed(a_job(1))
        self.clock.advance(0)
        flushing = Deferred.fromCoroutine(self.writer.flush(1.5))
        with capturedLogs() as events:
            self.clock.advance(1.5)
        self.successResultOf(flushing)
        self.assertEqual([event["count"] for event in events if event.get("event") == "results_lost"], [1])
