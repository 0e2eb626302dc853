"""Web addresses that come from outside: read as JavaScript's `URL` reads them, and shown without their secrets.

Each is parsed once, by the URL standard (https://url.spec.whatwg.org), as the clients that wrote it and the Node server
do. What is checked, connected to, written as the Host field and looked up for a secret is that one reading: whatever a
URL spells its host like, there is no second parser to see another one.
"""

import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote

from ada_url import URL

MAX_URL = 8192
"""Characters of a URL, at most, as it is written and as it is sent: more than common servers take. What is known of
URLs is kept for the next job, so a longer one would take much memory: an emoji is sent as twelve characters."""
MAX_DISPLAY = 200
"""Characters of a URL that are shown in logs and errors, at most."""

_TOO_LONG = f"is longer than {MAX_URL:,} characters"

DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST_NAME = re.compile(r"(?=.{1,254}\Z)(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}\.?\Z")
"""What name servers, TLS and other readers take; the URL standard leaves more, such as `a..b` and `a!`."""
_UNPRINTABLE = re.compile("[\x00-\x20\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_IGNORED = re.compile(r"\A[\x00-\x20]+|[\t\r\n]+|[\x00-\x20]+\Z")
"""What the URL standard takes out of a URL, wherever it stands."""
_LIKELY_PARTS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*:)?([/\\]*)([^/\\?#]*)([^?#]*)", re.DOTALL)


class Origin(NamedTuple):
    """Whom a URL leads to.

    Attributes:
        scheme: http or https.
        host: a name in ASCII and lower case, or an IP address in the URL standard's one form, without brackets.
        port: TCP port.
    """

    scheme: str
    host: str
    port: int


class WebURL(NamedTuple):
    """A URL, read.

    Attributes:
        wire: in ASCII, encoded, without user name, password and fragment: what is sent.
        origin: whom it leads to.
        path: of `wire`.
        query: of `wire`, without its question mark.
        user, password: percent-encoded; empty for none.
    """

    wire: str
    origin: Origin
    path: str
    query: str
    user: str
    password: str

    @property
    def href(self) -> str:
        """The same with user name and password."""
        if not (self.user or self.password):
            return self.wire
        password = f":{self.password}" if self.password else ""
        return self.wire.replace("//", f"//{self.user}{password}@", 1)


def check_web_url(url: str) -> str | None:
    """What is wrong with a URL that shall get a POST: None, or the end of a sentence that begins with its name."""
    try:
        parsed(url)
    except ValueError as error:
        return str(error)
    return None


@lru_cache(maxsize=1024)
def parsed(url: str) -> WebURL:
    """Read an absolute http or https URL, with a host that can be looked up.

    Source: `new URL(url)` in JavaScript. White space at its ends is not a part of it, tabs and line breaks are not
    anywhere, backslashes are slashes, `..` is resolved, what must be encoded is, and an IPv4 address is one in any
    spelling. Stricter here: other schemes, hosts that are no host names, and port 0 are refused, and so is length.

    Raises:
        ValueError: see `check_web_url`; the text holds nothing of the URL.
    """
    return _read(url, None)


def redirected(url: str, location: str) -> str:
    """Where an answer's `Location` leads: a URL that is sound by itself.

    Args:
        url: that was answered; it passed `check_web_url`.
        location: absolute, or relative to it.

    Raises:
        ValueError: as `parsed` does.
    """
    return _read(location, parsed(url).href).href


def origin_of(url: str) -> Origin:
    """Scheme, host and port of a URL that passed `check_web_url`."""
    return parsed(url).origin


def shown_origin(origin: Origin) -> str:
    """An origin as one writes it."""
    scheme, host, port = origin
    name = f"[{host}]" if ":" in host else host
    return f"{scheme}://{name}" if port == DEFAULT_PORTS.get(scheme) else f"{scheme}://{name}:{port}"


def credentials(url: str) -> tuple[str, str] | None:
    """User name and password of a URL that passed `check_web_url`, as HTTP's basic authentication wants them."""
    read = parsed(url)
    return (unquote(read.user), unquote(read.password)) if read.user or read.password else None


@lru_cache(maxsize=1024)
def display_url(url: str) -> str:
    """A URL for logs and errors: without credentials, query and fragment, on one line, bounded. Takes any text.

    A sound one is shown as it was read, which says where it leads.
    """
    try:
        read = parsed(url)
    except ValueError:
        return as_written(url)
    return _bounded(shown_origin(read.origin) + read.path)


def as_written(url: str) -> str:
    """The same in the spelling of its author, who looks for it."""
    scheme, slashes, authority, path = _likely_parts(url)
    shown = f"{scheme}{slashes}{authority.rpartition('@')[2]}{path}"
    return _bounded(_UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", shown))


def _bounded(text: str) -> str:
    return text if len(text) <= MAX_DISPLAY else text[: MAX_DISPLAY - 1] + "…"


def _read(url: str, base: str | None) -> WebURL:
    if len(url) > MAX_URL:
        raise ValueError(_TOO_LONG)
    try:
        found = URL(_well_formed(url), base)
    except ValueError:
        raise ValueError(_fault(url)) from None
    scheme = found.protocol[:-1]
    if scheme not in DEFAULT_PORTS:
        raise ValueError("is not an absolute http:// or https:// URL")
    host, port = found.hostname, int(found.port or DEFAULT_PORTS[scheme])
    if host.startswith("["):
        host = host[1:-1]
    elif not _HOST_NAME.match(host):
        raise ValueError("has a host that is no valid name")
    if not port:
        raise ValueError("has a port outside 1–65535")
    path, query = found.pathname, found.search
    wire = f"{scheme}://{found.host}{path}{query}"
    read = WebURL(wire, Origin(scheme, host, port), path, query[1:], found.username, found.password)
    if len(read.href) > MAX_URL:
        raise ValueError(_TOO_LONG)
    return read


def _well_formed(text: str) -> str:
    """A text as JavaScript hands it to its URL parser: half a surrogate pair is no character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _likely_parts(url: str) -> tuple[str, str, str, str]:
    """Scheme, slashes, authority and path of what is no sound URL, as far as it has them."""
    found = _LIKELY_PARTS.match(_IGNORED.sub("", url))
    scheme, slashes, authority, path = found.groups("") if found else ("", "", "", "")
    return scheme, slashes, authority, path


def _fault(url: str) -> str:
    """What is wrong with a URL that the parser refused, without a word on why."""
    scheme, _, authority, _ = _likely_parts(url)
    if scheme[:-1].lower() not in DEFAULT_PORTS:
        return "is not an absolute http:// or https:// URL"
    host = authority.rpartition("@")[2]
    if not host:
        return "has no host"
    if (port := re.search(":0*([0-9]+)\\Z", host)) and (len(port[1]) > 5 or int(port[1]) > 65535):
        return "has a port outside 1–65535"
    if not host.isascii():
        return "has a host that is no valid international domain name"
    return "has a malformed host or port"
