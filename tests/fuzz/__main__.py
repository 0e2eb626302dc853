"""`python -m tests.fuzz TARGET`: fuzz one target for a while, with atheris where it is installed, else with hypothesis.

An input that breaks something is written to the target's corpus, where the test suite finds it until it is mended and
ever after; the exit status is then 1.
"""

import argparse
import importlib.util
import random
import re
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from hashlib import sha1
from pathlib import Path

NAMES = ("canonical", "plain", "payload", "url", "retry_after", "response", "bounds", "connection")
"""The targets. They are not imported here: atheris must have begun before what it shall watch is."""
WATCHED = ["slayq_tw", "tests.fuzz", "email", "json"]
"""Packages whose branches atheris counts as progress."""
SLOWEST = 10
"""Seconds for one input, at most."""
LARGEST = 1024
"""Megabytes of the process, at most."""


def main() -> int:
    """Run. The exit status: 0 when nothing was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzz one target for a while.")
    parser.add_argument("target", choices=NAMES)
    parser.add_argument(
        "files", nargs="*", type=Path, help="only these inputs; a traceback for each that fails"
    )
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument(
        "--found", type=Path, help="a folder for inputs that get further, kept from run to run"
    )
    parser.add_argument("--hypothesis", action="store_true", help="though atheris is installed")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.files:
        return _again(arguments.target, arguments.files)
    if arguments.child:
        return _watched(arguments.target, arguments.seconds, arguments.found)
    if arguments.hypothesis or importlib.util.find_spec("atheris") is None:
        return _by_hypothesis(arguments.target, arguments.seconds)
    with tempfile.TemporaryDirectory() as scratch:
        return _by_atheris(arguments.target, arguments.seconds, arguments.found or Path(scratch))


def _again(name: str, files: list[Path]) -> int:
    from tests.fuzz.targets import TARGETS

    failed = 0
    for file in files:
        try:
            TARGETS[name].check(file.read_bytes())
        except Exception:
            failed = 1
            print(f"{file}:")
            traceback.print_exc()
    return failed


def _by_atheris(name: str, seconds: int, found: Path) -> int:
    """In a process of its own, which libFuzzer ends as it likes."""
    command = [sys.executable, "-m", "tests.fuzz", name, "--child"]
    child = subprocess.run(
        [*command, f"--seconds={seconds}", f"--found={found}"],
        stderr=subprocess.STDOUT,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
    )
    runs = re.search(r"number_of_executed_units: ([0-9]+)", child.stdout)
    if child.returncode or runs is None:
        found = child.stdout.find(" === ")  # where the traceback begins; a hang or a lack of memory has none
        print(child.stdout[found if found >= 0 else -4000 :])
        return 1
    print(f"{name}: {int(runs[1]):,} inputs by atheris, nothing found")
    return 0


def _watched(name: str, seconds: int, found: Path) -> int:
    import atheris

    with atheris.instrument_imports(include=WATCHED, enable_loader_override=False):
        from tests.fuzz.targets import CORPUS, TARGETS
    target = TARGETS[name]
    found.mkdir(parents=True, exist_ok=True)
    dictionary = found.with_suffix(".tokens")
    dictionary.write_text("".join(f'"{_escaped(token)}"\n' for token in target.tokens))
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={target.longest}",
        f"-timeout={SLOWEST}",
        f"-rss_limit_mb={LARGEST}",
        f"-artifact_prefix={CORPUS / name}/",
        f"-dict={dictionary}",
        "-print_final_stats=1",
        "-use_value_profile=1",
    ]
    atheris.Setup(
        [sys.argv[0], *options, str(found), str(CORPUS / name)],
        target.check,
        custom_mutator=_mutator(target.tokens),
    )
    atheris.Fuzz()
    return 0


def _mutator(tokens: tuple[bytes, ...]) -> Callable[[bytes, int, int], bytes]:
    """libFuzzer's own mutations, and now and then pieces in the place of a part: C code shows it no branches."""
    import atheris

    def mutated(data: bytes, longest: int, seed: int) -> bytes:
        chance = random.Random(seed)
        if chance.random() < 0.75:
            return bytes(atheris.Mutate(data, longest))
        start = chance.randint(0, len(data))
        end = min(len(data), start + chance.choice((0, 0, 1, 4, 16)))
        pieces = b"".join(chance.choices(tokens, k=chance.randint(1, 4)))
        return (data[:start] + pieces + data[end:])[:longest]

    return mutated


def _escaped(token: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in token)


def _by_hypothesis(name: str, seconds: int) -> int:
    """Nobody watches branches here. Rounds, until the time is over."""
    from hypothesis import HealthCheck, given, settings

    from tests.fuzz.generated import inputs
    from tests.fuzz.targets import CORPUS, TARGETS, corpus

    target = TARGETS[name]
    failing: list[bytes] = []
    runs = 0

    @settings(max_examples=1000, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(inputs(target, [path.read_bytes() for path in corpus(name)]))
    def check(data: bytes) -> None:
        nonlocal runs
        runs += 1
        try:
            target.check(data)
        except Exception:
            failing.append(data)  # the last one is the smallest
            raise

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            check()
        except Exception:
            traceback.print_exc()
            file = CORPUS / name / f"crash-{sha1(failing[-1]).hexdigest()}"
            file.write_bytes(failing[-1])
            print(f"written to {file}")
            return 1
    print(f"{name}: {runs:,} inputs by hypothesis, nothing found")
    return 0


if __name__ == "__main__":
    sys.exit(main())
