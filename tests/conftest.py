"""What pytest sets up for every test."""

from pathlib import Path

import pytest

from tests.conformance import report


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """trial's `mktemp` makes its folders in the working directory, and a `.env` there would be read."""
    monkeypatch.chdir(tmp_path)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print which test shows which assertion of the job schema's specification."""
    if len(terminalreporter.stats.get("passed", [])) > 300:  # the whole suite, not a part of it
        terminalreporter.section("the 72 assertions on the job schema")
        for line in report():
            terminalreporter.write_line(line)
