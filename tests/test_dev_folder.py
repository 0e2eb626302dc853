"""`slayq_tw.dev.folder`."""

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.dev.folder import ROOTS_FOLDER, DevelopmentFolder, FolderError, default_folder


class DefaultFolderTests(SynchronousTestCase):
    """Where it is unless told otherwise."""

    def test_users(self) -> None:
        """With the other data of the user's."""
        self.assertEqual(default_folder({"XDG_DATA_HOME": "/data"}, 1000), Path("/data/slayq-dev"))
        home = Path.home() / ".local" / "share" / "slayq-dev"
        self.assertEqual(default_folder({}, 1000), home)
        self.assertEqual(default_folder({"XDG_DATA_HOME": ""}, 1000), home)

    def test_roots(self) -> None:
        """Not in root's home, which is closed to the user that Postgres runs as."""
        self.assertEqual(default_folder({"XDG_DATA_HOME": "/root/data"}, 0), ROOTS_FOLDER)


class DevelopmentFolderTests(SynchronousTestCase):
    """What it keeps."""

    def setUp(self) -> None:
        self.path = Path("kept").absolute()

    def test_secret(self) -> None:
        """A folder's secret is its own, stays the same, and is readable by its owner only."""
        folder = DevelopmentFolder(self.path)
        folder.make()
        secret = folder.secret
        self.assertGreaterEqual(len(secret), 24)
        self.assertEqual((self.path / "secret").stat().st_mode & 0o777, 0o600)
        DevelopmentFolder(self.path).make()
        self.assertEqual(DevelopmentFolder(self.path).secret, secret)
        other = DevelopmentFolder(Path("other"))
        other.make()
        self.assertNotEqual(other.secret, secret)

    def test_receiver(self) -> None:
        """The receiver's URL is there for others when it has been started once."""
        folder = DevelopmentFolder(self.path)
        folder.make()
        with self.assertRaisesRegex(FolderError, "kept: no development mode has run here"):
            _ = folder.receiver
        folder.receiver = "http://127.0.0.1:3939"
        self.assertEqual(DevelopmentFolder(self.path).receiver, "http://127.0.0.1:3939")

    def test_identifiers(self) -> None:
        """So are the queues and aliases that are served there; none are known of a folder that is older than this."""
        folder = DevelopmentFolder(self.path)
        folder.make()
        self.assertEqual(list(folder.identifiers), [])
        folder.identifiers = ["mail", "übrig"]
        self.assertEqual(DevelopmentFolder(self.path).identifiers, ["mail", "übrig"])

    def test_unusable(self) -> None:
        """What is in the way is named, and how to go elsewhere."""
        Path("file").write_text("")
        with self.assertRaisesRegex(FolderError, f"{os.getcwd()}/file.*: .*--folder"):
            DevelopmentFolder(Path("file/below")).make()
