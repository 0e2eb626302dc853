"""The database URL: libpq's forms, and node-pg's dialect, which upstream's users have in their environment."""

import re
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import quote, unquote_to_bytes

from psycopg2 import ProgrammingError
from psycopg2.extensions import parse_dsn

from slayq_tw.errors import ConfigError

VARIABLE = "SLAY_Q_DATABASE_URL"
LISTEN_VARIABLE = "SLAY_Q_LISTEN_URL"

_SCHEME = re.compile(r"\s*postgres(?:ql)?://", re.IGNORECASE)
_MALFORMED_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_LITERAL_PERCENT = re.compile(r"%(?![0-9]{2})")
_KEYWORD = re.compile(r"[a-z_]+\Z")
_NOT_UTF8 = "is not UTF-8 where it is percent-encoded"
_SHOWABLE = re.compile(r"[\w.-]{1,40}\Z")
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_SSL = {"true": "require", "1": "require", "no-verify": "require", "false": "disable", "0": "disable"}
"""node-pg's parameter `ssl`, as libpq's `sslmode`."""


def parse(url: str, variable: str = VARIABLE) -> tuple[dict[str, str], list[str]]:
    """Read a database URL or keyword string.

    Args:
        url: `postgres://…` or `postgresql://…` as libpq or node-pg takes it, or `host=… dbname=…`.
        variable: where it stands, for errors and warnings.

    Returns:
        libpq's keywords with their values, and warnings for the log. Several hosts stay one comma-separated value.

    Raises:
        ConfigError: not readable; the text names the variable and holds neither user name nor password.
    """
    try:
        parameters, warnings = _parsed(url)
    except ConfigError as error:
        raise ConfigError(f"{variable}: {error}") from None
    return parameters, [f"{variable}: {warning}" for warning in warnings]


def _parsed(url: str) -> tuple[dict[str, str], list[str]]:
    try:
        url.encode()
    except UnicodeEncodeError:
        raise ConfigError("is not UTF-8") from None
    if not url.strip():
        raise ConfigError("is empty")
    found = _SCHEME.match(url)
    parameters, warnings = _from_url(url[found.end() :].rstrip()) if found else (_from_keywords(url), [])
    if (
        parameters.get("sslmode") == "no-verify"
    ):  # encrypted, whoever the server is: what libpq calls `require`
        parameters["sslmode"] = "require"
    if any("\0" in value for value in parameters.values()):
        raise ConfigError("contains a NUL character")
    for port in parameters.get("port", "").split(","):
        if port and not (port.isascii() and port.isdigit() and 1 <= int(port[:6]) <= 65535):
            raise ConfigError("has a port that is no number from 1 to 65535")
    if parameters.get("sslmode", "require") not in _SSL_MODES:  # libpq would say so only when it connects
        raise ConfigError(f"has an sslmode that is none of {', '.join(_SSL_MODES)}")
    return parameters, warnings


def display(parameters: Mapping[str, str]) -> str:
    """The URL of libpq parameters, without password and options: for logs, errors and pages."""
    hosts = parameters.get("host", parameters.get("hostaddr", "")).split(",")
    ports = parameters.get("port", "").split(",")
    if len(ports) < len(hosts):
        ports = ports[:1] * len(hosts)
    user = quote(parameters["user"], safe="") + "@" if "user" in parameters else ""
    database = "/" + quote(parameters["dbname"], safe="") if "dbname" in parameters else ""
    names = [
        _bracketed(host) + (f":{port}" if port else "") for host, port in zip(hosts, ports, strict=False)
    ]
    return f"postgres://{user}{','.join(names)}{database}"


def _from_url(rest: str) -> tuple[dict[str, str], list[str]]:
    """What follows the scheme: `[user[:password]@][host[:port],…][/database][?parameters]`."""
    if _MALFORMED_ESCAPE.search(rest):  # node-pg's rule: then only two decimal digits make an escape
        rest = _LITERAL_PERCENT.sub("%25", rest)
    userinfo, rest = _split_userinfo(rest)
    user, colon, password = userinfo.partition(":")
    location, _, query = rest.partition("?")
    authority, _, path = location.partition("/")
    if not userinfo and ":" in authority and "@" in path + query:
        raise ConfigError(
            "has an `@` after its host: `/`, `?` and `@` in a password are written %2F, %3F and %40"
        )
    try:
        parameters: dict[str, str] = parse_dsn("postgresql://" + location)
    except ProgrammingError as error:
        reason = " ".join(str(error).removeprefix("invalid dsn: ").split())
        raise ConfigError(f"is no libpq URL: {reason}") from None
    except UnicodeDecodeError:
        raise ConfigError(_NOT_UTF8) from None
    if user:
        parameters["user"] = _decoded(user)
    if colon:
        parameters["password"] = _decoded(password)
    dropped: list[str] = []
    ssl = None
    for part in filter(None, query.split("&")):
        name, _, value = part.partition("=")
        name, value = _decoded(name), _decoded(value)
        if name == "ssl" and value in _SSL:
            ssl = _SSL[value]
        elif _is_keyword(name):
            parameters[name] = value
        else:
            dropped.append(name)
    if ssl:
        parameters.setdefault("sslmode", ssl)
    if not dropped:
        return parameters, []
    names = [name if _SHOWABLE.match(name) else "…" for name in dict.fromkeys(dropped)]
    return parameters, [f"dropped parameters that libpq does not know: {', '.join(names)}"]


def _split_userinfo(rest: str) -> tuple[str, str]:
    """User name and password, and what follows their `@`.

    The last one before the path, as in node-pg: a password may hold an unescaped `@`. Where libpq alone can read the
    URL, because the password holds a `?`, the first one.
    """
    authority = re.split("[/?]", rest, maxsplit=1)[0]
    at = authority.rfind("@")
    if at < 0:
        at = rest.partition("/")[0].find("@")
    return (rest[:at], rest[at + 1 :]) if at >= 0 else ("", rest)


def _from_keywords(text: str) -> dict[str, str]:
    try:
        parameters: dict[str, str] = parse_dsn(text)
    except ProgrammingError:  # whose text may quote a piece of the password
        raise ConfigError(
            "is neither a postgres:// URL nor a libpq keyword string"
            " (host=… dbname=… user=… password=…, values with spaces in single quotes)"
        ) from None
    return parameters


def _decoded(text: str) -> str:
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise ConfigError(_NOT_UTF8) from None


@lru_cache
def _is_keyword(name: str) -> bool:
    """Whether the libpq in use knows a connection parameter."""
    if not _KEYWORD.match(name):
        return False
    try:
        parse_dsn(f"{name}=x")
    except ProgrammingError:
        return False
    return True


def _bracketed(host: str) -> str:
    if host.startswith(("/", "@")):  # a socket folder
        return quote(host, safe="")
    return f"[{host}]" if ":" in host else host
