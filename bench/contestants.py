"""Who is measured: the daemon, and the two Node peers of `peer/`."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.jobs import Config
from bench.processes import ROOT, BenchError, Child, program

PEER = ROOT / "bench" / "peer"
SECRET = "benchmark"
SAMPLE_CONFIG = "slay-config.json"


@dataclass(frozen=True)
class Contestant:
    """One of them.

    Attributes:
        name: in tables and plots.
        describe: in one line.
        own_schema: whether its databases have the daemon's own indexes on the job table. The peers run without them:
            they would pay for what they make no use of.
    """

    name: str
    describe: str
    own_schema: bool

    def start(
        self, database_url: str, receiver_url: str, config: Config, folder: Path, wrap: Sequence[str] = ()
    ) -> Child:
        """Start it.

        Args:
            database_url: with the schema in place.
            receiver_url: where the cron tick goes.
            config: a document as of `slay-config.json`.
            folder: its working directory, made here.
            wrap: a command to run it under, such as a profiler's.
        """
        folder.mkdir(parents=True)
        (folder / SAMPLE_CONFIG).write_text(json.dumps(config))
        environment = {
            "SLAY_Q_DATABASE_URL": database_url,
            "SLAY_Q_SECRET": SECRET,
            "SLAY_Q_CRON_URL": "http://127.0.0.1:9/",  # nobody's: the tick shall not be counted among the deliveries
            "PYTHONPATH": str(ROOT),
        }
        return Child([*wrap, *self._command()], folder, self.name, environment)

    def check(self) -> None:
        """See whether it can be started.

        Raises:
            BenchError: it is not installed.
        """
        self._command()

    def _command(self) -> list[str]:
        if self is DAEMON:
            twistd = program("twistd", "run the benchmark by the Python of the project's venv")
            return [twistd, "-n", "--pidfile=", "slayq", f"--config={SAMPLE_CONFIG}"]
        node = program("node", "install it (on Debian: nodejs and npm)")
        if not (PEER / "node_modules").is_dir():
            raise BenchError(f"the peers are not installed: npm install in {PEER}, or make bench")
        return [node, str(PEER / "peer.mjs"), self.name, SAMPLE_CONFIG]


DAEMON = Contestant("slayq", "this daemon", True)
PER_QUEUE = Contestant("per-queue", "Node, graphile-worker 0.16, a runner and a pool for each queue", False)
TUNED = Contestant("tuned", "Node, graphile-worker 0.18, one runner, local queue, batched completion", False)
PEERS = (PER_QUEUE, TUNED)
EVERYBODY = (DAEMON, *PEERS)
