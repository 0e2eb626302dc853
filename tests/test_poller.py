"""`slayq_tw.poller`."""

from collections.abc import Callable
from itertools import count, islice
from random import Random
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.errors import DatabaseUnavailable
from slayq_tw.job import Job
from slayq_tw.poller import POLL_INTERVAL, QueuePoller
from slayq_tw.prefetch import MOST
from tests.fakes import a_job


class OneAtATime:
    """A `Claimer` for one queue, whose statements are answered by the test.

    Attributes:
        limits: what was asked for, one for each statement.
        takes: as Claimer's.
    """

    takes = 0.003

    def __init__(self) -> None:
        self.limits: list[int] = []
        self._queue: Any = None
        self._busy = False
        self._settled: list[Deferred[None]] = []

    def serve(self, queue: Any) -> None:
        """As Claimer's."""
        self._queue = queue

    def wake(self) -> None:
        """As Claimer's."""
        if not self._busy and (limit := self._queue.ask()):
            self._busy = True
            self.limits.append(limit)

    def settled(self) -> "Deferred[None]":
        """As Claimer's."""
        settled: Deferred[None] = Deferred()
        self._settled.append(settled)
        self._let_go()
        return settled

    def answer(self, result: "list[Job] | DatabaseUnavailable") -> None:
        """Answer the statement in flight."""
        self._busy = False
        if isinstance(result, DatabaseUnavailable):
            self._queue.claim_failed(result)
        else:
            self._queue.take(result, self.limits[-1])
        if self._queue.hungry:
            self.wake()
        self._let_go()

    def _let_go(self) -> None:
        while self._settled and not self._busy:
            self._settled.pop().callback(None)


