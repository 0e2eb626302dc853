"""`slayq_tw.client`: what is checked, and what is made of the answers. The database is in integration/test_client."""

import inspect
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

import slayq_tw
from slayq_tw import client
from slayq_tw.client import Event, InvalidRequest, JobNotStored, NewJob, adding, asynchronous
from slayq_tw.client.checks import json_text
from slayq_tw.client.operation import Operation, Statement
from slayq_tw.client.requests import due
from slayq_tw.client.rows import StoredJob, matched, rounds
from slayq_tw.errors import SlayQError
from slayq_tw.payload import parse_payload

NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
ENDPOINT = "https://app.test/api/slay-q"


def an_event(name: Any = "mail/welcome", data: Any = None, **changes: Any) -> Event:
    """An event in which only the changes can be wrong."""
    return Event(name, data, **{"queue": "mail", "endpoint": ENDPOINT, **changes})


def a_row(number: int, **changes: Any) -> tuple[Any, ...]:
    """A row of `jobs_as_rows`: of task 1, `mail`, as an add without options leaves it."""
    values = {
        "id": number,
        "task_id": 1,
        "identifier": "mail",
        "queue_id": None,
        "queue_name": None,
        "payload": "{}",
        "priority": 0,
        "run_at": NOON,
        "attempts": 0,
        "max_attempts": 25,
        "last_error": None,
        "created_at": NOON,
        "updated_at": NOON,
        "key": None,
        "locked_at": None,
        "locked_by": None,
        "revision": 0,
        "flags": None,
    }
    return tuple({**values, **changes}.values())


def played(operation: Operation[Any], answer: Callable[[Statement], Sequence[Sequence[Any]]]) -> Any:
    """Run an operation against a function that answers statements."""
    statement = next(operation)
    try:
        while True:
            statement = operation.send(answer(statement))
    except StopIteration as end:
        return end.value


