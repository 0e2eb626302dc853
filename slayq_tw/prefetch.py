"""`Window`: how many jobs a queue may hold that it cannot begin yet."""

from collections import deque
from collections.abc import Iterable
from math import ceil

CLAIMS = 2
"""Claims in whose time what is held should begin: so there is work while the next one is answered."""
FEWER = 0.025
"""The same time of a fast receiver, in seconds, at least: claims in closer succession cost more than they are worth."""
LONGEST = 0.05
"""Seconds of work that may be held, at most, however long claims take. To who cancels a job, replaces it or adds a more urgent one, held jobs run."""
EARLY = 1.5
"""It is time to claim when what is held lasts for this many claims: some take longer than others."""
LATEST = 0.75
"""Part of what may be held with which it is time to claim, at most: a claim should bring something."""
FAST = 0.004
"""Seconds within which a receiver answers that is faster than claims are: without jobs in hand, it would wait for them
most of the time. What a slower one loses by waiting is little."""
FASTER = 2 / 3
"""One that answers some requests so fast is fast too if it takes a smaller part than this of the time that a claim takes:
then this process or the machine is busy, not the receiver."""
SHORTEST = 0.0001
"""Seconds that a delivery takes at least."""
SHARE = 0.1
"""Of the slots: for as many a job is held, at most, if the receiver is not fast."""
WORTHWHILE = 0.05
"""Claims that take a smaller part of a delivery than this are waited for, and nothing is held."""
RECENT = 16
"""Deliveries whose durations say how long the next ones will take."""
USUAL = 0.75
"""Of these: what is not much slower than the others by chance, because this process or the machine was busy."""
ENOUGH = 6
"""As many of them are needed: a few may be short by chance."""
LOST = 2
"""A delivery that has taken this many times the average is not expected to end soon."""
PATIENCE = 2
"""What is held goes back when no slot became free for this many times the time in which all should have begun."""
SHORTEST_PATIENCE = 0.01
"""Seconds for which it is held all the same: the daemon itself may be busy for some milliseconds."""
LAST = 0.1
"""Seconds after which it goes back although slots became free."""
MOST = 500
"""Jobs that are held, at most."""


class Window:
    """Expects, from how long deliveries take, how many slots become free before the next claim can bring jobs for them.

    It knows no jobs and reads no clock: all times are arguments, in seconds of one monotonic clock.

    Args:
        slots: deliveries in flight at once.
    """

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._recent: deque[float] = deque(maxlen=RECENT)
        self._average = 0.0
        self._usual = 0.0  # the average without the slowest
        self._stalled_at = 0.0

    def finished(self, now: float, begun: float) -> None:
        """A delivery ended."""
        if begun >= self._stalled_at:
            self._recent.append(now - begun)
            self._average = sum(self._recent) / len(self._recent)
            usual = sorted(self._recent)[: ceil(USUAL * len(self._recent))]
            self._usual = sum(usual) / len(usual)

    def stalled(self, now: float) -> None:
        """Deliveries that should have ended did not: what they and those before took says nothing about the next."""
        self._recent.clear()
        self._stalled_at = now

    def ahead(self, now: float, claim: float, begun: Iterable[float]) -> tuple[int, int]:
        """How many jobs may be held, and with how many, or fewer, it is time to claim.

        Of a fast receiver, what the slots get through meanwhile; more are claimed when what is left lasts for no longer
        than a claim. Of another, as many as slots become free while `CLAIMS` claims are answered.

        Args:
            now: the present.
            claim: seconds that a claim takes.
            begun: when each delivery in flight began, the oldest first.
        """
        if len(self._recent) < ENOUGH or claim < WORTHWHILE * self._average:
            return 0, 0
        within = min(LONGEST, CLAIMS * claim)
        quick = min(self._recent) < FAST and self._average < FASTER * claim
        if quick or self._usual < FAST:
            pace = self._free(now, begun) / max(self._usual, SHORTEST)
            within = max(FEWER, within)
            return min(MOST, int(pace * within)), min(
                MOST // 2, int(pace * min(EARLY * claim, LATEST * within))
            )
        due = self._due(now, within, begun)
        return due, due // 2

    def patience(self, claim: float) -> float:
        """Seconds without a free slot after which what is held goes back."""
        return min(LONGEST, max(SHORTEST_PATIENCE, PATIENCE * CLAIMS * claim))

    def _free(self, now: float, begun: Iterable[float]) -> int:
        """Slots without those whose delivery is much slower than the others."""
        lost = 0
        for at in begun:
            if now - at < LONGEST + LOST * self._average:
                break
            lost += 1
        return self._slots - lost

    def _due(self, now: float, within: float, begun: Iterable[float]) -> int:
        """Deliveries whose time will be up, but not those that are overdue."""
        most = max(1, int(SHARE * self._slots))
        due = 0
        for at in begun:
            age = now - at
            if due == most or age + within < self._average:
                break
            due += age < LOST * self._average
        return due
