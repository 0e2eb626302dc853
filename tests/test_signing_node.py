"""`canonical_json` against Node: random JSON texts, and texts that are almost JSON."""

import json
import random
import struct
import subprocess
from typing import ClassVar

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.canonical import NestingError
from slayq_tw.signing import canonical_json

STRINGIFY = """
const lines = require("node:readline").createInterface({input: process.stdin});
lines.on("line", (line) => {
  let answer = null;
  try { answer = JSON.stringify(JSON.parse(JSON.parse(line))); } catch (error) {}
  process.stdout.write(JSON.stringify(answer) + "\\n");
});
"""
"""Reads JSON texts, one a line as a JSON string; answers what JavaScript makes of each, null for a syntax error."""

ODD_NUMBERS = [
    "-0",
    "-0.0",
    "0e99",
    "0.1e1",
    "1.0",
    "4.35",
    "1e-5",
    "1e-6",
    "1e-7",
    "5e-324",
    "1e21",
    "1E+21",
]
ODD_NUMBERS += [
    "9007199254740993",
    "123456789012345680000",
    "999999999999999999999",
    "1e22",
    "1e400",
    "-1e999",
]
NUMBERS = (
    st.sampled_from(ODD_NUMBERS)
    | st.floats(allow_nan=False, allow_infinity=False).map(repr)
    | st.from_regex(r"\A-?(0|[1-9][0-9]{0,24})(\.[0-9]{1,24})?([eE][+-]?[0-9]{1,3})?\Z")
)
CHARACTERS = (
    st.sampled_from(
        [r"\"", r"\\", r"\/", r"\b", r"\f", r"\n", r"\r", r"\t", "1e-05", ":", ",", "[", "}", "Infinity"]
    )
    | st.sampled_from(
        ["\\ud83d", "\\uDE00", "\ud83d", "\ude00", "\u2028", "\x7f", "\\u0000", "\\u0031", "\ufeff"]
    )
    | st.characters(exclude_characters='"\\', min_codepoint=32)
    | st.integers(0, 0xFFFF).map(lambda unit: f"\\u{unit:04x}")
)
STRINGS = st.lists(CHARACTERS, max_size=6).map(lambda parts: '"' + "".join(parts) + '"')
SPECIAL_KEYS = [
    "0",
    "1",
    "2",
    "10",
    "01",
    "-1",
    "4294967294",
    "4294967295",
    "4294967296",
    "1.0",
    "1e3",
    "",
    "a",
]
SPECIAL_KEYS += ["__proto__", "constructor", "toString", r"\u0061", r"\u0031"]
KEYS = STRINGS | st.sampled_from([f'"{key}"' for key in SPECIAL_KEYS])
BLANK = st.text(" \t\n\r", max_size=2)


def _array(values: list[str], blank: str) -> str:
    return "[" + f"{blank},".join(values) + blank + "]"


def _object(members: list[tuple[str, str]], blank: str) -> str:
    return "{" + ",".join(f"{blank}{key}{blank}:{value}" for key, value in members) + blank + "}"


TEXTS = st.recursive(
    st.sampled_from(["null", "true", "false", "[]", "{}"]) | NUMBERS | STRINGS,
    lambda inner: (
        st.builds(_array, st.lists(inner, max_size=4), BLANK)
        | st.builds(_object, st.lists(st.tuples(KEYS, inner), max_size=6), BLANK)
    ),
    max_leaves=20,
)


class NodeTests(SynchronousTestCase):
    """One Node process answers for all of them."""

    node: ClassVar[subprocess.Popen[str]]

    @classmethod
    def setUpClass(cls) -> None:
        """Start Node."""
        cls.node = subprocess.Popen(
            ["node", "-e", STRINGIFY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
        )

    @classmethod
    def tearDownClass(cls) -> None:
        """End Node: its input closes."""
        cls.node.communicate()

    def stringified(self, text: str) -> bytes | None:
        """What Node makes of a JSON text; None when it is none."""
        assert self.node.stdin is not None and self.node.stdout is not None
        self.node.stdin.write(json.dumps(text) + "\n")
        self.node.stdin.flush()
        answer = json.loads(self.node.stdout.readline())
        return None if answer is None else answer.encode()

    def assertAsNode(self, text: str) -> None:
        """Node and `canonical_json` agree on a text, be it JSON or not."""
        try:
            ours = canonical_json(text)
        except ValueError:
            ours = None
        self.assertEqual(ours, self.stringified(text), repr(text))

    @settings(max_examples=700, deadline=None)
    @given(TEXTS)
    def test_random_texts(self, text: str) -> None:
        """Odd numbers, escapes, surrogates, repeated and integer-like keys, white space."""
        self.assertIsNotNone(self.stringified(text))
        self.assertAsNode(text)

    @settings(max_examples=300, deadline=None)
    @given(TEXTS, st.data())
    def test_damaged_texts(self, text: str, data: st.DataObject) -> None:
        """A text with a piece cut out or put in is refused or accepted by both."""
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 2)))
        pieces = [
            "",
            "",
            ",",
            '"',
            "\\",
            "0",
            "-",
            ".",
            "e",
            "NaN",
            "-Infinity",
            "\n",
            "\x01",
            "]",
            "{",
            "\xa0",
            "'",
        ]
        self.assertAsNode(text[:start] + data.draw(st.sampled_from(pieces)) + text[end:])

    def test_random_doubles(self) -> None:
        """20,000 doubles of all magnitudes, in their shortest and in a long notation."""
        source = random.Random(20240110)
        doubles = [struct.unpack("d", source.randbytes(8))[0] for _ in range(10_000)]
        doubles += [source.uniform(-10, 10) * 10.0 ** source.randint(-12, 25) for _ in range(10_000)]
        finite = [number for number in doubles if number - number == 0]
        self.assertAsNode("[" + ",".join(f"{number!r},{number:.25e}" for number in finite) + "]")

    def test_deep_texts(self) -> None:
        """1,000 levels are written as Node writes them; one more is refused here, though Node would take it."""
        for opening, closing in (("[", "]"), ('{"b":0,"2":', ',"1":0}'), (' [ 1e-05 , "[" , ', ",1e21]")):
            self.assertAsNode(opening * 999 + "[]" + closing * 999)
            text = opening * 1000 + "[]" + closing * 1000
            self.assertIsNotNone(self.stringified(text))
            self.assertRaises(NestingError, canonical_json, text)
