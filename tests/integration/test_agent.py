"""`slayq_tw.agent` over real sockets."""

import select
import socket
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.error import ConnectionLost, ConnectionRefusedError
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase
from twisted.web.client import ResponseFailed, readBody
from twisted.web.http_headers import Headers

from slayq_tw.agent import KeepAliveAgent
from slayq_tw.errors import DestinationRefused
from slayq_tw.http_errors import TLSFailed
from slayq_tw.http_reader import MAX_FIELDS, MAX_HEAD, MAX_INFORMATIONAL
from slayq_tw.webclient import Endpoints
from slayq_tw.weburl import Origin

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Server(Protocol):
    """Hands each request, headers and body, to the test."""

    def connectionMade(self) -> None:
        self.factory.met.append(self)
        self.waiting = b""

    def dataReceived(self, data: bytes) -> None:
        self.waiting += data
        while b"\r\n\r\n" in self.waiting:
            head, _, rest = self.waiting.partition(b"\r\n\r\n")
            length = next(
                (
                    int(line.split(b":")[1])
                    for line in head.split(b"\r\n")
                    if line.startswith(b"Content-Length")
                ),
                0,
            )
            if len(rest) < length:
                return
            self.waiting = rest[length:]
            self.factory.requests.append(head + b"\r\n\r\n" + rest[:length])
            self.factory.answer(self.transport)

    def connectionLost(self, reason: Any = None) -> None:
        left, self.factory.left = self.factory.left, Deferred()
        left.callback(None)


