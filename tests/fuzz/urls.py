"""URLs that come from payloads and from `Location` headers."""

import re
from ipaddress import ip_address
from socket import inet_aton
from urllib.parse import urlsplit

from twisted.web.http_headers import Headers

from slayq_tw.http_request import request_to
from slayq_tw.weburl import (
    DEFAULT_PORTS,
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
from tests.fuzz.documents import text_of
from tests.fuzz.node_urls import NodeURLs, differences, shared

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
        *"|^`{}<>\"'!$*,()~",
        *("\0", "\x1f", "\x7f", "http:", "http:\\", "/..", "%2e%2e/", "file:", "blob:", "ws://", "data:"),
        *(
            "1",
            "08",
            "256",
            "0xffffffff",
            "4294967296",
            "::",
            "[1:2::]",
            "app.test",
            "my_app",
            ":3000",
            "/api/hook",
        ),
        *("xn--a", "😀", "\u00ad", "ẞ", "日本", "%E2%82%AC", "%ff"),
    )
)
BASE = "http://user:pass@app.test:3000/api/hook?a=b#c"
_HOST = re.compile(r"[a-z0-9_.-]+|[0-9a-f:.]+")


def check_url(data: bytes) -> None:
    """A fault fit for an error, or one clear meaning, which is Node's: what is connected to is what every other reader
    of what is sent would see.
    """
    text = text_of(data)
    shown = display_url(text)
    assert len(shown) <= MAX_DISPLAY and len(shown.encode().decode().splitlines()) <= 1, shown
    if (node := shared()) is not None:
        differences(node, text)
        _check_redirect(node, text)
    fault = check_web_url(text)
    if fault is not None:
        assert fault.isprintable() and fault.strip(), fault
        return
    url = parsed(text)
    scheme, host, port = url.origin
    assert re.fullmatch(r"https?://[!-~]+", url.wire), url.wire
    assert "@" not in url.wire.split("/")[2] and "#" not in url.wire, url.wire
    assert len(url.wire) > MAX_URL or parsed(url.wire) == url._replace(user="", password=""), (
        "twice is not once"
    )
    assert len(url.href) > MAX_URL or parsed(url.href) == url, "twice is not once"
    request = request_to(b"POST", url.wire.encode("ascii"), Headers())
    assert request.origin == url.origin == origin_of(text), request.origin
    target, field = request.start.split(b"\r\n")[:2]
    assert re.fullmatch(rb"POST /[!-~]* HTTP/1\.1", target), request.start
    assert target.split(b" ")[1].decode() == url.wire.split("/", 3)[3].join(("/", "")), target
    assert field == f"Host: {shown_origin(url.origin).partition('//')[2]}".encode(), field
    other = urlsplit(url.wire)
    assert (other.scheme, other.hostname, other.port or DEFAULT_PORTS[scheme]) == (scheme, host, port), other
    assert _HOST.fullmatch(host), host
    assert _is_address(host) or not _looks_like_address(host), f"{host} is an address after all"
    assert "@" not in shown.split("/")[2], shown
    assert shown.startswith(shown_origin(url.origin)[: MAX_DISPLAY - 1]), shown
    secret = credentials(text)
    assert secret is None or len(secret) == 2


def _check_redirect(node: NodeURLs, location: str) -> None:
    """Relative to a base, likewise."""
    found = node.parsed(location, BASE)
    foreign = node.older and (found is None or "xn--" in found["hostname"])
    try:
        target = redirected(BASE, location)
    except ValueError:
        assert foreign or found is None or check_web_url(found["href"]) is not None, found
        return
    foreign = foreign or (node.older and "xn--" in target)
    assert foreign or (found is not None and parsed(target).href == parsed(found["href"]).href), (
        target,
        found,
    )


def _is_address(host: str) -> bool:
    try:
        return str(ip_address(host)) == host or ":" in host
    except ValueError:
        return False


def _looks_like_address(host: str) -> bool:
    """Whether the system's resolver would take a name for an address in an odd spelling."""
    try:
        inet_aton(host)
    except OSError:
        return False
    return True
