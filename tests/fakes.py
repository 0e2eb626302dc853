"""Stand-ins at the seams that the unit tests share."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from twisted.internet.defer import Deferred

from slayq_tw.job import Failure, Job

START = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def a_job(number: int = 1, **changes: object) -> Job:
    """A claimed job; each number has values of its own."""
    values: dict[str, object] = {
        "id": number,
        "identifier": "mail",
        "payload": '{"url":"http://app.test/hook","retry":0,"event":"mail/welcome","data":{"n":1}}',
        "attempts": 1,
        "max_attempts": 25,
        "key": None,
        "priority": 0,
        "run_at": START.timestamp(),
        "lane": None,
        "locked_us": round((START + timedelta(seconds=number)).timestamp() * 1e6),
        "revision": 0,
    }
    return Job(**{**values, **changes})  # type: ignore[arg-type]


class RecordingStore:
    """A `JobStore` whose answers are given by the test: each call is a Deferred in `calls`."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, object, Deferred[object]]] = []

    def _call(self, name: str, argument: object) -> Deferred[object]:
        answer: Deferred[object] = Deferred()
        self.calls.append((name, argument, answer))
        return answer

    def asked(self) -> list[tuple[str, object]]:
        """What was called, with what."""
        return [(name, argument) for name, argument, _ in self.calls]

    def answer(self, result: object = None) -> None:
        """Answer the last call; an exception makes it fail."""
        _, _, answer = self.calls[-1]
        if isinstance(result, Exception):
            answer.errback(result)
        else:
            answer.callback(result)

    async def register(self) -> None:
        """As JobStore's."""
        await self._call("register", None)

    async def claim(self, requests: Sequence[tuple[Sequence[str], int]]) -> object:
        """As JobStore's."""
        return await self._call("claim", [(list(names), limit) for names, limit in requests])

    async def release_strays(self) -> object:
        """As JobStore's."""
        return await self._call("release_strays", None)

    async def complete(self, jobs: Sequence[Job]) -> object:
        """As JobStore's."""
        return await self._call("complete", [job.id for job in jobs])

    async def fail(self, failures: Sequence[Failure]) -> object:
        """As JobStore's."""
        return await self._call("fail", [failure.job.id for failure in failures])

    async def defer(self, waits: Iterable[tuple[Job, float]]) -> object:
        """As JobStore's."""
        return await self._call("defer", [(job.id, seconds) for job, seconds in waits])

    async def release(self, jobs: Sequence[Job]) -> object:
        """As JobStore's."""
        return await self._call("release", [job.id for job in jobs])
