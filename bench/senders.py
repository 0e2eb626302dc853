"""How many events a second several sessions store side by side, and how many one stores in bulk."""

import os
import re
import subprocess
import tempfile
import time
from contextlib import closing
from pathlib import Path

import psycopg2

from bench.contestants import DAEMON
from bench.figures import Samples
from bench.jobs import payload
from bench.plan import Plan
from bench.postgres import Database
from bench.processes import BenchError
from bench.rig import Rig
from slayq_tw.pgbinaries import installed

ADD_JOB = "add_job"
"""Whom the daemon's functions are compared with: Graphile Worker's."""
FUNCTIONS = {DAEMON.name: "public.add_worker_job", ADD_JOB: "graphile_worker.add_job"}
KEYS = {"keyless": "", "keyed": ", job_key => 'k' || :key"}
IDENTIFIER = "general"
BULK = 1_000
"""Events of a call of `add_worker_jobs`."""

_TPS = re.compile(r"^tps = ([\d.]+) ", re.MULTILINE)
_BULK = """
SELECT public.add_worker_jobs(array_fill(%(identifier)s::text, ARRAY[%(count)s]),
                              array_fill(%(payload)s::json, ARRAY[%(count)s]))
"""


def measure_senders(rig: Rig, plan: Plan, samples: Samples) -> None:
    """pgbench, a transaction for each event, while nobody delivers and one session listens.

    The sessions make their plans while the table is known to be empty, as it is in a quiet hour.
    """
    for round_ in range((plan.rounds + 1) // 2):
        for clients in plan.senders:
            for kind in KEYS:
                # Whoever is first finds the disk as the other has left it.
                for who in sorted(FUNCTIONS, reverse=bool(round_ % 2)):
                    with rig.database() as database:
                        rate = _rate(
                            database, _script(who, kind, rig.receiver.url), clients, plan.sending_seconds
                        )
                    samples.record(f"senders {kind} {clients}", who, rate)
        with rig.database() as database:
            samples.record("bulk", DAEMON.name, _bulk_rate(database, rig.receiver.url, plan.added))


def _script(who: str, kind: str, url: str) -> str:
    event = payload(url, 0).replace("'", "''")
    call = f"SELECT {FUNCTIONS[who]}('{IDENTIFIER}', '{event}'::json{KEYS[kind]});"
    return f"\\set key random(1, 1000000000)\n{call}\n"


def _rate(database: Database, script: str, clients: int, seconds: int) -> float:
    _make_ready(database)
    with closing(psycopg2.connect(database.url)) as listening, tempfile.NamedTemporaryFile("w") as file:
        listening.autocommit = True
        listening.cursor().execute('LISTEN "jobs:insert"')
        file.write(script)
        file.flush()
        options = {"-f": file.name, "-c": clients, "-j": min(2, clients), "-T": seconds, "-M": "prepared"}
        arguments = [str(part) for pair in options.items() for part in pair]
        ended = subprocess.run(
            [_pgbench(), "-n", *arguments, database.url], capture_output=True, text=True, check=False
        )
    found = _TPS.search(ended.stdout)
    if ended.returncode or not found:
        raise BenchError(f"pgbench: {ended.stderr.strip() or ended.stdout.strip()}")
    return float(found[1])


def _bulk_rate(database: Database, url: str, count: int) -> float:
    _make_ready(database)
    calls = max(1, count // BULK)
    parameters = {"identifier": IDENTIFIER, "payload": payload(url, 0), "count": BULK}
    began = time.monotonic()
    for _ in range(calls):
        database.execute(_BULK, parameters)
    return calls * BULK / (time.monotonic() - began)


def _make_ready(database: Database) -> None:
    """The name is known, and the table is known to be empty."""
    database.execute("SELECT graphile_worker.add_job(%s)", [IDENTIFIER])
    database.execute("DELETE FROM graphile_worker._private_jobs")
    database.settle()


def _pgbench() -> Path:
    for binaries in installed():
        program = binaries.folder / "pgbench"
        if os.access(program, os.X_OK):
            return program
    raise BenchError("there is no pgbench; Debian's package postgresql-contrib, or postgresql-15, has it")
