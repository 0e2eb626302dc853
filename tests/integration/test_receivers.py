"""`slayq_tw.delivery` over real sockets: receivers that misbehave."""

import gzip
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase

from slayq_tw.delivery import MAX_ANSWER, Answer, WebhookSender
from slayq_tw.destinations import NO_FURTHER_RULES, DestinationRules
from slayq_tw.document import LateDocument
from slayq_tw.errors import DeliveryError, DestinationRefused, NoAnswer
from slayq_tw.http_response import DONE, Response
from slayq_tw.keyring import Keyring, Keys
from slayq_tw.name_resolution import NameResolution
from slayq_tw.posting import Post, direct, through_treq
from slayq_tw.webclient import Endpoints, make_agent, make_http_client
from slayq_tw.weburl import origin_of
from tests.certificates import local_certificate, serving_with

KEYRING = Keyring(Keys("SLAY_Q_SECRET", b"secret"))
HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"


class Rude(Protocol):
    """Answers each request with what the test says."""

    def connectionMade(self) -> None:
        self.factory.met.append(self)

    def dataReceived(self, data: bytes) -> None:
        self.factory.heard(data)
        self.factory.answer(self.transport)

    def connectionLost(self, reason: Any = None) -> None:
        left, self.factory.left = self.factory.left, Deferred()
        left.callback(None)


