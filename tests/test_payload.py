"""A job's payload, and the document made of it."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.errors import PayloadError
from slayq_tw.payload import Payload, parse_payload, request_body
from slayq_tw.signing import canonical_json

URL = "http://localhost:3000/api/slayq"
ANY_TEXT = st.text(st.characters(exclude_categories=()))
# Hypothesis tries the strings that stand in the code too, among them two names that no payload may have.
KEYS = (ANY_TEXT | st.just("1")).filter(lambda name: name not in ("__proto__", "constructor"))
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


def text_of(**members: object) -> str:
    """A valid payload with some members more, or others."""
    return json.dumps({"url": URL, "retry": 0, "event": "mail/welcome"} | members)


class ParsePayloadTests(SynchronousTestCase):
    """`parse_payload` takes what the contract calls valid, and says why it refuses the rest."""

    def assertRefused(self, text: str, *words: str) -> None:
        """The payload is refused with these words."""
        error = str(self.assertRaises(PayloadError, parse_payload, text))
        for word in words:
            self.assertIn(word, error)

    def test_least(self) -> None:
        """url, retry and event suffice; data and cache are absent then."""
        self.assertEqual(parse_payload(text_of()), Payload(URL, "mail/welcome", None, None))

    def test_null_is_present(self) -> None:
        """A data or cache of null is one."""
        payload = parse_payload(text_of(data=None, cache=None))
        self.assertEqual((payload.data, payload.cache), (b"null", b"null"))

    def test_other_keys_are_ignored(self) -> None:
        """Whatever they hold, also what no receiver could verify."""
        payload = parse_payload(text_of(_cron={"ts": 1}, x={"__proto__": 1}, __proto__=2, data={"a": 1.0}))
        self.assertEqual(payload, Payload(URL, "mail/welcome", b'{"a":1}', None))

    def test_last_of_repeated_keys(self) -> None:
        """As in JavaScript, the last one counts."""
        payload = parse_payload(
            f'{{"url":1,"retry":1,"event":"a","data":1,"url":"{URL}","data":2,"event":"b"}}'
        )
        self.assertEqual(payload, Payload(URL, "b", b"2", None))

    def test_any_number_is_a_retry(self) -> None:
        """Fractions, negative numbers, and what overflows to infinity, which is a number in JavaScript too."""
        for number in ("0", "-1", "2.5", "1e999"):
            payload = parse_payload(f'{{"url":"{URL}","event":"e","retry":{number}}}')
            self.assertEqual(payload, Payload(URL, "e", None, None), number)

    def test_not_an_object(self) -> None:
        """The error names what came instead."""
        for text, kind in (("[]", "an array"), ("null", "null"), ('"x"', "a string"), ("1", "a number")):
            self.assertRefused(text, "must be an object", kind)

    def test_not_json(self) -> None:
        """The error says where."""
        self.assertRefused('{"url":', "line 1 column 8")
        self.assertRefused('{"data":NaN}', "line 1 column 9")

    def test_members(self) -> None:
        """A missing member or one of the wrong type is named, with what came instead."""
        self.assertRefused(text_of(url=None), "payload.url must be a string", "null")
        self.assertRefused(text_of(url=["x"]), "payload.url must be a string", "an array")
        self.assertRefused(text_of(event=1), "payload.event must be a string", "a number")
        self.assertRefused(text_of(retry="1"), "payload.retry must be a number", "a string")
        self.assertRefused(text_of(retry=True), "payload.retry must be a number", "a boolean")
        self.assertRefused(text_of(retry={}), "payload.retry must be a number", "an object")
        for name in ("url", "event", "retry"):
            members = json.loads(text_of())
            del members[name]
            self.assertRefused(json.dumps(members), f"payload.{name} must be", "none")

    def test_url(self) -> None:
        """A URL that cannot be posted to is refused, without being quoted: it may hold a password."""
        self.assertRefused(text_of(url="/api/slayq"), "payload.url is not an absolute")
        self.assertRefused(text_of(url="ftp://app.test/"), "payload.url is not an absolute")
        error = self.assertRaises(PayloadError, parse_payload, text_of(url="http://u:pass@app.test:x/"))
        self.assertNotIn("pass", str(error))

    def test_what_receivers_drop(self) -> None:
        """`__proto__`, and `constructor` with a `prototype`, at any depth of data."""
        deep = '[{"a":' * 400 + '{"__proto__":1}' + "}]" * 400
        self.assertRefused(text_of(data={"__proto__": None}), "payload.data", "`__proto__`")
        self.assertRefused(f'{text_of()[:-1]},"data":{deep}}}', "payload.data", "`__proto__`")
        self.assertRefused(
            text_of(data=[{"constructor": {"a": 1, "prototype": None}}]), "payload.data", "constructor"
        )
        self.assertRefused(text_of()[:-1] + r',"data":{"\u005f_proto__":1}}', "`__proto__`")

    def test_steps_that_receivers_drop(self) -> None:
        """The application has named its steps so, and gave their results: it gets them as it gave them. Whatever reads
        them with `JSON.parse` verifies; what is built on h3 does not, so the payload knows why it may be refused.
        """
        for cache, name in (
            ({"__proto__": {"a": 1}, "nap": True}, "`__proto__`"),
            ({"step": [{"__proto__": None}]}, "`__proto__`"),
            ({"constructor": {"prototype": 1}}, "`constructor`"),
        ):
            payload = parse_payload(text_of(cache=cache))
            self.assertEqual(json.loads(payload.cache or b""), cache)
            self.assertIn(name, payload.doubt or "")
            self.assertIn("payload.cache", payload.doubt or "")
        for cache in ({}, {"constructor": {}}, {"step": "__proto__"}):
            self.assertIsNone(parse_payload(text_of(cache=cache)).doubt)

    def test_what_receivers_keep(self) -> None:
        """Names that merely resemble those."""
        data = {
            "constructor": "prototype",
            "a": {"constructor": ["prototype"]},
            "b": {"constructor": {"Prototype": {}}},
            "c": {"prototype": {}, 'x"__proto__': 1, 'x"constructor': {"prototype": 1}},
            "d": '{"__proto__":1,"constructor":{"prototype":1}}',
            "e": ["__proto__", "constructor"],
        }
        payload = parse_payload(text_of(data=data))
        self.assertEqual(json.loads(payload.data or b""), data)

    def test_values(self) -> None:
        """As many values as can be read in a moment; what looks like values within a text does not count."""
        base = '{"url":"http://app.test/","retry":0,"event":"e","data":'
        for filling, repeated in (("1,", 500_001), ("[],", 250_001), ("{},", 250_001), ('"",', 500_001)):
            error = self.assertRaises(PayloadError, parse_payload, f"{base}[{filling * repeated}1]}}")
            self.assertEqual(str(error), "payload has more than 500,000 values")
        self.assertRaises(PayloadError, parse_payload, '["' + '\\"' * 500_001 + "[" * 500_001)
        text = "[,{" * 500_000
        self.assertEqual(parse_payload(f'{base}"{text}"}}').data, f'"{text}"'.encode())

    def test_depth(self) -> None:
        """The whole payload may be 1,000 levels deep, and no more."""
        head = text_of()[:-1] + ',"data":'
        parse_payload(head + "[" * 999 + "]" * 999 + "}")
        self.assertRefused(head + "[" * 1000 + "]" * 1000 + "}", "nested more than 1,000 levels")

    @settings(max_examples=200, deadline=None)
    @given(st.text() | JSON_VALUES.map(json.dumps) | st.builds(text_of, url=JSON_VALUES, retry=JSON_VALUES))
    def test_any_text(self, text: str) -> None:
        """A payload or a PayloadError, never anything else."""
        try:
            parse_payload(text)
        except PayloadError as error:
            self.assertNotEqual(str(error), "")


class RequestBodyTests(SynchronousTestCase):
    """The document has six keys in one order, as canonical JSON."""

    def test_all_keys(self) -> None:
        """In the contract's order."""
        payload = Payload(URL, "mail/welcome", b'{"a":1}', b"{}")
        self.assertEqual(
            request_body(payload, job_key="k", attempt=3, now_ms=1_700_000_000_123),
            b'{"job_key":"k","retry":3,"time":1700000000123,"event":"mail/welcome","data":{"a":1},"cache":{}}',
        )

    def test_absent_keys(self) -> None:
        """What the payload lacks, the document lacks; a null stays."""
        self.assertEqual(
            request_body(Payload(URL, "e", None, None), job_key="job-1", attempt=1, now_ms=2),
            b'{"job_key":"job-1","retry":1,"time":2,"event":"e"}',
        )
        self.assertEqual(
            request_body(Payload(URL, "e", None, b"null"), job_key="job-1", attempt=1, now_ms=2),
            b'{"job_key":"job-1","retry":1,"time":2,"event":"e","cache":null}',
        )

    def test_surrogates(self) -> None:
        """In key and event, halves that meet are one character, and a lone one is escaped."""
        body = request_body(
            Payload(URL, "\ude00\ud83d", None, None), job_key="\ud83d\ude00", attempt=1, now_ms=2
        )
        self.assertEqual(body, r'{"job_key":"😀","retry":1,"time":2,"event":"\ude00\ud83d"}'.encode())

    @settings(max_examples=300, deadline=None)
    @given(ANY_TEXT, ANY_TEXT, st.dictionaries(st.sampled_from(["data", "cache"]), JSON_VALUES))
    def test_fixed_point(self, job_key: str, event: str, rest: dict[str, object]) -> None:
        """A JavaScript engine that parses the document and writes it again gets the same bytes."""
        payload = parse_payload(text_of(event=event, **rest))
        body = request_body(payload, job_key=job_key, attempt=1, now_ms=1_700_000_000_123)
        self.assertEqual(canonical_json(body.decode()), body)
        present = [name for name in ("data", "cache") if name in rest]
        self.assertEqual(list(json.loads(body)), ["job_key", "retry", "time", "event", *present])