class CheckTests(SynchronousTestCase):
    """Requests that could never be stored are refused before anything is sent (section 8.4)."""

    def assertFault(self, fault: str, make: Callable[..., object], *args: Any, **changes: Any) -> None:
        """Making it is refused with exactly this fault."""
        error = self.assertRaises(InvalidRequest, make, *args, **changes)
        self.assertEqual(str(error), fault)

    def test_kind(self) -> None:
        """The error is one of ours and a ValueError."""
        self.assertTrue(issubclass(InvalidRequest, SlayQError) and issubclass(InvalidRequest, ValueError))

    def test_lengths(self) -> None:
        """Names have 1 to 128 characters, keys 1 to 512, and characters are not bytes."""
        NewJob("é" * 128, queue_name="é" * 128, key="é" * 512)
        self.assertFault("identifier: must have at most 128 characters, got 129", NewJob, "é" * 129)
        self.assertFault("identifier: must not be empty", NewJob, "")
        self.assertFault(
            "queue_name: must have at most 128 characters, got 129", NewJob, "t", queue_name="q" * 129
        )
        self.assertFault("queue_name: must not be empty", NewJob, "t", queue_name="")
        self.assertFault("key: must have at most 512 characters, got 513", NewJob, "t", key="k" * 513)
        self.assertFault("key: must not be empty", NewJob, "t", key="")
        self.assertFault("queue: must not be empty", an_event, queue="")
        self.assertFault("name: must not be empty", an_event, "")

    def test_numbers(self) -> None:
        """Zero is a priority; no number is taken that its column cannot hold, nor anything but an integer."""
        for priority in (-32768, 0, 32767):
            NewJob("t", priority=priority)
        self.assertFault("priority: must be from -32768 to 32767, got 32768", NewJob, "t", priority=32768)
        self.assertFault("priority: must be from -32768 to 32767, got -32769", NewJob, "t", priority=-32769)
        self.assertFault("priority: must be an integer, got float", NewJob, "t", priority=1.0)
        self.assertFault("priority: must be an integer, got bool", NewJob, "t", priority=True)
        for attempts in (1, 32767):
            NewJob("t", max_attempts=attempts)
        self.assertFault("max_attempts: must be from 1 to 32767, got 0", NewJob, "t", max_attempts=0)
        self.assertFault("max_attempts: must be from 1 to 32767, got 32768", NewJob, "t", max_attempts=32768)
        self.assertFault("retries: must be from 0 to 32766, got -1", an_event, retries=-1)
        self.assertFault("retries: must be from 0 to 32766, got 32767", an_event, retries=32767)

    def test_texts(self) -> None:
        """What Postgres cannot hold is no text: U+0000 and half a surrogate pair."""
        for name in ("queue_name", "key"):
            self.assertFault(f"{name}: must not contain U+0000", NewJob, "t", **{name: "a\0"})
            self.assertFault(
                f"{name}: must not contain half a surrogate pair", NewJob, "t", **{name: "\ud800"}
            )
            self.assertFault(f"{name}: must be a string, got int", NewJob, "t", **{name: 7})
        self.assertFault("identifier: must not contain U+0000", NewJob, "\0")
        self.assertFault("name: must not contain U+0000", an_event, "\0")

    def test_flags(self) -> None:
        """Flags are strings in a collection, none of them null; an empty one is like none."""
        for flags in ([], ["a", "a"], {"a", ""}, ("b",)):
            NewJob("t", flags=flags)
        self.assertFault("flags: must be a string, got NoneType", NewJob, "t", flags=["a", None])
        self.assertFault("flags: must be a list of strings, got str", NewJob, "t", flags="urgent")
        self.assertFault("flags: must not contain U+0000", NewJob, "t", flags=["\0"])

    def test_modes(self) -> None:
        """There are three modes."""
        self.assertFault(
            "key_mode: must be one of 'replace', 'preserve_run_at', 'unsafe_dedupe'",
            NewJob,
            "t",
            key_mode="keep",
        )
        self.assertFault(
            "key_mode: must be one of 'replace', 'preserve_run_at', 'unsafe_dedupe'", NewJob, "t", key_mode=[]
        )

    def test_times(self) -> None:
        """A moment has a time zone; a delay is a sane number of seconds; there is one of them."""
        for delay in (0, 0.5, timedelta(days=36525)):
            NewJob("t", delay=delay)
        NewJob("t", run_at=NOON.astimezone(timezone(timedelta(hours=-5))))
        self.assertFault(
            "run_at: must have a time zone (a naive datetime is no moment)",
            NewJob,
            "t",
            run_at=NOON.replace(tzinfo=None),
        )
        self.assertFault("run_at: must be a datetime, got date", NewJob, "t", run_at=NOON.date())
        self.assertFault("run_at and delay: give one of them", NewJob, "t", run_at=NOON, delay=1)
        self.assertFault("delay: must be from 0 s to 36525 days, got -1 s", NewJob, "t", delay=-1)
        self.assertFault("delay: must be from 0 s to 36525 days, got nan s", NewJob, "t", delay=float("nan"))
        self.assertFault("delay: must be from 0 s to 36525 days, got inf s", NewJob, "t", delay=float("inf"))
        self.assertFault("delay: must be seconds or a timedelta, got str", NewJob, "t", delay="5 minutes")

    def test_all_faults_at_once(self) -> None:
        """The text names everything that is wrong."""
        self.assertFault(
            "identifier: must not be empty; max_attempts: must be from 1 to 32767, got 0; key: must not be empty",
            NewJob,
            "",
            max_attempts=0,
            key="",
        )

    def test_payloads(self) -> None:
        """A payload is JSON; the refusal does not quote it."""
        for value in (object(), {1, 2}, NOON, float("nan"), float("-inf"), {(1,): 2}):
            error = self.assertRaises(InvalidRequest, NewJob, "t", {"secret": value})
            self.assertTrue(str(error).startswith("payload: is no JSON: "), error)
        circle: list[Any] = ["secret"]
        circle.append(circle)
        self.assertNotIn("secret", str(self.assertRaises(InvalidRequest, NewJob, "t", circle)))
        deep: list[Any] = []
        for _ in range(200_000):
            deep = [deep]
        self.assertRaises(InvalidRequest, NewJob, "t", deep)
        while deep:  # or its destruction overflows the stack
            deep = deep.pop()

    def test_undeliverable_events(self) -> None:
        """What the daemon would fail for good is refused at once."""
        self.assertFault(
            "endpoint: is not an absolute http:// or https:// URL", an_event, endpoint="/api/slay-q"
        )
        self.assertFault(
            "data: holds a member `__proto__`, which receivers drop, so its signature cannot verify",
            an_event,
            data={"a": [{"__proto__": {}}]},
        )

    def test_administration(self) -> None:
        """Ids, numbers and names are checked in the calls that change jobs too; zero is a number."""
        nothing = _Connection([])
        for ids, fault in (
            ([0], "ids: must be from 1 to 9223372036854775807, got 0"),
            ([2**63], "ids: must be from 1 to 9223372036854775807, got 9223372036854775808"),
            (["1"], "ids: must be an integer, got str"),
            ([None], "ids: must be an integer, got NoneType"),
            (5, "ids: must be a list of integers, got int"),
        ):
            for call in (client.complete_jobs, client.permanently_fail_jobs, client.reschedule_jobs):
                self.assertFault(fault, call, nothing, ids)
        self.assertFault(
            "attempts: must be from 0 to 32767, got -1", client.reschedule_jobs, nothing, [1], attempts=-1
        )
        self.assertFault("error: must not contain U+0000", client.permanently_fail_jobs, nothing, [1], "\0")
        self.assertFault("key: must not be empty", client.remove_job, nothing, "")
        self.assertFault(
            "worker_ids: must be a list of strings, got str", client.force_unlock_workers, nothing, "pool-1"
        )
        self.assertEqual(nothing.log, [])