class ReceiverTests(TestCase):
    """Whatever a receiver does, a delivery ends, and says what happened."""

    def listen(self, answer: Callable[[Any], object]) -> int:
        self.server: Any = Factory.forProtocol(Rude)
        self.server.answer = answer
        self.server.heard = lambda data: None
        self.server.met = []
        self.server.left = Deferred()
        port = reactor.listenTCP(0, self.server, interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        return int(port.getHost().port)

    def post(self) -> Post:
        """How a delivery's first request is posted."""
        agent = make_agent(reactor, 1)
        return direct(agent, through_treq(make_http_client(agent), reactor))

    def send(self, url: str, timeout: float = 30.0) -> "Deferred[Answer]":
        post = self.post()
        return WebhookSender(post, post, reactor, KEYRING).send(url, lambda: b'{"a":1}', timeout, "job_1_0")

    async def refusal(self, answer: Callable[[Any], object], timeout: float = 30.0) -> str:
        """The error of a delivery to such a receiver, without the URL."""
        url = f"http://127.0.0.1:{self.listen(answer)}/hook"
        error = await self.assertFailure(self.send(url, timeout), DeliveryError)
        await self.gone()
        return str(error).removeprefix(f"POST {url}: ")

    async def gone(self) -> None:
        """Wait until no connection is open."""
        while any(protocol.transport.connected for protocol in self.server.met):
            await self.server.left

    async def test_answered(self) -> None:
        """An ordinary answer."""
        port = self.listen(lambda transport: transport.write(HEAD + b"Content-Length: 2\r\n\r\nok"))
        answer = await self.send(f"http://localhost:{port}/")
        await self.gone()
        self.assertEqual((answer.status, answer.reason, answer.excerpt), (200, "OK", "ok"))

    async def test_refused(self) -> None:
        """Nobody listens."""
        error = await self.assertFailure(self.send("http://127.0.0.1:9/hook?token=secret"), DeliveryError)
        self.assertIn("POST http://127.0.0.1:9/hook: Connection was refused", str(error))

    async def test_no_such_host(self) -> None:
        """A name without an address."""
        error = await self.assertFailure(self.send("http://nowhere.invalid/hook"), DeliveryError)
        self.assertEqual(str(error), "POST http://nowhere.invalid/hook: the host name has no address")

    async def test_hangs_up(self) -> None:
        """The connection is closed without an answer, or in the middle of one."""
        self.assertTrue(await self.refusal(lambda transport: transport.loseConnection()))
        self.assertTrue(await self.refusal(lambda transport: transport.abortConnection()))

        def in_the_middle(transport: Any) -> None:
            transport.write(HEAD + b"Content-Length: 100\r\n\r\nso far")
            transport.loseConnection()

        self.assertEqual(
            await self.refusal(in_the_middle), "the answer broke off: Connection was closed cleanly"
        )

    async def test_garbage(self) -> None:
        """What is no HTTP is a failure that says so."""
        said = await self.refusal(lambda transport: transport.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n\r\n"))
        self.assertIn("no valid HTTP", said)

    async def test_endless_answer(self) -> None:
        """An answer's body is read to a bound; the rest is not waited for."""

        def pour(transport: Any) -> None:
            transport.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
            chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
            for _ in range(2 + MAX_ANSWER // 65536):
                transport.write(chunk)

        answer = await self.send(f"http://127.0.0.1:{self.listen(pour)}/")
        await self.gone()
        self.assertEqual(answer.status, 200)

    async def test_compressed(self) -> None:
        """An answer is not unpacked: it was not asked for like that, and a small one may have a large content."""
        asked = []

        def answer(transport: Any) -> None:
            packed = gzip.compress(b"no")
            transport.write(
                HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed) + packed
            )

        port = self.listen(answer)
        self.server.heard = asked.append
        answered = await self.send(f"http://127.0.0.1:{port}/")
        await self.gone()
        self.assertEqual(answered.status, 200)
        self.assertEqual(answered.excerpt, "(no text)")
        self.assertNotIn(b"accept-encoding", b"".join(asked).lower())

    async def test_silence(self) -> None:
        """A receiver that does not answer, or stalls, is given up, and its connection closed."""
        self.assertEqual(await self.refusal(lambda t: None, 0.2), "no answer within 0.2 s")
        stalled = await self.refusal(lambda t: t.write(HEAD + b"Content-Length: 5\r\n\r\na"), 0.2)
        self.assertEqual(stalled, "no answer within 0.2 s")

    async def test_cancelled(self) -> None:
        """A delivery that is cut off is cancelled, not failed, and its connection closed."""
        asked: Deferred[None] = Deferred()
        sending = self.send(f"http://127.0.0.1:{self.listen(lambda t: asked.callback(None))}/")
        await asked
        sending.cancel()
        await self.assertFailure(sending, CancelledError)
        await self.gone()

    async def test_not_tls(self) -> None:
        """A receiver that does not speak TLS fails the delivery with TLS's reason."""
        port = self.listen(lambda transport: transport.write(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
        error = await self.assertFailure(self.send(f"https://localhost:{port}/"), DeliveryError)
        await self.gone()
        self.assertIn("TLS: ", str(error))

    async def kind(self, sending: "Deferred[Answer]") -> str:
        """What a failed delivery tells about the receiver."""
        error = await self.assertFailure(sending, DeliveryError)
        if not isinstance(error, NoAnswer):
            return "came through"
        return "connected" if error.connected else "no connection"

    async def test_no_connection(self) -> None:
        """Refused, unknown and not verified receivers are told apart from those that answered something."""
        self.assertEqual(await self.kind(self.send("http://127.0.0.1:9/")), "no connection")
        self.assertEqual(await self.kind(self.send("http://nowhere.invalid/")), "no connection")
        port = self.listen(lambda transport: transport.write(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
        self.assertEqual(await self.kind(self.send(f"https://localhost:{port}/")), "no connection")
        await self.gone()

    async def test_connected(self) -> None:
        """Likewise those that take a request and say nothing, or hang up."""
        for answer in (lambda t: None, lambda t: t.loseConnection(), lambda t: t.abortConnection()):
            url = f"http://127.0.0.1:{self.listen(answer)}/"
            self.assertEqual(await self.kind(self.send(url, 0.2)), "connected")
            await self.gone()

    async def test_came_through(self) -> None:
        """Garbage, an answer that breaks off or stalls, and what happens after a redirect: somebody is there."""
        redirect = b"HTTP/1.1 307 x\r\nConnection: close\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n"
        for said, hangs_up in (
            (b"SSH-2.0-OpenSSH_9.2\r\n\r\n\r\n", False),
            (HEAD + b"Content-Length: 100\r\n\r\nso far", True),
            (HEAD + b"Content-Length: 100\r\n\r\nso far", False),
            (redirect, True),
        ):

            def answer(transport: Any, said: bytes = said, hangs_up: bool = hangs_up) -> None:
                transport.write(said)
                if hangs_up:
                    transport.loseConnection()

            url = f"http://127.0.0.1:{self.listen(answer)}/"
            self.assertEqual(
                await self.kind(self.send(url, 5.0 if said is redirect else 0.2)), "came through", said
            )
            await self.gone()


class TreqReceiverTests(ReceiverTests):
    """The same through treq, as redirects are followed."""

    def post(self) -> Post:
        """Through treq."""
        return through_treq(make_http_client(make_agent(reactor, 1)), reactor)


class RefusedTests(TestCase):
    """Where a delivery may not go, it does not go, by whatever way and in whatever spelling."""

    def post(self, rules: DestinationRules) -> Post:
        agent = make_agent(reactor, 1, rules)
        return direct(agent, through_treq(make_http_client(agent), reactor))

    async def refused(self, url: str, rules: DestinationRules = NO_FURTHER_RULES) -> str:
        post = self.post(rules)
        sending = WebhookSender(post, post, reactor, KEYRING).send(url, lambda: b"{}", 30.0, "id")
        return str(await self.assertFailure(sending, DestinationRefused))

    async def test_spellings(self) -> None:
        """The system's resolver says what is meant."""
        shut = DestinationRules(allow_private_networks=False)
        for host, address in {
            "127.0.0.1": "127.0.0.1",
            "0x7f.1": "127.0.0.1",
            "2130706433": "127.0.0.1",
            "127.1": "127.0.0.1",
            "0177.0.0.1": "127.0.0.1",
            "①②⑦.0.0.1": "127.0.0.1",
            "127。0。0。1": "127.0.0.1",
            "localhost": "",
            "user:password@127.0.0.1": "127.0.0.1",
            "[::1]": "::1",
            "[0:0:0:0:0:ffff:7f00:1]": "127.0.0.1",
        }.items():
            self.assertIn(address, await self.refused(f"http://{host}:9/hook", shut))
        for url in (
            "http://169.254.169.254/latest/meta-data/",
            "https://169.254.169.254/",
            "http://2852039166/",
            "http://0xa9fea9fe/",
            "http://169.254.43518/",
            "http://user:password@169.254.169.254/",
            "http://[::ffff:169.254.169.254]/",
            "http://[::ffff:a9fe:a9fe]/",
            "http://[64:ff9b::a9fe:a9fe]/",
            "http://[2002:a9fe:a9fe::]/",
            "http://[fd00:ec2::254]/",
            " http:\\\\169.254.169.254\\latest ",
            "http:/169.254.169.254\n",
            "http://169.254.\t169.254./",
            "http://169.254.169.254\\@app.test/",
            "http://%31%36%39.254.169.254/",
            "http://0251.0376.0251.0376/",
        ):
            self.assertIn("metadata", await self.refused(url))
        self.assertIn("unspecified", await self.refused("http://0/"))

    async def test_redirect(self) -> None:
        """A redirect passes the same checks; the error shows no credentials or query of it."""
        server: Any = Factory.forProtocol(Rude)
        server.met, server.left, server.heard = [], Deferred(), len
        port = reactor.listenTCP(0, server, interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        url = f"http://127.0.0.1:{port.getHost().port}/hook"
        only_here = DestinationRules(allowed_origins=frozenset({origin_of(url)}))
        for rules, target, reason in (
            (NO_FURTHER_RULES, "http://169.254.169.254/?token=tell-tale", "metadata"),
            (NO_FURTHER_RULES, "http://u:tell-tale@[fe80::1]/", "link-local"),
            (NO_FURTHER_RULES, "//0x0/", "unspecified"),
            (NO_FURTHER_RULES, "\\\\169.254.43518\\", "metadata"),
            (NO_FURTHER_RULES, "/\t/0xa9fea9fe", "metadata"),
            (only_here, "https:169.254.169.254", "is not among allowed_origins"),
            (only_here, "http://other.test/", "http://other.test is not among allowed_origins"),
            (only_here, url.replace("127.0.0.1", "localhost"), "is not among allowed_origins"),
        ):
            for code in (b"307", b"308"):
                head = b"HTTP/1.1 %b \r\nConnection: close\r\nContent-Length: 0\r\nLocation: %b\r\n\r\n"
                answer = head % (code, target.encode())
                server.answer = lambda transport, answer=answer: transport.write(answer)
                error = await self.refused(url, rules)
                self.assertIn(reason, error)
                self.assertNotIn("tell-tale", error)
        while any(protocol.transport.connected for protocol in server.met):
            await server.left


class InwardTests(TestCase):
    """A receiver on the internet does not send signed documents into the operator's own networks."""

    async def redirected(self, peer: str | None) -> Answer:
        """Have a receiver with this address redirect to one on this machine."""
        server: Any = Factory.forProtocol(Rude)
        server.met, server.left, server.heard = [], Deferred(), len
        server.answer = lambda transport: transport.write(HEAD + b"Content-Length: 0\r\n\r\n")
        port = reactor.listenTCP(0, server, interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        self.server = server

        class Source:
            def __init__(self, peer: str | None) -> None:
                self.peer = peer

        def first(url: str, document: LateDocument) -> "Deferred[Any]":
            target = f"http://localhost:{port.getHost().port}/there".encode()
            response: Any = Response(
                None,
                (b"HTTP", 1, 1),
                307,
                b"",
                [(b"Location", target)],
                Source(peer),  # type: ignore[arg-type]
            )
            response.ended([], DONE)
            return succeed(response)

        inward, outward = (
            through_treq(make_http_client(make_agent(reactor, 1, rules)), reactor)
            for rules in (NO_FURTHER_RULES, DestinationRules(public_only=True))
        )
        sender = WebhookSender(first, inward, reactor, KEYRING, outward)
        return await sender.send("http://app.test/hook", lambda: b"{}", 30.0, "id")

    async def test_from_outside(self) -> None:
        """From a public address, or one that nobody knows, it is not followed, and nothing is connected to."""
        for peer in ("93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34", None):
            error = await self.assertFailure(
                Deferred.fromCoroutine(self.redirected(peer)), DestinationRefused
            )
            self.assertIn(
                "a loopback address; a receiver with a public address may not redirect there", str(error)
            )
            self.assertEqual(self.server.met, [])

    async def test_from_inside(self) -> None:
        """From a private address or this machine it is."""
        for peer in ("10.0.0.7", "127.0.0.1", "::1", "fd12::7"):
            answer = await self.redirected(peer)
            self.assertEqual(answer.status, 200)
            while any(protocol.transport.connected for protocol in self.server.met):
                await self.server.left

    async def test_peer(self) -> None:
        """A response knows the address that it came from, directly and through treq, with TLS and without."""
        server: Any = Factory.forProtocol(Rude)
        server.met, server.left, server.heard = [], Deferred(), len
        server.answer = lambda transport: transport.write(HEAD + b"Content-Length: 0\r\n\r\n")
        certificate = local_certificate(Path(self.mktemp()))
        os.environ["SSL_CERT_FILE"] = str(certificate)
        self.addCleanup(os.environ.pop, "SSL_CERT_FILE")
        plain = reactor.listenTCP(0, server, interface="127.0.0.1")  # type: ignore[attr-defined]
        secure = reactor.listenSSL(0, server, serving_with(certificate), interface="127.0.0.1")  # type: ignore[attr-defined]
        for scheme, port in (("http", plain), ("https", secure)):
            self.addCleanup(port.stopListening)
            agent = make_agent(reactor, 1)
            uri = f"{scheme}://localhost:{port.getHost().port}/".encode()
            response = await agent.request(b"POST", uri)
            self.assertEqual(response.peer, "127.0.0.1")
            wrapped: Any = await make_http_client(agent).post(uri.decode(), unbuffered=True)
            self.assertEqual(wrapped.original.peer, "127.0.0.1")
            await agent.close_idle()
        while any(protocol.transport.connected for protocol in server.met):
            await server.left


class NamesTests(TestCase):
    """Host names as Docker's networks have them."""

    async def test_underscore(self) -> None:
        """A name with an underscore is resolved and connected to."""

        names = NameResolution(reactor, lambda name: succeed({"my_app": ["127.0.0.1"]}[name]))
        met: Deferred[None] = Deferred()

        class Greeter(Protocol):
            def connectionMade(self) -> None:
                self.transport.loseConnection()
                met.callback(None)

        gone: Deferred[None] = Deferred()

        class Caller(Protocol):
            def connectionLost(self, reason: Any = None) -> None:
                gone.callback(None)

        port = reactor.listenTCP(0, Factory.forProtocol(Greeter), interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        endpoint = Endpoints(reactor, names=names)("http", "my_app", port.getHost().port)
        await endpoint.connect(Factory.forProtocol(Caller))
        await met
        await gone

    async def test_document_is_made_late(self) -> None:
        """The document, with its time, is made when the connection stands: resolving may have taken long."""

        found: Deferred[list[str]] = Deferred()
        asked: list[str] = []

        def resolve(name: str) -> "Deferred[list[str]]":
            asked.append(name)
            return found

        class Closing(Protocol):
            def dataReceived(self, data: bytes) -> None:
                self.transport.write(HEAD + b"Content-Length: 0\r\n\r\n")
                self.transport.loseConnection()

        port = reactor.listenTCP(0, Factory.forProtocol(Closing), interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        made = []

        def make() -> bytes:
            made.append(None)
            return b"{}"

        agent = make_agent(reactor, 1, names=NameResolution(reactor, resolve))
        post = direct(agent, through_treq(make_http_client(agent), reactor))
        sender = WebhookSender(post, post, reactor, KEYRING)
        sending = sender.send(f"http://my_app:{port.getHost().port}/", make, 30.0, "job_1_0")
        self.assertEqual(asked, ["my_app"])
        self.assertEqual(made, [])
        found.callback(["127.0.0.1"])
        self.assertEqual((await sending).status, 200)
        self.assertEqual(made, [None])
