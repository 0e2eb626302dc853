"""Senders: applications that add events, and know which of them were accepted."""

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg2

ADD = """
SELECT public.add_worker_job(%(queue)s, %(payload)s::json, queue_name => %(lane)s, max_attempts => %(max_attempts)s,
                             job_key => %(key)s, run_at => clock_timestamp() + %(delay)s * interval '1 second')
"""
RECONNECT_INTERVAL = 0.1
"""Seconds between two attempts of an application to reach the database."""
CONNECT_TIMEOUT = 5
READ_ONLY = "25006"
"""What a session gets that was opened on a server which may only be read; applications then open another one."""


class Book:
    """Which events were sent and accepted; shared by the senders of a scenario, which are threads.

    Attributes:
        sent: numbers of all that were tried.
        accepted: numbers of those whose INSERT was seen to commit.
        added: when, by the monotonic clock.
        refused: how often the database said no.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next = 0
        self.sent: set[int] = set()
        self.added: dict[int, float] = {}
        self.refused: dict[str, int] = {}

    @property
    def accepted(self) -> frozenset[int]:
        """Numbers of the events whose INSERT was seen to commit."""
        with self._lock:
            return frozenset(self.added)

    def number(self) -> int:
        """The next event's."""
        with self._lock:
            self._next += 1
            self.sent.add(self._next)
            return self._next

    def accept(self, number: int) -> None:
        """Its INSERT was seen to commit."""
        with self._lock:
            self.added[number] = time.monotonic()

    def refuse(self, sqlstate: str) -> None:
        """The database would not have one."""
        with self._lock:
            self.refused[sqlstate] = self.refused.get(sqlstate, 0) + 1


def arguments(number: int, queue: str, url: str) -> dict[str, Any]:
    """An event, as a statement's parameters: some have a key, some a serial lane, some one attempt only."""
    payload = {"url": url, "retry": 0, "event": "chaos/event", "data": {"n": number}}
    return {
        "queue": queue,
        "payload": json.dumps(payload),
        "lane": f"lane-{number % 3}" if number % 5 == 0 else None,
        "max_attempts": 1 if number % 7 == 0 else None,
        "key": f"key-{number}" if number % 3 == 0 else None,
        "delay": None,
    }


class Load(threading.Thread):
    """Sends events at a steady rate, each in a transaction of its own, whatever becomes of the database.

    Args:
        database: libpq URL.
        book: notes them.
        event: a statement's parameters for a number.
        rate: events a second.
    """

    def __init__(
        self, database: str, book: Book, event: Callable[[int], dict[str, Any]], rate: float
    ) -> None:
        super().__init__(daemon=True)
        self._database = database
        self._book = book
        self._event = event
        self._interval = 1 / rate
        self._over = threading.Event()
        self._connection: Any = None

    def stop(self) -> None:
        """Send no more; returns when the last call has ended."""
        self._over.set()
        self.join()

    def run(self) -> None:
        """The thread's work."""
        due = time.monotonic()
        while not self._over.wait(max(0.0, due - time.monotonic())):
            due = max(
                due + self._interval, time.monotonic() - 1.0
            )  # what an outage delayed is not made up for
            if self._connect():
                self._send()
        if self._connection is not None:
            self._connection.close()

    def _connect(self) -> bool:
        if self._connection is not None:
            return True
        try:
            self._connection = psycopg2.connect(self._database, connect_timeout=CONNECT_TIMEOUT)
        except psycopg2.OperationalError:
            self._over.wait(RECONNECT_INTERVAL)
            return False
        self._connection.autocommit = True
        return True

    def _send(self) -> None:
        number = self._book.number()
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(ADD, self._event(number))
        except psycopg2.Error as error:
            self._book.refuse(error.pgcode or "connection")
            if self._connection.closed or error.pgcode == READ_ONLY:
                self._connection.close()
                self._connection = None
        else:
            self._book.accept(number)
