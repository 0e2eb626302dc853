"""What pytest sets up for every test."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """trial's `mktemp` makes its folders in the working directory, and a `.env` there would be read."""
    monkeypatch.chdir(tmp_path)
