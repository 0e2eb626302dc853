"""`weburl` against Node: 10,000 URLs, put together from the pieces that the fuzzers use."""

import random
from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.weburl import origin_of, parsed, redirected
from tests.fuzz.documents import text_of
from tests.fuzz.node_urls import NodeURLs, differences
from tests.fuzz.urls import BASE, TOKENS

BEGINNINGS = (
    *(
        "http://",
        "https://",
        "http://app.test/",
        "http://app.test:3000/",
        "http://a",
        "HTTP:/",
        " http://",
        "",
    ),
    *("http://u:p@app.test/", "https://app.test/?"),
)
MEANT = {
    "another scheme",
    "port 0",
    "a host that no name server knows",
    "an older Node's international names",
    "an older Node's dots in paths",
}
"""Where Node's `fetch` would try, and we refuse, or where the Node at hand is older than the URL standard of today."""


class NodeTests(SynchronousTestCase):
    """What is connected to, sent and taken for credentials is what Node's `fetch` does with `new URL(text)`."""

    def setUp(self) -> None:
        self.node = NodeURLs()
        self.addCleanup(self.node.close)
        self.random = random.Random(8192)
        self.pieces = [text_of(token) for token in TOKENS]

    def some_url(self) -> str:
        """Most of them are URLs, more or less."""
        pieces = self.random.choices(self.pieces, k=self.random.randint(1, 6))
        return self.random.choice(BEGINNINGS) + "".join(pieces)

    def test_urls(self) -> None:
        """The same for all, but for the few differences that are meant."""
        met = Counter(differences(self.node, self.some_url()) for _ in range(10_000))
        self.assertLessEqual(set(met) - {None}, MEANT)
        self.assertGreater(met[None], 5_000)

    def test_sound_ones(self) -> None:
        """What the issue of the day was: what Node delivers is delivered, to the byte."""
        for text, wire in {
            " http://app.test/hook ": "http://app.test/hook",
            "http://app.test/hook\n": "http://app.test/hook",
            "http://app.test/a b\tc": "http://app.test/a%20bc",
            "http:\\\\app.test\\a": "http://app.test/a",
            "http:/app.test": "http://app.test/",
            "http://app.test/a/../b/./c": "http://app.test/b/c",
            "http://app.test/a|b?c|d^e": "http://app.test/a|b?c|d^e",
            "http://app.test:/": "http://app.test/",
            "http://127.1:3000/": "http://127.0.0.1:3000/",
            "http://my_app/\ud800": "http://my_app/%EF%BF%BD",
        }.items():
            self.assertEqual(parsed(text).wire, wire)
            self.assertIsNone(differences(self.node, text), text)

    def test_redirects(self) -> None:
        """A `Location` leads where Node follows it, or nowhere."""
        followed = 0
        for _ in range(3_000):
            location = "".join(self.random.choices(self.pieces, k=self.random.randint(0, 4)))
            found = self.node.parsed(location, BASE)
            try:
                target = redirected(BASE, location)
            except ValueError:
                if found is not None and "xn--" not in found["hostname"]:
                    self.assertRaises(ValueError, parsed, found["href"])
                continue
            if self.node.older and (found is None or "xn--" in origin_of(target).host):
                continue
            assert found is not None
            self.assertEqual(parsed(target).href, parsed(found["href"]).href, repr(location))
            followed += 1
        self.assertGreater(followed, 1_000)