class PayloadTests(SynchronousTestCase):
    """What is stored."""

    def test_event(self) -> None:
        """The members and their order are those of the SlayQ client (and `data` is absent when there is none)."""
        self.assertEqual(
            an_event(data={"n": 1}, retries=3).payload_text,
            '{"url":"https://app.test/api/slay-q","retry":3,"event":"mail/welcome","data":{"n":1}}',
        )
        self.assertEqual(
            an_event().payload_text, '{"url":"https://app.test/api/slay-q","retry":0,"event":"mail/welcome"}'
        )

    def test_attempts(self) -> None:
        """The first attempt and the retries; none given leaves the default."""
        self.assertEqual(an_event(retries=0).max_attempts, 1)
        self.assertEqual(an_event(retries=4).max_attempts, 5)
        self.assertIsNone(an_event().max_attempts)

    def test_text(self) -> None:
        """JSON without white space and needless escapes; a lone surrogate is escaped, as JavaScript does."""
        self.assertEqual(
            json_text("payload", {"é": [1, 1.5, None, True], "\ud800": "\0\n\u2028😀"}),
            '{"é":[1,1.5,null,true],"\\ud800":"\\u0000\\n\u2028😀"}',
        )
        self.assertEqual(NewJob("t", 10**300).payload_text, str(10**300))

    def test_nothing(self) -> None:
        """No payload is left to the database."""
        self.assertIsNone(NewJob("t").payload_text)
        self.assertEqual(NewJob("t", []).payload_text, "[]")

    @given(
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats(allow_nan=False, allow_infinity=False)
            | st.text(),
            lambda inner: (
                st.lists(inner) | st.dictionaries(st.text().filter(lambda t: "__proto__" not in t), inner)
            ),
            max_leaves=10,
        )
    )
    def test_any_json(self, value: Any) -> None:
        """Whatever JSON there is arrives unchanged, in UTF-8, and the daemon takes it."""
        text = an_event(data=[value]).payload_text
        self.assertEqual(json.loads(text)["data"], [value])
        text.encode("utf-8")
        parse_payload(text)

    def test_due(self) -> None:
        """A delay counts from the database's clock; a moment is itself; neither is at once."""
        self.assertEqual(due(None, 1.5, NOON), NOON + timedelta(seconds=1.5))
        self.assertEqual(due(None, timedelta(days=1), NOON), NOON + timedelta(days=1))
        self.assertEqual(due(NOON, None, None), NOON)
        self.assertIsNone(due(None, None, None))


class RoundTests(SynchronousTestCase):
    """No key stands twice in one call of add_jobs."""

    def test_rounds(self) -> None:
        """The n-th request of a key goes into the n-th call, in order; keyless ones into the first."""
        jobs = [NewJob("t", key=key) for key in ("a", None, "b", "a", "a", None, "b")]
        self.assertEqual(rounds(jobs), [[0, 1, 2, 5], [3, 6], [4]])
        self.assertEqual(rounds([]), [])

    @given(st.lists(st.none() | st.sampled_from("abc")))
    def test_any_bulk(self, keys: list[str | None]) -> None:
        """Every request goes out once, and those of one key in their order."""
        split = rounds([NewJob("t", key=key) for key in keys])
        self.assertEqual(sorted(place for places in split for place in places), list(range(len(keys))))
        for places in split:
            in_round = [keys[place] for place in places if keys[place] is not None]
            self.assertEqual(len(in_round), len(set(in_round)))
        for key in "abc":
            sent = [place for places in split for place in places if keys[place] == key]
            self.assertEqual(sent, sorted(sent))


