"""A receiver that notes when each job arrived: `python -m bench.arrivals`, which prints its port.

It answers 200 to every POST. `GET /count` tells how many there were. `GET /arrivals` hands over, once, the number of
each job and the second at which its request was complete, by the monotonic clock, which all processes share.
`GET /last` tells the greatest number of the backlog so far (those from `ASIDE` on are not of it), and `GET /delay/MS` has the requests that come from then on answered so
many milliseconds after they came; `GET /forget` begins a new backlog.
"""

import json
import re
import time
from collections.abc import Callable
from typing import Any

from httptools import HttpRequestParser
from twisted.internet.protocol import Factory, Protocol

ASIDE = 1_000_000
"""Numbers from here on belong to jobs that somebody adds beside the backlog."""

_NUMBER = re.compile(rb'"n":(\d+)')
_DELAY = re.compile(rb"/delay/(\d+)")
_DELIVERED = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Receiver(Factory):
    """What arrived so far.

    Attributes:
        count: requests.
        last: the greatest number of a job of the backlog.
        delay: seconds until the answer to a request that comes now.
    """

    noisy = False

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self.count = 0
        self.last = 0
        self.delay = 0.0
        self._arrivals: list[tuple[int, float]] = []

    def buildProtocol(self, addr: Any) -> "Connection":
        """One more client."""
        return Connection(self)

    def delivered(self, body: bytes) -> None:
        """Note a request. One without a job's number, such as the cron tick, is only counted."""
        now = time.monotonic()
        self.count += 1
        found = _NUMBER.search(body)
        if found:
            number = int(found[1])
            if number < ASIDE:
                self.last = max(self.last, number)
            self._arrivals.append((number, now))

    def hand_over(self) -> list[tuple[int, float]]:
        """What arrived since the last call."""
        arrivals, self._arrivals = self._arrivals, []
        return arrivals

    def answer(self, send: Callable[[], None]) -> None:
        """Send an answer when the present delay is over."""
        if self.delay:
            self._clock.callLater(self.delay, send)
        else:
            send()

    def ask(self, path: bytes) -> object:
        """What a GET is answered with."""
        if delay := _DELAY.fullmatch(path):
            self.delay = int(delay[1]) / 1000
            return self.delay
        if path == b"/forget":
            self.last = 0
        if path == b"/count":
            return self.count
        return self.last if path == b"/last" else self.hand_over()


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
        transport: Any = self.transport
        if self._parser.get_method() == b"POST":
            self._receiver.delivered(self._body)
            self._receiver.answer(lambda: transport.write(_DELIVERED))
            return
        text = json.dumps(self._receiver.ask(self._path)).encode()
        transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text))


def main() -> None:
    """Listen until a signal."""
    from twisted.internet import reactor as the_reactor

    reactor: Any = the_reactor
    port = reactor.listenTCP(0, Receiver(reactor), backlog=512, interface="127.0.0.1")
    print(f"listening on {port.getHost().port}", flush=True)
    reactor.run()


if __name__ == "__main__":
    main()
