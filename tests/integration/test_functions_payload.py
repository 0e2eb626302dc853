"""What a trigger does to a payload: any step name, any result, and every other member's text as it was."""

import json
from collections.abc import Callable
from typing import Any

import psycopg2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.application import ApplicationTestCase

BS = "\\"
NUL = BS + "u0000"
HALF = BS + "ud83d"

AWKWARD_NAMES = [
    "", "null", "a,b", 'say "hi"', "{brace}", "[0]", BS, BS + BS, BS + "u0000", "NULL", " spaced ", "é", "😀", "\x7f",
    "\x7f1", "line\nbreak", "0", "it's", "cache", "__proto__", "x" * 5000,
]  # fmt: skip


class StepNameTests(ApplicationTestCase):
    """Any text names a step."""

    def test_awkward_names(self) -> None:
        """Each name, fired for, is the member of the cache that JavaScript would look up."""
        self.app.send("order", key="k", run_at="tomorrow")
        for number, name in enumerate(AWKWARD_NAMES):
            self.app.wait("k", str(number), step=name)
            self.app.fire(str(number))
        cache = json.loads(self.app.keyed("k").payload)["cache"]
        self.assertEqual(cache, dict.fromkeys(AWKWARD_NAMES, True))

    def test_awkward_names_of_invocations(self) -> None:
        """The same for results."""
        self.app.send("order", key="k", run_at="tomorrow")
        for number, name in enumerate(AWKWARD_NAMES):
            self.app.call(
                "wait_for_invocation", _invoker_job_key="k", _target_job_key=f"t{number}", _step_name=name
            )
            self.app.call("trigger_waiting_invoker", _job_key=f"t{number}", _result=str(number))
        cache = json.loads(self.app.keyed("k").payload)["cache"]
        self.assertEqual(cache, {name: number for number, name in enumerate(AWKWARD_NAMES)})

    def test_no_name(self) -> None:
        """A null name is the member `null`, which is what JavaScript's cache[null] reads."""
        self.app.send("order", key="k", run_at="tomorrow")
        self.app.wait("k", step=None)
        self.app.fire()
        self.assertEqual(json.loads(self.app.keyed("k").payload)["cache"], {"null": True})

    def test_replaced_entry(self) -> None:
        """A step that has an entry already, under whatever spelling, gets the new one in its place."""
        self.app.send("order", key="k", more=r',"cache":{"a":1,"st\u0065p":2,"z":3}')
        self.app.wait("k", step="step")
        self.app.fire()
        self.assertIn(r'"cache":{"a":1,"st\u0065p":true,"z":3}', self.app.keyed("k").payload)


class CacheTests(ApplicationTestCase):
    """Where the entry goes."""

    def resumed(self, payload: str) -> str:
        self.app.call("add_worker_job", identifier="mail", payload=payload, job_key="k", run_at="tomorrow")
        self.app.wait("k")
        self.app.fire()
        return self.app.keyed("k").payload

    def test_no_cache(self) -> None:
        """A payload without a cache gets one."""
        self.assertEqual(self.resumed('{"event":"e"}'), '{"event":"e","cache":{"step":true}}')

    def test_cache_of_another_kind(self) -> None:
        """A cache that is no object gives way to one."""
        for cache in ("null", "[1]", '"text"', "7"):
            self.assertEqual(
                self.resumed(f'{{"cache":{cache},"event":"e"}}'), '{"cache":{"step":true},"event":"e"}'
            )

    def test_empty_payload(self) -> None:
        """The object that stands for no payload gets a cache too."""
        self.assertEqual(self.resumed("{}"), '{"cache":{"step":true}}')

    def test_not_an_object(self) -> None:
        """A payload that is no object cannot be delivered, stays as it is, and breaks nothing."""
        for payload in ("[1,2]", '"text"', "null", "7", f'["{NUL}"]', f'"{HALF}"'):
            self.app.rows("DELETE FROM graphile_worker._private_jobs")
            self.assertEqual(self.resumed(payload), payload)

    def test_repeated_cache(self) -> None:
        """Of several members with the name the last counts, as in JavaScript; the others keep their text."""
        self.assertEqual(
            self.resumed(r'{"cache":{"a":1},"c\u0061che":{"b":2},"x":3}'),
            r'{"cache":{"a":1},"c\u0061che":{"b":2,"step":true},"x":3}',
        )

    def test_other_members_keep_their_text(self) -> None:
        """Numbers, escapes, order, inner white space and repeated names: byte for byte."""
        members = [
            r'"n":1.50', r'"big":12345678901234567890', r'"e":1E+2', r'"z":{"b": 1,  "a":[ 2 ]}', r'"a\/b":"\/"',
            rf'"nul":"a{NUL}b"', rf'"half":"{HALF}"', r'"q\"q":"\"{\\\""', r'"dup":1', r'"dup":2', '"del":"\x7f1\x7f"',
            rf'"{NUL}":"{BS}{BS}u0000"', r'"é":"😀\ud83d\ude00"',
        ]  # fmt: skip
        text = "{" + ",".join(members) + "}"
        self.assertEqual(self.resumed(text), text[:-1] + ',"cache":{"step":true}}')

    def test_white_space_between_members(self) -> None:
        """White space between members may go; that inside them stays."""
        self.assertEqual(
            self.resumed('\n{ "a" : [1, 2] ,\t"b":"x y" }\r\n'),
            '{"a":[1, 2],"b":"x y","cache":{"step":true}}',
        )

    def test_deep_nesting(self) -> None:
        """A payload at the limit of the parser's stack is stored by the call, and triggers live with it."""
        depth = 0
        for depth in (9000, 8000, 7000, 6500, 6000, 5500, 5000, 4000, 3000):
            nested = "[" * depth + "]" * depth
            try:
                self.app.send("deep", key="deep", more=f',"data":{nested}', run_at="tomorrow")
            except psycopg2.errors.StatementTooComplex:
                continue
            break
        self.app.send("order", key="k", run_at="tomorrow")
        self.app.wait("deep")
        self.app.wait("k")
        self.app.fire()
        self.app.call("cancel_pending_tasks", event="deep", matchkey="a", matchval="b")
        self.assertIn('"step":true', self.app.keyed("k").payload)
        self.assertEqual(self.app.waits(), 0)


