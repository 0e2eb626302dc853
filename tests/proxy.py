"""A TCP proxy in the test's own process, for cutting connections where a test wants them cut."""

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort
from twisted.protocols.portforward import ProxyFactory, ProxyServer
from twisted.trial.unittest import TestCase


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
        self.let_through()
        case.addCleanup(self.refuse)

    def let_through(self) -> None:
        """Accept connections, on the same port as before."""
        self._listening = reactor.listenTCP(self.listening_on, self, interface="127.0.0.1")  # type: ignore[attr-defined]
        assert self._listening is not None
        self.listening_on = self._listening.getHost().port

    def cut(self) -> None:
        """Reset every connection."""
        for connection in list(self.open):
            connection.transport.abortConnection()

    def refuse(self) -> "Deferred[None] | None":
        """Reset every connection and accept no more."""
        self.cut()
        listening, self._listening = self._listening, None
        return listening.stopListening() if listening is not None else None  # type: ignore[return-value]
