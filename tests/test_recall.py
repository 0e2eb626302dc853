"""`slayq_tw.recall`."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.errors import DatabaseUnavailable
from slayq_tw.recall import BATCH, REMEMBERED, STOP_TIMEOUT, Recall
from tests.fakes import START


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


class RecallTests(SynchronousTestCase):
    """Jobs come back in their order."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.statements: list[list[tuple[int, datetime]]] = []
        self.answers: list[Deferred[None]] = []
        self.wakes = 0
        self.recall = Recall(self.bring, self.wake, self.clock)
        self.recall.startService()

    async def bring(self, jobs: Sequence[tuple[int, datetime]]) -> None:
        self.statements.append(list(jobs))
        self.answers.append(Deferred())
        await self.answers[-1]

    def wake(self) -> None:
        self.wakes += 1

    def answer(self) -> None:
        self.answers[-1].callback(None)

    def test_over(self) -> None:
        """They are brought back in the order in which they were first put off, and then claimed at once."""
        group = self.recall.waiting()
        for number, seconds in ((5, 2.0), (3, 1.0), (4, 3.0), (3, 9.0)):
            group.written(number, at(seconds))
        self.assertEqual(len(group), 3)
        self.assertEqual(group.over(), 3)
        self.clock.advance(0)
        self.assertEqual(self.statements, [[(5, at(2.0)), (3, at(9.0)), (4, at(3.0))]])
        self.assertEqual(self.wakes, 0)
        self.answer()
        self.assertEqual(self.wakes, 1)

    def test_nobody_waits(self) -> None:
        """Without a job there is no statement."""
        self.assertEqual(self.recall.waiting().over(), 0)
        self.clock.advance(0)
        self.assertEqual((self.statements, self.clock.getDelayedCalls()), ([], []))

    def test_written_late(self) -> None:
        """A job that was being put off when the waiting was over is brought back too, with its company."""
        group = self.recall.waiting()
        group.over()
        group.written(1, at(1.0))
        group.written(2, at(2.0))
        self.clock.advance(0)
        self.assertEqual(self.statements, [[(1, at(1.0)), (2, at(2.0))]])
        group.written(3, at(3.0))
        self.answer()
        self.assertEqual(self.statements[1:], [[(3, at(3.0))]])
        self.answer()
        self.assertEqual(self.wakes, 1)

    def test_independent(self) -> None:
        """Other groups go on waiting."""
        one, other = self.recall.waiting(), self.recall.waiting()
        one.written(1, at(1.0))
        other.written(2, at(2.0))
        one.over()
        self.clock.advance(0)
        self.assertEqual(self.statements, [[(1, at(1.0))]])
        self.assertEqual(len(other), 1)

    def test_many(self) -> None:
        """What is remembered is bounded, and so is what one statement does."""
        group = self.recall.waiting()
        for number in range(REMEMBERED + 100):
            group.written(number, at(number))
        group.written(0, at(0.5))  # known already: it can be put off again
        self.assertEqual(len(group), REMEMBERED)
        group.over()
        self.clock.advance(0)
        for _ in range(REMEMBERED // BATCH):
            self.answer()
        self.assertEqual({len(jobs) for jobs in self.statements}, {BATCH})
        again = self.recall.waiting()
        again.written(1, at(1.0))
        self.assertEqual(len(again), 1)

    def test_database_away(self) -> None:
        """If it cannot be done, the jobs come when they are due; the log says so."""
        group = self.recall.waiting()
        group.written(1, at(1.0))
        group.over()
        with capturedLogs() as events:
            self.clock.advance(0)
            self.answers[-1].errback(DatabaseUnavailable("away"))
        self.assertEqual([event["count"] for event in events if event["event"] == "recall_failed"], [1])
        group.written(2, at(2.0))
        self.clock.advance(0)
        self.assertEqual(self.statements[-1], [(2, at(2.0))])

    def test_stop(self) -> None:
        """At stop all are brought back: whoever takes over knows nothing of them."""
        one, other = self.recall.waiting(), self.recall.waiting()
        one.written(1, at(1.0))
        other.written(2, at(2.0))
        stopping = self.recall.stopService()
        self.clock.advance(0)
        self.assertEqual(self.statements, [[(1, at(1.0)), (2, at(2.0))]])
        self.assertNoResult(stopping)
        self.answer()
        self.successResultOf(stopping)

    def test_stop_is_bounded(self) -> None:
        """A stop does not wait long for that."""
        self.recall.waiting().written(1, at(1.0))
        stopping = self.recall.stopService()
        self.clock.advance(0)
        self.clock.advance(STOP_TIMEOUT)
        self.successResultOf(stopping)
