"""A TCP proxy in the test's own process, for cutting connections where a test wants them cut."""

from typing import Any
from urllib.parse import urlsplit

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort
from twisted.protocols.portforward import ProxyFactory, ProxyServer
from twisted.trial.unittest import TestCase

from slayq_tw.conninfo import parse


class Cuttable(ProxyServer):
    """One forwarded connection, which its proxy knows."""

    def connectionMade(self) -> None:
        """Begin to forward."""
        self.factory.open.add(self)
        super().connectionMade()

    def connectionLost(self, reason: Any) -> None:
        """Forget it."""
        self.factory.open.discard(self)
        super().connectionLost(reason)


class Proxy(ProxyFactory):
    """Forwards one port of 127.0.0.1 to another.

    Args:
        case: the test; at its end the proxy is closed.
        host, port: where to.
    """

    protocol = Cuttable
    noisy = False

    def __init__(self, case: TestCase, host: str, port: int) -> None:
        super().__init__(host, port)
        self.open: set[Cuttable] = set()
        self._listening: IListeningPort | None = None
        self.listening_on = 0
        self.url = ""
        self.let_through()
        case.addCleanup(self.refuse)

    @classmethod
    def before(cls, case: TestCase, url: str) -> "Proxy":
        """One before a database server; `url` is then the database's URL through it."""
        parameters, _ = parse(url)
        proxy = cls(case, parameters["host"], int(parameters.get("port", "5432")))
        address = urlsplit(url)
        login = f"{address.netloc.rpartition('@')[0]}@" if "@" in address.netloc else ""
        proxy.url = address._replace(netloc=f"{login}127.0.0.1:{proxy.listening_on}").geturl()
        return proxy

    def let_through(self) -> None:
        """Accept connections, on the same port as before."""
        self._listening = reactor.listenTCP(self.listening_on, self, interface="127.0.0.1")  # type: ignore[attr-defined]
        assert self._listening is not None
        self.listening_on = self._listening.getHost().port

    def cut(self) -> None:
        """Reset every connection."""
        for connection in list(self.open):
            connection.transport.abortConnection()

    def swallow(self) -> None:
        """Let nothing pass any more on the connections that are open."""
        for connection in list(self.open):
            connection.transport.pauseProducing()
            if connection.peer is not None:
                connection.peer.transport.pauseProducing()

    def refuse(self) -> "Deferred[None] | None":
        """Reset every connection and accept no more."""
        self.cut()
        listening, self._listening = self._listening, None
        return listening.stopListening() if listening is not None else None  # type: ignore[return-value]
