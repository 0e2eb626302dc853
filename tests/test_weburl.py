"""Web addresses: checked, shown, encoded."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.weburl import (
    MAX_DISPLAY,
    MAX_URL,
    check_web_url,
    credentials,
    display_url,
    encoded,
    origin_of,
    shown_origin,
)


class CheckWebURLTests(SynchronousTestCase):
    """`check_web_url` takes what can be posted to."""

    def test_sound(self) -> None:
        """Hosts of all kinds: names, Docker's with an underscore, addresses, international ones."""
        for url in (
            "http://localhost:3000/api/slayq",
            "https://app.test",
            "HTTPS://App.Test/?a=b#c",
            "http://my_app:65535/x",
            "http://127.0.0.1/",
            "http://[::1]:3000/",
            "http://bücher.example/ä?ö=ü",
            "http://user:p%40ss@app.test/",
            "http://host.docker.internal:3000/[x]|{y}",
        ):
            self.assertIsNone(check_web_url(url), url)

    def test_faults(self) -> None:
        """Each fault is the end of a sentence."""
        faults = {
            "absolute": [
                "",
                "/api",
                "app.test/api",
                "//app.test/",
                "http:/app.test",
                "ftp://app.test/",
                "https:",
            ],
            "host": [
                "http://",
                "http:///api",
                "http://:80/",
                "http://a..b/",
                "http://a%20b/",
                f"http://{'a' * 64}/",
            ],
            "malformed": [
                "http://[::1/",
                "http://[::1]x/",
                "http://[app.test]/",
                "http://[1]:3000/",
                "http://app.test:http/",
                "http://app.test:+80/",
                "http://app.test:8_0/",
                "http://app.test:\u0661/",
                "http://app.test:0000080/",
            ],
            "longer": ["http://app.test/" + "x" * MAX_URL],
            "international": ["http://ü..de/", "http://\u0378.de/"],
            "port": ["http://app.test:0/", "http://app.test:65536/", "http://app.test:/"],
            "space": [
                "http://app.test/a b",
                " http://app.test/",
                "http://app.test/\n",
                "http://app.test/\ud800",
            ],
            "backslash": ["http://app.test\\@other.test/"],
        }
        for word, urls in faults.items():
            for url in urls:
                self.assertIn(word, check_web_url(url) or "none", url)

    @given(
        st.text(st.characters(exclude_categories=()))
        | st.text("htps:/[]@%ü.1?#", max_size=20).map("http://".__add__)
    )
    def test_any_text(self, text: str) -> None:
        """A fault or a URL in ASCII that is encoded already, and no other error."""
        if check_web_url(text) is None:
            url = encoded(text)
            self.assertTrue(url.to_text().isascii())
            self.assertIs(url.to_uri(), url)


class EncodedTests(SynchronousTestCase):
    """`encoded` is what goes over the wire."""

    def test_ascii(self) -> None:
        """The host in IDNA, the rest percent-encoded once; what is encoded stays."""
        for url, wire in {
            "HTTP://Bücher.Example/ä?ö=ü#z": "http://xn--bcher-kva.example/%C3%A4?%C3%B6=%C3%BC",
            "http://my_app:3000/a%2Fb//c?d=%20+e&f": "http://my_app:3000/a%2Fb//c?d=%20+e&f",
            "http://[::1]:3000/x": "http://[::1]:3000/x",
            "http://[0:0::0001]/": "http://[::1]/",
            "https://u:p@app.test:443": "https://app.test",
        }.items():
            self.assertEqual(encoded(url).to_text(), wire)

    def test_shown_origin(self) -> None:
        """An origin as one writes it."""
        for url, shown in {
            "http://A.test:80/x": "http://a.test",
            "https://a.test:80": "https://a.test:80",
            "http://[0::1]:8/": "http://[::1]:8",
        }.items():
            self.assertEqual(shown_origin(origin_of(url)), shown)

    def test_credentials(self) -> None:
        """User name and password travel in a header, not in the URL."""
        self.assertEqual(credentials("http://u%40x:p:q@app.test/"), ("u@x", "p:q"))
        self.assertEqual(credentials("http://u@app.test/"), ("u", ""))
        self.assertIsNone(credentials("http://app.test/@"))


class OriginTests(SynchronousTestCase):
    """`origin_of` a checked URL."""

    def test_spellings(self) -> None:
        """Case, default ports, credentials and what follows the host make no difference; scheme, host and port do."""
        for url in (
            "https://b\u00fccher.test",
            "HTTPS://u:p@B\u00dcCHER.test:443/x?y#z",
            "https://xn--bcher-kva.test/",
        ):
            self.assertEqual(origin_of(url), ("https", "xn--bcher-kva.test", 443))
        self.assertEqual(origin_of("http://app.test"), ("http", "app.test", 80))
        for url in ("http://[fe80::1b]:3000/", "http://[FE80::1B]:3000/", "http://[fe80:0:00::001b]:3000/"):
            self.assertEqual(origin_of(url), ("http", "fe80::1b", 3000))


class DisplayURLTests(SynchronousTestCase):
    """`display_url` is fit for logs and errors."""

    def test_secrets_stay_out(self) -> None:
        """No credentials, query or fragment, in URLs of all kinds and in what is none."""
        for url, shown in {
            "http://app.test:3000/api/slayq": "http://app.test:3000/api/slayq",
            "https://user:secret@app.test/a/b?token=secret#secret": "https://app.test/a/b",
            "http://user:sec@ret@app.test?secret": "http://app.test",
            "//user:secret@app.test/x": "//app.test/x",
            "user:secret@app.test/x": "user:app.test/x",
            "secret@app.test": "app.test",
            "": "",
        }.items():
            self.assertEqual(display_url(url), shown)

    def test_one_bounded_line(self) -> None:
        """Control characters are replaced, and what is too long is cut."""
        self.assertEqual(
            display_url("http://app.test/a\nb\x1b\u2028"), "http://app.test/a\ufffdb\ufffd\ufffd"
        )
        self.assertEqual(len(display_url("http://app.test/" + "x" * 1000)), MAX_DISPLAY)

    @given(st.text(st.characters(exclude_categories=())))
    def test_any_text(self, text: str) -> None:
        """Always one line that can be written as UTF-8."""
        self.assertLessEqual(len(display_url(text).encode().decode().splitlines()), 1)