class QueuePollerTests(SynchronousTestCase):
    """A queue of two slots."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.claimer = OneAtATime()
        self.claims = self.claimer.limits
        self.deliveries: dict[int, Deferred[None]] = {}
        self.released: list[int] = []
        self.sure = True
        self.in_vain: set[int] = set()  # jobs that are put off
        self.poller = QueuePoller(
            ["mail", "post"],
            2,
            self.claimer,  # type: ignore[arg-type]
            self.work,
            self.release,
            self.clock,
            lambda: self.sure,
        )
        self.poller.startService()

    def tearDown(self) -> None:
        """No timer outlives the queue."""
        self.sure = True
        self.poller.stopService()
        self.poller.cut()
        self.claimer.answer([])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def work(self, job: Job) -> Deferred[None] | None:
        """A delivery, handed back when it is cancelled, as JobWorker does it."""
        if job.id in self.in_vain:
            return None

        async def deliver() -> None:
            try:
                await self.deliveries.setdefault(job.id, Deferred())
            except CancelledError:
                self.released.append(job.id)

        return Deferred.fromCoroutine(deliver())

    def release(self, job: Job) -> None:
        self.released.append(job.id)

    def answer(self, *numbers: int) -> None:
        self.claimer.answer([a_job(number) for number in numbers])

    def finish(self, number: int) -> None:
        self.deliveries[number].callback(None)

    def test_claims_what_it_can_start(self) -> None:
        """It asks, for all its names, for as many jobs as it has slots, and for none when they are busy."""
        self.assertEqual((self.poller.names, self.claims), (("mail", "post"), [2]))
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
        self.assertEqual(self.claims, [2, 1])

    def test_an_empty_queue_is_left_alone(self) -> None:
        """If fewer jobs came than were asked for, a freed slot is no reason to ask again; an announcement is."""
        self.answer(1)
        self.finish(1)
        self.assertEqual(self.claims, [2])
        self.poller.wake()
        self.assertEqual(self.claims, [2, 2])

    def test_announced_while_busy(self) -> None:
        """What is announced while all slots are busy is asked for when one is free, though fewer came before."""
        self.poller.wake()
        self.answer(1)
        self.answer(2)
        self.poller.wake()
        self.assertEqual(self.claims, [2, 1])
        self.clock.advance(60.0)
        self.finish(1)
        self.assertEqual(self.claims, [2, 1, 1])

    def test_work_that_raises(self) -> None:
        """Work does not raise; if it does all the same, the queue goes on."""

        def raising(job: Job) -> Deferred[None]:
            raise ZeroDivisionError(job.id)

        self.patch(self.poller, "_work", raising)
        self.assertRaises(ZeroDivisionError, self.answer, 1)
        self.patch(self.poller, "_work", self.work)
        self.poller.take([a_job(2)], 2)
        self.assertEqual(sorted(self.deliveries), [2])

    def test_many_that_end_at_once(self) -> None:
        """Jobs that need no request do not pile up on the stack."""
        ended: Deferred[None] = Deferred()
        ended.callback(None)
        self.answer()
        self.deliveries = dict.fromkeys(range(5000), ended)
        self.poller.take([a_job(number) for number in range(5000)], 5000)
        self.assertEqual(self.poller.in_flight, 0)

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
        """When deliveries take 0.95 ms, it asks for what two slots can begin within the next 25 ms as well."""
        self.be_fast()
        self.assertEqual(self.claims[-1], 2 + 52)

    def test_claims_before_it_runs_out(self) -> None:
        """It asks again when what it holds lasts for no longer than 1.5 claims: with 9 jobs in hand, of 52."""
        self.be_fast()
        self.answer(*range(10, 64))
        asked = len(self.claims)
        for number in range(10, 52):
            self.clock.advance(0.00095 / 2)
            self.finish(number)
        self.assertEqual(len(self.claims), asked)
        self.clock.advance(0.00095 / 2)
        self.finish(52)
        self.assertEqual(self.claims[asked:], [43])

    def test_stalled_receiver(self) -> None:
        """What is held goes back when no slot becomes free for 12 ms, four claims, and is asked for when one does."""
        self.be_fast()
        self.answer(11, 12, 13, 14)
        self.clock.pump([0.011, 0.0])
        self.assertEqual(self.released, [])
        self.clock.pump([0.0011, 0.0])
        self.assertEqual(sorted(self.released), [13, 14])
        self.assertEqual(self.poller.in_flight, 2)

    def test_a_stalled_queue_forgets_its_pace(self) -> None:
        """After a stall nothing is claimed ahead, until deliveries that began after it were fast again."""
        self.be_fast()
        self.answer(*range(11, 33))
        self.clock.pump([0.02, 0.0])
        self.assertEqual(self.released, list(range(13, 33)))
        self.clock.advance(60.0)
        self.finish(11)
        self.assertEqual(self.claims[-1], 1)
        for number in range(101, 107):
            self.assertEqual(self.claims[-1], 1)
            self.answer(number)
            self.clock.advance(0.00095)
            self.finish(number)
        self.assertEqual(self.claims[-1], 1 + 26)  # the other slot is still occupied

    def test_slots_that_become_free_too_slowly(self) -> None:
        """It goes back after 100 ms in any case, though slots become free: others shall not wait behind it."""
        self.be_fast()
        self.answer(*range(11, 31))
        for number in range(11, 21):
            self.clock.pump([0.0099, 0.0])
            self.assertEqual(self.released, [])
            self.finish(number)
        self.clock.pump([0.0011, 0.0])
        self.assertEqual(self.released, list(range(23, 31)))

    def test_busy_itself(self) -> None:
        """Answers that were there, but not read before the time was up, count: the daemon was slow, not the receiver."""
        self.be_fast()
        self.answer(11, 12, 13)
        self.clock.callLater(0.05, self.finish, 11)  # it was blocked until then, and runs its timers first
        self.clock.advance(0.05)
        self.assertEqual((self.released, self.poller.in_flight), ([], 2))

    def test_more_urgent(self) -> None:
        """What comes later with a higher priority begins before what is held."""
        self.be_fast()
        self.answer(11, 12, 13, 14)
        self.poller.take([a_job(21, priority=-1), a_job(22), a_job(23, priority=1)], 3)
        for number in (11, 12, 21, 13, 14, 22):
            self.finish(number)
        self.assertEqual(list(self.deliveries)[1:], [11, 12, 21, 13, 14, 22, 23])

    def test_asked_while_it_has_no_room(self) -> None:
        """An answer of none, given because all slots are busy, does not forget that something was announced."""
        self.poller.wake()
        self.answer(1)
        self.answer(2)
        self.assertEqual((self.poller.ask(), self.claims), (0, [2, 1]))
        self.clock.advance(POLL_INTERVAL / 2)
        self.finish(1)
        self.assertEqual(self.claims, [2, 1, 1])

    def test_put_off(self) -> None:
        """Jobs that are put off take no slot, and those behind them begin."""
        self.in_vain = {1, 2}
        self.answer(1, 2)
        self.assertEqual(self.poller.in_flight, 0)
        self.answer(3, 4)
        self.assertEqual(sorted(self.deliveries), [3, 4])

    def test_passes_over_many(self) -> None:
        """While everything is put off, claims grow: ten thousand jobs are passed over in a few statements."""
        self.in_vain = set(range(10_000))
        waiting = iter(range(10_000))
        while jobs := list(islice(waiting, self.claims[-1])):
            self.answer(*jobs)
        self.assertEqual(self.claims[:5], [2, 4, 8, 16, 32])
        self.assertEqual(max(self.claims), 2 + MOST)
        self.assertLess(len(self.claims), 32)

    def test_passed_over(self) -> None:
        """What was claimed beyond what can begin is handed back when the first delivery begins, and claimed again."""
        self.in_vain = set(range(50))
        self.answer(0, 1)
        self.answer(2, 3, 4, 5)
        self.assertEqual(self.claims[-1], 8)
        self.answer(6, 51, 52, 53, 54, 55, 56, 57)
        self.assertEqual(sorted(self.deliveries), [51, 52])
        self.assertEqual(self.released, [53, 54, 55, 56, 57])
        self.assertEqual(len(self.claims), 3)
        self.clock.advance(60.0)
        self.finish(51)
        self.assertEqual(self.claims[-1], 1)

    def test_database_away(self) -> None:
        """A claim that fails is tried again at the next look."""
        self.claimer.answer(DatabaseUnavailable("gone"))
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

    def test_stop_hands_back_during_a_claim(self) -> None:
        """They do not wait for the answer to a claim that is under way: it may never come."""
        self.be_fast()
        self.answer(11, 12, 13)
        claims = len(self.claims)
        self.poller.wake()
        self.assertEqual(len(self.claims), claims + 1)
        stopping = self.poller.stopService()
        self.assertEqual(self.released, [13])
        self.finish(11)
        self.finish(12)
        self.assertNoResult(stopping)
        self.answer()
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

    def test_in_doubt(self) -> None:
        """While it is not sure of its claims nothing begins, and nothing is claimed; deliveries go on."""
        self.be_fast()
        self.answer(11, 12, 13, 14)
        self.sure = False
        self.finish(11)
        self.assertEqual((self.released, set(self.deliveries)), ([13, 14], {1, 11, 12}))
        asked = len(self.claims)
        self.poller.wake()
        self.clock.advance(POLL_INTERVAL)
        self.assertEqual(len(self.claims), asked)
        self.sure = True
        self.clock.advance(POLL_INTERVAL)
        self.assertEqual(len(self.claims), asked + 1)
        self.sure = False
        self.answer(13)  # of a claim from before
        self.assertEqual(self.released, [13, 14, 13])

    def test_hand_back(self) -> None:
        """What has not begun goes back when it was given to others."""
        self.be_fast()
        self.answer(11, 12, 13)
        self.poller.hand_back()
        self.assertEqual((self.released, self.poller.in_flight), ([13], 2))

    def be_fast(self) -> None:
        """Have six deliveries take 0.95 ms each, and the slots empty again, and asked for."""
        for number in (6, 5, 4, 3, 2, 1):
            self.answer(number)
            self.clock.advance(0.00095)
            self.finish(number)
            self.poller.wake()
        self.deliveries = {1: self.deliveries[1]}


class VariedDurationTests(SynchronousTestCase):
    """A queue of ten slots beside a backlog without an end, whose deliveries differ in length; claims take 3 ms."""

    CLAIM = 0.003

    def run_for(self, seconds: float, duration: Callable[[], float]) -> tuple[int, int, int]:
        """Have the queue work; the numbers of deliveries, of claims, and of jobs that were handed back."""
        clock = Clock()
        numbers, claims, released = count(), [], []
        finished: list[int] = []

        class Claims(OneAtATime):
            takes = self.CLAIM

            def wake(self) -> None:
                before = len(self.limits)
                super().wake()
                if len(self.limits) > before:
                    claims.append(self.limits[-1])
                    clock.callLater(
                        self.takes, lambda: self.answer([a_job(n) for n in islice(numbers, claims[-1])])
                    )

        def work(job: Job) -> Deferred[None]:
            delivery: Deferred[None] = Deferred()
            clock.callLater(duration(), lambda: finished.append(job.id) or delivery.callback(None))  # type: ignore[func-returns-value]
            return delivery

        poller = QueuePoller(["mail"], 10, Claims(), work, lambda job: released.append(job.id), clock)  # type: ignore[arg-type]
        poller.startService()
        for _ in range(round(seconds / 0.0005)):
            clock.advance(0.0005)
        return len(finished), len(claims), len(released)

    def test_mixed(self) -> None:
        """Of 1 ms and, one in a hundred, of 5 s: what is handed back is a small part of what is delivered."""
        random = Random(4)
        finished, _, released = self.run_for(30.0, lambda: 5.0 if random.random() < 0.01 else 0.001)
        self.assertLess(released, 0.1 * finished)

    def test_exponential(self) -> None:
        """20 ms on average, by chance: slots wait for claims no more than they would without holding, and little goes back."""
        random = Random(5)
        finished, claims, released = self.run_for(10.0, lambda: random.expovariate(50))
        self.assertGreater(finished, 0.85 * 5_000)
        self.assertLess(released, 0.05 * finished)
        self.assertLess(claims, finished)

    def test_same_length(self) -> None:
        """20 ms each: nothing goes back."""
        finished, claims, released = self.run_for(10.0, lambda: 0.02)
        self.assertGreater(finished, 0.85 * 5_000)
        self.assertLess(released, 0.01 * finished)
        self.assertLess(claims, 0.8 * finished)

    def test_changing(self) -> None:
        """Fast for a second, slow for a second: what is handed back is less than what two claims bring, each time."""
        clock_of = iter(range(10**9))
        finished, _, released = self.run_for(10.0, lambda: 0.001 if next(clock_of) % 5_000 < 4_900 else 0.2)
        self.assertLess(released, 0.05 * finished)
