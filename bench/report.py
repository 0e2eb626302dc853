"""The report: the table of targets, all figures, the plots."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.contestants import DAEMON, EVERYBODY
from bench.figures import Samples
from bench.held import DURATIONS
from bench.plan import Plan
from bench.senders import ADD_JOB
from bench.targets import rows, table

REPORT = "report.md"
FOLDER = "report"
"""Beside the report: plots, and the samples of all rounds."""

_FORMS = {
    "rate": ("deliveries a second", "{:,.0f}"),
    "rate with start": ("deliveries a second, from the start of the process", "{:,.0f}"),
    "steady rate": ("deliveries a second, jobs in proportion to concurrency", "{:,.0f}"),
    "cpu": ("CPU for each delivery, µs", "{:,.0f}"),
    "cpu with start": ("CPU for each delivery, µs, with that of the start", "{:,.0f}"),
    "steady cpu": ("CPU for each delivery, µs, jobs in proportion to concurrency", "{:,.0f}"),
    "postgres cpu": ("CPU of Postgres for each delivery, µs", "{:,.0f}"),
    "statements": ("transactions for each delivery", "{:.3f}"),
    "wal": ("write-ahead log for each delivery, bytes", "{:,.0f}"),
    "latency p50": ("latency from commit to receiver, median, ms", "{:.1f}"),
    "latency p99": ("latency from commit to receiver, 99th percentile, ms", "{:.1f}"),
    "due p50": ("late after run_at, 200 jobs a second, median, ms", "{:.1f}"),
    "due p99": ("late after run_at, 200 jobs a second, 99th percentile, ms", "{:.1f}"),
    "due idle p50": ("late after run_at, 4 jobs a second, median, ms", "{:.1f}"),
    "due idle p99": ("late after run_at, 4 jobs a second, 99th percentile, ms", "{:.1f}"),
    "latency p50 from the call": ("latency from the call, median, ms", "{:.1f}"),
    "latency p99 from the call": ("latency from the call, 99th percentile, ms", "{:.1f}"),
    "singly": ("transactions for each delivery, events one at a time", "{:.2f}"),
    **{
        f"{figure} {milliseconds} ms": (f"{what}, functions of {milliseconds} ms", form)
        for figure, what, form in (
            ("locked", "jobs locked, concurrency 10", "{:.0f}"),
            ("held", "jobs locked that begin later", "{:.0f}"),
            ("cancelled", "of 20 cancelled, begun all the same", "{:.1f}"),
            ("replaced", "of 20 sent again, begun in the old version all the same", "{:.1f}"),
            ("overtaken", "jobs that begin before one of higher priority that was stored earlier", "{:.0f}"),
        )
        for milliseconds in DURATIONS
    },
    "slow": ("the same of the last of three, concurrency 1, receiver becomes slow", "{:.0f}"),
    "slow late": ("seconds until the first of the three begins", "{:.2f}"),
    "stall": ("of 39 cancelled while the receiver stalls, begun all the same", "{:.0f}"),
    "adding": ("time of one `add_worker_job`, µs", "{:,.0f}"),
    "adding cpu": ("CPU of Postgres for it, µs", "{:,.0f}"),
    "adding wal": ("write-ahead log for it, bytes", "{:,.0f}"),
    "storm p50": ("latency from commit to receiver at 2,000 a second, median, ms", "{:.1f}"),
    "storm p99": ("latency from commit to receiver at 2,000 a second, 99th percentile, ms", "{:.1f}"),
    "bulk": ("events a second stored by `add_worker_jobs`, a thousand a call", "{:,.0f}"),
    "connections": ("connections", "{:.0f}"),
    "idle transactions": ("transactions a second when idle", "{:.2f}"),
    "idle cpu": ("CPU when idle, % of a core", "{:.2f}"),
    "memory": ("resident memory under load, MB", "{:.1f}"),
    "memory early": ("resident memory early in a long run, MB", "{:.1f}"),
    "memory late": ("resident memory at its end, MB", "{:.1f}"),
    "start": ("start to first delivery, s", "{:.2f}"),
    "backlog alone": ("deliveries a second, no backlog", "{:,.0f}"),
    "backlog waiting": ("deliveries a second beside a backlog of due jobs", "{:,.0f}"),
    "backlog future": ("deliveries a second beside as many future jobs", "{:,.0f}"),
    "lanes without": ("deliveries a second, no serial lanes", "{:,.0f}"),
    "lanes with": ("deliveries a second, serial lanes", "{:,.0f}"),
    "many lanes without": ("deliveries a second, no serial lanes, fewer jobs", "{:,.0f}"),
    "many lanes with": ("deliveries a second, a serial lane for each job", "{:,.0f}"),
    "claim alone": ("a claim that finds nothing, ms", "{:.2f}"),
    "claim beside lanes": ("the same beside 300,000 lanes with future jobs, ms", "{:.2f}"),
    "daemons 1": ("deliveries a second, one daemon", "{:,.0f}"),
    "daemons 2": ("deliveries a second, two daemons on one database", "{:,.0f}"),
}


def write(
    samples: Samples,
    plan: Plan,
    about: Sequence[tuple[str, str]],
    drawn: Sequence[tuple[str, Path]],
    out: Path,
) -> Path:
    """Write the report and its samples; the report's path.

    Args:
        samples: all rounds.
        plan: what was asked for.
        about: machine and versions.
        drawn: titles and files of the plots.
        out: the folder.
    """
    text = "\n\n".join(
        [
            "# Benchmark report",
            "Made by `python -m bench`; `bench/README.md` says how each figure is measured.",
            table(rows(samples)),
            "## Machine and versions",
            "\n".join(f"- {name}: {value}" for name, value in about),
            f"Rounds: {plan.rounds}. Jobs of a drain: {plan.jobs:,}. Peers: "
            + "; ".join(f"`{one.name}` is {one.describe}" for one in EVERYBODY)
            + ".",
            "## Figures",
            "Medians over the rounds, in brackets the least and the greatest.",
            _figures(samples),
            *_senders(samples),
            *(f"## {title}\n\n![{title}]({FOLDER}/{path.name})" for title, path in drawn),
            *_churn(samples),
        ]
    )
    report = out / REPORT
    report.write_text(text + "\n")
    document = [
        {"figure": figure, "contestant": who, "at": at, "rounds": values}
        for (figure, who, at), values in samples.values.items()
    ]
    (out / FOLDER / "samples.json").write_text(json.dumps(document, indent=1) + "\n")
    return report


def _figures(samples: Samples) -> str:
    names = [contestant.name for contestant in EVERYBODY]
    lines = [f"| | {' | '.join(names)} |", "| --- |" + " ---: |" * len(names)]
    for figure, (what, form) in _FORMS.items():
        cells = [_cell(samples, figure, name, form) for name in names]
        if any(cells):
            lines.append(f"| {what} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(samples: Samples, figure: str, contestant: str, form: str) -> str:
    median = samples.median(figure, contestant)
    if median is None:
        return ""
    values = samples.of(figure, contestant)
    spread = f" ({form.format(min(values))} – {form.format(max(values))})" if len(values) > 1 else ""
    return form.format(median) + spread


def _senders(samples: Samples) -> Iterator[str]:
    """The table of what several sessions store side by side."""
    figures = {(*figure.split()[1:],) for figure, _, _ in samples.values if figure.startswith("senders ")}
    measured = sorted(figures, key=lambda one: (one[0] != "keyless", int(one[1])))
    if measured:
        yield "Events a second that sessions store side by side, a transaction for each."
        lines = [
            "| sessions | key | `add_worker_job` | `add_job` | ratio |",
            "| ---: | --- | ---: | ---: | ---: |",
        ]
        for kind, clients in measured:
            figure = f"senders {kind} {clients}"
            ours, theirs = samples.median(figure, DAEMON.name), samples.median(figure, ADD_JOB)
            ratio = samples.ratio(figure, DAEMON.name, ADD_JOB)
            lines.append(f"| {clients} | {kind} | {ours or 0:,.0f} | {theirs or 0:,.0f} | {ratio or 0:.2f} |")
        yield "\n".join(lines)


def _churn(samples: Samples) -> Iterator[str]:
    relations = sorted({who for figure, who, _ in samples.values if figure == "size"})
    if relations:
        yield "Sizes in MB: after the first deliveries, at the greatest, and at the end."
        lines = ["| relation | begin | greatest | end |", "| --- | ---: | ---: | ---: |"]
        for name in relations:
            sizes = [size for _, size in samples.curve("size", name)]
            lines.append(f"| `{name}` | {sizes[0]:.1f} | {max(sizes):.1f} | {sizes[-1]:.1f} |")
        yield "\n".join(lines)
