"""`slayq_tw.poller`."""

from collections.abc import Sequence

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.errors import DatabaseUnavailable
from slayq_tw.jobs import Job
from slayq_tw.poller import AHEAD, POLL_INTERVAL, QueuePoller
from tests.fakes import a_job


class QueuePollerTests(SynchronousTestCase):
    """A queue of two slots."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.claims: list[tuple[list[str], int, Deferred[list[Job]]]] = []
        self.deliveries: dict[int, Deferred[None]] = {}
        self.released: list[int] = []
        self.poller = QueuePoller(["mail", "post"], 2, self.claim, self.work, self.release, self.clock)
        self.poller.startService()

    def claim(self, names: Sequence[str], limit: int) -> Deferred[list[Job]]:
        answer: Deferred[list[Job]] = Deferred()
        self.claims.append((list(names), limit, answer))
        return answer

    def work(self, job: Job) -> Deferred[None]:
        """A delivery, handed back when it is cancelled, as JobWorker does it."""

        async def deliver() -> None:
            try:
                await self.deliveries.setdefault(job.id, Deferred())
            except CancelledError:
                self.released.append(job.id)

        return Deferred.fromCoroutine(deliver())

    def release(self, job: Job) -> None:
        self.released.append(job.id)

    def answer(self, *numbers: int) -> None:
        self.claims[-1][2].callback([a_job(number) for number in numbers])

    def finish(self, number: int) -> None:
        self.deliveries[number].callback(None)

    def test_claims_what_it_can_start(self) -> None:
        """It asks, for all its names, for as many jobs as it has slots, and for none when they are busy."""
        self.assertEqual([(names, limit) for names, limit, _ in self.claims], [(["mail", "post"], 2)])
        self.answer(1, 2)
        self.assertEqual(sorted(self.deliveries), [1, 2])
        self.clock.advance(POLL_INTERVAL)
        self.poller.wake()
        self.assertEqual(len(self.claims), 1)

    def test_a_freed_slot_claims_at_once(self) -> None:
        """A finished job makes room, and the room is asked for without waiting."""
        self.answer(1, 2)
        self.clock.advance(60.0)
        self.finish(1)
        self.assertEqual([limit for _, limit, _ in self.claims], [2, 1])

    def test_looks_every_interval(self) -> None:
        """A queue that nothing announces is looked at every interval."""
        self.answer()
        self.clock.advance(POLL_INTERVAL)
        self.assertEqual(len(self.claims), 2)

    def test_wake(self) -> None:
        """An announcement is followed at once, one that comes during a claim right after it."""
        self.poller.wake()
        self.assertEqual(len(self.claims), 1)
        self.answer()
        self.assertEqual(len(self.claims), 2)
        self.answer()
        self.poller.wake()
        self.assertEqual(len(self.claims), 3)

    def test_never_more_than_its_slots(self) -> None:
        """Jobs claimed ahead wait until a slot is free."""
        self.be_fast()
        self.answer(11, 12, 13)
        self.assertEqual(self.poller.in_flight, 2)
        self.assertNotIn(13, self.deliveries)
        self.finish(11)
        self.assertIn(13, self.deliveries)
        self.assertEqual(self.poller.in_flight, 2)

    def test_claims_ahead_at_a_fast_pace(self) -> None:
        """When deliveries take 10 ms, it asks for what two slots can begin within the next 100 ms as well."""
        self.be_fast()
        self.assertEqual(self.claims[-1][1], 2 + int(2 * AHEAD / 0.01))

    def test_stalled_receiver(self) -> None:
        """Jobs claimed ahead of a receiver that stops answering are handed back."""
        self.be_fast()
        self.answer(11, 12, 13, 14)
        self.clock.advance(POLL_INTERVAL)
        self.answer()
        self.assertEqual(self.released, [])
        self.clock.advance(POLL_INTERVAL)
        self.assertEqual(self.released, [13, 14])
        self.assertEqual(self.poller.in_flight, 2)

    def test_database_away(self) -> None:
        """A claim that fails is tried again at the next look."""
        self.claims[-1][2].errback(DatabaseUnavailable("gone"))
        self.clock.advance(POLL_INTERVAL)
        self.assertEqual(len(self.claims), 2)

    def test_stop_drains(self) -> None:
        """Stopping claims nothing more and waits for what is in flight."""
        self.answer(1, 2)
        stopping = self.poller.stopService()
        self.finish(1)
        self.assertNoResult(stopping)
        self.finish(2)
        self.successResultOf(stopping)
        self.poller.wake()
        self.clock.advance(POLL_INTERVAL)
        self.assertEqual((len(self.claims), self.released), (1, []))

    def test_stop_hands_back_what_has_not_begun(self) -> None:
        """Jobs that were claimed ahead go back when the queue stops, at once."""
        self.be_fast()
        self.answer(11, 12, 13)
        stopping = self.poller.stopService()
        self.assertEqual(self.released, [13])
        self.finish(11)
        self.finish(12)
        self.successResultOf(stopping)

    def test_claim_that_is_answered_after_the_stop(self) -> None:
        """Jobs that arrive when the queue is stopping go back."""
        stopping = self.poller.stopService()
        self.assertNoResult(stopping)
        self.answer(1, 2)
        self.successResultOf(stopping)
        self.assertEqual((self.released, self.deliveries), ([1, 2], {}))

    def test_cut(self) -> None:
        """Cutting the grace period ends what is in flight; its jobs go back."""
        self.answer(1, 2)
        stopping = self.poller.stopService()
        self.poller.cut()
        self.successResultOf(stopping)
        self.assertEqual(sorted(self.released), [1, 2])

    def be_fast(self) -> None:
        """Have one delivery take 10 ms, and the slots empty again."""
        self.answer(1)
        self.clock.advance(0.01)
        self.finish(1)
