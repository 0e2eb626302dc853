"""An example receiver: the side of the application, on twisted.web."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from slayq_tw.client.receiving import SIGNATURE_HEADERS, Refused, verify


@dataclass(frozen=True)
class Delivery:
    """One request that came from the daemon.

    Attributes:
        queue: the path that it was posted to, which in development mode names the queue.
        document: `job_key`, `retry`, `time` and `event`; `data` and `cache` if it has them.
    """

    queue: str
    document: dict[str, Any]

    @property
    def event(self) -> str:
        """The event's name."""
        return str(self.document["event"])

    @property
    def attempt(self) -> int:
        """Which attempt this is; 1 is the first."""
        return int(self.document["retry"])


class Receiver(Resource):
    """Takes what the daemon posts, checks it, and has it answered.

    Args:
        secrets: shared with the daemon: one, or two while it changes.
        now: wall-clock time, seconds since the epoch.
        answer: what the application does with a delivery; the status of its answer.
        refused: told the path and the reason of what was not accepted.
    """

    isLeaf = True
    log = Logger()

    def __init__(
        self,
        secrets: Sequence[bytes],
        now: Callable[[], float],
        answer: Callable[[Delivery], Awaitable[int]],
        refused: Callable[[str, str], None],
    ) -> None:
        super().__init__()
        self._secrets = secrets
        self._now = now
        self._answer = answer
        self._refused = refused

    def render_POST(self, request: Request) -> bytes | int:
        """401 for what was not signed with a secret, else what the application answers."""
        queue = unquote(request.path.decode("ascii", "replace").strip("/"))
        body = request.content.read() if request.content else b""
        try:
            document = verify(body, map(request.getHeader, SIGNATURE_HEADERS), self._secrets, self._now())
        except Refused as refusal:
            self._refused(queue, str(refusal))
            return self._text(request, 401, str(refusal))
        gone = request.notifyFinish()
        answering = Deferred.fromCoroutine(self._answered(request, Delivery(queue, document)))
        answering.addErrback(self._failed, request)
        gone.addErrback(lambda _: answering.cancel())
        return NOT_DONE_YET

    def render_GET(self, request: Request) -> bytes:
        """For whoever opens it in a browser."""
        return self._text(request, 200, "An example receiver of SlayQ. The daemon posts here.")

    async def _answered(self, request: Request, delivery: Delivery) -> None:
        status = await self._answer(delivery)
        request.write(self._text(request, status, "done" if status < 300 else "this failed"))
        request.finish()

    def _failed(self, failure: Failure, request: Request) -> None:
        if failure.check(CancelledError):
            return  # nobody waits for the answer any more
        self.log.failure("{event}", failure, event="receiver_failed")
        request.setResponseCode(500)
        request.finish()

    @staticmethod
    def _text(request: Request, status: int, text: str) -> bytes:
        request.setResponseCode(status)
        request.setHeader("Content-Type", "text/plain; charset=utf-8")
        return f"{text}\n".encode()
