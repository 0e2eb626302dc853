"""On what it ran: machine and versions."""

import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from bench.contestants import PEER
from bench.processes import ROOT, BenchError, program
from bench.rig import Rig

_PACKAGES = ("twisted", "treq", "txpostgres", "psycopg2-binary", "httptools")


def machine(folder: Path) -> list[tuple[str, str]]:
    """Names and values.

    Args:
        folder: where Postgres's data lies.
    """
    memory = re.search(r"MemTotal:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    return [
        ("CPU", f"{_cpu_model()}, {os.cpu_count()} cores"),
        ("memory", f"{int(memory[1]) * 1024 / 1e9:.1f} GB" if memory else "?"),
        ("system", f"{platform.system()} {platform.release()}"),
        ("load before", " ".join(f"{load:.2f}" for load in os.getloadavg())),
        ("file system of the database", _line(["stat", "--file-system", "--format=%T", str(folder)])),
    ]


def versions(rig: Rig) -> list[tuple[str, str]]:
    """Names and values, of what is installed."""
    found = [
        (
            "slayq_tw",
            _line(["git", "-C", str(ROOT), "describe", "--always", "--dirty"]) or version("slayq-tw"),
        ),
        ("Python", f"{platform.python_version()} ({sys.implementation.name})"),
        *((package, version(package)) for package in _PACKAGES),
        ("PostgreSQL", rig.server.version),
        ("nginx", _version("nginx", "-v")),
        ("Node", _version("node", "--version")),
    ]
    for name in ("gw16", "gw18"):
        package = PEER / "node_modules" / name / "package.json"
        if package.exists():
            found.append(("graphile-worker", str(json.loads(package.read_text())["version"])))
    return found


def _cpu_model() -> str:
    names = re.findall(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return str(names[0]) if names else platform.machine()


def _version(name: str, option: str) -> str:
    try:
        return _line([program(name, ""), option]).removeprefix("nginx version: nginx/")
    except BenchError:
        return "none"


def _line(command: Sequence[str]) -> str:
    """What a command prints; nothing when it fails."""
    try:
        return subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=10, check=True
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
