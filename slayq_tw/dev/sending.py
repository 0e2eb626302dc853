"""`slayq send`: one event to the daemon of a development mode that runs."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2

from slayq_tw.client import send_event
from slayq_tw.dev.folder import DevelopmentFolder, FolderError
from slayq_tw.dev.scenario import endpoint as endpoint_of


def send(
    path: Path | None,
    queue: str,
    event: str,
    data: Any,
    *,
    delay: float | None = None,
    key: str | None = None,
    endpoint: str | None = None,
    warn: Callable[[str], None],
) -> str:
    """Add an event; what was done, in one line.

    Args:
        path: the development mode's folder; None is the default.
        queue: a queue or an alias.
        event: its name.
        data: what the function gets; absent when None.
        delay: seconds from now.
        key: job key.
        endpoint: a receiver's URL, instead of the example receiver's.
        warn: told in one line when nobody there serves the queue.

    Raises:
        FolderError: no development mode runs there, or its database cannot be reached.
        InvalidRequest: the event could never be delivered.
    """
    folder = DevelopmentFolder(path)
    url = folder.postgres.running_url()
    if url is None:
        raise FolderError(f"{folder.path}: no development mode runs here; start `slayq dev` first")
    try:
        with closing(psycopg2.connect(url, client_encoding="UTF8")) as connection, connection:
            send_event(
                connection,
                event,
                data,
                queue=queue,
                endpoint=endpoint or endpoint_of(folder.receiver, queue),
                delay=delay,
                key=key,
            )
    except psycopg2.Error as error:
        raise FolderError(f"the event was not sent: {str(error).strip()}") from error
    served = folder.identifiers
    if served and queue not in served:
        warn(
            f"no queue or alias {queue!r} is served there, so the event waits; there are {', '.join(served)}"
        )
    when = f", due in {delay:g} s" if delay else ""
    return f"sent {event} to {queue}{when}"
