"""`slayq_tw.redaction`."""

import html
import json
from urllib.parse import quote

from hypothesis import assume, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.redaction import MASK, SHORTEST, excerpt, redacted, secrets_of
from slayq_tw.signing import sign
from slayq_tw.standard_webhooks import header_fields

SAMPLE = 'G,4DgB$.?>X]"w}w1745Xq2nKoM4BG74'


class ExcerptTests(SynchronousTestCase):
    """An answer's body as one line."""

    def test_text(self) -> None:
        """White space is one space; what is no UTF-8 is replaced; a character that is cut off is left out."""
        for body, line in {
            b"": "",
            b" a\r\n\tb  c\x0c": "a b c",
            "größer".encode(): "größer",
            "größer".encode()[:3]: "gr",
            "größer".encode("latin-1"): "gr\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}er",
        }.items():
            self.assertEqual(excerpt(body), line)

    def test_no_text(self) -> None:
        """What is no text is named: NUL, escape sequences, a packed body."""
        for body in (b"a\0b", b"\x1b[2J", b"\x1f\x8b\x08\x00abc", b"\x89PNG\r\n\x1a\n"):
            self.assertEqual(excerpt(body), "(no text)")


class RedactedTests(SynchronousTestCase):
    """No secret in what is quoted."""

    def test_spellings(self) -> None:
        """As it is, in JSON, in HTML, in a URL."""
        for text in (SAMPLE, json.dumps(SAMPLE)[1:-1], html.escape(SAMPLE), quote(SAMPLE, safe="")):
            self.assertEqual(redacted(f"a {text} b", [SAMPLE]), f"a {MASK} b")

    def test_cut_off(self) -> None:
        """Its beginning, at the end of the text."""
        for length in range(SHORTEST, len(SAMPLE)):
            self.assertEqual(redacted("a " + SAMPLE[:length], [SAMPLE]), f"a {MASK}")
        self.assertEqual(redacted("a " + SAMPLE[:3], [SAMPLE]), "a " + SAMPLE[:3])

    def test_one_within_another(self) -> None:
        """The longer one goes first."""
        self.assertEqual(redacted("hook-secret-2", ["secret", "hook-secret-2"]), MASK)

    def test_short(self) -> None:
        """A word of three letters is a word."""
        self.assertEqual(redacted("status: 500", ["500", ""]), "status: 500")

    def test_signatures(self) -> None:
        """Both kinds of them, whatever the secret."""
        for signature in (sign(b"x", b"y"), header_fields(b"x", "id", 1, (b"y",))[2][1].decode()):
            self.assertEqual(redacted(f"sig={signature};", []), f"sig={MASK};")
        self.assertEqual(redacted("sha256 " + "a" * 64, []), "sha256 " + "a" * 64)

    @given(st.text(), st.text(min_size=SHORTEST), st.text())
    def test_any_text(self, before: str, secret: str, after: str) -> None:
        """Whatever stands around it."""
        line = " ".join(secret.split())
        assume(len(line) >= SHORTEST and MASK not in line)
        text = " ".join(f"{before}{line}{after}".split())
        self.assertNotIn(line, redacted(text, [secret]))

    def test_urls(self) -> None:
        """Password, or user name where there is none; the token that both make; the query's values."""
        self.assertEqual(
            set(secrets_of("https://me:p%40ss@app.test/x?token=a%20b&flag#c")),
            {"bWU6cEBzcw==", "p@ss", "p%40ss", "a%20b", "a b", "flag"},
        )
        self.assertEqual(
            set(secrets_of("https://only-a-token@app.test/")), {"b25seS1hLXRva2VuOg==", "only-a-token", ""}
        )
        self.assertEqual(set(secrets_of("https://app.test/")), set())
