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
    origin_of,
    parsed,
    redirected,
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
            " http://app.test/\n",
            "http://app.test/a b",
            "http:/app.test",
            "http:app.test",
            "http:\\\\app.test\\api",
            "http://app.test/\ud800",
            "http://app.test:/",
            "http://app.test:0000080/",
            "http://app.test.:80/",
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
                "\\\\app.test/",
                "ftp://app.test/",
                "file:///app.test/",
                "blob:http://app.test/1",
                "javascript:http://app.test/",
                "ht tp://app.test/",
            ],
            "no host": ["http://", "https:", "http:///?api", "http://u:p@/"],
            "host": [
                "http://:80/",
                "http://a..b/",
                "http://a%20b/",
                f"http://{'a' * 64}/",
                f"http://{'a.' * 128}/",
                "http://a!/",
                "http://app.test\0/",
                "http://a b/",
                "http://1.2.3.4.5/",
                "http://256.1/",
                "http://0x1.08/",
                "http://app.1/",
            ],
            "malformed": [
                "http://[::1/",
                "http://[::1]x/",
                "http://[app.test]/",
                "http://[1]:3000/",
                "http://app.test:http/",
                "http://app.test:+80/",
                "http://app.test:8_0/",
                "http://[fe80::1%25eth0]/",
                "http://app.test:8 0/",
            ],
            "longer": [
                "http://app.test/" + "x" * MAX_URL,
                "http://app.test/" + "\U0001f600" * (MAX_URL // 12),
                "http://" + "\u00fc" * (MAX_URL // 6) + "@app.test/",
            ],
            "no valid name": ["http://a..b/", "http://ü..de/"],
            "international": ["http://\u0378.de/", "http://app.test:\u0661/", "http://a\u05d0/"],
            "port": ["http://app.test:0/", "http://app.test:65536/", "http://app.test:" + "9" * 5000],
        }
        for word, urls in faults.items():
            for url in urls:
                self.assertIn(word, check_web_url(url) or "none", url)

    @given(
        st.text(st.characters(exclude_categories=()))
        | st.text("htps:/[]@%ü.1?#", max_size=20).map("http://".__add__)
    )
    def test_any_text(self, text: str) -> None:
        """A fault or a URL in ASCII that reads the same when it is read again, and no other error."""
        if check_web_url(text) is None:
            url = parsed(text)
            self.assertTrue(url.href.isascii())
            self.assertEqual(parsed(url.href), url)


class ParsedTests(SynchronousTestCase):
    """`parsed` says what goes over the wire, and to whom."""

    def test_ascii(self) -> None:
        """The host in IDNA, the rest percent-encoded where it must be; what is encoded stays."""
        for url, wire in {
            "HTTP://Bücher.Example/ä?ö=ü#z": "http://xn--bcher-kva.example/%C3%A4?%C3%B6=%C3%BC",
            "http://my_app:3000/a%2Fb//c?d=%20+e&f": "http://my_app:3000/a%2Fb//c?d=%20+e&f",
            "http://[::1]:3000/x": "http://[::1]:3000/x",
            "http://[0:0::0001]/": "http://[::1]/",
            "https://u:p@app.test:443": "https://app.test/",
            "http://a.test/[x]|{y}?'": "http://a.test/[x]|%7By%7D?%27",
            "http://a.test/%zz%?": "http://a.test/%zz%",
        }.items():
            self.assertEqual(parsed(url).wire, wire)

    def test_backslash(self) -> None:
        """A slash, so what stands behind it is no host, whatever it looks like."""
        url = parsed("http://app.test\\@other.test/")
        self.assertEqual((url.origin.host, url.path, url.user), ("app.test", "/@other.test/", ""))
        self.assertEqual(display_url("http://app.test\\@other.test/"), "http://app.test/@other.test/")

    def test_addresses(self) -> None:
        """An IPv4 address has one spelling, whatever it was written like: the one that is judged and connected to."""
        for host in (
            "127.0.0.1",
            "127.1",
            "0x7f.1",
            "0x7F000001",
            "2130706433",
            "017700000001",
            "0177.0.0.1",
            "127.0.0.1.",
            "①②⑦.0.0.1",
            "127。0。0。1",
            "%31%32%37.1",
            "1\n27.\t0.0.1",
            "\u00ad127.1",
        ):
            for url in (f"http://{host}:3000/", f"http://u:p@{host}:3000", f"http:\\{host}:3000?"):
                self.assertEqual(origin_of(url), ("http", "127.0.0.1", 3000), url)
        self.assertEqual(origin_of("http://[::FFFF:127.0.0.1]/").host, "::ffff:7f00:1")

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
        self.assertEqual(credentials("http://:p@app.test/"), ("", "p"))
        for url in (
            "http://app.test/@",
            "http://@app.test/",
            "http://:@app.test/",
            "http://app.test\\u:p@b.test/",
        ):
            self.assertIsNone(credentials(url), url)
        self.assertEqual(parsed("http://u:p@app.test/x#y").href, "http://u:p@app.test/x")


class RedirectedTests(SynchronousTestCase):
    """`redirected` says where a `Location` leads."""

    def test_forms(self) -> None:
        """Absolute ones, and all that may be relative; user name and password go with the path, not with the host."""
        base = "http://u:p@app.test:3000/api/hook?a=b#c"
        for location, target in {
            "https://other.test/x": "https://other.test/x",
            "https://v:w@other.test": "https://v:w@other.test/",
            "//other.test/x": "http://other.test/x",
            "\\\\other.test\\x": "http://other.test/x",
            "/x y": "http://u:p@app.test:3000/x%20y",
            "x/../y": "http://u:p@app.test:3000/api/y",
            "?d": "http://u:p@app.test:3000/api/hook?d",
            "": "http://u:p@app.test:3000/api/hook?a=b",
            "http:x": "http://u:p@app.test:3000/api/x",
            "https:x": "https://x/",
            "/\t/other.test": "http://other.test/",
        }.items():
            self.assertEqual(redirected(base, location), target, location)

    def test_faults(self) -> None:
        """As of any URL; the text holds nothing of it. What is too long when it is encoded is too long."""
        for location, word in {
            "ftp://secret.test/": "absolute",
            "mailto:secret": "absolute",
            "http://secret:x": "port",
            "//secret..test": "no valid name",
            "x" * (MAX_URL + 1): "longer",
            "\u00fc" * (MAX_URL // 2): "longer",
        }.items():
            error = str(self.assertRaises(ValueError, redirected, "http://app.test/", location))
            self.assertIn(word, error)
            self.assertNotIn("secret", error)


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
            "http://user:sec@ret@app.test?secret": "http://app.test/",
            "//user:secret@app.test/x": "//app.test/x",
            "user:secret@app.test/x": "user:app.test/x",
            "secret@app.test": "app.test",
            "http:/user:secret@app.test:x/": "http:/app.test:x/",
            "http:\\\\user:secret@[x": "http:\\\\[x",
            "ht\ttp://user:secret@[x/?secret": "http://[x/",
            " \nhttp:user:secret@a..b": "http:a..b",
            "": "",
        }.items():
            self.assertEqual(display_url(url), shown)

    def test_one_bounded_line(self) -> None:
        """What cannot be shown is encoded, as it is sent, or replaced where nothing is sent; what is too long is cut."""
        self.assertEqual(display_url("http://app.test/a\nb\x1b\u2028"), "http://app.test/ab%1B%E2%80%A8")
        self.assertEqual(display_url("http://[x/a\nb\x1b\u2028"), "http://[x/ab\ufffd\ufffd")
        self.assertEqual(len(display_url("http://app.test/" + "x" * 1000)), MAX_DISPLAY)

    @given(st.text(st.characters(exclude_categories=())))
    def test_any_text(self, text: str) -> None:
        """Always one line that can be written as UTF-8."""
        self.assertLessEqual(len(display_url(text).encode().decode().splitlines()), 1)
