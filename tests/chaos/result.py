"""`Result`: what a scenario found, and whether that is good enough; as a table and as Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.chaos.ledger import Balance

SHOWN = 10
"""Numbers of events that are named, at most."""


@dataclass(frozen=True)
class Check:
    """Something that a scenario looked at."""

    what: str
    holds: bool


@dataclass(frozen=True)
class Result:
    """One scenario's.

    Attributes:
        name: the scenario's.
        title: what happens in it.
        balance: what became of the events; None when it did not come to an end.
        recoveries: seconds, each.
        recovery: from what to what these were measured.
        bound: seconds that each may take.
        checks: what else was looked at.
        notes: what else is worth knowing.
        seconds: it took in all.
        error: why it did not come to an end.
    """

    name: str
    title: str
    balance: Balance | None
    recoveries: Sequence[float]
    recovery: str
    bound: float
    checks: Sequence[Check] = ()
    notes: Sequence[str] = ()
    seconds: float = 0.0
    error: str | None = None
    faults: list[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "faults", list(self._faults()))

    @property
    def passed(self) -> bool:
        """Whether all is well."""
        return not self.faults

    def _faults(self) -> list[str]:
        faults = [] if self.error is None else [self.error]
        if self.balance is not None:
            if self.balance.accepted == 0:
                faults.append("nothing was accepted")
            for what, numbers in (
                ("lost", self.balance.lost),
                ("delivered twice without a reason", self.balance.unexcused),
                ("of unknown origin", self.balance.unknown),
            ):
                if numbers:
                    faults.append(f"{len(numbers)} events {what}: {_some(numbers)}")
        faults += [f"recovery took {one:.1f} s" for one in self.recoveries if one > self.bound]
        return faults + [check.what for check in self.checks if not check.holds]

    def cells(self) -> list[str]:
        """A row of the table."""
        numbers = ["-"] * 6
        if (balance := self.balance) is not None:
            numbers = [
                str(one)
                for one in (
                    balance.accepted,
                    balance.delivered,
                    balance.stored,
                    balance.failed,
                    len(balance.lost),
                    len(balance.twice),
                )
            ]
        recovery = f"{max(self.recoveries):.1f}" if self.recoveries else "-"
        bound = f"{self.bound:g}"
        return [
            self.name,
            *numbers,
            recovery,
            bound,
            f"{self.seconds:.0f}",
            "pass" if self.passed else "FAIL",
        ]


COLUMNS = (
    "scenario", "accepted", "delivered", "stored", "failed", "lost", "twice", "recovery s", "bound s", "took s", ""
)  # fmt: skip
LEGEND = """\
accepted: INSERTs that their sender saw commit. Each was delivered (answered with success), is still stored, or has
failed for good; else it is lost. twice: arrived again though the receiver had not refused it; only what a disturbance
cut off before its result was written may. recovery: the longest, measured as said for each scenario."""


def table(results: Sequence[Result]) -> str:
    """All results, for a terminal."""
    rows = [list(COLUMNS), *(result.cells() for result in results)]
    widths = [max(len(row[n]) for row in rows) for n in range(len(COLUMNS))]
    lines = []
    for row in rows:
        cells = [
            row[0].ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)),
        ]
        lines.append("  ".join(cells).rstrip())
    for result in results:
        lines += [f"{result.name}: {fault}" for fault in result.faults]
    return "\n".join([*lines, "", LEGEND])


def markdown(results: Sequence[Result]) -> str:
    """All results, for a file."""
    lines = [
        "# Chaos",
        "",
        LEGEND,
        "",
        f"| {' | '.join(COLUMNS)} |",
        f"| {' | '.join(['---'] * len(COLUMNS))} |",
    ]
    lines += [f"| {' | '.join(result.cells())} |" for result in results]
    for result in results:
        lines += ["", f"## {result.name}", "", f"{result.title}.", ""]
        if result.recoveries:
            each = ", ".join(f"{one:.1f}" for one in result.recoveries)
            lines.append(f"* Recovery ({result.recovery}): {each} s; bound {result.bound:g} s.")
        lines += [f"* {'' if check.holds else '**Not so:** '}{check.what}." for check in result.checks]
        lines += [f"* {note}." for note in result.notes]
        if result.error:
            lines.append(f"* **It did not come to an end:** {result.error}")
    return "\n".join(lines) + "\n"


def _some(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:SHOWN]))
    return shown + (", …" if len(numbers) > SHOWN else "")
