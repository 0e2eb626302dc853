"""`Rig`: the servers that all measurements share, and fresh databases and workers for each run."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

from bench.contestants import DAEMON, Contestant
from bench.jobs import Config, sample
from bench.postgres import Database, Server
from bench.processes import Child
from bench.receivers import Nginx, Receiver, Stamping

START_TIMEOUT = 60.0
"""Seconds for a worker to do its first work."""


class Rig:
    """Postgres, the receivers, and a template database for each kind of schema.

    Args:
        folder: for everything; exists.
        nginx: whether drains go to nginx, else to the receiver that notes arrivals.

    Raises:
        BenchError: something is missing, or does not start.
    """

    def __init__(self, folder: Path, *, nginx: bool = True) -> None:
        self._folder = folder
        self._runs = 0
        self._stack = contextlib.ExitStack()
        with contextlib.ExitStack() as stack:
            self.server = Server(folder / "postgres")
            stack.callback(self.server.stop)
            self.stamping = Stamping(folder / "stamping")
            stack.callback(self.stamping.stop)
            self.receiver: Receiver = self.stamping
            if nginx:
                self.receiver = Nginx(folder / "nginx")
                stack.callback(self.receiver.stop)
            self._stack = stack.pop_all()

    def close(self) -> None:
        """End everything."""
        self._stack.close()

    @contextlib.contextmanager
    def database(self, contestant: Contestant = DAEMON) -> Iterator[Database]:
        """A database with the contestant's schema and no jobs; dropped afterwards."""
        template = self._with_our_indexes if contestant.own_schema else self._without_them
        database = self.server.create(template)
        try:
            yield database
        finally:
            database.close()
            self.server.drop(database.name)

    @contextlib.contextmanager
    def worker(
        self,
        contestant: Contestant,
        database: Database,
        config: Config | None = None,
        wrap: Sequence[str] = (),
    ) -> Iterator[Child]:
        """A worker, stopped afterwards.

        Args:
            contestant: which.
            database: on which it works.
            config: None is the sample configuration.
            wrap: a command to run it under.
        """
        self._runs += 1
        folder = self._folder / "runs" / f"{self._runs}-{contestant.name}"
        worker = contestant.start(database.url, self.receiver.url, config or sample(), folder, wrap)
        try:
            yield worker
            worker.check()
        finally:
            worker.stop()

    def warm_up(self, worker: Child, database: Database, identifiers: Sequence[str]) -> None:
        """Let a worker that has been started deliver a job of each identifier."""
        database.add(len(identifiers), identifiers, self.receiver.url)
        deadline = time.monotonic() + START_TIMEOUT
        while not database.empty():
            worker.wait(0.05, deadline)

    @cached_property
    def _with_our_indexes(self) -> str:
        database = self.server.create()
        with self.worker(DAEMON, database) as daemon:
            daemon.wait_for_line("started: ", START_TIMEOUT)
        return database.name

    @cached_property
    def _without_them(self) -> str:
        database = self.server.create(self._with_our_indexes)
        found = database.row(
            "SELECT array_agg(indexname::text) FROM pg_indexes"
            " WHERE schemaname = 'graphile_worker' AND indexname LIKE 'slayq%'"
        )
        for name in found[0] or ():
            database.execute(f'DROP INDEX graphile_worker."{name}"')
        database.close()
        return database.name
