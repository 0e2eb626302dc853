"""`JobWorker`: validate a job, deliver it, and decide what becomes of it."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, execute, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure as TwistedFailure

from slayq_tw.circuit import Circuits
from slayq_tw.configcheck import CRON_IDENTIFIER
from slayq_tw.delivery import Answer, WebhookSender
from slayq_tw.errors import DeliveryError, DestinationRefused, NameAwaited, NoAnswer, PayloadError
from slayq_tw.job import Deferral, Failure, Job
from slayq_tw.jobs import CRON_KEY
from slayq_tw.name_resolution import NameResolution
from slayq_tw.payload import parse_payload, request_body
from slayq_tw.results import ResultWriter
from slayq_tw.retry import Outcome, outcome_for, retry_after
from slayq_tw.weburl import display_url, origin_of

MAX_ERROR = 1000
"""Characters of `last_error`, at most."""

_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""What Postgres refuses, and what makes a terminal do or show something else."""


def job_key_of(job: Job) -> str:
    """What the receiver is told as `job_key`: keyless jobs get one of their own, the cron tick its usual one."""
    if job.key is not None:
        return job.key
    return CRON_KEY if job.identifier == CRON_IDENTIFIER else f"job-{job.id}"


def webhook_id_of(job: Job) -> str:
    """What names a job over all its attempts, and no other of its database: the row, and how often it was replaced.

    Its key will not do: the next event under the same key would be taken for a repetition of the last.
    """
    return f"job_{job.id}_{job.revision}"


def storable(text: str) -> str:
    """An error as `last_error` can hold it: one bounded line, nothing that Postgres refuses as text."""
    line = _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", " ".join(text.split()))
    return line.encode("utf-8", "replace").decode()[:MAX_ERROR]


