"""Child processes of the end-to-end tests: the daemon under twistd, and a receiver on Node.

Whoever waits, waits for a line that the process prints or for its end; each wait is bounded, so that a hanging test
says for what it hung.
"""

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList, TimeoutError
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

ROOT = Path(__file__).parent.parent
PATIENCE = 40.0
"""Seconds that a wait may take on a busy machine before the test fails."""


class Owner(Protocol):
    """What ends with a process's owner: a test, or a scenario of `tests.chaos`."""

    def addCleanup(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Have something done at the end; a Deferred is waited for."""

    def mktemp(self) -> str:
        """The path of a folder that is not there yet."""


class Lines(ProcessProtocol):
    """Collects the lines of both streams, and wakes who waits for something in them."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.ended: int | None = None
        self._rest = {1: b"", 2: b""}
        self._waiting: list[tuple[Callable[[], bool], Deferred[None]]] = []

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """Take what was printed."""
        *lines, self._rest[childFD] = (self._rest[childFD] + data).split(b"\n")
        self.lines += [line.decode("utf-8", "replace") for line in lines]
        self._look()

    def processEnded(self, reason: Failure) -> None:
        """Note the exit status; a signal counts negative, as in subprocess."""
        value: Any = reason.value
        self.ended = -value.signal if value.signal is not None else value.exitCode
        self._look()

    def when(self, happened: Callable[[], bool]) -> "Deferred[None]":
        """Fires when the condition holds."""
        waiting: Deferred[None] = Deferred()
        self._waiting.append((happened, waiting))
        self._look()
        return waiting

    def _look(self) -> None:
        for entry in list(self._waiting):
            happened, waiting = entry
            if happened():
                self._waiting.remove(entry)
                waiting.callback(None)


class Child:
    """A process that ends with its test, and with the run of tests if that is killed.

    Args:
        case: the test.
        command: program and arguments.
        environment: the whole of it.
        folder: its working directory.
    """

    def __init__(
        self,
        case: Owner,
        command: Sequence[str],
        environment: Mapping[str, str],
        folder: str | Path = ROOT,
    ) -> None:
        self.output = Lines()
        self._name = Path(command[0]).name
        leashed = [*_leash(), *command]
        self._process = reactor.spawnProcess(  # type: ignore[attr-defined]
            self.output, leashed[0], leashed, env=dict(environment), path=str(folder)
        )
        case.addCleanup(self._end)

    @property
    def pid(self) -> int:
        """Process id."""
        return int(self._process.pid)

    @property
    def lines(self) -> list[str]:
        """Everything printed so far."""
        return self.output.lines

    @property
    def _tail(self) -> str:
        return "output:\n" + "\n".join(self.lines[-60:])

    async def until(self, happened: Callable[[], bool], what: str, patience: float = PATIENCE) -> None:
        """Wait for a condition on the output; fails when the process ends, or hangs, before it."""
        waiting = self.output.when(lambda: happened() or self.output.ended is not None)
        waiting.addTimeout(patience, reactor)
        try:
            await waiting
        finally:
            if not happened():
                raise AssertionError(f"{self._name}: no {what}; ended: {self.output.ended}; {self._tail}")

    async def wait_for_line(self, text: str, patience: float = PATIENCE) -> str:
        """Wait for a line that contains the text; that line."""
        await self.until(lambda: any(text in line for line in self.lines), f"line with {text!r}", patience)
        return next(line for line in self.lines if text in line)

    async def wait_for_end(self, patience: float = PATIENCE) -> int:
        """Wait for the end; the exit status."""
        ended = self.output.when(lambda: self.output.ended is not None)
        try:
            await ended.addTimeout(patience, reactor)
        except TimeoutError as error:
            raise AssertionError(f"{self._name}: no end within {patience:g} s; {self._tail}") from error
        assert self.output.ended is not None
        return self.output.ended

    def signal(self, name: str) -> None:
        """Send a signal by its name without `SIG`."""
        self._process.signalProcess(getattr(signal, f"SIG{name}"))

    async def stop(self, name: str = "TERM", patience: float = PATIENCE) -> int:
        """Send a signal, and wait for the end; the exit status."""
        self.signal(name)
        return await self.wait_for_end(patience)

    def _end(self) -> "Deferred[None]":
        try:
            self.signal("CONT")
            self.signal("KILL")
        except ProcessExitedAlready:
            pass
        return self.output.when(lambda: self.output.ended is not None)


async def until_any(children: Sequence[Child], happened: Callable[[], bool], what: str) -> None:
    """Wait for a condition on the output of several processes."""
    waiting = [Deferred.fromCoroutine(child.until(happened, what)) for child in children]
    await DeferredList(waiting, fireOnOneCallback=True, fireOnOneErrback=True, consumeErrors=True)
    for one in waiting:
        one.cancel()


class NodeReceiver(Child):
    """`tests/node/receiver.mjs`. Wait for `ready` first.

    Args:
        case: the test.
        secret: with which requests are signed.
        port: where to listen; 0 for any free one.
    """

    def __init__(self, case: Owner, secret: str, port: int = 0) -> None:
        super().__init__(
            case,
            [program("node"), str(ROOT / "tests/node/receiver.mjs")],
            {"PATH": os.environ["PATH"], "SLAY_Q_WORKER_SECRET": secret, "PORT": str(port)},
        )

    async def ready(self) -> str:
        """Wait until it listens; its URL."""
        line = await self.wait_for_line('{"port":')
        self.url = f"http://127.0.0.1:{json.loads(line)['port']}"
        return self.url

    def in_order(self) -> list[dict[str, Any]]:
        """What happened so far: a `begin` for each request that arrived, an `end` for each answer. No cron ticks."""
        records = [json.loads(line) for line in self.lines if line.startswith('{"type":')]
        return [record for record in records if record["body"]["event"] != "cron"]

    def seen(self, kind: str = "begin") -> list[dict[str, Any]]:
        """The requests that have begun or ended."""
        return [record for record in self.in_order() if record["type"] == kind]

    async def wait_for(
        self, count: int, kind: str = "end", patience: float = PATIENCE
    ) -> list[dict[str, Any]]:
        """Wait for so many requests; all of them."""
        await self.until(lambda: len(self.seen(kind)) >= count, f"{count} requests", patience)
        return self.seen(kind)


class Daemon(Child):
    """`twistd -n slayq` in a folder of its own.

    Args:
        case: the test.
        config: the configuration file's document.
        environment: the variables of the contract, beside PATH.
        arguments: further ones for `slayq`.
        within: a command that runs the one after it, in other surroundings.
    """

    def __init__(
        self,
        case: Owner,
        config: Mapping[str, Any],
        environment: Mapping[str, str],
        arguments: Sequence[str] = (),
        within: Sequence[str] = (),
    ) -> None:
        self.folder = Path(case.mktemp()).absolute()
        self.folder.mkdir(parents=True)
        (self.folder / "slay-config.json").write_text(json.dumps(config))
        super().__init__(
            case,
            [*within, program("twistd"), "-n", "--pidfile=", "slayq", "--log-level=debug", *arguments],
            {**python_environment(), **environment},
            self.folder,
        )

    async def ready(self) -> None:
        """Wait until it claims jobs."""
        await self.wait_for_line("started: ")


def python_environment() -> dict[str, str]:
    """The variables with which a Python process finds this checkout, from whatever folder."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {"PATH": os.environ["PATH"], "PYTHONPATH": path}


def _leash() -> list[str]:
    """What makes a process end when this one does, however that ends: on Linux only."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig=KILL"] if setpriv else []


def program(name: str) -> str:
    """A program beside this Python, or on the PATH."""
    for folder in (str(Path(sys.executable).parent), *os.environ["PATH"].split(os.pathsep)):
        if os.access(candidate := os.path.join(folder, name), os.X_OK):
            return candidate
    raise AssertionError(f"the tests need {name!r}")
