"""URLs that come from payloads and from `Location` headers."""

import re
from ipaddress import IPv6Address
from urllib.parse import urlsplit

from twisted.web.http_headers import Headers

from slayq_tw.http_request import request_to
from slayq_tw.weburl import MAX_DISPLAY, check_web_url, credentials, display_url, encoded, origin_of
from tests.fuzz.documents import text_of

TOKENS = tuple(
    token.encode("utf-8", "surrogatepass")
    for token in (
        *(
            "http://",
            "https://",
            "HTTP://",
            "//",
            "http:/",
            "ftp://",
            "http://app.test",
            "https://u:p@app.test:443/",
        ),
        *"/?#@:[]%\\. \t\r\n_-;&=+",
        *(
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[fe80::1%25eth0]",
            "127.0.0.1",
            "0x7f.1",
            "2130706433",
            "017700000001",
        ),
        *(
            "localhost",
            "a",
            "xn--",
            "xn--bcher-kva",
            "bücher",
            "ß",
            "ﬁ",
            "。",
            "．",
            "①",
            "\u200d",
            "\u0660",
            "א",
        ),
        *(":80", ":0", ":65535", ":65536", ":\u0661", ":+1", "%00", "%0d%0a", "%2f", "%40", "%C3%A4", "%"),
        *("../", "./", "?a=b", "#c", "é", "\ud800", "\u2028", "\x85", "\xa0", "\ufeff"),
    )
)
_USER = re.compile("//[^/?#]*@")
_HOST = re.compile(r"[a-z0-9_.-]+|[0-9a-f:.]+")


def check_url(data: bytes) -> None:
    """A fault fit for an error, or one clear meaning: what is connected to is what every other reader would see."""
    text = text_of(data)
    shown = display_url(text)
    assert len(shown) <= MAX_DISPLAY and len(shown.encode().decode().splitlines()) <= 1, shown
    fault = check_web_url(text)
    if fault is not None:
        assert fault.isprintable() and fault.strip(), fault
        return
    url = encoded(text)
    wire = url.to_text()
    assert re.fullmatch(r"https?://[!-~]+", wire), wire
    assert "@" not in wire.split("/")[2] and "#" not in wire, wire
    assert check_web_url(wire) is None and encoded(wire).to_text() == wire, "encoding it twice changes it"
    assert _HOST.fullmatch(url.host), url.host
    request = request_to(b"POST", wire.encode("ascii"), Headers())
    assert request.origin == (url.scheme, url.host, url.port) == origin_of(text), request.origin
    assert re.fullmatch(rb"POST /[!-~]* HTTP/1\.1\r\nHost: [!-~]+\r\n", request.start), request.start
    for written in (wire, _USER.sub("//", text, count=1)):
        other = urlsplit(written)
        assert (other.scheme, other.port or url.port) == (url.scheme, url.port), "another reader differs"
        host = other.hostname or ""  # an international one is not encoded by this reader
        assert not host.isascii() or _host(host) == _host(url.host), "another reader goes elsewhere"
    assert "@" not in shown.split("/")[2], shown
    secret = credentials(text)
    assert secret is None or len(secret) == 2


def _host(host: str) -> object:
    """What can be compared."""
    return IPv6Address(host) if ":" in host else host
