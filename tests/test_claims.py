"""`slayq_tw.claims`."""

from collections.abc import Sequence

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.claims import BACKLOG_GLANCE, LARGE, LAST_SWEEP, REFRESH_INTERVAL, SECOND_SWEEP, Claimer
from slayq_tw.errors import DatabaseError, DatabaseUnavailable
from slayq_tw.job import Job
from tests.fakes import RecordingStore, a_job


class AQueue:
    """A queue with room for `room` jobs, which it asks for when it is `hungry`, or when somebody else is."""

    def __init__(self, claimer: Claimer, names: Sequence[str]) -> None:
        self.names = names
        self.hungry = False
        self.room = 0
        self.got: list[object] = []
        claimer.serve(self)

    def ask(self) -> int:
        """As Queue's."""
        room, self.room, self.hungry = self.room, 0, False
        return room

    def take(self, jobs: Sequence[Job], asked: int) -> None:
        """As Queue's."""
        self.got.append(([job.id for job in jobs], asked))

    def claim_failed(self, error: DatabaseError) -> None:
        """As Queue's."""
        self.got.append(error)


class ClaimerTests(SynchronousTestCase):
    """Many queues, one statement at a time, and no claim forgotten."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.store = RecordingStore()
        self.behind = False
        self.claimer = Claimer(self.store, self.clock, lambda: self.behind)  # type: ignore[arg-type]
        self.mail = AQueue(self.claimer, ["mail"])
        self.general = AQueue(self.claimer, ["general", "misc"])
        self.names_of_next_claim()
        self.store.calls.clear()
        self.mail.got.clear()

    def hunger(self, queue: AQueue, room: int) -> None:
        queue.room, queue.hungry = room, True
        self.claimer.wake()

    def test_results_behind(self) -> None:
        """While results are behind, nothing is claimed, and a stop need not wait for that to change."""
        self.behind = True
        self.hunger(self.mail, 4)
        self.clock.advance(0)
        self.clock.pump([BACKLOG_GLANCE] * 5)
        self.assertEqual(self.store.asked(), [])
        self.behind = False
        self.clock.advance(BACKLOG_GLANCE)
        self.assertEqual(self.store.asked(), [("claim", [(["mail"], 4)])])
        self.store.answer([[]])
        self.behind = True
        self.hunger(self.mail, 4)
        settled = self.claimer.settled()
        self.mail.hungry = False
        self.clock.advance(BACKLOG_GLANCE)
        self.successResultOf(settled)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_turn_is_one_statement(self) -> None:
        """What is asked for in one turn goes out together, and each queue gets its own jobs."""
        self.hunger(self.mail, 4)
        self.hunger(self.general, 2)
        self.assertEqual(self.store.asked(), [])
        self.clock.advance(0)
        self.assertEqual(self.store.asked(), [("claim", [(["mail"], 4), (["general", "misc"], 2)])])
        self.store.answer([[a_job(1)], [a_job(2), a_job(3)]])
        self.assertEqual((self.mail.got, self.general.got), ([([1], 4)], [([2, 3], 2)]))

    def test_who_has_room_is_served_too(self) -> None:
        """A statement that one queue needs brings jobs for every queue that has room."""
        self.general.room = 3
        self.hunger(self.mail, 4)
        self.clock.advance(0)
        self.assertEqual(self.store.asked(), [("claim", [(["mail"], 4), (["general", "misc"], 3)])])

    def test_cut_short_by_size(self) -> None:
        """A claim with large payloads may have been cut short, so its queues are told that there may be more."""
        self.hunger(self.mail, 4)
        self.clock.advance(0)
        self.store.answer([[a_job(1, payload="x" * (LARGE + 1))]])
        self.assertEqual(self.mail.got, [([1], 1)])
        self.hunger(self.mail, 4)
        self.clock.advance(0)
        self.store.answer([[a_job(2, payload=None)]])  # too large to be read
        self.assertEqual(self.mail.got[1:], [([2], 1)])

    def test_asking_during_a_statement(self) -> None:
        """Who becomes hungry while a statement is in flight is served by the next one, which follows at once."""
        self.hunger(self.mail, 4)
        self.clock.advance(0)
        self.hunger(self.general, 2)
        self.clock.advance(0)
        self.assertEqual(len(self.store.calls), 1)
        settled = self.claimer.settled()
        self.store.answer([[]])
        self.clock.advance(0)
        self.assertEqual(self.store.asked()[1:], [("claim", [(["general", "misc"], 2)])])
        self.assertNoResult(settled)
        self.store.answer([[]])
        self.successResultOf(settled)
        self.assertEqual((self.mail.got, self.general.got), ([([], 4)], [([], 2)]))

    def test_nobody_is_hungry_any_more(self) -> None:
        """No statement without a queue that asks."""
        self.claimer.wake()
        self.clock.advance(0)
        self.assertEqual(self.store.asked(), [])
        self.successResultOf(self.claimer.settled())

    def test_missing_answer(self) -> None:
        """While a claim is under way, jobs may carry our id that nobody knows of."""
        self.assertFalse(self.claimer.misses_an_answer)
        self.hunger(self.mail, 4)
        self.clock.advance(0)
        self.assertTrue(self.claimer.misses_an_answer)
        self.store.answer([[]])
        self.assertFalse(self.claimer.misses_an_answer)

    def test_lost_answer(self) -> None:
        """After a lost answer, strays are handed back before the next claim, and once more later."""
        self.lose_an_answer()
        self.assertIsInstance(self.mail.got[0], DatabaseUnavailable)
        self.assertEqual(self.names_of_next_claim(strays=[7]), ["release_strays", "claim"])
        self.assertEqual(self.names_of_next_claim(), ["claim"])
        self.clock.advance(SECOND_SWEEP)
        self.assertEqual(self.names_of_next_claim(), ["release_strays", "claim"])
        self.assertEqual(self.names_of_next_claim(), ["claim"])

    def test_locked_strays(self) -> None:
        """Those that somebody's transaction has locked are looked for until they are handed back; claims go on."""
        self.lose_an_answer()
        self.clock.advance(SECOND_SWEEP)
        self.assertEqual(self.names_of_next_claim(left=1), ["release_strays", "claim"])
        self.assertTrue(self.claimer.misses_an_answer)
        self.assertEqual(self.names_of_next_claim(), ["claim"])
        self.clock.advance(SECOND_SWEEP)
        self.assertEqual(self.names_of_next_claim(strays=[7])[-2:], ["release_strays", "claim"])
        self.assertEqual(self.names_of_next_claim(), ["claim"])
        self.clock.advance(LAST_SWEEP)
        self.assertEqual(self.names_of_next_claim()[-2:], ["release_strays", "claim"])
        self.assertFalse(self.claimer.misses_an_answer)

    def test_late_strays(self) -> None:
        """A claim whose answer was lost may take effect later; until that has been looked for, it may have."""
        self.lose_an_answer()
        self.clock.advance(SECOND_SWEEP)
        self.assertEqual(self.names_of_next_claim()[-2:], ["release_strays", "claim"])
        self.assertTrue(self.claimer.misses_an_answer)
        self.clock.advance(LAST_SWEEP - SECOND_SWEEP)
        self.assertEqual(self.names_of_next_claim(strays=[7])[-2:], ["release_strays", "claim"])
        self.assertFalse(self.claimer.misses_an_answer)

    def test_sweep_that_fails(self) -> None:
        """Strays that could not be handed back are looked for again."""
        self.lose_an_answer()
        self.hunger(self.mail, 4)
        self.clock.advance(0)
        self.assertEqual(self.store.asked()[-1][0], "release_strays")
        self.store.answer(DatabaseUnavailable("still gone"))
        self.assertEqual(self.names_of_next_claim(), ["release_strays", "claim"])

    def test_how_long_a_claim_takes(self) -> None:
        """From the statement to its answer, on average; one that met with trouble does not count for more than 0.1 s."""
        self.claimer.takes = 0.0
        for seconds, average in ((0.002, 0.002), (0.012, 0.003), (4.0, 0.0127)):
            self.hunger(self.mail, 4)
            self.clock.advance(0)
            self.clock.advance(seconds)
            self.store.answer([[]])
            self.assertAlmostEqual(self.claimer.takes, average)

    def test_task_ids_are_read_again(self) -> None:
        """The ids of the identifiers are refreshed now and then: their rows may have been recreated."""
        self.clock.advance(REFRESH_INTERVAL)
        self.assertEqual(self.names_of_next_claim(), ["register", "claim"])
        self.assertEqual(self.names_of_next_claim(), ["claim"])

    def test_our_own_fault(self) -> None:
        """An unexpected error is logged, and the next one who is hungry is served, after what it may have left."""
        self.hunger(self.mail, 4)
        self.clock.advance(0)
        self.store.answer(ZeroDivisionError("oops"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertTrue(self.claimer.misses_an_answer)
        self.assertEqual(self.names_of_next_claim(), ["release_strays", "claim"])

    def lose_an_answer(self) -> None:
        self.hunger(self.mail, 4)
        self.clock.advance(0)
        self.store.answer(DatabaseUnavailable("gone"))

    def names_of_next_claim(self, strays: Sequence[int] = (), left: int = 0) -> list[str]:
        """Claim, answering whatever is asked; what was asked."""
        before = len(self.store.calls)
        self.hunger(self.mail, 4)
        self.clock.advance(0)
        while (name := self.store.calls[-1][0]) != "claim":
            self.store.answer((list(strays), left) if name == "release_strays" else None)
        self.store.answer([[]])
        return [name for name, _ in self.store.asked()[before:]]
