"""Child processes: started, looked at through /proc, and ended. Linux only."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
"""The checkout."""
STOP_TIMEOUT = 20.0
"""Seconds after SIGTERM before a process is killed."""

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class BenchError(Exception):
    """The benchmark could not run; the text says why, and what to do about it."""


class Child:
    """A process, with those that it starts itself. It ends with this one, however that ends.

    Args:
        command: program and arguments.
        folder: its working directory; its output goes to `NAME.log` in there.
        name: of the log file.
        environment: variables beside PATH and HOME.

    Attributes:
        began: when it was started, by the monotonic clock.
    """

    def __init__(
        self, command: Sequence[str], folder: Path, name: str, environment: Mapping[str, str] | None = None
    ) -> None:
        self._log = folder / f"{name}.log"
        kept = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
        with self._log.open("wb") as log:
            self.began = time.monotonic()
            self._process = subprocess.Popen(
                [*_leash(), *command],
                cwd=folder,
                env={**kept, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C is for the benchmark, which ends the others in order
            )

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def check(self) -> None:
        """See whether it still runs.

        Raises:
            BenchError: it has ended; with its last lines.
        """
        if self._process.poll() is not None:
            raise BenchError(f"{self._log.stem} ended with {self._process.returncode}:\n{self._tail()}")

    def wait_for_line(self, text: str, patience: float) -> str:
        """Wait until it has printed a line that contains a text; that line.

        Raises:
            BenchError: it ended, or it did not in time.
        """
        deadline = time.monotonic() + patience
        while True:
            for line in self._log.read_text(errors="replace").splitlines(keepends=True):
                if text in line and line.endswith("\n"):
                    return line
            self.wait(0.01, deadline)

    def wait(self, seconds: float, deadline: float) -> None:
        """Let it work for so long.

        Raises:
            BenchError: it has ended, or the time, by the monotonic clock, is up.
        """
        self.check()
        if time.monotonic() > deadline:
            raise BenchError(f"{self._log.stem} does not finish its work:\n{self._tail()}")
        time.sleep(seconds)

    def stop(self) -> None:
        """End it in order, or by force when it takes too long."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()

    def _tail(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-15:])


def cpu_seconds(pid: int) -> float:
    """CPU time, user and system, of a process, of its descendants, and of those that they have buried."""
    return sum(sum(_times(one)) for one in _family(pid)) / _TICKS


def resident_bytes(pid: int) -> int:
    """Resident memory of a process and its descendants. Pages that they share count for each."""
    return sum(_resident(one) for one in _family(pid))


def program(name: str, advice: str) -> str:
    """The path of a program: beside this Python, or on the PATH, or where Debian puts those of the administrator.

    Raises:
        BenchError: it is not there.
    """
    folders = [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath), "/usr/sbin"]
    found = shutil.which(name, path=os.pathsep.join(folders))
    if found is None:
        raise BenchError(f"there is no {name}: {advice}")
    return found


def _family(pid: int) -> Iterator[int]:
    yield pid
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from _family(int(child))


def _times(pid: int) -> tuple[int, int, int, int]:
    """utime, stime, cutime and cstime of /proc/PID/stat, in ticks. Zeros for a process that has just gone."""
    try:
        # The second field is the program's name in parentheses, and may itself hold spaces and parentheses.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0, 0, 0, 0
    user, system, children_user, children_system = map(int, fields[11:15])
    return user, system, children_user, children_system


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except (FileNotFoundError, ProcessLookupError):
        return 0


def _leash() -> list[str]:
    """What makes a process end when its parent does."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig=TERM"] if setpriv else []
