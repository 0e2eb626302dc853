"""The process around the daemon: its signals, its garbage and its exit status, the same however it was started."""

import atexit
import gc
import logging
import os
import signal
import sys
from types import FrameType
from typing import Any

from twisted.internet.error import ReactorNotRunning
from twisted.logger import Logger

from slayq_tw.service import SlayQService

YOUNG_OBJECTS = 20_000
"""Objects after whose making the collector looks for cycles. Deliveries leave nearly none, but at Python's own 700 the
looking would cost a tenth of the daemon's time."""


class ProcessControl:
    """Ends the process as an operator expects.

    The first SIGTERM or SIGINT stops the daemon, a second one cuts its grace period. The exit status is the
    service's: twistd by itself would re-raise the signal, and end with 0 after a failed start.

    Args:
        service: stopped, and asked for its status.
        reactor: stopped.
    """

    log = Logger()

    def __init__(self, service: SlayQService, reactor: Any) -> None:
        self._service = service
        self._reactor = reactor
        self._signalled = False

    def install(self) -> None:
        """Take the signals once the reactor has taken them, and the exit status at the very end."""
        self._reactor.callWhenRunning(_calm_collector)
        self._reactor.callWhenRunning(self._take_signals)
        atexit.register(self._leave)

    def _take_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._received)

    def _received(self, number: int, _frame: FrameType | None) -> None:
        self._reactor.callFromThread(self._stop, signal.Signals(number).name)

    def _stop(self, name: str) -> None:
        if self._signalled:
            self.log.info(
                "{event}: {signal} again: not waiting any longer", event="stop_hurried", signal=name
            )
            self._service.cut_grace()
            return
        self._signalled = True
        self.log.info("{event}: {signal}", event="stopping", signal=name)
        try:
            self._reactor.stop()
        except ReactorNotRunning:
            self.log.debug("{event}", event="already_stopping")

    def _leave(self) -> None:
        if self._service.exit_status:
            # twistd has no way to end with a status of the application's.
            logging.shutdown()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(self._service.exit_status)


def _calm_collector() -> None:
    gc.freeze()  # modules and classes stay: they need not be looked through
    gc.set_threshold(YOUNG_OBJECTS, *gc.get_threshold()[1:])