class JobWorker:
    """Ends each job in exactly one way: completed, failed, released or put off.

    Args:
        sender: posts.
        results: records the end.
        timeouts: seconds for a delivery, by identifier.
        circuits: knows which receivers cannot be reached.
        now: wall-clock time, seconds since the epoch.
        names: knows which host names nobody should wait for.
        verbose: whether somebody reads of each delivery: an event costs as much as a request, even if none does.
    """

    log = Logger()

    def __init__(
        self,
        sender: WebhookSender,
        results: ResultWriter,
        timeouts: Mapping[str, float],
        circuits: Circuits,
        now: Callable[[], float],
        *,
        names: NameResolution | None = None,
        verbose: bool = True,
    ) -> None:
        self._names = names
        self._sender = sender
        self._results = results
        self._timeouts = timeouts
        self._circuits = circuits
        self._now = now
        self._verbose = verbose

    def work(self, job: Job) -> Deferred[None] | None:
        """Deliver a claimed job and record its end. Never fails; cancelling it hands the job back.

        Returns:
            None when there is nothing to wait for, because the job was put off.
        """
        try:
            return self._deliver(job)
        except Exception:
            return execute(self._broken, TwistedFailure(), job.slim())

    def _deliver(self, job: Job) -> Deferred[None] | None:
        if job.payload is None:
            self._fail(job, job.fault or "payload is missing", final=True)
            return succeed(None)
        try:
            payload = parse_payload(job.payload)
        except PayloadError as error:
            self._fail(job, str(error), final=True)
            return succeed(None)
        url, job = payload.url, job.slim()
        if self._circuits.trouble and self._is_in_vain(job, url):
            return None
        if self._names is not None and self._names.trouble:
            awaited = self._names.awaited(origin_of(url).host)
            if awaited is not None:
                self._circuits.withdrawn(job.id)
                self._await_name(job, url, awaited)
                return None
        key = job_key_of(job)

        def body() -> bytes:
            now_ms = int(self._now() * 1000)
            return request_body(payload, job_key=key, attempt=job.attempts, now_ms=now_ms)

        began = self._circuits.seconds()
        sending = self._sender.send(url, body, self._timeouts[job.identifier], webhook_id_of(job))
        return sending.addBoth(self._over, job, url, payload.doubt, began)

    def _over(
        self, result: Answer | TwistedFailure, job: Job, url: str, doubt: str | None, began: float
    ) -> None:
        try:
            if isinstance(result, TwistedFailure):
                self._unanswered(result, job, url, began)
            else:
                self._settle(result, job, url, doubt)
        except Exception:
            self._broken(TwistedFailure(), job)

    def _is_in_vain(self, job: Job, url: str) -> bool:
        """Whether the receiver cannot be reached; then the job was put off, or if it is the tick, dropped."""
        tick = job.identifier == CRON_IDENTIFIER
        wait = self._circuits.ask(origin_of(url), job.id, serial=job.lane is not None, at_once=tick)
        if wait is None:
            return False
        if tick:
            self._fail(job, f"POST {display_url(url)}: not sent, the receiver gives no answer to others")
        else:
            self._results.deferred(Deferral(job, wait.seconds, wait.written))
        return True

    def _unanswered(self, failure: TwistedFailure, job: Job, url: str, began: float) -> None:
        if failure.check(CancelledError):
            self._circuits.withdrawn(job.id)
            self._results.released(job)
            self.log.info(
                "{event}: job {job_id} of {queue}: its delivery was cut off by the stop",
                event="job_released",
                job_id=job.id,
                queue=job.identifier,
            )
        elif failure.check(DestinationRefused):
            self._circuits.withdrawn(job.id)
            self._fail(job, str(failure.value), final=True)
        elif failure.check(NameAwaited):
            self._circuits.withdrawn(job.id)
            awaited: Any = failure.value
            self._await_name(job, url, awaited)
        else:
            failure.trap(DeliveryError)
            error = failure.value
            if isinstance(error, NoAnswer):
                self._circuits.failed(
                    origin_of(url),
                    job.id,
                    connected=error.connected,
                    reason=storable(str(error)),
                    began=began,
                )
            else:
                self._circuits.answered(origin_of(url))
            self._fail(job, str(error))

    def _await_name(self, job: Job, url: str, awaited: NameAwaited) -> None:
        """Put a job off until its host's name is found, or is known not to be."""
        if job.identifier == CRON_IDENTIFIER:
            self._fail(job, f"POST {display_url(url)}: not sent, {awaited}")
        else:
            self._results.deferred(Deferral(job, awaited.seconds, awaited.written))

    def _settle(self, answer: Answer, job: Job, url: str, doubt: str | None) -> None:
        self._circuits.answered(origin_of(url))
        outcome = outcome_for(answer.status)
        if outcome not in (Outcome.DELIVERED, Outcome.GONE):
            delay = (
                retry_after(answer.retry_after or "", self._now()) if answer.status in (429, 503) else None
            )
            self._fail(job, _refusal(answer, doubt), delay=delay or 0.0)
            return
        self._results.completed(job)
        if self._verbose:
            self.log.debug(
                "{event}: job {job_id} of {queue}, attempt {attempt}: {status}",
                event="job_delivered",
                job_id=job.id,
                queue=job.identifier,
                attempt=job.attempts,
                status=answer.status,
            )
        if outcome is Outcome.GONE:
            self.log.warn(
                "{event}: job {job_id} of {queue}: {url} answered {status}: the application does not know this event",
                event="event_unknown",
                job_id=job.id,
                queue=job.identifier,
                url=answer.url,
                status=answer.status,
            )

    def _fail(self, job: Job, error: str, *, delay: float = 0.0, final: bool = False) -> None:
        if job.identifier == CRON_IDENTIFIER:
            # A tick that comes late is worth nothing: the next one follows.
            self._results.completed(job)
            self.log.warn("{event}: {error}", event="cron_tick_failed", job_id=job.id, error=storable(error))
            return
        error = storable(error)
        self._results.failed(Failure(job, error, delay, final))
        if self._verbose:
            self.log.debug(
                "{event}: job {job_id} of {queue}, attempt {attempt}: {error}",
                event="job_failed",
                job_id=job.id,
                queue=job.identifier,
                attempt=job.attempts,
                error=error,
            )

    def _broken(self, failure: TwistedFailure, job: Job) -> None:
        """A fault of ours: the job gets another attempt, later."""
        self._circuits.withdrawn(job.id)
        self.log.failure(
            "{event}: job {job_id}", failure, event="worker_bug", job_id=job.id, queue=job.identifier
        )
        # The error's own text may quote what it happened to; the log has where it happened.
        self._fail(job, f"internal error of the SlayQ server: {type(failure.value).__name__}; see its log")


def _refusal(answer: Answer, doubt: str | None) -> str:
    status = f"{answer.status} {answer.reason}".strip() + (f" ({doubt})" if doubt else "")
    where = f" to {display_url(answer.location)}" if answer.location and 300 <= answer.status < 400 else ""
    said = f": {answer.excerpt}" if answer.excerpt else ""
    return f"POST {answer.url}: {status}{where}{said}"
