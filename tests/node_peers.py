"""The real Graphile Worker, in the releases that `tests/interop/package.json` pins."""

import fcntl
import json
import os
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from twisted.trial.unittest import TestCase

from tests.processes import ROOT, Child, program

FOLDER = ROOT / "tests/interop"
RELEASES = ("0.16.6", "0.17.3", "0.18.0")
"""Those that work beside the daemon."""
PATIENCE = 180.0
"""Seconds for the packages to be installed."""


@cache
def installed() -> Path:
    """The folder in which the packages are installed; installs them, unless they are."""
    stamp = FOLDER / "node_modules" / ".package-lock.json"
    with (FOLDER / "package.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another run in the same checkout
        wanted = (FOLDER / "package-lock.json").stat().st_mtime
        if not stamp.exists() or stamp.stat().st_mtime < wanted:
            subprocess.run(
                [program("npm"), "ci"], cwd=FOLDER, check=True, timeout=PATIENCE, capture_output=True
            )
    return FOLDER


def make_schema(release: str, url: str) -> None:
    """Have a release make, or upgrade, its schema."""
    ended = subprocess.run(
        [program("node"), "schema.mjs", release, url],
        cwd=installed(),
        env=_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if ended.returncode:
        raise AssertionError(f"graphile-worker {release}: {ended.stderr}")


class NodeWorker(Child):
    """A worker of a release. Wait for `ready` first.

    Args:
        case: the test.
        release: one of the pinned versions.
        url: the database's.
        tasks: identifiers that it serves.
        crontab: lines of a crontab.
    """

    def __init__(self, case: TestCase, release: str, url: str, *tasks: str, crontab: str = "") -> None:
        super().__init__(
            case,
            [program("node"), "worker.mjs", release, url, ",".join(tasks), crontab],
            _environment(),
            installed(),
        )

    async def ready(self) -> None:
        """Wait until it works."""
        await self.wait_for_line('{"started":')

    def did(self, what: str) -> list[dict[str, Any]]:
        """The jobs that it has begun, or ended: their `begin` or `end` (an id), `identifier` and `key`."""
        records = [json.loads(line) for line in self.lines if line.startswith("{")]
        return [record for record in records if what in record]

    async def wait_for(self, count: int, what: str = "end") -> list[dict[str, Any]]:
        """Wait until it has ended, or begun, so many."""
        await self.until(lambda: len(self.did(what)) >= count, f"{count} jobs")
        return self.did(what)


def _environment() -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
