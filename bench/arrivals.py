"""A receiver that notes when each job arrived: `python -m bench.arrivals`, which prints its port.

It answers 200 to every POST. `GET /count` tells how many there were. `GET /arrivals` hands over, once, the number of
each job and the second at which its request was complete, by the monotonic clock, which all processes share.
"""

import json
import re
import time
from typing import Any

from httptools import HttpRequestParser
from twisted.internet.protocol import Factory, Protocol

_NUMBER = re.compile(rb'"n":(\d+)')
_DELIVERED = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Receiver(Factory):
    """What arrived so far."""

    noisy = False

    def __init__(self) -> None:
        self.count = 0
        self._arrivals: list[tuple[int, float]] = []

    def buildProtocol(self, addr: Any) -> "Connection":
        """One more client."""
        return Connection(self)

    def delivered(self, body: bytes) -> None:
        """Note a request. One without a job's number, such as the cron tick, is only counted."""
        now = time.monotonic()
        self.count += 1
        number = _NUMBER.search(body)
        if number:
            self._arrivals.append((int(number[1]), now))

    def hand_over(self) -> list[tuple[int, float]]:
        """What arrived since the last call."""
        arrivals, self._arrivals = self._arrivals, []
        return arrivals


class Connection(Protocol):
    """A keep-alive connection. httptools calls its `on_…` methods."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._parser = HttpRequestParser(self)
        self._path = b""
        self._body = b""

    def connectionMade(self) -> None:
        """Answers are small, and wait for nothing."""
        transport: Any = self.transport
        transport.setTcpNoDelay(True)

    def dataReceived(self, data: bytes) -> None:
        """Parse what came."""
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        """A request begins."""
        self._path = self._body = b""

    def on_url(self, url: bytes) -> None:
        """Its path."""
        self._path += url

    def on_body(self, body: bytes) -> None:
        """A part of its body."""
        self._body += body

    def on_message_complete(self) -> None:
        """Note it, and answer."""
        answer = _DELIVERED
        if self._parser.get_method() == b"POST":
            self._receiver.delivered(self._body)
        else:
            known = self._receiver.count if self._path == b"/count" else self._receiver.hand_over()
            text = json.dumps(known).encode()
            answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text)
        transport: Any = self.transport
        transport.write(answer)


def main() -> None:
    """Listen until a signal."""
    from twisted.internet import reactor as the_reactor

    reactor: Any = the_reactor
    port = reactor.listenTCP(0, Receiver(), backlog=512, interface="127.0.0.1")
    print(f"listening on {port.getHost().port}", flush=True)
    reactor.run()


if __name__ == "__main__":
    main()
