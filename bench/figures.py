"""The arithmetic of a benchmark, and `Samples`, what was measured."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

Key = tuple[str, str, float | None]


@dataclass
class Samples:
    """Values by figure, contestant and, on a curve, the place on its axis; in the order of the rounds."""

    values: dict[Key, list[float]] = field(default_factory=dict)

    def record(self, figure: str, contestant: str, value: float, at: float | None = None) -> None:
        """Add a round's value."""
        self.values.setdefault((figure, contestant, at), []).append(value)

    def of(self, figure: str, contestant: str, at: float | None = None) -> list[float]:
        """The rounds' values; empty when it was not measured."""
        return self.values.get((figure, contestant, at), [])

    def median(self, figure: str, contestant: str, at: float | None = None) -> float | None:
        """The median over the rounds; None when it was not measured."""
        values = self.of(figure, contestant, at)
        return statistics.median(values) if values else None

    def ratio(self, figure: str, one: str, other: str) -> float | None:
        """`one`'s value by `other`'s, round by round, and of these the median; None when a side is missing."""
        ratios = pairwise(self.of(figure, one), self.of(figure, other))
        return statistics.median(ratios) if ratios else None

    def curve(self, figure: str, contestant: str) -> list[tuple[float, float]]:
        """Places and medians, from left to right."""
        return sorted(
            (at, statistics.median(values))
            for (name, who, at), values in self.values.items()
            if (name, who) == (figure, contestant) and at is not None
        )


def pairwise(one: Sequence[float], other: Sequence[float]) -> list[float]:
    """Ratios of values that were measured in the same round; rounds that only one side has are left out.

    Two contestants' medians may come from different rounds, and so from a quiet and a busy machine. Those of one
    round were measured within a minute.
    """
    return [a / b for a, b in zip(one, other, strict=False) if b]


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of all values does not exceed (nearest rank).

    Args:
        values: at least one, in any order.
        share: between 0 and 1.

    Raises:
        ValueError: no values.
    """
    if not values:
        raise ValueError("no values")
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
