"""Sending events and adding jobs."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from slayq_tw.client.checks import Delay, JobKeyMode, JobNotStored, json_text
from slayq_tw.client.operation import Operation, jobs_of, statement
from slayq_tw.client.requests import Event, NewJob, due
from slayq_tw.client.rows import StoredJob, matched, rounds

TRIES = 10
"""How often an add is tried whose job others keep taking at that very moment; each try sees what they did."""


def send_event(
    name: str,
    data: Any = None,
    *,
    queue: str,
    endpoint: str,
    delay: Delay | None = None,
    run_at: datetime | None = None,
    key: str | None = None,
    priority: int | None = None,
    retries: int | None = None,
    queue_name: str | None = None,
    flags: Collection[str] | None = None,
    key_mode: JobKeyMode = "replace",
) -> Operation[None]:
    """Send one event to a SlayQ application: what it stores is what the SlayQ client stores.

    Arguments are those of `Event`.

    Raises:
        InvalidRequest: it could never be stored, or never be delivered.
    """
    event = Event(
        name,
        data,
        queue=queue,
        endpoint=endpoint,
        delay=delay,
        run_at=run_at,
        key=key,
        priority=priority,
        retries=retries,
        queue_name=queue_name,
        flags=flags,
        key_mode=key_mode,
    )
    yield from send_events([event])


def send_events(events: Iterable[Event]) -> Operation[None]:
    """Send many events in two round trips, with the effect of sending one after the other: all, or none.

    A database whose daemon is older, or that does not let this role call `add_worker_jobs`, takes them as well, but not
    as fast.
    """
    events = list(events)
    if not events:
        return
    run_ats = yield from _due_times(events)
    query = "send_events"
    if len(events) > 1:
        ((in_bulk,),) = yield statement("sends_in_bulk")
        if in_bulk:
            query = "send_in_bulk"
    yield statement(query, key_modes=[event.key_mode for event in events], **_columns(events, run_ats))


def add_job(
    identifier: str,
    payload: Any = None,
    *,
    queue_name: str | None = None,
    run_at: datetime | None = None,
    delay: Delay | None = None,
    max_attempts: int | None = None,
    key: str | None = None,
    priority: int | None = None,
    flags: Collection[str] | None = None,
    key_mode: JobKeyMode = "replace",
) -> Operation[StoredJob]:
    """Add one job for any Graphile Worker task; arguments are those of `NewJob`.

    Raises:
        InvalidRequest: it could never be stored.
        JobNotStored: other sessions kept taking the job under the key.
    """
    job = NewJob(
        identifier,
        payload,
        queue_name=queue_name,
        run_at=run_at,
        delay=delay,
        max_attempts=max_attempts,
        key=key,
        priority=priority,
        flags=flags,
        key_mode=key_mode,
    )
    (due_at,) = yield from _due_times([job])
    stored = yield from _add_one(job, due_at)
    return stored


def _add_one(job: NewJob, run_at: datetime | None) -> Operation[StoredJob]:
    for _ in range(TRIES):
        stored = yield from jobs_of(
            "add_job",
            identifier=job.identifier,
            payload=job.payload_text,
            queue_name=job.queue_name,
            run_at=run_at,
            max_attempts=job.max_attempts,
            key=job.key,
            priority=job.priority,
            flags=None if job.flags is None else list(job.flags),
            key_mode=job.key_mode,
        )
        if stored:
            return stored[0]
    raise JobNotStored(
        f"the job was not stored in {TRIES} tries: other sessions keep taking the job under its key"
    )


def add_jobs(jobs: Iterable[NewJob]) -> Operation[list[StoredJob]]:
    """Add many jobs in few round trips, with the effect of adding one after the other.

    Requests with the same key go out in consecutive calls, so arrays of payloads grow in order and otherwise the
    last one wins; each request's result is what its own call stored.

    Returns:
        In the order of the requests.

    Raises:
        JobNotStored: other sessions kept taking the job under one of the keys; some of the others may be stored, and
            the caller's transaction decides about them.
    """
    jobs = list(jobs)
    run_ats = yield from _due_times(jobs)
    stored: dict[int, StoredJob] = {}
    for places in rounds(jobs):
        for mode in ("replace", "preserve_run_at"):
            chosen = {
                place: (jobs[place], run_ats[place]) for place in places if jobs[place].key_mode == mode
            }
            stored |= yield from _add_round(chosen, preserve_run_at=mode == "preserve_run_at")
        for place in places:
            if jobs[place].key_mode == "unsafe_dedupe":  # add_jobs has no such mode
                stored[place] = yield from _add_one(jobs[place], run_ats[place])
    return [stored[place] for place in range(len(jobs))]


def _add_round(
    waiting: Mapping[int, tuple[NewJob, datetime | None]], *, preserve_run_at: bool
) -> Operation[dict[int, StoredJob]]:
    """Add jobs of which no two have the same key; those that got no row are tried again."""
    stored: dict[int, StoredJob] = {}
    for _ in range(TRIES):
        if not waiting:
            return stored
        requests = [job for job, _ in waiting.values()]
        rows = yield from jobs_of(
            "add_jobs",
            preserve_run_at=preserve_run_at,
            **_columns(requests, [run_at for _, run_at in waiting.values()]),
        )
        found = matched(waiting, rows)
        if len(found) != len(rows):  # a trigger rewrote them; trying again would store them twice
            raise JobNotStored("add_jobs answered with jobs that nobody asked for; roll back")
        stored |= found
        waiting = {place: request for place, request in waiting.items() if place not in stored}
    raise JobNotStored(
        f"{len(waiting)} jobs were not stored in {TRIES} tries: other sessions keep taking their keys"
    )


def _columns(requests: Sequence[NewJob | Event], run_ats: Sequence[datetime | None]) -> dict[str, list[Any]]:
    return {
        "identifiers": [request.identifier for request in requests],
        "payloads": [request.payload_text for request in requests],
        "queue_names": [request.queue_name for request in requests],
        "run_ats": list(run_ats),
        "max_attempts": [request.max_attempts for request in requests],
        "keys": [request.key for request in requests],
        "priorities": [request.priority for request in requests],
        "flags": [
            None if not request.flags else json_text("flags", list(request.flags)) for request in requests
        ],
    }


def _due_times(requests: Iterable[NewJob | Event]) -> Operation[list[datetime | None]]:
    """When each is due; the database is asked for its time only where there is a delay."""
    requests = list(requests)
    now = None
    if any(request.delay is not None for request in requests):
        ((now,),) = yield statement("clock")
    return [due(request.run_at, request.delay, now) for request in requests]