class MatchTests(SynchronousTestCase):
    """Which row answers which request."""

    def stored(self, number: int, **changes: Any) -> StoredJob:
        names = (
            "id",
            "identifier",
            "queue_name",
            "payload",
            "priority",
            "run_at",
            "attempts",
            "max_attempts",
        )
        values = dict(zip(names, (number, "t", None, "{}", 0, NOON, 0, 25), strict=True))
        others = {
            "last_error": None,
            "created_at": NOON,
            "updated_at": NOON,
            "key": None,
            "locked_at": None,
            "locked_by": None,
            "revision": 0,
            "flags": None,
        }
        return StoredJob(**{**values, **others, **changes})

    def test_by_key(self) -> None:
        """Keyed rows are known by their key, in whatever order, and whatever became of their content."""
        requests = {0: (NewJob("t", [1], key="a"), None), 1: (NewJob("t", key="b"), None)}
        rows = [self.stored(7, key="b"), self.stored(8, key="a", payload="[0, 1]", revision=3)]
        self.assertEqual({place: row.id for place, row in matched(requests, rows).items()}, {0: 8, 1: 7})

    def test_missing(self) -> None:
        """A request that got no row is left out."""
        requests = {0: (NewJob("t", key="a"), None), 1: (NewJob("t", key="b"), None)}
        self.assertEqual(list(matched(requests, [self.stored(1, key="b")])), [1])

    def test_by_content(self) -> None:
        """Each thing that a keyless request can ask for tells its row from the others."""
        later = NOON + timedelta(seconds=1)
        requests = [
            (NewJob("t"), None),
            (NewJob("u"), None),
            (NewJob("t", queue_name="q"), None),
            (NewJob("t", {"a": 1}), None),
            (NewJob("t"), later),
            (NewJob("t", max_attempts=3), None),
            (NewJob("t", priority=-1), None),
            (NewJob("t", flags=["b", "a", "b"]), None),
        ]
        rows = [
            self.stored(0),
            self.stored(1, identifier="u"),
            self.stored(2, queue_name="q"),
            self.stored(3, payload='{"a":1}'),
            self.stored(4, run_at=later),
            self.stored(5, max_attempts=3),
            self.stored(6, priority=-1),
            self.stored(7, flags=("a", "b")),
        ]
        found = matched(dict(enumerate(requests)), reversed(rows))
        self.assertEqual({place: row.id for place, row in found.items()}, {n: n for n in range(8)})

    def test_equal_requests(self) -> None:
        """Requests for the same get a row each, also when one of them spells the defaults out."""
        requests = {
            0: (NewJob("t"), None),
            1: (NewJob("t", {}, max_attempts=25, priority=0, flags=[]), NOON),
        }
        found = matched(requests, [self.stored(1), self.stored(2)])
        self.assertEqual(sorted(row.id for row in found.values()), [1, 2])


