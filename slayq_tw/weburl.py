"""Web addresses that come from outside: checked, shown without their secrets, encoded for the wire."""

import re
from functools import lru_cache
from socket import AF_INET6, inet_ntop, inet_pton
from typing import Any, NamedTuple
from urllib.parse import unquote

import idna
from hyperlink import EncodedURL

MAX_URL = 8192
"""Characters of a URL, at most: more than common servers take. What is known of URLs is kept for the next job."""
MAX_DISPLAY = 200
"""Characters of a URL that are shown in logs and errors, at most."""

DEFAULT_PORTS = {"http": 80, "https": 443}
_FORBIDDEN = re.compile("[\x00-\x20\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_ASCII_HOST = re.compile(r"(?=.{1,254}\Z)(?:[A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}\.?\Z")
_HOST_AND_PORT = re.compile(r"(?:\[[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*\]|[^\[\]:]*)(?::[0-9]{1,5})?\Z")
_AUTHORITY = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*:)?(?://)?([^/?#]*)([^?#]*)", re.DOTALL)


class Origin(NamedTuple):
    """Whom a URL leads to.

    Attributes:
        scheme: http or https.
        host: a name in ASCII and lower case, or an IP address without brackets.
        port: TCP port.
    """

    scheme: str
    host: str
    port: int


class _WireURL(EncodedURL):
    """A URL that is encoded already: treq calls `to_uri`, which costs time and refuses `[::1]` and `my_service`."""

    def to_uri(self) -> "_WireURL":
        return self


def check_web_url(url: str) -> str | None:
    """What is wrong with a URL that shall get a POST: None, or the end of a sentence that begins with its name.

    An absolute http or https URL with a host, at most a valid port, and nothing that would have to be guessed.
    """
    if len(url) > MAX_URL:
        return f"is longer than {MAX_URL:,} characters"
    try:
        encoded(url)
    except ValueError as error:
        return str(error)
    return None


@lru_cache(maxsize=1024)
def encoded(url: str) -> EncodedURL:
    """A URL in ASCII, host in IDNA, without user name, password and fragment; treq sends it as it is.

    Args:
        url: of `MAX_URL` characters at most, since it is kept.

    Raises:
        ValueError: see `check_web_url`; the text holds nothing of the URL.
    """
    if _FORBIDDEN.search(url):
        raise ValueError("contains a space, a control character or half a surrogate pair")
    if "\\" in url:
        raise ValueError("contains a backslash")
    if not re.match("https?://", url, re.IGNORECASE):
        raise ValueError("is not an absolute http:// or https:// URL")
    try:
        parsed = EncodedURL.from_text(url)
    except ValueError:
        raise ValueError("has a malformed host or port") from None
    authority: str = _AUTHORITY.match(url)[2]  # type: ignore[index]  # it matches any text
    # The parser takes `[a]:+8_0` too, and digits of all scripts.
    if not _HOST_AND_PORT.match(authority.rpartition("@")[2]):
        raise ValueError("has a malformed host or port")
    if not parsed.host:
        raise ValueError("has no host")
    if parsed.port is not None and not 1 <= parsed.port <= 65535:
        raise ValueError("has a port outside 1–65535")
    host = _host(parsed.host)
    uri = parsed.replace(host="host").to_uri()
    return _WireURL(uri.scheme.lower(), host, uri.path, uri.query, "", uri.port, uri.rooted)


def origin_of(url: str) -> Origin:
    """Scheme, host and port of a URL that passed `check_web_url`."""
    wire = encoded(url)
    port: Any = wire.port  # never None: both schemes have one by default
    return Origin(wire.scheme, wire.host, port)


def shown_origin(origin: Origin) -> str:
    """An origin as one writes it."""
    scheme, host, port = origin
    name = f"[{host}]" if ":" in host else host
    return f"{scheme}://{name}" if port == DEFAULT_PORTS.get(scheme) else f"{scheme}://{name}:{port}"


def credentials(url: str) -> tuple[str, str] | None:
    """User name and password of a URL that passed `check_web_url`, as HTTP's basic authentication wants them."""
    userinfo: str = EncodedURL.from_text(url).userinfo
    if not userinfo:
        return None
    user, _, password = userinfo.partition(":")
    return unquote(user), unquote(password)


@lru_cache(maxsize=1024)
def display_url(url: str) -> str:
    """A URL for logs and errors: without credentials, query and fragment, on one line, bounded. Takes any text."""
    found = _AUTHORITY.match(url)
    scheme, authority, path = found.groups("") if found else ("", "", "")
    if not url.startswith("//", len(scheme)):  # no authority, whatever it is
        scheme, authority, path = scheme, authority + path, ""
    slashes = "//" if url.startswith("//", len(scheme)) else ""
    shown = _FORBIDDEN.sub(
        "\N{REPLACEMENT CHARACTER}", f"{scheme}{slashes}{authority.rpartition('@')[2]}{path}"
    )
    return shown if len(shown) <= MAX_DISPLAY else shown[: MAX_DISPLAY - 1] + "…"


def _host(host: str) -> str:
    """A host as it stands on the wire, in one form. IPv6 addresses were checked by the URL's parser."""
    if ":" in host:
        return inet_ntop(AF_INET6, inet_pton(AF_INET6, host))
    if not host.isascii():
        try:
            host = idna.encode(host, uts46=True).decode("ascii")
        except UnicodeError:
            raise ValueError("has a host that is no valid international domain name") from None
    if not _ASCII_HOST.match(host):
        raise ValueError("has a host that is no valid name")
    return host.lower()
