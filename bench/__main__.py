"""Command line of the benchmark."""

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType

from bench import plots, report
from bench.figures import Samples
from bench.machine import machine, versions
from bench.measurements import MEASUREMENTS
from bench.plan import FULL, QUICK, SMOKE, Plan
from bench.processes import BenchError
from bench.rig import Rig
from bench.targets import rows, table

BUSY = 0.5
"""Load of the machine, before it begins, above which there is a warning."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure; the exit status: 0 also when targets are missed, 1 when it could not be measured."""
    options = _parser().parse_args(argv)
    plan = _plan(options)
    signal.signal(signal.SIGTERM, _terminated)
    if options.smoke:
        with tempfile.TemporaryDirectory(prefix="slayq-bench-") as out:
            return _run(plan, Path(out), show=False)
    return _run(plan, options.out, show=True)


def _run(plan: Plan, out: Path, *, show: bool) -> int:
    """Measure and report, also when it ends half-way; the exit status."""
    samples = Samples()
    about: list[tuple[str, str]] = []
    try:
        if plan.has_curves:
            plots.check()
        _measure(plan, samples, about)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    finally:  # also when somebody has had enough
        if samples.values:
            _report(samples, plan, about, out, show=show)
    return 0


def _report(samples: Samples, plan: Plan, about: list[tuple[str, str]], out: Path, *, show: bool) -> None:
    pictures = out / report.FOLDER
    pictures.mkdir(parents=True, exist_ok=True)
    path = report.write(samples, plan, about, list(plots.draw(samples, pictures)), out)
    if show:
        print(f"{table(rows(samples))}\n\n{path}")


def _measure(plan: Plan, samples: Samples, about: list[tuple[str, str]]) -> None:
    """Record all samples, and about the machine and the versions."""
    for contestant in plan.contestants:
        contestant.check()
    load = os.getloadavg()[0]
    if load > BUSY:
        print(f"bench: the machine is busy (load {load:.1f}): the figures will be off", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="slayq-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)  # root hands the server to another user, who has to get through
        about += machine(folder)
        rig = Rig(folder, nginx=plan.nginx)
        try:
            about += versions(rig)
            for number, measurement in enumerate(plan.measurements, 1):
                print(
                    f"bench: {measurement} ({number}/{len(plan.measurements)})", file=sys.stderr, flush=True
                )
                MEASUREMENTS[measurement](rig, plan, samples)
        finally:
            rig.close()


def _plan(options: argparse.Namespace) -> Plan:
    plan = SMOKE if options.smoke else QUICK if options.quick else FULL
    if options.only:
        plan = replace(plan, measurements=tuple(options.only))
    if options.rounds:
        plan = replace(plan, rounds=options.rounds)
    if options.jobs:
        plan = replace(plan, jobs=options.jobs)
    return plan


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Measure the daemon beside its peers."
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="one small round, in under two minutes")
    size.add_argument("--smoke", action="store_true", help="only see that it runs: no peers, no nginx")
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", choices=MEASUREMENTS, help=f"of {', '.join(MEASUREMENTS)}"
    )
    parser.add_argument("--rounds", type=_positive, metavar="N", help="repetitions of each measurement")
    parser.add_argument("--jobs", type=_positive, metavar="N", help="jobs of a drain")
    parser.add_argument(
        "--out", type=Path, default=Path("bench"), metavar="DIR", help="where the report goes"
    )
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def _terminated(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit("bench: terminated")


if __name__ == "__main__":
    sys.exit(main())
