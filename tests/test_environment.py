"""`slayq_tw.environment`."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.environment import Variables


class VariablesTests(SynchronousTestCase):
    """From the environment, from `.env`, from files."""

    def setUp(self) -> None:
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def read(self, name: str = "SECRET", **environ: str) -> tuple[str | None, list[str]]:
        """A variable's value, and what is wrong."""
        variables = Variables(environ, self.folder)
        return variables.optional(name), variables.faults

    def required(self, **environ: str) -> list[str]:
        """What is wrong when SECRET is required."""
        variables = Variables(environ, self.folder)
        self.assertEqual(variables.required("SECRET", "needed"), "")
        return variables.faults

    def write(self, data: bytes, name: str = "value") -> str:
        """A file's absolute path."""
        path = self.folder / name
        path.write_bytes(data)
        return str(path)

    def test_plain(self) -> None:
        """A value is what it is; an empty one is none."""
        self.assertEqual(self.read(SECRET=" a\n"), (" a\n", []))
        self.assertEqual(self.read(SECRET=""), (None, []))
        self.assertEqual(self.read(), (None, []))

    def test_required(self) -> None:
        """What is missing is named, once."""
        self.assertEqual(self.required(), ["SECRET: not set; it is needed"])
        self.assertEqual(self.required(SECRET=""), ["SECRET: empty; it is needed"])
        (fault,) = self.required(SECRET_FILE="nowhere")
        self.assertIn("nowhere", fault)

    def test_file(self) -> None:
        """A file's contents, without one line break at the end, whatever else they are."""
        for data, value in (
            (b"a", "a"),
            (b"a\n", "a"),
            (b"a\r\n", "a"),
            (b"a\n\n", "a\n"),
            (b" a \n", " a "),
            (b"\n a", "\n a"),
            ("ключ\n".encode(), "ключ"),
            (b"\xff\0\n", "\udcff\0"),
        ):
            self.assertEqual(self.read(SECRET_FILE=self.write(data)), (value, []))
        self.assertEqual(self.read(SECRET_FILE="value"), ("\udcff\0", []))  # relative to the folder
        self.assertEqual(self.read(SECRET_FILE=""), (None, []))

    def test_both(self) -> None:
        """Both forms at once are a fault; an empty one does not count."""
        path = self.write(b"of the file")
        value, (fault,) = self.read(SECRET="tell-tale", SECRET_FILE=path)
        self.assertIsNone(value)
        self.assertEqual(fault, "SECRET: SECRET_FILE is set as well; set only one of them")
        self.assertEqual(self.read(SECRET="", SECRET_FILE=path), ("of the file", []))
        self.assertEqual(self.read(SECRET="a", SECRET_FILE=""), ("a", []))

    def test_unreadable(self) -> None:
        """Variable and path are named, and why."""
        for path, reason in (
            ("missing", "missing cannot be read: No such file or directory"),
            (str(self.folder), f"{self.folder} cannot be read: Is a directory"),
            (self.write(b""), f"{self.folder}/value is empty"),
            (self.write(b"\n"), f"{self.folder}/value is empty"),
            ("a\0b", "is not a path"),
        ):
            self.assertEqual(self.read(SECRET_FILE=path), (None, [f"SECRET_FILE: {reason}"]))

    def test_dotenv(self) -> None:
        """`.env` says only what the environment says in neither form, and may name files too."""
        of_the_file = self.write(b"of the file")
        self.write(b"SECRET='of .env'\nEMPTY\n", ".env")
        self.assertEqual(self.read(), ("of .env", []))
        self.assertEqual(self.read(SECRET_FILE=of_the_file), ("of the file", []))
        self.assertEqual(self.read(SECRET_FILE=""), ("of .env", []))
        self.assertEqual(self.read(SECRET=""), (None, []))
        self.assertEqual(self.read("EMPTY"), (None, []))
        self.write(b"SECRET_FILE=value\n", ".env")
        self.assertEqual(self.read(), ("of the file", []))
        self.assertEqual(self.read(SECRET="a"), ("a", []))

    def test_unclosed_dotenv(self) -> None:
        """A quotation that nothing closes is a fault, with its place, of a variable that is asked for, and not shown."""
        self.write(b"# c\nSECRET=\"tell-tale\nOTHER='x'\nPATH_FILE='tell-tale\n", ".env")
        for name, where in (("SECRET", "SECRET: .env, line 2: "), ("PATH", "PATH_FILE: .env, line 4: ")):
            value, (fault,) = self.read(name)
            self.assertIsNone(value)
            self.assertTrue(fault.startswith(where + "the value begins with a quotation mark"), fault)
            self.assertNotIn("tell-tale", fault)
        self.assertEqual(self.read("OTHER"), ("x", []))
        self.assertEqual(self.read(SECRET="a"), ("a", []))

    def test_dotenv_as_node_reads_it(self) -> None:
        """Values that other readers of such files see otherwise."""
        self.write(b"SECRET=abc#def\nA=`it's`\nB='a\\'\nC=\"a\\tb\"\nD=$SECRET\n", ".env")
        read = {name: self.read(name)[0] for name in ("SECRET", "A", "B", "C", "D")}
        self.assertEqual(read, {"SECRET": "abc", "A": "it's", "B": "a\\", "C": "a\\tb", "D": "$SECRET"})

    def test_unreadable_dotenv(self) -> None:
        """A `.env` that is no text, or a folder, is a fault."""
        self.write(b"\xff", ".env")
        self.assertEqual(self.read(), (None, [".env, line 1: is not UTF-8"]))
        self.write(b"A=1\n# gr\xf6\xdfe\n", ".env")
        self.assertEqual(self.read(), (None, [".env, line 2: is not UTF-8"]))
        os.unlink(self.folder / ".env")
        (self.folder / ".env").mkdir()
        value, faults = self.read(SECRET="a")
        self.assertEqual(value, "a")
        self.assertEqual([fault[:22] for fault in faults], [".env: cannot be read: "] * len(faults))
