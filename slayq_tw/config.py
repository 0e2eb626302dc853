"""The configuration file and the environment, checked, as frozen dataclasses."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from dotenv import dotenv_values

from slayq_tw import conninfo
from slayq_tw.configcheck import DocumentCheck, HousekeepingConfig, QueueConfig
from slayq_tw.configfile import read
from slayq_tw.destinations import DestinationRules, origin_of, shown_origin
from slayq_tw.errors import ConfigError
from slayq_tw.weburl import check_web_url

__all__ = ["Config", "HousekeepingConfig", "QueueConfig", "load"]

DEFAULT_TIMEOUT = 300.0
"""Seconds for a delivery: receivers run the function during the request."""
DEFAULT_GRACE = 8.0
"""Seconds for deliveries to end at a stop: less than Docker's ten."""


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that an operator can set. Its `repr` shows no secrets, and no URL that may hold one.

    Attributes:
        queues: at least one; no identifier stands twice.
        database_url: as `conninfo.parse` reads it.
        secret: key of the signatures.
        cron_url: the receiver of the cron tick.
        listen_url: of the connection that is told of new jobs; None for `database_url`.
        grant_execute_to: roles that may call the SQL functions.
        timeout: seconds for a delivery, unless its queue has its own.
        grace: seconds for deliveries to end at a stop.
        housekeeping: what is cleaned up.
        destinations: where deliveries may go.
    """

    queues: tuple[QueueConfig, ...]
    database_url: str = field(repr=False)
    secret: bytes = field(repr=False)
    cron_url: str = field(repr=False)
    listen_url: str | None = field(default=None, repr=False)
    grant_execute_to: tuple[str, ...] = ()
    timeout: float = DEFAULT_TIMEOUT
    grace: float = DEFAULT_GRACE
    housekeeping: HousekeepingConfig = field(default_factory=HousekeepingConfig)
    destinations: DestinationRules = field(default_factory=DestinationRules)


def load(path: str, environ: Mapping[str, str], cwd: str | None = None) -> Config:
    """Read the configuration file and the environment.

    Args:
        path: JSON, or YAML by its suffix; relative to the working directory.
        environ: the environment; `.env` in the working directory adds what it lacks.
        cwd: another working directory.

    Raises:
        ConfigError: a report of everything that is wrong, one fault a line, each with its place.
    """
    folder = Path(cwd or ".")
    faults: list[str] = []
    checked = _checked_file(folder / path, path, faults)
    settings = _checked_environment(environ, folder / ".env", faults)
    if not faults and (fault := _origin_fault(checked["destinations"], settings["cron_url"])):
        faults.append(f"SLAY_Q_CRON_URL: {fault}")
    if faults:
        report = "\n".join(faults)
        raise ConfigError(report.encode("utf-8", "backslashreplace").decode())
    return Config(**checked, **settings)


def _checked_environment(environ: Mapping[str, str], dotenv: Path, faults: list[str]) -> dict[str, Any]:
    """The variables, as arguments of `Config`."""
    try:
        # No interpolation: `$` is a character like any other in a secret.
        lacking = dotenv_values(dotenv, interpolate=False, encoding="utf-8-sig")
    except OSError as error:
        faults.append(f".env: cannot be read: {error.strerror or error}")
        lacking = {}
    except UnicodeDecodeError:
        faults.append(".env: is not UTF-8")
        lacking = {}
    variables = {**lacking, **environ}

    def required(name: str, meaning: str) -> str:
        value = variables.get(name)
        if not value:
            faults.append(f"{name}: {'not set' if value is None else 'empty'}; it is {meaning}")
        return value or ""

    database_url = required(conninfo.VARIABLE, "the URL of the Postgres database")
    secret = required("SLAY_Q_SECRET", "the secret that the application knows as SLAY_Q_WORKER_SECRET")
    cron_url = required("SLAY_Q_CRON_URL", "the URL of the receiver that gets the cron tick")
    # Optional; empty is unset, as a compose file's `${SLAY_Q_LISTEN_URL:-}` makes it.
    listen_url = variables.get(conninfo.LISTEN_VARIABLE) or None
    for name, url in ((conninfo.VARIABLE, database_url), (conninfo.LISTEN_VARIABLE, listen_url)):
        try:
            if url:
                conninfo.parse(url, name)
        except ConfigError as error:
            faults.append(str(error))
    if cron_url and (fault := check_web_url(cron_url)):
        faults.append(f"SLAY_Q_CRON_URL: {fault}")
    return {
        "database_url": database_url,
        "secret": secret.encode("utf-8", "surrogateescape"),  # the environment's own bytes
        "cron_url": cron_url,
        "listen_url": listen_url,
    }


def _origin_fault(rules: DestinationRules, url: str) -> str | None:
    """Why nothing could be delivered to a checked URL, as far as that is known before its host is resolved."""
    origin = origin_of(url)
    if fault := rules.origin_fault(origin):
        return f"its origin {shown_origin(origin)} {fault}"
    fault = rules.address_fault(origin.host) if _is_address(origin.host) else None
    return fault and f"{origin.host} {fault}"


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _checked_file(path: Path, shown: str, faults: list[str]) -> dict[str, Any]:
    """The file, as arguments of `Config`."""
    try:
        document = read(path)
    except ConfigError as error:
        faults.append(f"{shown}: {error}")
        return {}
    check = DocumentCheck()
    checked = check.document(document)
    faults += [f"{shown}: {fault}" for fault in check.faults]
    return checked
