"""Command line of the suite."""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import psycopg2
from twisted.internet.task import react

from slayq_tw.embedded import EmbeddedPostgresError
from tests.chaos.ledger import Balance
from tests.chaos.postgres import Server, now
from tests.chaos.result import Result, markdown, table
from tests.chaos.rig import Rig
from tests.chaos.scenarios import SCENARIOS, Scenario


def main(argv: Sequence[str] | None = None) -> None:
    """Run scenarios and end the process: 1 when a bound was missed."""
    options = _parser().parse_args(argv)
    react(lambda _reactor: _run(options))


async def _run(options: argparse.Namespace) -> None:
    names = options.only or [name for name, one in SCENARIOS.items() if one.quick or not options.quick]
    folder = Path(tempfile.mkdtemp(prefix="slayq-chaos-"))
    folder.chmod(0o711)  # root hands the server to another user, who has to get through
    results = []
    try:
        server = Server(folder / "postgres")
        try:
            for number, name in enumerate(names, 1):
                print(f"chaos: {name} ({number}/{len(names)})", file=sys.stderr, flush=True)
                results.append(await _play(SCENARIOS[name], server, options))
                for fault in results[-1].faults:
                    print(f"chaos: {name}: {fault}", file=sys.stderr, flush=True)
        finally:
            server.stop()
    except EmbeddedPostgresError as error:
        raise SystemExit(f"chaos: {error}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if results:
            print(table(results), flush=True)
            if options.report:
                options.report.write_text(markdown(results), "utf-8")
    raise SystemExit(0 if all(result.passed for result in results) else 1)


async def _play(scenario: Scenario, server: Server, options: argparse.Namespace) -> Result:
    """One scenario, whatever happens in it."""
    begun = now()
    rig = Rig(server, scenario.name, quick=options.quick, long=options.long)
    found: Balance | None = None
    error = None
    try:
        try:
            await rig.set_up()
            await scenario.play(rig)
            found = await rig.account()
        finally:
            await rig.close()
    except (AssertionError, psycopg2.Error, EmbeddedPostgresError) as failed:
        error = " ".join(str(failed).split())
    return Result(
        name=scenario.name,
        title=scenario.title,
        balance=found,
        recoveries=rig.recoveries,
        recovery=scenario.recovery,
        bound=scenario.bound,
        checks=rig.checks,
        notes=rig.notes,
        seconds=now() - begun,
        error=error,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos", description="Disturb the daemon, and account for every event."
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="a selection, with less of everything")
    size.add_argument("--long", action="store_true", help="the longest delivery takes five minutes")
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", choices=SCENARIOS, help=f"of {', '.join(SCENARIOS)}"
    )
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the findings there, as Markdown")
    return parser


if __name__ == "__main__":
    main()
