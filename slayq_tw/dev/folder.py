"""`DevelopmentFolder`: what development mode keeps between two runs."""

import json
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path

from slayq_tw.embedded import EmbeddedPostgres
from slayq_tw.errors import SlayQError

ROOTS_FOLDER = Path("/var/lib/slayq-dev")
"""Root's: its home is closed to the user who runs Postgres for it."""


class FolderError(SlayQError):
    """The folder cannot be used, or nothing runs in it."""


def default_folder(environ: Mapping[str, str], user: int) -> Path:
    """Where the data is kept unless told otherwise.

    Args:
        environ: the environment, for XDG_DATA_HOME.
        user: the process's user id.
    """
    if user == 0:
        return ROOTS_FOLDER
    return Path(environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "slayq-dev"


class DevelopmentFolder:
    """Holds `postgres` (the server's folder), `secret`, `receiver` and `identifiers`.

    Args:
        path: None is the default.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.is_default = path is None
        self.path = (path or default_folder(os.environ, os.geteuid())).absolute()
        self.postgres = EmbeddedPostgres(self.path / "postgres")

    def make(self) -> None:
        """Make it, unless it is there.

        Raises:
            FolderError: it cannot be made or written to.
        """
        try:
            # Others may pass through it, because Postgres runs as another user when root starts it.
            self.path.mkdir(mode=0o711, parents=True, exist_ok=True)
            if not self._secret.exists():
                self._secret.touch(mode=0o600)
                self._secret.write_text(secrets.token_urlsafe(24))
        except OSError as error:
            raise FolderError(f"{error.filename}: {error.strerror}; name another with --folder") from error

    @property
    def _secret(self) -> Path:
        return self.path / "secret"

    @property
    def secret(self) -> str:
        """The secret of the signatures, the folder's own."""
        return self._secret.read_text()

    @property
    def receiver(self) -> str:
        """The URL of the example receiver, as it was last started; each queue's is below it.

        Raises:
            FolderError: it never was.
        """
        try:
            return (self.path / "receiver").read_text()
        except OSError as error:
            raise FolderError(f"{self.path}: no development mode has run here") from error

    @receiver.setter
    def receiver(self, url: str) -> None:
        (self.path / "receiver").write_text(url)

    @property
    def identifiers(self) -> Sequence[str]:
        """The queues and aliases that were served when it was last started; none, if that is not known."""
        try:
            found: Sequence[str] = json.loads((self.path / "identifiers").read_text("ascii"))
        except OSError:
            return ()
        return found

    @identifiers.setter
    def identifiers(self, names: Sequence[str]) -> None:
        (self.path / "identifiers").write_text(json.dumps(names), "ascii")
