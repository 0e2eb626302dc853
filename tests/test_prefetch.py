"""`slayq_tw.prefetch`."""

from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.prefetch import Window


class WindowTests(SynchronousTestCase):
    """Ten slots, claims of 3 ms."""

    def setUp(self) -> None:
        self.window = Window(10)
        self.now = 100.0

    def deliver(self, *durations: float) -> None:
        for duration in durations:
            self.now += duration
            self.window.finished(self.now, self.now - duration)

    def ahead(self, *ages: float, claim: float = 0.003) -> tuple[int, int]:
        """What may be held, and when more is claimed, while deliveries of these ages are in flight."""
        return self.window.ahead(self.now, claim, [self.now - age for age in sorted(ages, reverse=True)])

    def test_nothing_known(self) -> None:
        """Before six deliveries have ended, nobody knows how long one takes."""
        self.assertEqual(self.ahead(*[0.0] * 10), (0, 0))
        self.deliver(*[0.0019] * 5)
        self.assertEqual(self.ahead(*[0.001] * 10), (0, 0))
        self.deliver(0.0019)
        self.assertEqual(self.ahead(*[0.001] * 10), (131, 23))

    def test_fast_receiver(self) -> None:
        """Ten slots get through 131 deliveries of 1.9 ms in 25 ms; more are claimed when the rest lasts for 1.5 claims."""
        self.deliver(*[0.0019] * 16)
        self.assertEqual(self.ahead(*[0.001] * 10), (131, 23))
        self.assertEqual(self.ahead(*[0.001] * 10, claim=0.01), (131, 78))

    def test_claims_that_take_very_long(self) -> None:
        """What begins within two claims may be held, but no more than within 50 ms; a quarter has begun when more is claimed."""
        self.deliver(*[0.0019] * 16)
        self.assertEqual([self.ahead(claim=claim) for claim in (0.02, 0.5)], [(210, 157), (263, 197)])

    def test_500_at_most(self) -> None:
        """A claim has its limits; of so many, half are claimed at a time."""
        self.deliver(*[0.0001] * 16)
        self.assertEqual([self.ahead(claim=claim) for claim in (0.001, 0.01)], [(500, 149), (500, 250)])

    def test_slots_that_are_occupied(self) -> None:
        """Where fast deliveries share their slots with slow ones, those that are stuck bring nothing."""
        self.deliver(*[0.0009] * 16)
        self.assertEqual(self.ahead(*[3.0] * 9, 0.001), (27, 4))
        self.assertEqual(self.ahead(*[3.0] * 10), (0, 0))

    def test_mixed_durations(self) -> None:
        """Half of 1 ms and half of 5 s: what a slot takes on average counts, not what is common."""
        self.deliver(*[0.001, 5.0] * 8)
        self.assertEqual(self.ahead(*[0.001] * 10), (0, 0))

    def test_slower_receiver(self) -> None:
        """Of deliveries of 20 ms, one whose time is up within two claims lets one job be held, ten do no more."""
        self.deliver(*[0.02] * 16)
        self.assertEqual(self.ahead(*[0.013] * 10), (0, 0))
        self.assertEqual(self.ahead(*[0.002] * 9, 0.015), (1, 0))
        self.assertEqual(self.ahead(*[0.015] * 10), (1, 0))

    def test_a_tenth_of_the_slots(self) -> None:
        """With forty slots, four; more are claimed when half of them have begun."""
        self.window = Window(40)
        self.deliver(*[0.02] * 16)
        self.assertEqual(self.ahead(*[0.015] * 40), (4, 2))

    def test_overdue(self) -> None:
        """A delivery that takes twice as long as the others is not waited for."""
        self.deliver(*[0.02] * 16)
        self.assertEqual(self.ahead(*[0.041] * 9, 0.001), (0, 0))
        self.assertEqual(self.ahead(*[0.041] * 9, 0.03), (1, 0))

    def test_busy_machine(self) -> None:
        """Where deliveries and claims take long and one delivery was quick all the same, the receiver is a fast one."""
        self.deliver(0.003, *[0.0079] * 15)
        self.assertEqual(
            [self.ahead(*[0.001] * 10, claim=claim) for claim in (0.0113, 0.012)], [(1, 0), (33, 24)]
        )

    def test_functions_that_take_5_ms(self) -> None:
        """They are no fast receiver, however long claims take: their jobs are to stay cancellable."""
        self.deliver(*[0.005] * 16)
        self.assertEqual(
            [self.ahead(*[0.001] * 10, claim=claim) for claim in (0.003, 0.03)], [(1, 0), (1, 0)]
        )

    def test_not_worth_it(self) -> None:
        """Where waiting for a claim is less than a twentieth of a delivery, nothing is held."""
        self.deliver(*[0.1] * 16)
        self.assertEqual(
            [self.ahead(*[0.099] * 10, claim=claim) for claim in (0.0049, 0.0051)], [(0, 0), (1, 0)]
        )

    def test_becomes_slow(self) -> None:
        """The last sixteen deliveries count."""
        self.deliver(*[0.001] * 100, *[0.1] * 16)
        self.assertEqual(self.ahead(*[0.001] * 10), (0, 0))

    def test_stalled(self) -> None:
        """After a stall nothing is known, nor do deliveries count that were under way then: the next ones do."""
        self.deliver(*[0.001] * 16)
        self.window.stalled(self.now)
        self.assertEqual(self.ahead(), (0, 0))
        for _ in range(10):
            self.window.finished(self.now + 1.0, self.now - 0.1)
        self.assertEqual(self.ahead(), (0, 0))
        self.now += 1.0
        self.deliver(*[0.0009] * 6)
        self.assertEqual(self.ahead(), (277, 49))

    def test_patience(self) -> None:
        """Four claims, but 10 ms at least and 50 at most."""
        self.assertEqual([self.window.patience(claim) for claim in (0.001, 0.005, 9.0)], [0.01, 0.02, 0.05])
