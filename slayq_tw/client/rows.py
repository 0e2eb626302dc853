"""`StoredJob`: a row of the job table; and which row answers which request."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from slayq_tw.client.requests import NewJob

DEFAULT_PAYLOAD = "{}"
DEFAULT_MAX_ATTEMPTS = 25
DEFAULT_PRIORITY = 0


@dataclass(frozen=True, slots=True)
class StoredJob:
    """A job as a call left it, or as it was when the call removed it.

    Attributes:
        identifier: of its task; None for a job whose task has vanished.
        payload: JSON text.
        attempts: begun so far; a job with as many as `max_attempts` has failed for good.
        locked_by: the worker that has it; with `locked_at`, None when nobody has.
        revision: how often it was re-added under its key.
        flags: sorted; None when there are none.
    """

    id: int
    identifier: str | None
    queue_name: str | None
    payload: str
    priority: int
    run_at: datetime
    attempts: int
    max_attempts: int
    last_error: str | None
    created_at: datetime
    updated_at: datetime
    key: str | None
    locked_at: datetime | None
    locked_by: str | None
    revision: int
    flags: tuple[str, ...] | None


class Names:
    """Names of tasks and serial queues by their ids."""

    def __init__(self) -> None:
        self._tasks: dict[int, str] = {}
        self._queues: dict[int, str] = {}

    def missing(self, rows: Iterable[Sequence[Any]]) -> Mapping[str, list[int]] | None:
        """The ids in rows of `jobs_as_rows` whose names the statement could not see; None when it saw all."""
        tasks: set[int] = set()
        queues: set[int] = set()
        for _, task_id, identifier, queue_id, queue_name, *_ in rows:
            self._note(self._tasks, task_id, identifier, tasks)
            if queue_id is not None:
                self._note(self._queues, queue_id, queue_name, queues)
        return {"tasks": sorted(tasks), "queues": sorted(queues)} if tasks or queues else None

    @staticmethod
    def _note(known: dict[int, str], number: int, name: str | None, missing: set[int]) -> None:
        if name is None:
            missing.add(number)
        else:
            known[number] = name

    def learn(self, rows: Iterable[Sequence[Any]]) -> None:
        """Take in the rows of `names`."""
        for kind, number, name in rows:
            (self._tasks if kind == "task" else self._queues)[number] = name

    def stored_job(self, row: Sequence[Any]) -> StoredJob:
        """One row of `jobs_as_rows`."""
        number, task_id, _, queue_id, _, *others, flags = row
        values = [
            number,
            self._tasks.get(task_id),
            self._queues.get(queue_id) if queue_id is not None else None,
            *others,
            None if flags is None else tuple(sorted(flags)),
        ]
        return StoredJob(*values)


def rounds(jobs: Sequence[NewJob]) -> list[list[int]]:
    """Split a bulk of requests, so that no key stands twice in one round.

    The n-th request of a key goes into the n-th round: the effect is that of adding one after the other, so arrays
    of payloads grow in order, and otherwise the last one wins.

    Returns:
        For each round the places of its requests.
    """
    seen: dict[str, int] = defaultdict(int)
    split: list[list[int]] = []
    for place, job in enumerate(jobs):
        turn = 0
        if job.key is not None:
            turn = seen[job.key]
            seen[job.key] += 1
        if turn == len(split):
            split.append([])
        split[turn].append(place)
    return split


def matched(
    requests: Mapping[int, tuple[NewJob, datetime | None]], stored: Iterable[StoredJob]
) -> dict[int, StoredJob]:
    """Find out which row answers which request, since `add_jobs` answers in any order and leaves some out.

    A keyed request is known by its key, any other by all that it asked for: requests that ask for the same are
    interchangeable.

    Args:
        requests: by place, with the moment each is due.
        stored: the answer.

    Returns:
        By place; requests without a row are left out.
    """
    by_key: dict[str, StoredJob] = {}
    by_content: dict[tuple[object, ...], list[StoredJob]] = defaultdict(list)
    started = None
    for row in stored:
        if row.key is not None:
            by_key[row.key] = row
        else:
            started = row.created_at  # the transaction's time, and the default of run_at
            by_content[_content_of_row(row)].append(row)
    found: dict[int, StoredJob] = {}
    for place, (job, run_at) in requests.items():
        if job.key is not None:
            if job.key in by_key:
                found[place] = by_key[job.key]
        elif same := by_content[_content_of_request(job, run_at or started)]:
            found[place] = same.pop()
    return found


def _content_of_row(row: StoredJob) -> tuple[object, ...]:
    return (
        row.identifier,
        row.queue_name,
        row.payload,
        row.run_at,
        row.max_attempts,
        row.priority,
        row.flags,
    )


def _content_of_request(job: NewJob, run_at: datetime | None) -> tuple[object, ...]:
    return (
        job.identifier,
        job.queue_name,
        DEFAULT_PAYLOAD if job.payload_text is None else job.payload_text,
        run_at,
        DEFAULT_MAX_ATTEMPTS if job.max_attempts is None else job.max_attempts,
        DEFAULT_PRIORITY if job.priority is None else job.priority,
        tuple(sorted(set(job.flags))) if job.flags else None,
    )
