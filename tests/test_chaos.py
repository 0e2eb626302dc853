"""The chaos suite's own judgement: it must see what it is there to see."""

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from tests.chaos.__main__ import main
from tests.chaos.ledger import SLACK, Arrival, Balance, Stored, Window, balance
from tests.chaos.result import Check, Result, markdown, table
from tests.chaos.scenarios import SCENARIOS


def answered(number: int, began: float = 1.0, ended: float = 1.1, status: int = 200) -> Arrival:
    """A request that was answered."""
    return Arrival(number, 1, began, ended, status, 0.0)


def cut(number: int, began: float, ended: float) -> Arrival:
    """A request whose connection was lost before it was answered."""
    return Arrival(number, 1, began, ended, None, 0.0)


WAITING = Stored(1, attempts=0, max_attempts=25, locked=False, last_error=None)
GOOD = Balance(3, 3, 0, 0, (), (), (), ())
RESULT = Result("kill", "The daemon is killed", GOOD, (1.0, 2.0), "from here to there", bound=5.0)


class BalanceTests(SynchronousTestCase):
    """Delivered, stored, or failed for good; nothing else."""

    def lost(self, *stored: Stored, arrivals: tuple[Arrival, ...] = ()) -> tuple[int, ...]:
        """What is lost of one accepted event, number 1."""
        return balance({1}, {1}, stored, arrivals).lost

    def test_accounted_for(self) -> None:
        """Each of the three ends is one; a delivery counts however its row looks."""
        failed = replace(WAITING, number=2, attempts=25, last_error="status 500")
        found = balance({1, 2, 3, 4}, {1, 2, 3, 4}, [WAITING, failed], [answered(3), answered(4)])
        self.assertEqual((found.stored, found.failed, found.delivered, found.lost), (1, 1, 2, ()))
        self.assertTrue(found.holds)

    def test_lost(self) -> None:
        """An event that is nowhere is lost; so is one that was cut off, or refused, and is nowhere."""
        self.assertEqual(self.lost(), (1,))
        self.assertEqual(self.lost(arrivals=(cut(1, 1.0, 2.0),)), (1,))
        self.assertEqual(self.lost(arrivals=(answered(1, status=500),)), (1,))
        self.assertFalse(balance({1}, {1}, [], []).holds)

    def test_exhausted_in_silence(self) -> None:
        """A row that nobody will ever run, and that does not say why, is a lost event."""
        self.assertEqual(self.lost(replace(WAITING, attempts=25)), (1,))
        self.assertEqual(self.lost(replace(WAITING, attempts=25, locked=True)), ())

    def test_not_accepted(self) -> None:
        """Whose commit was not seen need not be anywhere; what nobody sent may not be anywhere."""
        self.assertTrue(balance(set(), {1}, [], [answered(1)]).holds)
        self.assertEqual(balance(set(), {1}, [WAITING], [answered(2)]).unknown, (2,))

    def test_twice(self) -> None:
        """A second arrival is counted, and needs a disturbance as its reason."""
        arrivals = [answered(1, 1.0, 1.1), answered(1, 5.0, 5.1)]

        def unexcused(*windows: Window) -> tuple[int, ...]:
            found = balance({1}, {1}, [], arrivals, windows)
            self.assertEqual(found.twice, (1,))
            return found.unexcused

        self.assertEqual(unexcused(), (1,))
        self.assertEqual(unexcused(Window(1.05, 1.05)), ())
        self.assertEqual(unexcused(Window(1.1 + SLACK / 2, 2.0)), ())
        self.assertEqual(unexcused(Window(1.1 + SLACK * 2, 2.0)), (1,))
        self.assertEqual(unexcused(Window(0.1, 0.9)), (1,))

    def test_retried(self) -> None:
        """What its receiver refused comes again by right."""
        found = balance({1}, {1}, [], [answered(1, status=500), answered(1, 5.0, 5.1)])
        self.assertEqual((found.twice, found.delivered), ((), 1))

    def test_cut_off(self) -> None:
        """A delivery that was cut off before it was answered counts as one for the application."""
        arrivals = [cut(1, 1.0, 2.0), answered(1, 5.0, 5.1)]
        self.assertEqual(balance({1}, {1}, [], arrivals, [Window(1.5, 2.0)]).unexcused, ())
        self.assertEqual(balance({1}, {1}, [], arrivals).unexcused, (1,))


class ResultTests(SynchronousTestCase):
    """When a scenario has failed, and what is printed."""

    def test_passed(self) -> None:
        """All is well."""
        self.assertTrue(RESULT.passed)
        self.assertIn("pass", table([RESULT]))
        self.assertIn("* Recovery (from here to there): 1.0, 2.0 s; bound 5 s.", markdown([RESULT]))

    def test_failed(self) -> None:
        """Each of these fails a scenario, and is named."""
        for fault, change in (
            ("1 events lost: 7", {"balance": replace(GOOD, lost=(7,))}),
            ("1 events delivered twice without a reason: 7", {"balance": replace(GOOD, unexcused=(7,))}),
            ("1 events of unknown origin: 7", {"balance": replace(GOOD, unknown=(7,))}),
            ("nothing was accepted", {"balance": replace(GOOD, accepted=0)}),
            ("recovery took 5.5 s", {"recoveries": (1.0, 5.5)}),
            ("nobody is harmed", {"checks": (Check("nobody is harmed", False),)}),
            ("no delivery within 40 s", {"balance": None, "error": "no delivery within 40 s"}),
        ):
            result = replace(RESULT, **change)
            self.assertEqual(result.faults, [fault])
            self.assertIn(f"kill: {fault}", table([RESULT, result]))
            self.assertIn("FAIL", table([result]))

    def test_names(self) -> None:
        """An unknown scenario is refused; the selection is a part of all."""
        with self.assertRaises(SystemExit) as raised:
            main(["--only", "nonsense"])
        self.assertEqual(raised.exception.code, 2)
        quick = [one for one in SCENARIOS.values() if one.quick]
        self.assertTrue(0 < len(quick) < len(SCENARIOS))
