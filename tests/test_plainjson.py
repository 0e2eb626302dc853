"""`slayq_tw.plainjson` is quick, and never says anything else than the slow way does."""

import json
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from slayq_tw import plainjson
from slayq_tw.errors import PayloadError
from slayq_tw.payload import Payload, _payload, _plain_payload
from slayq_tw.signing import canonical_json

VECTORS = Path(__file__).parent / "vectors" / "js-json.jsonl"
KEYS = st.text(max_size=4) | st.sampled_from(
    ["0", "12", "01", "__proto__", "constructor", "prototype", "é", '"1']
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(10**14, 10**17)
    | st.floats()
    | st.text(st.characters(exclude_categories=()), max_size=6)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=10,
)
TOKENS = st.sampled_from(
    [
        '{"a":',
        "[",
        "]",
        "}",
        ",",
        '"1":',
        '"x"',
        "1.0",
        "1e5",
        "-0",
        "01",
        "0",
        "NaN",
        " ",
        '"\\ud83d\\ude00"',
        '"\\ud83d"',
    ]
)


def slow(text: str) -> Payload | None:
    """What the slow way makes of a text; None when it refuses it."""
    try:
        return _payload(text)
    except PayloadError:
        return None


class PlainTests(SynchronousTestCase):
    """Equal, or not at all."""

    def test_the_common_payload(self) -> None:
        """An application's event goes the quick way."""
        text = (
            '{"url":"http://app.test/","retry":0,"event":"mail/welcome","data":{"id":12345,"to":["a@b.test"],'
            '"at":"2026-11-24T10:00:00.000Z","ok":true,"none":null,"guild":"81384788765712384","text":"line\\n\\"é\\" 1.0"},"cache":{}}'
        )
        self.assertIsNotNone(_plain_payload(text))
        self.assertEqual(_plain_payload(text), slow(text))

    def test_vectors(self) -> None:
        """Each vector's text as data: the canonical form, or none; most are no plain JSON, some are."""
        plain = 0
        for line in VECTORS.read_text("utf-8").rstrip("\n").split("\n"):
            vector = json.loads(line)
            members = plainjson.read(f'{{"data":{vector["text"]}}}')
            written = None if members is None else plainjson.write(members["data"])
            if written is not None:
                plain += 1
                self.assertEqual(written, vector["canonical"].encode(), vector["text"])
        self.assertGreater(plain, 100)

    @settings(max_examples=500, deadline=None)
    @given(
        VALUES.map(json.dumps)
        | VALUES.map(lambda value: json.dumps(value, ensure_ascii=False, indent=1))
        | st.lists(TOKENS, max_size=12).map("".join)
    )
    def test_any_value(self, text: str) -> None:
        """Whatever data an event has."""
        members = plainjson.read(f'{{"data":{text}}}')
        written = None if members is None or "data" not in members else plainjson.write(members["data"])
        if written is not None and list(members or ()) == ["data"]:
            self.assertEqual(b'{"data":%b}' % written, canonical_json(f'{{"data":{text}}}'))

    @settings(max_examples=500, deadline=None)
    @given(
        st.dictionaries(st.sampled_from(["url", "retry", "event", "data", "cache", "x"]), VALUES),
        st.booleans(),
    )
    def test_any_payload(self, members: dict[str, object], valid: bool) -> None:
        """A payload that is accepted quickly is accepted as the same slowly."""
        if valid:
            members = {"url": "http://app.test/", "retry": 0, "event": "e"} | {
                name: value for name, value in members.items() if name in ("data", "cache", "x")
            }
        for ensure_ascii in (True, False):
            text = json.dumps(members, ensure_ascii=ensure_ascii)
            quick = _plain_payload(text)
            if quick is not None:
                self.assertEqual(quick, slow(text))
