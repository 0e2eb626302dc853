"""A primary and its standby, as one server whose address is a list: what applications and daemons see of a failover."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from slayq_tw.embedded import EmbeddedPostgres, _State
from slayq_tw.pgbinaries import installed
from tests.chaos.postgres import Server, Session

NAME = "standby"
PATIENCE = 30.0


class _Standby(EmbeddedPostgres):
    """A server that was copied from another, and follows it until it is promoted."""

    def copy(self, url: str) -> None:
        """Make its data folder.

        Args:
            url: the primary's, a superuser's.
        """
        self._make_folder()
        self._password.touch(mode=0o600)
        self._password.write_text(urlsplit(url).password or "")
        self._give(self._password)
        binaries = self._runnable(self._fitting(installed()))
        self._run(
            [
                str(binaries.folder / "pg_basebackup"),
                f"--pgdata={self._data}",
                f"--dbname={url}?application_name={NAME}",
                "--wal-method=stream",
                "--checkpoint=fast",
                "--write-recovery-conf",
            ],
            binaries.environment(),
        )

    def _state(self) -> _State | None:
        """One that follows is as ready as it can be."""
        state = super()._state()
        return state._replace(status="ready") if state is not None and state.status == "standby" else state


class Pair(Server):
    """Two servers of one history.

    Args:
        folder: for the data of both; to be removed by its owner when both have stopped.
        synchronous: whether a commit is confirmed only when both have it on disk.
    """

    def __init__(self, folder: Path, *, synchronous: bool) -> None:
        folder.mkdir(mode=0o711, parents=True)
        self._place = folder
        super().__init__(folder / "primary")
        self._follower = _Standby(folder / NAME)
        self._follower.copy(self._url)
        self._second = self._follower.start()
        self._on_standby = Session(self._second)
        if synchronous:  # after the copy, or the standby would wait for one of its own once it is promoted
            self._run(f"ALTER SYSTEM SET synchronous_standby_names = '{NAME}'")
            self._run("SELECT pg_reload_conf()")
        first = Session(self._url)
        state = "sync" if synchronous else "async"
        _until(lambda: first.rows("SELECT sync_state FROM pg_stat_replication") == [(state,)], "replication")
        first.close()

    def url(self, name: str, login: str = "") -> str:
        """A database's URL with both servers in it, of which the one that takes writes is meant."""
        first = urlsplit(super().url(name, login))
        netloc = f"{first.netloc},{urlsplit(self._second).netloc.rpartition('@')[2]}"
        return urlunsplit(first._replace(netloc=netloc, query="target_session_attrs=read-write"))

    def follow_no_more(self) -> None:
        """Cut the standby off: what is committed from now on is not replicated."""
        self._on_standby.rows("ALTER SYSTEM SET primary_conninfo = ''")
        self._on_standby.rows("SELECT pg_reload_conf()")
        _until(
            lambda: self._on_standby.rows("SELECT FROM pg_stat_wal_receiver") == [], "end of the replication"
        )

    def promote(self) -> None:
        """Make the standby the primary; returns when it takes writes."""
        if not self._on_standby.value("SELECT pg_promote(true, 30)"):
            raise AssertionError("the standby was not promoted")

    def stop(self) -> None:
        """Stop both."""
        super().stop()
        if hasattr(self, "_on_standby"):
            self._on_standby.close()
            self._follower.stop()

    def remove(self) -> None:
        """Stop both, and remove their data."""
        self.stop()
        shutil.rmtree(self._place, ignore_errors=True)


def _until(happened: Callable[[], bool], what: str) -> None:
    """Wait in this thread: nothing else goes on yet."""
    end = time.monotonic() + PATIENCE
    while not happened():
        if time.monotonic() > end:
            raise AssertionError(f"no {what} within {PATIENCE:g} s")
        time.sleep(0.02)
