"""The receiver, a process of its own: `python -m tests.chaos.receiver FILE SECRET [PORT]`.

It prints its port, and writes a line of JSON to FILE for each request that came whole and each end of one:

* `["begin", id, event number or null, attempt, document's time in ms, monotonic, wall clock]`
* `["end", id, status, monotonic]`: answered, or about to misbehave (status 0)
* `["cut", id, monotonic]`: the connection was lost before there was an answer

The path says what it does: `/slow/MS` answers after so many milliseconds, `/hang` never, `/status/N` with that status;
`tests.chaos.misbehaviour` has the rest.
"""

import hashlib
import hmac
import itertools
import json
import os
import sys
import time
from typing import Any

from twisted.internet import reactor
from twisted.internet.protocol import Factory, Protocol

from tests.chaos.misbehaviour import MISBEHAVIOURS

MISBEHAVED = 0
"""Status of a request that got no proper answer on purpose."""


class Log:
    """The file, written unbuffered: whoever reads it knows what has happened.

    Args:
        path: of the file.
    """

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def write(self, *record: Any) -> None:
        """Add a line."""
        os.write(self._file, json.dumps(record).encode() + b"\n")


class Exchange(Protocol):
    """One connection: requests one after the other, as the daemon sends them."""

    def connectionMade(self) -> None:
        """Nothing has come yet."""
        self._data = b""
        self._current: int | None = None
        self._answering: Any = None

    def dataReceived(self, data: bytes) -> None:
        """Collect until a request is whole."""
        self._data += data
        head, end, rest = self._data.partition(b"\r\n\r\n")
        if not end:
            return
        line, *fields = head.split(b"\r\n")
        headers = {
            name.lower(): value.strip() for name, _, value in (field.partition(b":") for field in fields)
        }
        length = int(headers.get(b"content-length", b"0"))
        if len(rest) >= length:
            self._data = rest[length:]
            self._came(line.split(b" ")[1].decode(), headers, rest[:length])

    def _came(self, path: str, headers: dict[bytes, bytes], body: bytes) -> None:
        self._current = next(self.factory.ids)
        signature = hmac.new(self.factory.secret, body, hashlib.sha512).hexdigest().encode()
        authentic = hmac.compare_digest(signature, headers.get(b"x-slayq-signature", b""))
        document = json.loads(body) if authentic else {}
        number = document.get("data", {}).get("n")
        self.factory.log.write(
            "begin", self._current, number, document.get("retry"), document.get("time"), time.monotonic(), time.time()
        )  # fmt: skip
        what, _, argument = path.strip("/").partition("/")
        if not authentic:
            self.answer(401)
        elif what == "slow":
            self._answering = reactor.callLater(int(argument) / 1000, self.answer, 200)  # type: ignore[attr-defined]
        elif what == "status":
            self.answer(int(argument))
        elif what in MISBEHAVIOURS:
            self._ended(MISBEHAVED)
            MISBEHAVIOURS[what](self.transport)
        elif what != "hang":
            self.answer(200)

    def answer(self, status: int) -> None:
        """Answer properly."""
        self._answering = None
        self.transport.write(b"HTTP/1.1 %d As Asked\r\nContent-Length: 2\r\n\r\nok" % status)  # type: ignore[union-attr]
        self._ended(status)

    def _ended(self, status: int) -> None:
        self.factory.log.write("end", self._current, status, time.monotonic())
        self._current = None

    def connectionLost(self, reason: Any = None) -> None:
        """Note that the request under way, if any, has no answer."""
        if self._answering is not None:
            self._answering.cancel()
        if self._current is not None:
            self.factory.log.write("cut", self._current, time.monotonic())


def main(path: str, secret: str, at: str = "0") -> None:
    """Serve until killed."""
    factory: Any = Factory.forProtocol(Exchange)
    factory.log = Log(path)
    factory.secret = secret.encode()
    factory.ids = itertools.count()
    port = reactor.listenTCP(int(at), factory, interface="127.0.0.1", backlog=500)  # type: ignore[attr-defined]
    print(f"listening on {port.getHost().port}", flush=True)
    reactor.run()  # type: ignore[attr-defined]


if __name__ == "__main__":
    main(*sys.argv[1:])
