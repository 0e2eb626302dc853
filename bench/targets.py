"""The targets of the project, and what a run has to say to each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.contestants import DAEMON, PER_QUEUE, TUNED
from bench.figures import Samples
from bench.held import DURATIONS, MISSED
from bench.senders import ADD_JOB

FLAT = 1.05
"""Memory is flat when it has not grown beyond this."""


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        what: is measured.
        target: it should reach.
        measured: the figures; empty when there are none.
        passed: None when it was not measured.
    """

    what: str
    target: str
    measured: str
    passed: bool | None

    @property
    def verdict(self) -> str:
        """In a word."""
        return "not measured" if self.passed is None else "pass" if self.passed else "FAIL"


def rows(samples: Samples) -> list[Row]:
    """The table."""
    return [
        *_throughput(samples),
        _cpu(samples),
        *_latency(samples),
        _at_most(samples, "late after run_at at 200/s, median, ms", "due p50", 10, "{:.1f}"),
        _at_most(samples, "late after run_at at 200/s, p99, ms", "due p99", 50, "{:.1f}"),
        _at_most(samples, "the same at 4/s, median, ms", "due idle p50", 10, "{:.1f}"),
        _at_most(samples, "the same at 4/s, p99, ms", "due idle p99", 50, "{:.1f}"),
        _at_most(samples, "latency at 2,000 a second, p99, ms", "storm p99", 30, "{:.1f}"),
        *_senders(samples),
        _at_least(samples, "events a second stored in bulk", "bulk", 20_000),
        *_held(samples),
        _at_most(samples, "connections, sample configuration", "connections", 5, "{:.0f}"),
        _at_most(samples, "transactions a second when idle", "idle transactions", 2, "{:.2f}"),
        _at_most(samples, "CPU when idle, % of a core", "idle cpu", 0.5, "{:.2f}"),
        _at_most(samples, "resident memory under load, MB", "memory", 70, "{:.1f}"),
        _flat(samples),
        _share(
            samples,
            "rate beside a backlog of due jobs, by the rate alone",
            "backlog waiting",
            "backlog alone",
            0.9,
        ),
        _share(
            samples,
            "rate beside as many future jobs, by the rate alone",
            "backlog future",
            "backlog alone",
            0.9,
        ),
        _share(
            samples, "rate of jobs in serial lanes, by the rate without", "lanes with", "lanes without", 0.5
        ),
        _share(
            samples,
            "rate of jobs that have a lane each, by the rate without",
            "many lanes with",
            "many lanes without",
            0.5,
        ),
        _claim(samples),
        _at_most(samples, "start to first delivery, s", "start", 1.2, "{:.2f}"),
        _at_most(samples, "statements for each delivery of a drain", "statements", 0.1, "{:.3f}"),
    ]


def _throughput(samples: Samples) -> Iterator[Row]:
    ours = samples.median("rate", DAEMON.name)
    for peer, wanted in ((PER_QUEUE, 4), (TUNED, 3)):
        theirs = samples.median("rate", peer.name)
        ratio = samples.ratio("rate", DAEMON.name, peer.name)
        what, target = f"deliveries a second, by those of `{peer.name}`", f"≥ {wanted}"
        if ours is None or theirs is None or ratio is None:
            yield Row(what, target, "", None)
        else:
            yield Row(what, target, f"{ours:,.0f} / {theirs:,.0f} = {ratio:.2f}", ratio >= wanted)


def _senders(samples: Samples) -> Iterator[Row]:
    for clients, kind, wanted in ((24, "keyless", 4), (24, "keyed", 3), (1, "keyless", 2), (1, "keyed", 2)):
        figure = f"senders {kind} {clients}"
        ours, theirs = samples.median(figure, DAEMON.name), samples.median(figure, ADD_JOB)
        ratio = samples.ratio(figure, DAEMON.name, ADD_JOB)
        what = (
            f"{kind} events a second stored by {clients} session{'s' * (clients > 1)}, by those of `add_job`"
        )
        if ours is None or theirs is None or ratio is None:
            yield Row(what, f"≥ {wanted}", "", None)
        else:
            yield Row(what, f"≥ {wanted}", f"{ours:,.0f} / {theirs:,.0f} = {ratio:.2f}", ratio >= wanted)


