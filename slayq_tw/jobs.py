"""`JobStore`: the daemon's side of the job tables, in terms of claims and what becomes of them."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from secrets import token_hex
from typing import Any

from slayq_tw.configcheck import CRON_IDENTIFIER, DEFAULT_MAX_PAYLOAD
from slayq_tw.database import Cursor, Database
from slayq_tw.errors import DatabaseError
from slayq_tw.job import Failure, Job
from slayq_tw.pgerrors import UNTRANSLATABLE
from slayq_tw.sqlfiles import named_queries
from slayq_tw.upcoming import WALK, Upcoming

CRON_KEY = "cron"
MAX_CLAIM = 16 * 1024 * 1024
"""Bytes of payload after which a claim takes no further jobs; so it has one payload more than that, at most."""
NO_TEXT = frozenset({"22021", "22P05"})
"""Codes of what cannot be sent as UTF-8: a database without an encoding (SQL_ASCII) takes any bytes, and other encodings
have characters that Unicode has not. One such row fails a statement whole."""


def _array(elements: Iterable[object]) -> str:
    """An array as Postgres reads it. A driver's array is an expression, parsed element by element."""
    return f"{{{','.join(map(str, elements))}}}"


def _by_id(job: Job) -> int:
    return job.id


class JobStore:
    """Claims jobs, and writes under their claims what became of them.

    It knows what it holds: a job is held from its claim until its end is written. Whatever locks several jobs, here
    and in the SQL functions, locks them by id, so that none waits for another in a circle.

    Args:
        database: with the schema in place.
        identifiers: all that this process serves.
        limit: bytes of a payload, at most.
        upcoming: is told what claims tell of the next one.
    """

    def __init__(
        self,
        database: Database,
        identifiers: Iterable[str],
        limit: int = DEFAULT_MAX_PAYLOAD,
        upcoming: Upcoming | None = None,
    ) -> None:
        self._max_payload = limit
        self._upcoming = upcoming
        self._database = database
        self._identifiers = tuple(identifiers)
        self._queries = named_queries("jobs.sql")
        self._tasks: dict[str, int] = {}
        self._names: dict[int, str] = {}
        self._held: dict[int, Job] = {}
        self.worker = f"pool-{token_hex(9)}"

    @property
    def held(self) -> int:
        """How many claimed jobs have no written end yet."""
        return len(self._held)

    async def register(self) -> None:
        """Make the served identifiers known and learn their ids. Doing it again finds rows that were recreated.

        Raises:
            DatabaseError: also when the database's encoding cannot hold one of them.
        """
        names = {"identifiers": list(self._identifiers)}
        try:
            rows = await self._database.brief_query(self._queries["register_tasks"], names)
        except DatabaseError as error:
            if error.sqlstate != UNTRANSLATABLE:
                raise
            shown = ", ".join(f'"{name}"' for name in self._identifiers if not name.isascii())
            raise DatabaseError(
                f"queues: the database's encoding cannot hold one of {shown} ({error}); give the queue or alias another "
                "name, or use a database with the encoding UTF8",
                error.sqlstate,
            ) from error
        self._tasks = dict(rows)
        self._names = {number: name for name, number in rows}

    async def claim(self, requests: Sequence[tuple[Sequence[str], int]]) -> list[list[Job]]:
        """Claim due jobs for several groups of identifiers in one statement.

        Args:
            requests: for each group its identifiers and how many jobs it wants at most.

        Returns:
            For each group its jobs, by priority, then run_at.
        """
        asked = [
            (self._tasks[name], number, limit)
            for number, (names, limit) in enumerate(requests)
            for name in names
            if name in self._tasks and limit > 0
        ]
        if not asked:
            return [[] for _ in requests]
        tasks, groups, limits = (list(column) for column in zip(*asked, strict=True))
        group_of = dict(zip(tasks, groups, strict=True))
        claimed: list[list[Job]] = [[] for _ in requests]
        for number, task, *rest in await self._claimed(tasks, groups, limits):
            job = Job(number, self._names[task], *rest)
            self._held[job.id] = job.slim()
            claimed[group_of[task]].append(job)
        for jobs in claimed:
            jobs.sort(key=lambda job: (job.priority, job.run_at, job.id))
        return claimed

    async def _claimed(
        self, tasks: Sequence[int], groups: Sequence[int], limits: Sequence[int]
    ) -> list[tuple[Any, ...]]:
        """Claim; rows with the fields of `Job`, a task's id for its identifier."""
        upcoming = self._upcoming
        steps = WALK if upcoming is None else upcoming.steps
        parameters = {
            "tasks": tasks,
            "groups": groups,
            "limits": limits,
            "worker": self.worker,
            "max_bytes": MAX_CLAIM,
            "max_payload": self._max_payload,
            "after_lane": 0 if upcoming is None else upcoming.after_lane,
            "steps": steps,
        }
        try:
            rows = await self._database.brief_query(
                self._queries["claim_jobs"], {**parameters, "texts": True}
            )
            *rows, (*_, due_in, _, _, _, _, next_lane) = rows
        except DatabaseError as error:
            if error.sqlstate not in NO_TEXT:
                raise
            rows = await self._database.query(self._queries["claim_jobs"], {**parameters, "texts": False})
            *rows, (*_, due_in, _, _, _, _, next_lane) = rows
            rows = [await self._with_texts(row) for row in rows]
        if upcoming is not None:
            upcoming.told(due_in, next_lane, steps)
        return [row[:-1] for row in rows]

    async def _with_texts(self, row: tuple[Any, ...]) -> tuple[Any, ...]:
        """The row of a claim with its texts; if it has any that is none, with that as its fault."""
        number, task, _, attempts, max_attempts, _, *numbers, fault, next_lane = row
        payload = key = None
        if fault is None:
            try:
                rows = await self._database.query(self._queries["texts_of_claim"], {"id": number})
                payload, key = rows[0] if rows else (None, None)
            except DatabaseError as error:
                if error.sqlstate not in NO_TEXT:
                    raise
                fault = f"payload or key is no text: {error}"
        return (number, task, payload, attempts, max_attempts, key, *numbers, fault, next_lane)

    async def complete(self, jobs: Sequence[Job]) -> set[int]:
        """Remove delivered jobs; the ids that were still there."""
        jobs = sorted(jobs, key=_by_id)
        rows = await self._database.brief_query(
            self._queries["complete_jobs"],
            {**self._claims(jobs), "revisions": _array([job.revision for job in jobs])},
        )
        self._let_go(jobs)
        return {row[0] for row in rows}

    async def fail(self, failures: Sequence[Failure]) -> dict[int, bool]:
        """End failed attempts.

        Returns:
            By id of those whose claim still stood: whether the job has now failed for good.
        """
        failures = sorted(failures, key=lambda failure: failure.job.id)
        jobs = [failure.job for failure in failures]
        errors = [failure.error for failure in failures]
        parameters = {
            **self._claims(jobs),
            "delays": [failure.delay for failure in failures],
            "finals": [failure.final for failure in failures],
        }
        try:
            rows = await self._database.brief_query(
                self._queries["fail_jobs"], {**parameters, "errors": errors}
            )
        except DatabaseError as error:
            if error.sqlstate != UNTRANSLATABLE:
                raise
            # The database's encoding does not have all of these characters. Escaped, they say as much.
            errors = [text.encode("ascii", "backslashreplace").decode() for text in errors]
            rows = await self._database.brief_query(
                self._queries["fail_jobs"], {**parameters, "errors": errors}
            )
        self._let_go(jobs)
        return dict(rows)

    async def release(self, jobs: Sequence[Job]) -> set[int]:
        """Hand jobs back unworked, their attempt uncounted; the ids whose claim still stood."""
        return set(await self._give_back((job, None) for job in jobs))

    async def defer(self, waits: Iterable[tuple[Job, float]]) -> dict[int, datetime]:
        """Hand jobs back as `release` does, each not to be claimed for so many seconds.

        Returns:
            By id of those whose claim still stood: from when on it can be claimed.
        """
        return await self._give_back(waits)

    async def _give_back(self, waits: Iterable[tuple[Job, float | None]]) -> dict[int, datetime]:
        waits = sorted(waits, key=lambda wait: wait[0].id)
        jobs = [job for job, _ in waits]
        rows = await self._database.brief_query(
            self._queries["release_jobs"],
            {
                **self._claims(jobs),
                "waits": _array(["NULL" if seconds is None else seconds for _, seconds in waits]),
            },
        )
        self._let_go(jobs)
        return dict(rows)

    async def recall(self, jobs: Sequence[tuple[int, datetime]]) -> list[int]:
        """Make jobs due now that were put off, unless somebody has them or has given them another time.

        Args:
            jobs: id and `run_at` of each, in the order in which they shall come.

        Returns:
            The ids of those that are due now.
        """
        by_id = sorted((number, run_at, place) for place, (number, run_at) in enumerate(jobs, 1 - len(jobs)))
        rows = await self._database.query(
            self._queries["recall_jobs"],
            {
                "ids": _array([number for number, _, _ in by_id]),
                "times": _array([f'"{run_at.isoformat()}"' for _, run_at, _ in by_id]),
                "places": _array([place for _, _, place in by_id]),
            },
        )
        return [row[0] for row in rows]

    async def release_strays(self) -> tuple[list[int], int]:
        """Hand back what carries this worker's id under no claim that is held: claims whose answer was lost.

        No claim may be under way meanwhile.

        Returns:
            Their ids, and how many are left because somebody's transaction has their rows locked.
        """
        rows = await self._database.query(
            self._queries["release_strays"], self._claims(list(self._held.values()))
        )
        strays = [number for number, returned in rows if returned]
        return strays, len(rows) - len(strays)

    async def unserved(self) -> list[str]:
        """Identifiers with due jobs that this process does not serve."""
        rows = await self._database.query(
            self._queries["unserved_identifiers"], {"tasks": list(self._names)}, timeout=10.0
        )
        return [row[0] for row in rows]

    async def remember_for(self, seconds: float) -> None:
        """Have fired events remembered for at least that long: a wait may be recorded late in a long delivery."""
        await self._database.query(self._queries["remember_for"], {"seconds": seconds})

    async def register_crontab(self) -> None:
        """Make the cron tick's identifier known, so that every process agrees since when it exists."""
        await self._database.query(self._queries["register_crontab"], {"identifier": CRON_IDENTIFIER})

    async def schedule_tick(
        self, minute: datetime, payload: str, stuck: datetime | None
    ) -> tuple[bool, datetime | None]:
        """Add the cron tick of one minute unless some process did.

        Args:
            minute: aware, a whole minute.
            payload: JSON text.
            stuck: a `last_execution` that is known to stand still in the future, and may be overruled.

        Returns:
            Whether this call added it, and the `last_execution` it found.
        """

        async def schedule(cursor: Cursor) -> tuple[bool, datetime | None]:
            await cursor.execute(
                self._queries["schedule_minute"],
                {
                    "identifier": CRON_IDENTIFIER,
                    "key": CRON_KEY,
                    "minute": minute,
                    "payload": payload,
                    "stuck": stuck,
                },
            )
            ((moved, added, before),) = cursor.fetchall()
            if (
                moved and not added
            ):  # add_job's answer of nulls; rolling back leaves the minute to the next try
                raise DatabaseError("add_job stored no cron tick")
            return bool(moved), before

        return await self._database.transaction(schedule)

    def _claims(self, jobs: Sequence[Job]) -> dict[str, object]:
        return {
            "worker": self.worker,
            "ids": _array([job.id for job in jobs]),
            "claimed": _array([job.locked_us for job in jobs]),
            "lanes": _array(["NULL" if job.lane is None else job.lane for job in jobs]),
        }

    def _let_go(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            held = self._held.get(job.id)
            if held is not None and held.locked_us == job.locked_us:  # it may have been claimed again since
                del self._held[job.id]