class Body:
    """A producer that has its body at hand."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.length = len(body)


class AgentTests(TestCase):
    """Connections are kept, bounded, and never trusted."""

    timeout = 10

    def setUp(self) -> None:
        self.server: Any = Factory.forProtocol(Server)
        self.server.met, self.server.requests, self.server.left = [], [], Deferred()
        self.answer(OK)
        self.port = reactor.listenTCP(0, self.server, interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(self.port.stopListening)
        self.agent = KeepAliveAgent(
            reactor, 2, connect_timeout=10.0, idle_timeout=4.0, endpoint_for=Endpoints(reactor)
        )
        self.addCleanup(self.close)

    async def close(self) -> None:
        await self.agent.close_idle()
        while any(one.transport.connected for one in self.server.met):
            await self.server.left

    def answer(self, what: bytes | Callable[[Any], object]) -> None:
        """How the next requests are answered."""
        self.server.answer = what if callable(what) else lambda transport: transport.write(what)

    def ask(self, path: str = "/", body: Any = None, **headers: str) -> "Deferred[Any]":
        uri = f"http://127.0.0.1:{self.port.getHost().port}{path}".encode()
        fields = Headers({name: [value] for name, value in headers.items()})
        return self.agent.request(b"POST", uri, fields, body)

    async def exchange(self, **arguments: Any) -> tuple[int, bytes]:
        response = await self.ask(**arguments)
        return response.code, await readBody(response)

    async def test_request(self) -> None:
        """Request line, Host, the caller's fields, length, and body."""
        self.assertEqual(await self.exchange(path="/a?b=c#d", body=Body(b"{}"), x="y"), (200, b"ok"))
        host = f"127.0.0.1:{self.port.getHost().port}"
        self.assertEqual(
            self.server.requests,
            [f"POST /a?b=c HTTP/1.1\r\nHost: {host}\r\nX: y\r\nContent-Length: 2\r\n\r\n{{}}".encode()],
        )

    async def test_kept(self) -> None:
        """One connection serves one request after the other, several at once have one each, two are kept."""
        for _ in range(5):
            await self.exchange(body=Body(b"x"))
        self.assertEqual(len(self.server.met), 1)
        await gatherResults([Deferred.fromCoroutine(self.exchange(body=Body(b"x"))) for _ in range(4)])
        self.assertEqual(len(self.server.met), 4)
        self.assertEqual(self.agent.idle, 2)

    async def test_closed_meanwhile(self) -> None:
        """A kept connection that the server has closed is not used, though the reactor has not noticed."""
        await self.exchange()
        # Past the reactor, which therefore has not noticed it when the next one is asked; the kernel has.
        self.server.met[0].transport.getHandle().shutdown(socket.SHUT_RDWR)
        (kept,) = self.agent.connections
        select.select([kept.transport.getHandle()], [], [], 10)
        self.assertEqual(await self.exchange(), (200, b"ok"))
        self.assertEqual(len(self.server.met), 2)
        self.assertEqual(len(self.server.requests), 2)

    async def test_answered_early(self) -> None:
        """A connection on which an answer came while its request was still being sent takes no other request: the rest
        of the body would be read as one.
        """

        class Stalled:
            """A producer that stops in the middle."""

            length = 1000

            def startProducing(self, consumer: Any) -> "Deferred[None]":
                consumer.write(b"x")
                return Deferred()

            def stopProducing(self) -> None:
                """Nothing to stop."""

        def answer_at_once(server: Server, data: bytes) -> None:
            server.transport.pauseProducing()  # type: ignore[union-attr]
            server.transport.write(OK)  # type: ignore[union-attr]

        self.patch(Server, "dataReceived", answer_at_once)
        large = Body(b"x" * (32 * 1024 * 1024))  # more than the kernel takes
        for number, body in enumerate((large, Stalled(), Body(b"x")), 1):
            self.assertEqual(await self.exchange(body=body), (200, b"ok"))
            self.assertEqual(len(self.server.met), number)
            self.assertEqual(self.agent.idle, int(number == 3))
        for one in self.server.met:
            one.transport.resumeProducing()

    async def test_reach(self) -> None:
        """To reach an origin is to connect and close: it gets no request, and nothing is kept."""
        origin = Origin("http", "127.0.0.1", self.port.getHost().port)
        left = self.server.left
        await self.agent.reach(origin)
        await left
        self.assertEqual((len(self.server.met), self.server.requests, self.agent.idle), (1, [], 0))
        await self.assertFailure(self.agent.reach(Origin("http", "127.0.0.1", 9)), ConnectionRefusedError)
        await self.assertFailure(self.agent.reach(Origin("http", "169.254.169.254", 80)), DestinationRefused)
        self.patch(Server, "dataReceived", lambda server, data: server.transport.write(OK))
        await self.assertFailure(self.agent.reach(origin._replace(scheme="https")), TLSFailed, ConnectionLost)

    async def test_swept(self) -> None:
        """Idle connections are closed when their time is up, though nobody asks for them; those used since stay."""
        clock = Clock()
        agent = KeepAliveAgent(
            clock, 2, connect_timeout=10.0, idle_timeout=4.0, endpoint_for=Endpoints(reactor)
        )
        uri = f"http://127.0.0.1:{self.port.getHost().port}/".encode()

        async def exchange() -> None:
            await readBody(await agent.request(b"POST", uri, None, Body(b"x")))

        await gatherResults([Deferred.fromCoroutine(exchange()) for _ in range(2)])
        self.assertEqual(agent.idle, 2)
        clock.advance(3.9)
        await exchange()
        self.assertEqual((agent.idle, len(self.server.met)), (2, 2))
        left = self.server.left
        clock.advance(0.2)
        self.assertEqual(agent.idle, 1)
        await left
        self.assertEqual(len([one for one in self.server.met if one.transport.connected]), 1)
        left = self.server.left
        clock.advance(3.9)
        self.assertEqual(agent.idle, 0)
        await left
        self.assertFalse([one for one in self.server.met if one.transport.connected])
        clock.advance(1.0)
        self.assertEqual(clock.getDelayedCalls(), [])

    async def test_close_is_obeyed(self) -> None:
        """`Connection: close`, HTTP/1.0, and more than was asked for end a connection."""
        for answer in (
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
            b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
            OK + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        ):
            self.answer(answer)
            self.assertEqual(await self.exchange(), (200, b"ok"))
            self.assertEqual(self.agent.idle, 0, answer)

    async def test_forms_of_a_body(self) -> None:
        """Chunked, in the smallest pieces; after 1xx answers; and without length, to the connection's end."""

        def trickle(transport: Any) -> None:
            transport.setTcpNoDelay(True)
            for byte in b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n":
                transport.write(bytes([byte]))

        self.answer(trickle)
        self.assertEqual(await self.exchange(), (200, b"ok"))
        self.answer(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK)
        self.assertEqual(await self.exchange(), (200, b"ok"))
        self.assertEqual(len(self.server.met), 1)

    async def test_bad_answers(self) -> None:
        """Each is a failure that says what is wrong, and ends its connection."""
        for answer, said in (
            (b"nonsense\r\n\r\n", "no valid HTTP"),
            (
                b"HTTP/1.1 200 OK\r\n" + b"".join(b"X%d: y\r\n" % n for n in range(MAX_FIELDS + 1)) + b"\r\n",
                "fields",
            ),
            (b"HTTP/1.1 200 OK\r\nX: " + b"y" * (MAX_HEAD + 10), "without end"),
            (b"HTTP/1.1 100 Continue\r\n\r\n" * (MAX_INFORMATIONAL + 1), "1xx"),
            (
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
                "another protocol",
            ),
        ):
            self.answer(answer)
            failure = await self.assertFailure(self.ask(), ResponseFailed)
            self.assertIn(said, str(failure.reasons[0].value))
        await self.close()
        self.assertEqual(self.agent.connections, set())

    async def test_broken_off(self) -> None:
        """An answer that ends too early fails, its body's reader is told."""

        def cut(transport: Any) -> None:
            transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok")
            transport.loseConnection()

        self.answer(cut)
        response = await self.ask()
        await self.assertFailure(readBody(response), ResponseFailed)

    async def test_cancelled(self) -> None:
        """Cancelling closes the connection: while the answer is waited for, and while its body is read."""
        asked: list[Deferred[None]] = [Deferred()]
        self.answer(lambda transport: asked[0].callback(None))
        asking = self.ask()
        await asked[0]
        asking.cancel()
        await self.assertFailure(asking, CancelledError)
        self.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok")
        response = await self.ask()
        response.abortConnection()
        await self.close()
        self.assertEqual(self.agent.connections, set())

    async def test_unknown_length(self) -> None:
        """A body whose length nobody knows is refused, and the connection stays."""

        class Endless:
            length = "unknown"

        from twisted.web.iweb import UNKNOWN_LENGTH

        Endless.length = UNKNOWN_LENGTH
        await self.assertFailure(self.ask(body=Endless()), ValueError)
        self.assertEqual(await self.exchange(), (200, b"ok"))
