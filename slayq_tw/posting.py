"""How a document is posted: through treq, or, for nearly all deliveries, past it.

For a small POST over a connection that stands, treq's layer (cookies, query, authentication, the URL and the headers
taken apart and put together for each request) costs more than all that is beneath it; see the profile in
`bench/README.md`. So the first request of a delivery goes to the agent directly, with bytes that are made once for
each URL; whatever is rare, credentials and redirects, goes through treq.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeAlias

from hyperlink import EncodedURL
from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse

from slayq_tw.agent import KeepAliveAgent
from slayq_tw.document import LateDocument, SignedHeaders
from slayq_tw.http_request import Request, field_lines, request_to
from slayq_tw.webclient import USER_AGENT
from slayq_tw.weburl import credentials, parsed

CONSTANT_FIELDS = {b"Content-Type": [b"application/json"], b"User-Agent": [USER_AGENT.encode("ascii")]}

Post: TypeAlias = Callable[[str, LateDocument], "Deferred[IResponse]"]
"""Posts a document to a checked URL; fires when the answer's header section has come. Follows no redirect."""


class _WireURL(EncodedURL):
    """A URL that treq sends as it is, to the byte. It would encode it anew, and refuses `[::1]` and `my_service`.

    Args:
        url: a checked one.
    """

    def __init__(self, url: str) -> None:
        read = parsed(url)
        super().__init__(read.origin.scheme, read.origin.host, port=read.origin.port)
        self._wire = read.wire

    def to_uri(self) -> "_WireURL":
        """Itself."""
        return self

    def to_text(self, with_password: bool = False) -> str:
        """As it was read."""
        return self._wire


def through_treq(client: HTTPClient, clock: Any) -> Post:
    """Posts by treq.

    Args:
        client: treq's.
        clock: IReactorTime.
    """

    def post(url: str, document: LateDocument) -> "Deferred[IResponse]":
        posting: Any = client.request(
            "POST",
            _WireURL(url),
            headers=SignedHeaders(document, CONSTANT_FIELDS),
            data=document,
            auth=credentials(url),
            allow_redirects=False,
            unbuffered=True,
            reactor=clock,
        )
        return posting  # type: ignore[no-any-return]  # treq's response wraps an IResponse

    return post


def direct(agent: KeepAliveAgent, otherwise: Post) -> Post:
    """Posts by the agent.

    Args:
        agent: sends.
        otherwise: posts to URLs with credentials.
    """

    @lru_cache(maxsize=1024)
    def request(url: str) -> Request | None:
        if credentials(url) is not None:
            return None
        headers = Headers(CONSTANT_FIELDS)
        made = request_to(b"POST", parsed(url).wire.encode("ascii"), headers)
        return Request(made.method, made.absoluteURI, headers, made.origin, made.start + field_lines(headers))

    def post(url: str, document: LateDocument) -> "Deferred[IResponse]":
        made = request(url)
        return otherwise(url, document) if made is None else agent.post(made, document)

    return post