def _at_least(samples: Samples, what: str, figure: str, limit: float) -> Row:
    value = samples.median(figure, DAEMON.name)
    target = f"≥ {limit:,g}"
    return (
        Row(what, target, "", None) if value is None else Row(what, target, f"{value:,.0f}", value >= limit)
    )


def _cpu(samples: Samples) -> Row:
    ours, theirs = samples.median("cpu", DAEMON.name), samples.median("cpu", PER_QUEUE.name)
    ratio = samples.ratio("cpu", DAEMON.name, PER_QUEUE.name)
    what, target = "CPU for each delivery, µs, by that of `per-queue`", "≤ 0.25"
    if ours is None or theirs is None or ratio is None:
        return Row(what, target, "", None)
    return Row(what, target, f"{ours:,.0f} / {theirs:,.0f} = {ratio:.2f}", ratio <= 0.25)


def _latency(samples: Samples) -> Iterator[Row]:
    yield _at_most(samples, "latency, median, ms", "latency p50", 4, "{:.1f}")
    theirs = samples.median("latency p99", PER_QUEUE.name)
    limit = 10.0 if theirs is None else max(10.0, theirs / 2)
    yield _at_most(samples, "latency, 99th percentile, ms", "latency p99", limit, "{:.1f}")


def _claim(samples: Samples) -> Row:
    alone = samples.median("claim alone", DAEMON.name)
    beside = samples.median("claim beside lanes", DAEMON.name)
    what, target = "a claim beside 300,000 lanes with future jobs, by one alone", "≤ 2"
    if alone is None or beside is None:
        return Row(what, target, "", None)
    return Row(what, target, f"{beside:.2f} / {alone:.2f} ms = {beside / alone:.2f}", beside / alone <= 2)


def _held(samples: Samples) -> Iterator[Row]:
    """What cancelling, replacing and overtaking miss, in all rows no more than with `per-queue`, or one more."""
    timed = [f"{figure} {milliseconds} ms" for figure in MISSED for milliseconds in DURATIONS]
    for figure in (*timed, "slow", "stall"):
        ours, theirs = samples.median(figure, DAEMON.name), samples.median(figure, PER_QUEUE.name)
        what, target = f"jobs begun all the same: {figure}", "≤ those of `per-queue` + 1"
        if ours is None or theirs is None:
            yield Row(what, target, "", None)
        else:
            yield Row(what, target, f"{ours:.1f} / {theirs:.1f}", ours <= theirs + 1)


def _flat(samples: Samples) -> Row:
    early, late = samples.median("memory early", DAEMON.name), samples.median("memory late", DAEMON.name)
    what, target = "memory at the end of a long run, by that early in it", f"≤ {FLAT}"
    if early is None or late is None:
        return Row(what, target, "", None)
    return Row(what, target, f"{late:.1f} / {early:.1f} MB = {late / early:.2f}", late / early <= FLAT)


def _at_most(samples: Samples, what: str, figure: str, limit: float, form: str) -> Row:
    value = samples.median(figure, DAEMON.name)
    target = f"≤ {round(limit, 1):g}"
    if value is None:
        return Row(what, target, "", None)
    return Row(what, target, form.format(value), value <= limit)


def _share(samples: Samples, what: str, figure: str, base: str, wanted: float) -> Row:
    """A figure by another, of the same round."""
    shares = Samples(
        {
            ("share", who, None): samples.of(name, DAEMON.name)
            for who, name in (("one", figure), ("other", base))
        }
    )
    share = shares.ratio("share", "one", "other")
    target = f"≥ {wanted:g}"
    if share is None:
        return Row(what, target, "", None)
    one, other = samples.median(figure, DAEMON.name), samples.median(base, DAEMON.name)
    return Row(what, target, f"{one:,.0f} / {other:,.0f} = {share:.2f}", share >= wanted)


def table(lines: Sequence[Row]) -> str:
    """As Markdown that is also legible as it stands."""
    cells = [("what", "target", "measured", "")]
    cells += [(row.what, row.target, row.measured, row.verdict) for row in lines]
    widths = [max(len(line[column]) for line in cells) for column in range(4)]
    cells.insert(1, ("-" * widths[0], "-" * widths[1], "-" * widths[2], "-" * widths[3]))
    return "\n".join(
        f"| {' | '.join(text.ljust(widths[n]) for n, text in enumerate(line))} |" for line in cells
    )
