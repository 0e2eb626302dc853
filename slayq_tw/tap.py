"""What `twistd slayq` runs, and what the other ways to start the daemon run too."""

import os
import sys
import time
from typing import Any

from twisted.application.service import Application, IService, MultiService
from twisted.logger import ILogObserver
from twisted.python import usage
from twisted.python.components import Componentized
from twisted.python.logfile import LogFile

from slayq_tw.config import load
from slayq_tw.errors import ConfigError
from slayq_tw.health import HealthService
from slayq_tw.logs import FORMATS, LEVELS, observer
from slayq_tw.process import ProcessControl
from slayq_tw.service import build


def _one_of(choices: tuple[str, ...]) -> Any:
    def check(value: str) -> str:
        if value not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return value

    return check


class Options(usage.Options):
    """Command line of `twistd slayq`."""

    synopsis = "[options]"
    longdesc = (
        "Needs SLAY_Q_DATABASE_URL, SLAY_Q_SECRET and SLAY_Q_CRON_URL, from the environment or from ./.env; "
        "behind a transaction pooler, SLAY_Q_LISTEN_URL may name a direct connection. Each may be given as a file: "
        "SLAY_Q_SECRET_FILE=PATH. SLAY_Q_SECRET_PREVIOUS is the old secret while it changes."
    )
    optParameters = [
        ["config", "c", "slay-config.json", "Configuration file, JSON or YAML."],
        ["log-format", None, "text", "Log lines as `text` or `json`.", _one_of(FORMATS)],
        ["log-level", None, "info", f"Least level that is logged: {', '.join(LEVELS)}.", _one_of(LEVELS)],
        ["health-file", None, None, "File to keep fresh as long as the daemon works (see `slayq health`)."],
    ]
    optFlags = [
        [
            "upgrade-old-schema",
            None,
            "Upgrade a job schema of Graphile Worker 0.14 or 0.15; stop all workers first.",
        ],
    ]


class Daemon(MultiService):
    """The daemon below twistd's application, which it gives its log observer.

    Args:
        log_observer: None leaves twistd's own.
    """

    def __init__(self, log_observer: ILogObserver | None) -> None:
        super().__init__()
        self._log_observer = log_observer

    def setServiceParent(self, parent: Any) -> None:
        """Become part of an application."""
        if self._log_observer is not None and isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, self._log_observer)
        super().setServiceParent(parent)


def makeService(options: Options) -> IService:
    """Read the configuration and build the daemon.

    Raises:
        SystemExit: with the report of everything that is wrong: status 1, and no traceback.
    """
    from twisted.internet import reactor

    # Timers must not follow the wall clock when somebody sets it.
    reactor.seconds = time.monotonic  # type: ignore[method-assign]
    try:
        config = load(options["config"], os.environ)
    except ConfigError as error:
        raise SystemExit(str(error)) from error
    daemon = Daemon(_log_observer(options))
    service = build(
        config,
        reactor,
        upgrade_old=bool(options["upgrade-old-schema"]),
        verbose=options["log-level"] == "debug",
    )
    service.setServiceParent(daemon)
    if options["health-file"]:
        HealthService(
            options["health-file"],
            reactor,
            time.time,
            lambda: service.state,
            lambda: service.database.reachable,
        ).setServiceParent(daemon)
    ProcessControl(service, reactor).install()
    return daemon


def application(config: str = "slay-config.json", **options: str) -> Any:
    """The same as an application, for a `.tac` file.

    Args:
        config: path of the configuration file.
        options: `log_format`, `log_level`, `health_file`.
    """
    parsed = Options()
    parsed.parseOptions(
        [f"--config={config}", *(f"--{name.replace('_', '-')}={value}" for name, value in options.items())]
    )
    top = Application("slayq")
    makeService(parsed).setServiceParent(top)
    return top


def _log_observer(options: Options) -> ILogObserver | None:
    """The observer for the place that twistd was told to log to; None for syslog, which is twistd's own affair."""
    twistd: Any = options.parent or {}
    if twistd.get("syslog"):
        return None
    path = twistd.get("logfile")
    stream: Any
    if path == "-" or (not path and twistd.get("nodaemon", True)):
        stream = sys.stdout
    else:
        stream = LogFile.fromFullPath(path or "twistd.log")
    return observer(stream, options["log-format"], options["log-level"])
