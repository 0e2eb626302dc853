"""Where the daemon's time goes: `python -m bench.profiling` drains a backlog under pyinstrument and prints the top."""

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench.contestants import DAEMON
from bench.drain import drain
from bench.jobs import by_concurrency, sample
from bench.processes import BenchError
from bench.rig import Rig

TOP = 40
"""Functions in the list."""


def main(argv: Sequence[str] | None = None) -> int:
    """Profile; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.profiling", description="Profile the daemon.")
    parser.add_argument("--jobs", type=int, default=20_000, metavar="N", help="to drain (20000)")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="also keep the profile, as pyinstrument's session"
    )
    options = parser.parse_args(argv)
    try:
        if find_spec("pyinstrument") is None:
            raise BenchError("there is no pyinstrument: pip install 'slayq-tw[bench]', or make profile")
        with tempfile.TemporaryDirectory(prefix="slayq-profile-") as name:
            folder = Path(name)
            folder.chmod(0o711)  # root hands the server to another user, who has to get through
            path = options.out.absolute() if options.out else folder / "profile.pyisession"
            _profile(folder, path, options.jobs)
            _show(path)
    except BenchError as error:
        print(f"profile: {error}", file=sys.stderr)
        return 1
    return 0


def _profile(folder: Path, path: Path, jobs: int) -> None:
    """Drain a backlog, and have the profile written when the daemon ends."""
    rig = Rig(folder)
    try:
        with rig.database() as database:
            database.add(jobs, by_concurrency(sample()), rig.receiver.url)
            database.settle()
            wrap = [sys.executable, "-m", "pyinstrument", "--renderer=session", f"--outfile={path}"]
            run = drain(rig, DAEMON, database, sample(), deliveries=jobs, everything=True, wrap=wrap)
    finally:
        rig.close()
    print(f"{jobs} deliveries, {jobs / run.seconds:,.0f} a second under the profiler\n")


def _show(path: Path) -> None:
    """Print the functions by their own time, then the tree of calls."""
    from pyinstrument.renderers import ConsoleRenderer
    from pyinstrument.session import Session

    session = Session.load(path)
    root = session.root_frame()
    if root is None:
        raise BenchError("the profile is empty")
    own: Counter[str] = Counter()
    _add_own(root, own)
    for name, seconds in own.most_common(TOP):
        print(f"{seconds:7.3f} s {seconds / root.time:6.1%}  {name}")
    print(ConsoleRenderer(show_all=True, processor_options={"filter_threshold": 0.02}).render(session))


def _add_own(frame: Any, own: Counter[str]) -> None:
    """Add up each function's own time. pyinstrument's flat list puts that of all who called others into one line."""
    name = f"{frame.function}  {frame.file_path_short}:{frame.line_no}"
    if not frame.children:
        own[name] += frame.time
    for child in frame.children:
        if child.is_synthetic:
            own[name] += child.time
        else:
            _add_own(child, own)


if __name__ == "__main__":
    sys.exit(main())
