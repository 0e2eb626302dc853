"""`.env` files: what they say here is what they say in Node."""

import json
import random
import subprocess
from pathlib import Path
from typing import ClassVar

from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.envfile import settings
from tests.node_peers import installed
from tests.processes import program

FILES = Path(__file__).parent / "vectors" / "dotenv"
RELEASES = ("dotenv-16.3.1", "dotenv-16.6.1")
"""The one that upstream's lock file names, and the one that its range installs since."""
PARSE = """
const libraries = process.argv.slice(1).map((name) => require(name));
const lines = require("node:readline").createInterface({input: process.stdin});
lines.on("line", (line) => {
  process.stdout.write(JSON.stringify(libraries.map((library) => library.parse(JSON.parse(line)))) + "\\n");
});
"""
"""Reads texts, one a line as a JSON string; answers what each release makes of it."""
PIECES = (
    *("A", "B", "SLAY_Q_SECRET", "=", "=", "=", ": ", ":", "export ", "export", "-", ".", "1", "abc", "x y"),
    *("\n", "\n", "\n", "\n\n", "\r\n", "\r", " ", "\t", "\x0b", "\x1c", "\x85", "\xa0", "\u3000", "\ufeff"),
    *("'", '"', "`", "\\", "\\n", "\\r", "\\'", '\\"', "#", "$X", "${B}", "{", "é", "日本"),
    *("A=1\n", 'B="x"\n', "A='", 'A="', "A=`", "A='x'"),
)


class NodeTests(SynchronousTestCase):
    """Against the library itself."""

    node: ClassVar[subprocess.Popen[str]]

    @classmethod
    def setUpClass(cls) -> None:
        """Start Node."""
        cls.node = subprocess.Popen(
            [program("node"), "-e", PARSE, *RELEASES],
            cwd=installed(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )

    @classmethod
    def tearDownClass(cls) -> None:
        """End Node: its input closes."""
        cls.node.communicate()

    def assertAsNode(self, text: str) -> None:
        """The same variables with the same values."""
        assert self.node.stdin is not None and self.node.stdout is not None
        self.node.stdin.write(json.dumps(text) + "\n")
        self.node.stdin.flush()
        ours = {name: setting.value for name, setting in settings(text).items()}
        for theirs in json.loads(self.node.stdout.readline()):
            self.assertEqual(ours, theirs, ascii(text))

    def test_files(self) -> None:
        """Files as people have them, whole and line by line."""
        files = sorted(FILES.iterdir())
        self.assertGreaterEqual(len(files), 6)
        for file in files:
            text = file.read_bytes().decode()
            self.assertAsNode(text)
            for line in text.splitlines(keepends=True):
                self.assertAsNode(line)

    def test_random_files(self) -> None:
        """5,000 texts of odd pieces."""
        chance = random.Random(16)
        for _ in range(5_000):
            self.assertAsNode("".join(chance.choices(PIECES, k=chance.randint(1, 14))))


class SettingsTests(SynchronousTestCase):
    """The rules, one by one."""

    def values(self, text: str) -> dict[str, str]:
        return {name: setting.value for name, setting in settings(text).items()}

    def test_values(self) -> None:
        """A `#` ends a value that is not in quotation marks; only double ones know a backslash; `$` is a `$`."""
        for line, value in {
            "A=abc#def": "abc",
            "A='abc#def' # comment": "abc#def",
            "A=  x  ": "x",
            "A='  x  '": "  x  ",
            'A="a\\nb\\tc\\"d"': 'a\nb\\tc\\"d',
            "A='a\\nb'": "a\\nb",
            "A=a\\nb": "a\\nb",
            'A=`it\'s "it"`': 'it\'s "it"',
            "A=it's": "it's",
            "A=$B": "$B",
            "A: x": "x",
            "export A=x": "x",
            "A=": "",
            "A='a\nb'": "a\nb",
        }.items():
            self.assertEqual(self.values(line), {"A": value}, line)
        for line in ("A", "# A=x", "A:x", "A x=y", "=x", ""):
            self.assertEqual(self.values(line), {}, line)

    def test_places(self) -> None:
        """Each variable knows its line, however lines end and values go on; the last word counts."""
        text = "\ufeff# c\r\nA='x\r\ny'\r\n\r\n  B=1\nC=2\rA=3\n"
        self.assertEqual(
            {name: setting.line for name, setting in settings(text).items()}, {"A": 7, "B": 5, "C": 6}
        )

    def test_unclosed(self) -> None:
        """A quotation that does not end with its value is known, and Node's value too."""
        for text, value in {
            'A="abc\nB="x"': '"abc',
            "A='abc": "'abc",
            'A="': '"',
            'A="abc" def': '"abc" def',
            "A='abc # def": "'abc",
        }.items():
            self.assertEqual(settings(text)["A"], (value, 1, True), text)
        for text in ('A=abc"', "A='a'b'", "A=", "A=''", "A=a'b"):
            self.assertFalse(settings(text)["A"].unclosed, text)