class ResultTests(ApplicationTestCase):
    """Any JSON is a result."""

    def resumed(self, result: str | None) -> str:
        self.app.send("order", key="k", run_at="tomorrow")
        self.app.call("wait_for_invocation", _invoker_job_key="k", _target_job_key="t", _step_name="s")
        self.app.call("trigger_waiting_invoker", _job_key="t", _result=result)
        _, _, entry = self.app.keyed("k").payload.partition('"cache":')
        return entry

    def test_null(self) -> None:
        """No result, which Supabase's client sends as SQL null, is JSON null."""
        self.assertEqual(self.resumed(None), '{"s":null}}')

    def test_text_is_kept(self) -> None:
        """A result's text is stored as it came."""
        for result in ("null", "1.0", f'{{"b": 1, "a":"{NUL}"}}', f'"{HALF}"', "[]", '""'):
            self.assertEqual(self.resumed(result), f'{{"s":{result}}}}}')


escape = st.sampled_from(
    [r"\"", r"\\", r"\/", r"\b", r"\n", NUL, HALF, BS + "ude00", r"\ud83d\ude00", r"\u0041", BS + "uDBFF"]
)
characters = st.text(st.characters(exclude_characters='"\\', exclude_categories=("Cc", "Cs")), max_size=3)
string = st.lists(st.one_of(escape, characters, st.just("\x7f0")), max_size=5).map(
    lambda s: '"' + "".join(s) + '"'
)
number = st.sampled_from(["0", "-0", "1.50", "1E5", "12345678901234567890", "1e-7"])
json_text: st.SearchStrategy[str] = st.recursive(
    st.one_of(string, number, st.sampled_from(["null", "true", "false"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: "[" + ", ".join(items) + "]"),
        st.lists(st.tuples(string, inner), max_size=3).map(
            lambda members: "{" + ",".join(f"{name} :{value}" for name, value in members) + "}"
        ),
    ),
    max_leaves=6,
)
step_names = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=4)


def last_named(name: str, members: list[tuple[str, str]]) -> int | None:
    """The place of the last member whose name reads as `name`."""
    places = [place for place, (text, _) in enumerate(members) if json.loads(text) == name]
    return places[-1] if places else None


class RandomPayloadTests(ApplicationTestCase):
    """The functions against a model in Python, over random payloads."""

    def run_examples(self, test: Callable[..., None], count: int = 150) -> None:
        settings(
            max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck),
            derandomize=True,
        )(test)()  # fmt: skip

    def test_with_step(self) -> None:
        """Exactly the one entry changes."""

        @given(st.lists(st.tuples(string, json_text), max_size=4), step_names, json_text)
        def check(members: list[tuple[str, str]], name: str, result: str) -> None:
            others = [(text, value) for text, value in members if json.loads(text) != "cache"]
            entries = list(others)
            place = last_named(name, entries)
            if place is None:
                entries.append((self.app.value("SELECT to_json(%s::text)::text", name), result))
            else:
                entries[place] = (entries[place][0], result)
            payload = _object([*others, ('"cache"', _object(others))])
            expected = _object([*others, ('"cache"', _object(entries))])
            stored = self.app.value(
                "SELECT slayq._private_with_step(%s, %s, %s)::text", payload, name, result
            )
            self.assertEqual(stored, expected)

        self.run_examples(check)

    def test_member_and_text(self) -> None:
        """A member reads as JavaScript reads it, or as nothing when Postgres cannot hold its text."""

        @given(st.lists(st.tuples(string, json_text), max_size=5))
        def check(members: list[tuple[str, str]]) -> None:
            payload = _object(members)
            for text, _ in members:
                name = json.loads(text)
                if not _storable(name):
                    continue
                place = last_named(name, members)
                assert place is not None
                member = members[place][1]
                self.assertEqual(
                    self.app.value("SELECT slayq._private_member(%s, %s)::text", payload, name), member
                )
                self.assertEqual(self.app.value("SELECT slayq._private_text(%s)", member), _text(member))

        self.run_examples(check)


def _object(members: list[tuple[str, str]]) -> str:
    return "{" + ",".join(f"{text}:{value}" for text, value in members) + "}"


def _storable(text: str) -> bool:
    return "\0" not in text and not any(0xD800 <= ord(character) < 0xE000 for character in text)


def _text(member: str) -> str | None:
    """What `->>` gives for a member, None where it would fail."""
    value: Any = json.loads(member)
    if value is None or not _everything_storable(value, member):
        return None
    return value if isinstance(value, str) else member


def _everything_storable(value: Any, member: str) -> bool:
    if isinstance(value, str):
        return _storable(value)
    return _storable(
        json.dumps(json.loads(member, object_pairs_hook=list), ensure_ascii=False).replace(NUL, "\0")
    )
