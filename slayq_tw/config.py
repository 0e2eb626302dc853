"""The configuration file and the environment, checked, as frozen dataclasses."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slayq_tw import conninfo
from slayq_tw.configcheck import DEFAULT_MAX_PAYLOAD, DocumentCheck, HousekeepingConfig, QueueConfig
from slayq_tw.configfile import read
from slayq_tw.destinations import DestinationRules
from slayq_tw.environment import Variables
from slayq_tw.errors import ConfigError
from slayq_tw.keyring import PREVIOUS_SUFFIX, VARIABLE, Keys
from slayq_tw.origincheck import PLACE
from slayq_tw.weburl import Origin, check_web_url, shown_origin

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
        keys: of the signatures, wherever an origin has none of its own.
        cron_url: the receiver of the cron tick.
        listen_url: of the connection that is told of new jobs; None for `database_url`.
        grant_execute_to: roles that may call the SQL functions.
        timeout: seconds for a delivery, unless its queue has its own.
        grace: seconds for deliveries to end at a stop.
        max_payload: bytes of an event's payload, at most.
        housekeeping: what is cleaned up.
        destinations: where deliveries may go.
        origin_keys: of the signatures for single origins.
        standard_webhooks: whether deliveries have the header fields of Standard Webhooks too.
    """

    queues: tuple[QueueConfig, ...]
    database_url: str = field(repr=False)
    keys: Keys
    cron_url: str = field(repr=False)
    listen_url: str | None = field(default=None, repr=False)
    grant_execute_to: tuple[str, ...] = ()
    timeout: float = DEFAULT_TIMEOUT
    grace: float = DEFAULT_GRACE
    max_payload: int = DEFAULT_MAX_PAYLOAD
    housekeeping: HousekeepingConfig = field(default_factory=HousekeepingConfig)
    destinations: DestinationRules = field(default_factory=DestinationRules)
    origin_keys: Mapping[Origin, Keys] = field(default_factory=dict)
    standard_webhooks: bool = False


def load(
    path: str, environ: Mapping[str, str], cwd: str | None = None, *, one_secret: bool = False
) -> Config:
    """Read the configuration file and the environment.

    Args:
        path: JSON, or YAML by its suffix; relative to the working directory.
        environ: the environment; `.env` in the working directory adds what it lacks.
        cwd: another working directory.
        one_secret: sign for every origin with the same secret, whatever the file says.

    Raises:
        ConfigError: a report of everything that is wrong, one fault a line, each with its place.
    """
    folder = Path(cwd or ".")
    checked, faults = _checked_file(folder / path, path)
    origins: dict[Origin, str] = checked.pop("origin_secrets", {})
    settings, more_faults = _checked_environment(environ, folder, {} if one_secret else origins)
    faults += more_faults
    if not faults and (fault := checked["destinations"].url_fault(settings["cron_url"])):
        faults.append(f"SLAY_Q_CRON_URL: {fault}")
    if faults:
        report = "\n".join(faults)
        raise ConfigError(report.encode("utf-8", "backslashreplace").decode())
    return Config(**checked, **settings)


def _checked_environment(
    environ: Mapping[str, str], folder: Path, origins: Mapping[Origin, str]
) -> tuple[dict[str, Any], list[str]]:
    """The variables, as arguments of `Config`, and what is wrong with them."""
    variables = Variables(environ, folder)
    database_url = variables.required(conninfo.VARIABLE, "the URL of the Postgres database")
    keys = _keys(variables, VARIABLE, "the secret that the application knows as SLAY_Q_WORKER_SECRET")
    cron_url = variables.required("SLAY_Q_CRON_URL", "the URL of the receiver that gets the cron tick")
    listen_url = variables.optional(conninfo.LISTEN_VARIABLE)
    by_variable: dict[str, Keys] = {}
    for origin, name in origins.items():
        if name not in by_variable:  # its faults are said once
            by_variable[name] = _keys(variables, name, f"the secret of {shown_origin(origin)}, says {PLACE}")
    for name, url in ((conninfo.VARIABLE, database_url), (conninfo.LISTEN_VARIABLE, listen_url)):
        try:
            if url:
                conninfo.parse(url, name)
        except ConfigError as error:
            variables.faults.append(str(error))
    if cron_url and (fault := check_web_url(cron_url)):
        variables.faults.append(f"SLAY_Q_CRON_URL: {fault}")
    settings = {
        "database_url": database_url,
        "keys": keys,
        "cron_url": cron_url,
        "listen_url": listen_url,
        "origin_keys": {origin: by_variable[name] for origin, name in origins.items()},
    }
    return settings, variables.faults


def _keys(variables: Variables, name: str, meaning: str) -> Keys:
    """The secrets in a variable and in the one for its predecessor."""
    current = variables.required(name, meaning)
    previous = variables.optional(name + PREVIOUS_SUFFIX)
    return Keys(name, _secret(current), None if previous is None else _secret(previous))


def _secret(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")  # the environment's own bytes


def _checked_file(path: Path, shown: str) -> tuple[dict[str, Any], list[str]]:
    """The file, as arguments of `Config`, and what is wrong with it."""
    try:
        document = read(path)
    except ConfigError as error:
        return {}, [f"{shown}: {error}"]
    check = DocumentCheck()
    checked = check.document(document)
    return checked, [f"{shown}: {fault}" for fault in check.faults]
