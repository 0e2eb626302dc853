"""Every kept input goes through its target, and a few seconds' worth of new ones."""

import sys
import time

import pytest
from hypothesis import HealthCheck, given, settings
from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.errors import PayloadError
from slayq_tw.payload import parse_payload
from slayq_tw.plainjson import MAX_BRACKETS
from slayq_tw.weburl import MAX_DISPLAY, MAX_URL, check_web_url, display_url
from tests.fuzz.__main__ import NAMES
from tests.fuzz.generated import inputs
from tests.fuzz.targets import CORPUS, TARGETS, corpus

EXAMPLES = 150
LARGE = 300_000
"""Pieces of a large input."""
SLOW = 10.0
"""Seconds of CPU for one of them, far more than it takes: what grows with the square takes minutes."""
HEAD = '{"url":"http://app.test/","retry":0,"event":"e"'


def large_documents() -> dict[str, str]:
    """JSON of a few hundred kilobytes to a few megabytes, of the kinds on which a parser may spend its time."""
    n = LARGE
    return {
        "digits": "1" * n,
        "a fraction": "0." + "1" * n,
        "an exponent": "1e" + "9" * n,
        "small numbers": "[" + "1e-5," * n + "1]",
        "backslashes": '"' + "\\\\" * n + '"',
        "quotes": '"' + '\\"' * n + '"',
        "no end": '"' + "a" * n,
        "no end, escaped": '"' + "\\" * n,
        "no end, many times": '"' * n,
        "brackets": "[" * n,
        "arrays": "[" + "[]," * n + "[]]",
        "surrogates": '["' + "\\ud800" * n + '"]',
        "indices": "{" + ",".join(f'"{i}":1' for i in range(n, 0, -1)) + "}",
        "one key": "{" + '"1":1,' * n + '"1":1}',
        "blank": " " * n + "1" + " " * n,
        "a constant at the end": "[" + "1," * n + "NaN]",
        "numbers in strings": '["' + "1e-" * n + '",1e-7]',
    }


class FuzzTests(SynchronousTestCase):
    """The targets hold."""

    def test_names(self) -> None:
        """The command knows every target, and each has kept inputs."""
        self.assertEqual(list(NAMES), list(TARGETS))
        self.assertEqual(sorted(NAMES), sorted(folder.name for folder in CORPUS.iterdir()))

    def test_deep_within_a_stack(self) -> None:
        """However deep the stack is already, what the quick way cannot hold goes the slow way."""
        nested = "[" * (MAX_BRACKETS - 3) + "]" * (MAX_BRACKETS - 3)
        text = f'{HEAD},"data":{nested}}}'
        depth = 0
        frame = sys._getframe()
        while frame is not None:
            depth, frame = depth + 1, frame.f_back  # type: ignore[assignment]

        def descend(levels: int) -> bytes | None:
            return descend(levels - 1) if levels else parse_payload(text).data

        for levels in range(0, sys.getrecursionlimit() - depth - 60, 50):
            self.assertEqual(descend(levels), nested.encode(), levels)

    def test_large_documents(self) -> None:
        """A payload or a refusal, in a time that grows with the text and not with its square."""
        for what, data in large_documents().items():
            begun = time.process_time()
            try:
                parse_payload(f'{HEAD},"data":{data}}}')
            except PayloadError as error:
                self.assertLess(len(str(error)), 200, what)
            self.assertLess(time.process_time() - begun, SLOW, what)

    def test_large_urls(self) -> None:
        """Refused before anything is done with them, and not kept."""
        for piece in ("a", "a.", "ü", "%41", "%", "/", "../", "?", "a&", ":", "@", "[", "\u0660", "\u0301"):
            begun = time.process_time()
            for prefix in ("http://", "http://a/", "http://a/?", "http://a:", "http://u@"):
                url = prefix + piece * LARGE
                self.assertIn("longer", check_web_url(url) or "", url[:20])
                self.assertLessEqual(len(display_url(url)), MAX_DISPLAY)
                # Just short enough as it is sent, where other characters than ASCII take six: judged by what stands in it.
                fault = check_web_url(url[: MAX_URL if piece.isascii() else MAX_URL // 6]) or ""
                self.assertNotIn("longer", fault, url[:20])
                self.assertLess(len(fault), 200, url[:20])
                if prefix.startswith("http://a/"):
                    self.assertEqual(fault, "", url[:20])  # its host is in order, whatever follows
            self.assertLess(time.process_time() - begun, SLOW, piece)


@pytest.mark.parametrize("name", TARGETS)
def test_kept(name: str) -> None:
    """Seeds, and what broke something once."""
    for file in corpus(name):
        try:
            TARGETS[name].check(file.read_bytes())
        except Exception as error:
            raise AssertionError(f"see: python -m tests.fuzz {name} {file}") from error


@pytest.mark.parametrize("name", TARGETS)
def test_new(name: str) -> None:
    """Inputs that hypothesis makes, in about half a second."""
    target = TARGETS[name]

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(inputs(target, [file.read_bytes() for file in corpus(name)]))
    def check(data: bytes) -> None:
        target.check(data)

    check()
