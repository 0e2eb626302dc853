"""Tells a working daemon from a hung one: the daemon keeps a small file fresh, another process looks at it.

The file holds one JSON object: `time` (seconds since the epoch), `state` (`SlayQService.state`), `pid`, and
`database` (`reachable` or `away`) when that is known. A database that is away is no fault of the daemon's, which
survives it; a restart would not help, so it is shown and not judged.
"""

import atexit
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.filepath import FilePath

INTERVAL = 2.0
"""Seconds between two writes."""
MAX_AGE = 10.0
"""Seconds without a write after which the event loop is taken to hang."""
WORKING_STATES = ("starting", "running", "stopping")
"""A daemon that waits for its database is `starting`; one that lets deliveries finish is `stopping`."""


class HealthService(Service):
    """Keeps the file fresh for as long as the event loop turns, also while the daemon drains.

    Args:
        path: the file.
        clock: IReactorTime.
        now: wall-clock time, seconds since the epoch.
        state: what the daemon does.
        reachable: whether the database is; None leaves it out.
    """

    log = Logger()

    def __init__(
        self,
        path: str,
        clock: Any,
        now: Callable[[], float],
        state: Callable[[], str],
        reachable: Callable[[], bool] | None = None,
    ) -> None:
        self.setName("health")
        self._file: FilePath[str] = FilePath(path)
        self._now = now
        self._state = state
        self._reachable = reachable
        self._looping = LoopingCall(self._turn)
        self._looping.clock = clock
        self._writable = True

    def startService(self) -> None:
        """Write now, and again and again."""
        super().startService()
        atexit.register(self._remove)
        if not self._looping.running:
            self._looping.start(INTERVAL, now=True)

    def stopService(self) -> None:
        """Go on until the daemon is `stopped`, or the process ends: draining is work."""
        super().stopService()
        self._turn()

    def _turn(self) -> None:
        state = self._state()
        if not self.running and state not in WORKING_STATES:
            if self._looping.running:
                self._looping.stop()
            self._remove()
            return
        record: dict[str, object] = {"time": self._now(), "state": state, "pid": os.getpid()}
        if self._reachable is not None:
            record["database"] = "reachable" if self._reachable() else "away"
        try:
            self._file.setContent(json.dumps(record).encode("ascii"))
        except OSError as error:
            if self._writable:
                self._writable = False
                self.log.error(
                    "{event}: {path}: {reason}",
                    event="health_unwritable",
                    path=self._file.path,
                    reason=str(error),
                )
        else:
            self._writable = True

    def _remove(self) -> None:
        atexit.unregister(self._remove)
        Path(self._file.path).unlink(missing_ok=True)


def read(path: str) -> dict[str, Any]:
    """The file's object.

    Raises:
        ValueError: there is none, with the reason.
    """
    try:
        record = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}: not started, or over") from error
    except ValueError as error:
        raise ValueError(f"{path}: not a health file") from error
    if not isinstance(record, dict) or not isinstance(record.get("time"), int | float):
        raise ValueError(f"{path}: not a health file")
    return record


def fault(record: dict[str, Any], now: float) -> str | None:
    """What is wrong with the daemon that wrote the record; None: it works."""
    # A time that lies ahead was written before the clock was set back, so it is old as well.
    age = now - record["time"]
    if abs(age) > MAX_AGE:
        return f"no turn of the event loop for {age:.0f} s"
    if record.get("state") not in WORKING_STATES:
        return f"state: {record.get('state')}"
    return None


def check(path: str, now: float) -> str | None:
    """What is wrong with the daemon that keeps the file; None: it works.

    Args:
        path: the file.
        now: wall-clock time, seconds since the epoch.
    """
    try:
        return fault(read(path), now)
    except ValueError as error:
        return str(error)


def main(argv: Sequence[str] | None = None) -> int:
    """`slayq health FILE`: one line, and the exit status 0 (working) or 1.

    Args:
        argv: arguments without the program's name.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if len(arguments) != 1:
        print("Usage: slayq health FILE", file=sys.stderr)
        return 1
    try:
        record = read(arguments[0])
        reason = fault(record, time.time())
    except ValueError as error:
        record, reason = {}, str(error)
    if reason is not None:
        print(f"not working: {reason}")
        return 1
    database = f", database {record['database']}" if "database" in record else ""
    print(f"working: {record['state']}{database}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
