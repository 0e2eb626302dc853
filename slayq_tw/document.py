"""A request's document, made and signed at the moment it is written.

It carries the time, and receivers refuse one older than 15 s: made any earlier, it would grow old while the host is
resolved and the connection comes up. Twisted asks for a request's length, headers and body only when it writes them.
"""

from collections.abc import Callable, Iterator, Sequence

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IConsumer
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from slayq_tw.keyring import Fields, Keyring


@implementer(IBodyProducer)
class LateDocument:
    """The body of a request. Made once, so that a redirect gets the same bytes.

    Args:
        make: makes the bytes.
        keyring: has who signs them.
        url: where they go first, checked.
        webhook_id: names what they are about, whatever attempt this is.
    """

    def __init__(self, make: Callable[[], bytes], keyring: Keyring, url: str, webhook_id: str) -> None:
        self._make = make
        self._body: bytes | None = None
        self._keyring = keyring
        self._signer = keyring.signer(url)
        self._webhook_id = webhook_id

    @property
    def body(self) -> bytes:
        """The bytes, from now on."""
        if self._body is None:
            self._body = self._make()
            del self._make  # it has what they were made of, which may be as large again
        return self._body

    @property
    def fields(self) -> Fields:
        """The header fields that belong to these bytes: their signatures."""
        return self._signer.fields(self.body, self._webhook_id)

    @property
    def secrets(self) -> Sequence[bytes]:
        """What signs them: known to the receiver, and to be shown to nobody."""
        return self._signer.secrets

    def may_go_to(self, url: str) -> bool:
        """Whether a redirect to a checked URL may be followed: only if the same secrets sign there.

        The signature that was sent would be a gift to another receiver. A new one would let this receiver pass its
        events on to the other in our name.
        """
        return self._keyring.signer(url) is self._signer

    @property
    def length(self) -> int:
        """How many bytes there are."""
        return len(self.body)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Write the bytes."""
        consumer.write(self.body)
        return succeed(None)

    def pauseProducing(self) -> None:
        """Nothing is left to be paused."""

    def resumeProducing(self) -> None:
        """Likewise."""

    def stopProducing(self) -> None:
        """Likewise."""


class SignedHeaders(Headers):
    """Headers that have, when they are written, the signature of a document.

    Args:
        document: the body that they stand before.
        headers: the others.
    """

    def __init__(self, document: LateDocument, headers: dict[bytes, list[bytes]]) -> None:
        super().__init__(headers)
        self._document = document

    def copy(self) -> "SignedHeaders":
        """A copy that belongs to the same document."""
        return SignedHeaders(
            self._document, {name: list(values) for name, values in super().getAllRawHeaders()}
        )

    def getAllRawHeaders(self) -> Iterator[tuple[bytes, Sequence[bytes]]]:
        """What is written: now the document must be made."""
        yield from super().getAllRawHeaders()
        for name, value in self._document.fields:
            yield name, [value]