class AddTests(SynchronousTestCase):
    """An answer of nulls is no job (item 32)."""

    def test_tried_again(self) -> None:
        """An add that stored nothing is made again, with the same values."""
        asked: list[Statement] = []

        def answer(statement: Statement) -> Sequence[Sequence[Any]]:
            asked.append(statement)
            return [] if len(asked) < 3 else [a_row(5, key="k")]

        job = played(adding.add_job("mail", key="k"), answer)
        self.assertEqual((job.id, len(asked)), (5, 3))
        self.assertEqual(asked[0], asked[2])

    def test_given_up(self) -> None:
        """It is not tried for ever, and never ends in anything but a job."""
        asked: list[Statement] = []

        def answer(statement: Statement) -> Sequence[Sequence[Any]]:
            asked.append(statement)
            return []

        self.assertRaises(JobNotStored, played, adding.add_job("mail", key="k"), answer)
        self.assertEqual(len(asked), adding.TRIES)
        self.assertRaises(JobNotStored, played, adding.add_jobs([NewJob("mail", key="k")]), answer)

    def test_bulk(self) -> None:
        """Only the requests of a bulk that got no row are made again; results stand in the requests' order."""
        asked: list[Any] = []

        def answer(statement: Statement) -> Sequence[Sequence[Any]]:
            keys = statement.parameters["keys"]
            asked.append(keys)
            stored = [key for key in keys if len(asked) > 1 or key != "b"]
            return [a_row(ord(key), key=key) for key in reversed(stored)]

        jobs = played(adding.add_jobs([NewJob("mail", key=key) for key in "abc"]), answer)
        self.assertEqual(asked, [["a", "b", "c"], ["b"]])
        self.assertEqual([job.key for job in jobs], ["a", "b", "c"])

    def test_unknown_rows(self) -> None:
        """Rows that nobody asked for are an error: making the requests again would store them twice."""
        operation = adding.add_jobs([NewJob("mail")])
        self.assertRaises(JobNotStored, played, operation, lambda _: [a_row(1, priority=7)])

    def test_nothing_to_add(self) -> None:
        """An empty bulk asks the database nothing: its functions would send a notice for it."""
        self.assertEqual(client.add_jobs(_Connection([]), []), [])
        self.assertIsNone(client.send_events(_Connection([]), []))


class _Cursor:
    """A DB-API cursor that answers from a list."""

    def __init__(self, log: list[str], answers: list[list[Any]]) -> None:
        self.log = log
        self._answers = answers
        self.description: Any = None

    def execute(self, sql: str, parameters: Any) -> None:
        self.log.append("execute")
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        self._rows = answer
        self.description = [()]

    def fetchall(self) -> list[Any]:
        return self._rows

    def close(self) -> None:
        self.log.append("close")


class _Connection:
    """A DB-API connection on which nothing but `cursor` works."""

    def __init__(self, answers: list[Any]) -> None:
        self.log: list[str] = []
        self._answers = answers

    def cursor(self) -> _Cursor:
        self.log.append("cursor")
        return _Cursor(self.log, self._answers)


class BlockingTests(SynchronousTestCase):
    """The caller's connection is used, and nothing of it changed."""

    def test_one_cursor(self) -> None:
        """A call opens one cursor and closes it; it needs nothing else of the connection."""
        connection = _Connection([[], [a_row(1)]])
        self.assertEqual(client.add_job(connection, "mail").id, 1)
        self.assertEqual(connection.log, ["cursor", "execute", "execute", "close"])

    def test_driver_error(self) -> None:
        """The driver's own errors come through, and the cursor is closed."""
        connection = _Connection([ZeroDivisionError()])
        self.assertRaises(ZeroDivisionError, client.add_job, connection, "mail")
        self.assertEqual(connection.log, ["cursor", "execute", "close"])

    def test_dictionaries(self) -> None:
        """A connection whose cursors give dictionaries serves as well."""
        connection = _Connection([[{str(place): value for place, value in enumerate(a_row(9))}]])
        self.assertEqual(client.add_job(connection, "mail").id, 9)

    def test_names(self) -> None:
        """Names that the statement's snapshot does not hold yet are looked up."""
        unseen = a_row(1, identifier=None, queue_id=4)
        connection = _Connection([[unseen], [("task", 1, "new"), ("queue", 4, "lane")]])
        job = client.add_job(connection, "new", queue_name="lane")
        self.assertEqual((job.identifier, job.queue_name), ("new", "lane"))

    def test_signatures(self) -> None:
        """`help` shows what a call takes, the connection or the database first, and what it returns."""
        blocking = inspect.signature(client.send_event)
        self.assertEqual(list(blocking.parameters)[:5], ["connection", "name", "data", "queue", "endpoint"])
        waiting = inspect.signature(asynchronous.add_job)
        self.assertEqual(list(waiting.parameters)[:3], ["where", "identifier", "payload"])
        self.assertIs(waiting.return_annotation, StoredJob)

    def test_without_twisted(self) -> None:
        """A Django application that sends events imports neither Twisted nor a driver it may not have."""
        script = (
            "import sys, slayq_tw.client; "
            "print([name for name in ('twisted', 'txpostgres', 'psycopg2', 'yaml') if name in sys.modules])"
        )
        run = subprocess.run(
            [sys.executable, "-c", script],
            cwd=Path(slayq_tw.__file__).parent.parent,
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual((run.stdout.strip(), run.stderr), ("[]", ""))
