"""`Session`: what development mode does once its parts are there."""

import shlex
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError
from twisted.logger import Logger
from twisted.python.failure import Failure

from slayq_tw.client.asynchronous import send_events
from slayq_tw.dev.folder import DevelopmentFolder
from slayq_tw.dev.scenario import Sample, Scenario
from slayq_tw.dev.timeline import Timeline
from slayq_tw.service import SlayQService

PATIENCE = 60.0
"""Seconds in which everything must have arrived; it takes about 4."""


class Session:
    """Sends the events when the daemon is ready, and says what became of them.

    Args:
        service: the daemon, started.
        scenario: counts the deliveries.
        timeline: gets a line for each event.
        write: takes one line.
        reactor: for the time-out; stopped at the end, if there is one.
        farewell: what to print when everything has arrived; None ends the process instead.

    Attributes:
        status: the process's exit status, as it would be now.
    """

    log = Logger()

    def __init__(
        self,
        service: SlayQService,
        scenario: Scenario,
        timeline: Timeline,
        write: Callable[[str], None],
        reactor: Any,
        farewell: Sequence[str] | None,
    ) -> None:
        self._service = service
        self._scenario = scenario
        self._timeline = timeline
        self._write = write
        self._reactor = reactor
        self._farewell = farewell
        self.status = 1 if farewell is None else 0  # one that is interrupted has not shown anything

    def begin(self, samples: Sequence[Sample]) -> None:
        """Send the events as soon as the daemon is ready."""
        Deferred.fromCoroutine(self._run(samples)).addErrback(self._failed)

    async def _run(self, samples: Sequence[Sample]) -> None:
        await self._service.when_ready()
        self._write("")
        self._timeline.begin()
        for sample in samples:
            self._timeline.sent(sample.event.queue, sample.event.name, sample.remark)
        await send_events(self._service.database, [sample.event for sample in samples])
        try:
            await self._scenario.when_complete().addTimeout(PATIENCE, self._reactor)
        except TimeoutError:
            self.status = 1
            self._write(f"\nMissing after {PATIENCE:g} s: {', '.join(self._scenario.missing())}")
        else:
            self.status = 0
            self._write("\nEverything has arrived.")
        if self._farewell is None:
            self._reactor.stop()
            return
        for line in self._farewell:
            self._write(line)

    def _failed(self, failure: Failure) -> None:
        self.log.failure("{event}", failure, event="development_failed")
        self.status = 1
        self._reactor.stop()


def farewell(folder: DevelopmentFolder, program: str, queue: str, database_url: str) -> list[str]:
    """How to go on.

    Args:
        folder: the development mode's.
        program: how to call `slayq` in a shell.
        queue: one of the configured ones.
        database_url: with the password.
    """
    where = "" if folder.is_default else f" --folder {shlex.quote(str(folder.path))}"
    return [
        "",
        "Send an event of your own from another terminal:",
        f"  {program} send{where} {shlex.quote(queue)} user/welcome --data '{{\"user\": 1}}' --delay 5",
        "",
        "Or use this daemon for your application, on this machine:",
        f"  database              {database_url}",
        f"  SLAY_Q_WORKER_SECRET  {folder.secret}",
        "",
        "Ctrl-C ends it; the data stays.",
    ]
