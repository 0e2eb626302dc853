"""A TCP proxy in the test's own process, for cutting connections where a test wants them cut, or making them deaf."""

from typing import Any
from urllib.parse import urlsplit

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort
from twisted.protocols.portforward import ProxyClient, ProxyClientFactory, ProxyFactory, ProxyServer

from slayq_tw.conninfo import parse
from tests.processes import Owner


class Onward(ProxyClient):
    """The other half of a forwarded connection: to where it leads."""

    def connectionMade(self) -> None:
        """Begin to forward."""
        self.half: Any = self.peer
        self.half.factory.onward.add(self)
        super().connectionMade()

    def dataReceived(self, data: bytes) -> None:
        """Pass it on, unless it is swallowed."""
        if not self.half.swallowed:
            super().dataReceived(data)

    def connectionLost(self, reason: Any) -> None:
        """Close the other half; one that is swallowed never learns of it."""
        self.half.factory.onward.discard(self)
        if not self.half.swallowed:
            super().connectionLost(reason)


class OnwardFactory(ProxyClientFactory):
    """Makes them."""

    protocol = Onward
    noisy = False


class Cuttable(ProxyServer):
    """One forwarded connection, which its proxy knows."""

    clientProtocolFactory = OnwardFactory

    def connectionMade(self) -> None:
        """Begin to forward."""
        self.factory.open.add(self)
        self.swallowed = False
        super().connectionMade()

    def dataReceived(self, data: bytes) -> None:
        """Pass it on, unless it is swallowed."""
        if not self.swallowed:
            super().dataReceived(data)

    def connectionLost(self, reason: Any) -> None:
        """Forget it."""
        self.factory.open.discard(self)
        if not self.swallowed:
            super().connectionLost(reason)


class Proxy(ProxyFactory):
    """Forwards one port of 127.0.0.1 to another.

    Args:
        owner: the test; at its end the proxy is closed.
        host, port: where to.
    """

    protocol = Cuttable
    noisy = False

    def __init__(self, owner: Owner, host: str, port: int) -> None:
        super().__init__(host, port)
        self.open: set[Cuttable] = set()
        self.onward: set[Onward] = set()
        self._listening: IListeningPort | None = None
        self.listening_on = 0
        self.url = ""
        self.let_through()
        owner.addCleanup(self.refuse)

    @classmethod
    def before(cls, owner: Owner, url: str) -> "Proxy":
        """One before a database server; `url` is then the database's URL through it."""
        parameters, _ = parse(url)
        proxy = cls(owner, parameters["host"], int(parameters.get("port", "5432")))
        address = urlsplit(url)
        login = f"{address.netloc.rpartition('@')[0]}@" if "@" in address.netloc else ""
        proxy.url = address._replace(netloc=f"{login}127.0.0.1:{proxy.listening_on}").geturl()
        return proxy

    def let_through(self) -> None:
        """Accept connections, on the same port as before."""
        self._listening = reactor.listenTCP(self.listening_on, self, interface="127.0.0.1")  # type: ignore[attr-defined]
        assert self._listening is not None
        self.listening_on = self._listening.getHost().port

    def swallow(self, at_most: int | None = None) -> int:
        """Leave connections open and let nothing through any more, not even their end; how many there are.

        Both ends go on being acknowledged, so no keep-alive of TCP finds out. New connections are forwarded.

        Args:
            at_most: how many, any of them; all if None.
        """
        for connection in list(self.open)[:at_most]:
            connection.swallowed = True
            # Neither half may be held up by the other, or it would notice.
            connection.transport.unregisterProducer()
            connection.transport.resumeProducing()
        for connection in self.onward:
            if connection.half.swallowed:
                connection.transport.unregisterProducer()
                connection.transport.resumeProducing()
        return sum(connection.swallowed for connection in self.open)

    def cut(self) -> None:
        """Reset every connection."""
        for connection in [*self.open, *self.onward]:
            connection.transport.abortConnection()

    def refuse(self) -> "Deferred[None] | None":
        """Reset every connection and accept no more."""
        self.cut()
        listening, self._listening = self._listening, None
        return listening.stopListening() if listening is not None else None  # type: ignore[return-value]
