"""Python imports this at its start when the folder is on PYTHONPATH: a wall clock that can be stepped.

The file that `CHAOS_CLOCK` names holds the seconds by which `time.time` is off; SIGUSR1 has it read again.
"""

import os
import signal
import time
from types import FrameType

_PATH = os.environ.get("CHAOS_CLOCK")


def _install(path: str) -> None:
    right = time.time
    offset = 0.0

    def read(_number: int = 0, _frame: FrameType | None = None) -> None:
        nonlocal offset
        with open(path) as file:
            offset = float(file.read())

    def stepped() -> float:
        return right() + offset

    read()
    signal.signal(signal.SIGUSR1, read)
    time.time = stepped


if _PATH:
    _install(_PATH)
