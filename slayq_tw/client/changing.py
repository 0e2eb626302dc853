"""Removing jobs, and the administrative functions: complete, fail for good, reschedule, unlock."""

from collections.abc import Collection, Iterator
from datetime import datetime

from slayq_tw.client.checks import (
    MAX_ATTEMPTS,
    MAX_KEY,
    SMALLINT,
    Delay,
    ids_faults,
    integer_faults,
    require,
    text_faults,
    time_faults,
)
from slayq_tw.client.operation import Operation, jobs_of, statement
from slayq_tw.client.requests import due
from slayq_tw.client.rows import StoredJob


def remove_job(key: str) -> Operation[StoredJob | None]:
    """Remove the job under a key. One that runs is not stopped: it loses its key and will not be retried.

    Returns:
        The job, or None when no job has the key.
    """
    require(text_faults("key", key, MAX_KEY))
    removed = yield from jobs_of("remove_job", key=key)
    return removed[0] if removed else None


def complete_jobs(ids: Collection[int]) -> Operation[list[StoredJob]]:
    """Remove jobs as if they had succeeded. Jobs that run are left alone.

    Returns:
        What was removed, in any order.
    """
    require(ids_faults(ids))
    completed = yield from jobs_of("complete_jobs", ids=list(ids))
    return completed


def permanently_fail_jobs(ids: Collection[int], error: str | None = None) -> Operation[list[StoredJob]]:
    """Fail jobs for good: they stay in the table with all attempts used up. Jobs that run are left alone.

    Args:
        error: for `last_error`; by default `Manually marked as failed`.

    Returns:
        What was changed, in any order.
    """
    require(ids_faults(ids))
    if error is not None:
        require(text_faults("error", error, empty=True))
    failed = yield from jobs_of("permanently_fail_jobs", ids=list(ids), error=error)
    return failed


def reschedule_jobs(
    ids: Collection[int],
    *,
    run_at: datetime | None = None,
    delay: Delay | None = None,
    priority: int | None = None,
    attempts: int | None = None,
    max_attempts: int | None = None,
) -> Operation[list[StoredJob]]:
    """Change what is given, zero included, and leave the rest. Jobs that run are left alone.

    `attempts=0` revives a job that has failed for good. What can run now is announced to the workers.

    Args:
        delay: how long from now; 0 is at once.

    Returns:
        What was changed, in any order.
    """
    require(ids_faults(ids))
    require(time_faults(run_at, delay))
    if priority is not None:
        require(integer_faults("priority", priority, SMALLINT))
    if attempts is not None:
        require(integer_faults("attempts", attempts, (0, MAX_ATTEMPTS[1])))
    if max_attempts is not None:
        require(integer_faults("max_attempts", max_attempts, MAX_ATTEMPTS))
    if delay is not None:
        ((now,),) = yield statement("clock")
        run_at = due(None, delay, now)
    changed = yield from jobs_of(
        "reschedule_jobs",
        ids=list(ids),
        run_at=run_at,
        priority=priority,
        attempts=attempts,
        max_attempts=max_attempts,
    )
    if changed:
        yield statement("announce_due", ids=[job.id for job in changed])
    return changed


def force_unlock_workers(worker_ids: Collection[str]) -> Operation[int]:
    """Unlock what dead workers hold, and tell the others.

    Args:
        worker_ids: `locked_by` of their jobs: pool ids, or worker ids of Graphile Worker 0.16. They must be dead:
            what a living one works on would be worked on twice.

    Returns:
        How many jobs were locked by them.
    """
    require(_worker_ids_faults(worker_ids))
    ((count, _),) = yield statement("force_unlock_workers", worker_ids=list(worker_ids))
    return int(count)


def _worker_ids_faults(worker_ids: object) -> Iterator[str]:
    if isinstance(worker_ids, str) or not isinstance(worker_ids, Collection):
        yield f"worker_ids: must be a list of strings, got {type(worker_ids).__name__}"
        return
    for worker_id in worker_ids:
        yield from text_faults("worker_ids", worker_id)
