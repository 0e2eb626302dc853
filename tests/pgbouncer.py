"""`PgBouncer`: a pooler in transaction mode before a test's database; Debian's package, with its own defaults."""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import psycopg2
from psycopg2.extensions import parse_dsn
from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.embedded import UNPRIVILEGED

_GLANCE = 0.05
_GLANCES = 200
_PORT_TRIES = 5
_SERVERS = 20


class PgBouncer:
    """One pooler on a port of 127.0.0.1. It ends with its test.

    Args:
        case: the test.
        server: URL of the database behind it.
        settings: of the section `pgbouncer`, instead of the defaults.

    Attributes:
        url: the database's URL through the pooler.
    """

    def __init__(self, case: SynchronousTestCase, server: str, **settings: str) -> None:
        self._server = parse_dsn(server)
        self._settings = {"pool_mode": "transaction", **settings}
        self._folder = Path(tempfile.mkdtemp(prefix="slayq-pgbouncer-"))
        case.addCleanup(shutil.rmtree, self._folder, ignore_errors=True)
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0
        case.addCleanup(self.stop)
        self.start()
        # Whatever name one gives, it logs in as the server's user: that is `auth_type = any`.
        user = quote(self._server.get("user", "postgres"), safe="")
        self.url = urlsplit(server)._replace(netloc=f"{user}@127.0.0.1:{self.port}").geturl()

    def start(self) -> None:
        """Start it, on the same port as before if it ran already."""
        for _ in range(_PORT_TRIES):
            port = self.port or _free_port()
            if self._launch(port):
                self.port = port
                return
        raise AssertionError(f"PgBouncer does not start:\n{self.log()}")

    def stop(self) -> None:
        """End it, whoever is connected; harmless when it does not run."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            process.wait(10)

    def change_mode(self, mode: str) -> None:
        """Have the next start use another pool mode."""
        self._settings["pool_mode"] = mode

    def console(self, command: str) -> list[dict[str, Any]]:
        """Run a command on the administration console, such as SHOW SERVERS; its rows by column."""
        connection = psycopg2.connect(host="127.0.0.1", port=self.port, dbname="pgbouncer", user="console")
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(command)
                if cursor.description is None:
                    return []
                names = [column.name for column in cursor.description]
                return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        finally:
            connection.close()

    def on_each_server(self, statement: str) -> list[list[tuple[Any, ...]]]:
        """Run one statement on every server connection of the pool: as many clients hold a transaction each."""
        servers = {row["remote_pid"] for row in self.console("SHOW SERVERS")}
        answers: dict[int, list[tuple[Any, ...]]] = {}
        clients: list[Any] = []
        try:
            while servers - answers.keys():
                assert len(clients) < _SERVERS, f"no answer from {servers - answers.keys()}"
                clients.append(psycopg2.connect(self.url))
                with clients[-1].cursor() as cursor:
                    cursor.execute(statement)
                    rows = cursor.fetchall()
                    cursor.execute("SELECT pg_catalog.pg_backend_pid()")
                    answers[cursor.fetchone()[0]] = rows
        finally:
            for client in clients:
                client.close()
        return list(answers.values())

    def log(self) -> str:
        """What it has logged."""
        return (self._folder / "log").read_text(errors="replace")

    def _launch(self, port: int) -> bool:
        """Start it and wait until it listens; False when it ended instead."""
        account = _account()
        self._write(port)
        identity: dict[str, Any] = {}
        if account is not None:
            os.chown(self._folder, account.pw_uid, account.pw_gid)
            identity = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        setpriv = shutil.which("setpriv")
        leash = [setpriv, "--pdeathsig=TERM"] if setpriv else []  # it ends also with a killed test run
        with (self._folder / "log").open("ab") as log:
            process = subprocess.Popen(
                [*leash, _program(), str(self._folder / "pgbouncer.ini")],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **identity,
            )
        for _ in range(_GLANCES):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_GLANCE)
                return False
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
                self._process = process
                return True
        process.kill()
        process.wait()
        return False

    def _write(self, port: int) -> None:
        target = {
            name: self._server[name] for name in ("host", "port", "user", "password") if name in self._server
        }
        database = " ".join(
            f"{name}='{value.replace(chr(39), chr(39) * 2)}'" for name, value in target.items()
        )
        settings = {
            "listen_addr": "127.0.0.1",
            "listen_port": str(port),
            "unix_socket_dir": "",
            "auth_type": "any",
            **self._settings,
        }
        lines = ["[databases]", f"* = {database}", "[pgbouncer]"]
        lines += [f"{name} = {value}" for name, value in settings.items()]
        (self._folder / "pgbouncer.ini").write_text("\n".join(lines) + "\n")
        os.chmod(self._folder / "pgbouncer.ini", 0o644)


def _program() -> str:
    """Debian's place for it is on the PATH of root only."""
    found = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise AssertionError("the tests need PgBouncer (on Debian and Ubuntu: apt-get install pgbouncer)")
    return found


def _account() -> pwd.struct_passwd | None:
    """Whom it runs as when root starts it, which it refuses to run as."""
    if os.geteuid() != 0:
        return None
    for name in UNPRIVILEGED:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise AssertionError(f"PgBouncer does not run as root, and there is no user {' or '.join(UNPRIVILEGED)}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
