"""`slayq_tw.claims`."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.claims import REFRESH_INTERVAL, SECOND_SWEEP, Claimer
from slayq_tw.errors import DatabaseUnavailable
from tests.fakes import RecordingStore, a_job


class ClaimerTests(SynchronousTestCase):
    """Many askers, one statement at a time, and no claim forgotten."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.store = RecordingStore()
        self.claimer = Claimer(self.store, self.clock)  # type: ignore[arg-type]
        first = self.claimer.claim(["warm-up"], 1)
        self.clock.advance(0)
        self.store.answer()  # the task ids
        self.store.answer([[]])
        self.successResultOf(first)
        self.store.calls.clear()

    def test_one_turn_is_one_statement(self) -> None:
        """What is asked for in one turn goes out together, and each asker gets its own jobs."""
        mail, general = self.claimer.claim(["mail"], 4), self.claimer.claim(["general", "misc"], 2)
        self.assertEqual(self.store.asked(), [])
        self.clock.advance(0)
        self.assertEqual(self.store.asked(), [("claim", [(["mail"], 4), (["general", "misc"], 2)])])
        self.store.answer([[a_job(1)], [a_job(2), a_job(3)]])
        self.assertEqual([job.id for job in self.successResultOf(mail)], [1])
        self.assertEqual([job.id for job in self.successResultOf(general)], [2, 3])

    def test_asking_during_a_statement(self) -> None:
        """Who asks while a statement is in flight waits for the next one."""
        first = self.claimer.claim(["mail"], 4)
        self.clock.advance(0)
        second, third = self.claimer.claim(["general"], 2), self.claimer.claim(["profile"], 1)
        self.clock.advance(0)
        self.assertEqual(len(self.store.calls), 1)
        self.store.answer([[]])
        self.clock.advance(0)
        self.assertEqual(self.store.asked()[1:], [("claim", [(["general"], 2), (["profile"], 1)])])
        self.store.answer([[], []])
        for answer in (first, second, third):
            self.assertEqual(self.successResultOf(answer), [])

    def test_lost_answer(self) -> None:
        """After a lost answer, strays are handed back before the next claim, and once more later."""
        lost = self.claimer.claim(["mail"], 4)
        self.clock.advance(0)
        self.store.answer(DatabaseUnavailable("gone"))
        self.failureResultOf(lost, DatabaseUnavailable)
        self.assertEqual(self.names_of_next_claim(strays=[7]), ["release_strays", "claim"])
        self.assertEqual(self.names_of_next_claim(), ["claim"])
        self.clock.advance(SECOND_SWEEP)
        self.assertEqual(self.names_of_next_claim(), ["release_strays", "claim"])
        self.assertEqual(self.names_of_next_claim(), ["claim"])

    def test_sweep_that_fails(self) -> None:
        """Strays that could not be handed back are looked for again."""
        self.claimer.claim(["mail"], 4).addErrback(lambda _: None)
        self.clock.advance(0)
        self.store.answer(DatabaseUnavailable("gone"))
        self.claimer.claim(["mail"], 4).addErrback(lambda _: None)
        self.clock.advance(0)
        self.assertEqual(self.store.asked()[-1][0], "release_strays")
        self.store.answer(DatabaseUnavailable("still gone"))
        self.assertEqual(self.names_of_next_claim(), ["release_strays", "claim"])

    def test_task_ids_are_read_again(self) -> None:
        """The ids of the identifiers are refreshed now and then: their rows may have been recreated."""
        self.clock.advance(REFRESH_INTERVAL)
        self.assertEqual(self.names_of_next_claim(), ["register", "claim"])
        self.assertEqual(self.names_of_next_claim(), ["claim"])

    def names_of_next_claim(self, strays: list[int] | None = None) -> list[str]:
        """Claim, answering whatever is asked; what was asked."""
        before = len(self.store.calls)
        answer = self.claimer.claim(["mail"], 4)
        self.clock.advance(0)
        while (name := self.store.calls[-1][0]) != "claim":
            self.store.answer(strays or [] if name == "release_strays" else None)
        self.store.answer([[]])
        self.successResultOf(answer)
        return [name for name, _ in self.store.asked()[before:]]
