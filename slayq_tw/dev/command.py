"""`slayq dev`: Postgres, the daemon and the example receiver in one process, and a few events through all of them."""

import contextlib
import os
import secrets
import shlex
import shutil
import sys
import tempfile
import time
from dataclasses import replace
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.logger import globalLogBeginner
from twisted.web.server import Site

from slayq_tw.config import Config, load
from slayq_tw.configcheck import CRON_IDENTIFIER
from slayq_tw.dev.folder import DevelopmentFolder
from slayq_tw.dev.receiver import Receiver
from slayq_tw.dev.scenario import Scenario, endpoint, samples
from slayq_tw.dev.session import Session, farewell
from slayq_tw.dev.timeline import Timeline
from slayq_tw.errors import SlayQError
from slayq_tw.logs import observer
from slayq_tw.process import ProcessControl
from slayq_tw.service import build
from slayq_tw.sqlfiles import named_queries

CONFIG = "slay-config.json"
PORT = 3939
"""The receiver's. It is the same each time, because jobs that wait in the database know it."""


class PortTaken(SlayQError):
    """The receiver cannot listen."""


def develop(path: Path | None, port: int | None, *, once: bool, log_level: str) -> int:
    """Run development mode; the exit status.

    Args:
        path: where the data is kept. None: the default folder, or with `once` a new one that is removed.
        port: of the receiver. None: the usual one, or with `once` any.
        once: end when everything has arrived, or too much time has passed.
        log_level: of the daemon's log lines, on standard error.

    Raises:
        EmbeddedPostgresError, FolderError, PortTaken, ConfigError: it cannot start; the text says what to do.
    """
    with contextlib.ExitStack() as stack:
        if once and path is None:
            path = Path(tempfile.mkdtemp(prefix="slayq-dev-"))
            path.chmod(0o711)
            stack.callback(shutil.rmtree, path, ignore_errors=True)
        if port is None:
            port = 0 if once else PORT
        folder = DevelopmentFolder(path)
        folder.make()
        print(f"Postgres starts in {folder.path}", flush=True)
        stack.callback(folder.postgres.stop)
        database_url = folder.postgres.start()
        globalLogBeginner.beginLoggingTo([observer(sys.stderr, "text", log_level)], redirectStandardIO=False)
        return _run(folder, database_url, port, once=once, verbose=log_level == "debug")


def _run(folder: DevelopmentFolder, database_url: str, port: int, *, once: bool, verbose: bool) -> int:
    from twisted.internet import reactor as the_reactor

    reactor: Any = the_reactor
    reactor.seconds = time.monotonic  # timers must not follow the wall clock when somebody sets it
    timeline = Timeline(reactor.seconds, _write)

    async def sleep(queue: str, key: str, payload: str, seconds: float) -> None:
        parameters = {"queue": queue, "key": key, "payload": payload, "seconds": seconds}
        await service.database.query(named_queries("dev.sql")["sleep"], parameters)

    resource = Receiver(
        [folder.secret.encode()], time.time, lambda one: scenario.answer(one), timeline.refused
    )
    url = _listen(reactor, resource, port)
    folder.receiver = url
    config = _config(folder, database_url, url)
    folder.identifiers = [name for queue in config.queues for name in queue.names]
    service = build(config, reactor, verbose=verbose)
    run = secrets.token_hex(4)
    events = samples(config.queues, url, run)
    scenario = Scenario(events, url, run, timeline, sleep)
    parting = None if once else farewell(folder, _program(), config.queues[0].name, database_url)
    session = Session(service, scenario, timeline, _write, reactor, parting)

    for queue in config.queues:
        aliases = f" (and {', '.join(queue.aliases)})" if queue.aliases else ""
        _write(f"queue     {queue.name}{aliases}, {queue.concurrency} at once")
    _write(f"receiver  {url}")
    service.startService()
    session.begin(events)
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    ProcessControl(service, reactor).install()
    reactor.run()
    return service.exit_status or session.status


def _listen(reactor: Any, resource: Receiver, port: int) -> str:
    """Have the receiver listen; its URL."""
    try:
        listening = reactor.listenTCP(port, Site(resource), interface="127.0.0.1")
    except CannotListenError as error:
        raise PortTaken(f"port {port}: {error.socketError.strerror}; name another with --port") from error
    return f"http://127.0.0.1:{listening.getHost().port}"


def _config(folder: DevelopmentFolder, database_url: str, receiver: str) -> Config:
    """The file of the working directory, or else the sample."""
    environ = {
        "SLAY_Q_DATABASE_URL": database_url,
        # Empty, or those of a `.env` would count.
        "SLAY_Q_LISTEN_URL": "",
        "SLAY_Q_SECRET_PREVIOUS": "",
        "SLAY_Q_SECRET": folder.secret,
        "SLAY_Q_CRON_URL": endpoint(receiver, CRON_IDENTIFIER),
    }
    if Path(CONFIG).exists():
        # The roles and the secrets that it names are those of another database, and of its applications.
        return replace(load(CONFIG, environ, one_secret=True), grant_execute_to=())
    with as_file(files("slayq_tw.dev") / CONFIG) as sample:
        return load(str(sample), environ)


def _program() -> str:
    """How `slayq` was called, for a shell."""
    found = shutil.which("slayq")
    if found and os.path.samefile(found, sys.argv[0]):
        return "slayq"
    return shlex.quote(sys.argv[0])


def _write(line: str) -> None:
    print(line, flush=True)
