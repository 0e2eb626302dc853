"""`canonical_json` and `sign`."""

import json
import sys
import threading

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.canonical import MAX_DEPTH, NestingError
from slayq_tw.signing import canonical_json, is_signed, sign

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=())),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.sampled_from("0129a\ud83d\ude00é"), max_size=4), inner, max_size=5)
    ),
    max_leaves=12,
)


class CanonicalJSONTests(SynchronousTestCase):
    """`canonical_json` equals JavaScript's `JSON.stringify(JSON.parse(text))`."""

    def assertCanonical(self, cases: dict[str, str]) -> None:
        """Each text (a key) has this canonical form (its value)."""
        for text, expected in cases.items():
            self.assertEqual(canonical_json(text), expected.encode(), text[:100])

    def test_numbers(self) -> None:
        """A number is written as ECMAScript's `Number::toString` writes it, on both sides of each of its limits."""
        self.assertCanonical(
            {
                "1.0": "1",
                "-0": "0",
                "-0.0": "0",
                "-0e5": "0",
                "1e-400": "0",
                "-1e-400": "0",
                "0.1": "0.1",
                "1E2": "100",
                "1e16": "10000000000000000",
                "9007199254740993": "9007199254740992",
                "9007199254740993.0": "9007199254740992",
                "999999999999999": "999999999999999",
                "12345678901234567890": "12345678901234567000",
                "123456789012345678901": "123456789012345680000",
                "-1e20": "-100000000000000000000",
                "999999999999999868928": "999999999999999900000",
                "1e21": "1e+21",
                "1.5e300": "1.5e+300",
                "0.0001": "0.0001",
                "0.00001": "0.00001",
                "1.5e-5": "0.000015",
                "0.000001": "0.000001",
                "-1.25e-6": "-0.00000125",
                "9.99e-7": "9.99e-7",
                "1e-7": "1e-7",
                "5e-324": "5e-324",
                "1e400": "null",
                "[-1e400,1]": "[null,1]",
            }
        )

    def test_many_digits(self) -> None:
        """The interpreter's limit of 4,300 digits for integers does not apply."""
        self.assertCanonical({"1" + "0" * 5000: "null", "0." + "3" * 5000: "0.3333333333333333"})

    def test_strings(self) -> None:
        """Only quote, backslash and C0 controls are escaped, and lone surrogates; all else is raw UTF-8."""
        self.assertCanonical(
            {
                r'"\u0000\u001F\b\f\n\r\t\/\"\\"': r'"\u0000\u001f\b\f\n\r\t/\"\\"',
                r'"\u007f\u2028\u00e9"': '"\x7f\u2028é"',
                r'"\ud83d\ude00"': '"😀"',
                r'"\uDE00\uD83D"': r'"\ude00\ud83d"',
                '"a\ud83db"': r'"a\ud83db"',
            }
        )

    def test_halves_of_a_surrogate_pair_meet(self) -> None:
        """Two halves make one character, each written raw or as an escape; a key too."""
        for text in ('"\ud83d\\ude00"', '"\\ud83d\ude00"', '"\ud83d\ude00"'):
            self.assertEqual(canonical_json(text), '"😀"'.encode())
        self.assertEqual(canonical_json('{"\ud83d\\ude00":1,"😀":2}'), '{"😀":2}'.encode())
        self.assertRaises(ValueError, canonical_json, '"\\\ud83d"')

    def test_numbers_within_strings(self) -> None:
        """What looks like a number that needs rewriting stays as it is inside a string."""
        self.assertCanonical(
            {
                r'["1e-05", 1e-5, "\",1e-06,", "Infinity", 1e999]': (
                    r'["1e-05",0.00001,"\",1e-06,","Infinity",null]'
                ),
                '{"a":"x-1e-07","1e-07":1e-07}': '{"a":"x-1e-07","1e-07":1e-7}',
            }
        )

    def test_order_of_members(self) -> None:
        """Array indices first, ascending; the others as they came; a repeated key keeps place and last value."""
        self.assertCanonical(
            {
                '{"b":1,"10":2,"9":3,"a":4}': '{"9":3,"10":2,"b":1,"a":4}',
                '{"4294967295":1,"4294967294":2,"01":3,"-1":4,"1.0":5,"0":6}': (
                    '{"0":6,"4294967294":2,"4294967295":1,"01":3,"-1":4,"1.0":5}'
                ),
                '{"a":1,"b":2,"a":3}': '{"a":3,"b":2}',
                r'{"x":0,"\u0031":1}': '{"1":1,"x":0}',
                '{"x":0,"١":1}': '{"x":0,"١":1}',
                '{"__proto__":{"2":0,"1":0},"constructor":1}': '{"__proto__":{"1":0,"2":0},"constructor":1}',
            }
        )

    def test_white_space(self) -> None:
        """JSON's four white-space characters go; no other is one."""
        self.assertCanonical({' \t\n\r[ 1 ,\n{ "a" :\r2 } ] ': '[1,{"a":2}]'})
        for blank in "\v\f\xa0\ufeff\u2028\x00":
            self.assertRaises(ValueError, canonical_json, blank + "1")

    def test_not_json(self) -> None:
        """What is not JSON is a ValueError that says where."""
        positions = {
            "": 0,
            "[1,]": 3,
            "{'a':1}": 1,
            "01": 1,
            "1.": 1,
            "+1": 0,
            '"\n"': 1,
            '"\\x"': 1,
            "NaN": 0,
            '["NaN", NaN]': 8,
            '{"Infinity":-Infinity}': 12,
            "1 2": 2,
        }
        for text, position in positions.items():
            error = self.assertRaises(json.JSONDecodeError, canonical_json, text)
            self.assertApproximates(error.pos, position, 1, repr(text))

    def test_depth(self) -> None:
        """1,000 levels pass, arrays and objects alike; 1,001 do not, whatever the recursion limit."""
        for opening, innermost, closing in (
            ("[", "[]", "]"),
            ('{"a":', "{}", "}"),
            ('{"1":[', '{"1":[]}', "]}"),
        ):
            levels = innermost.count("[") + innermost.count("{")
            repeats = MAX_DEPTH // levels - 1
            text = opening * repeats + innermost + closing * repeats
            self.assertEqual(canonical_json(text), text.encode())
            self.assertRaises(NestingError, canonical_json, f"[{text}]")
        limit = sys.getrecursionlimit()
        self.addCleanup(sys.setrecursionlimit, limit)
        sys.setrecursionlimit(10_000)
        self.assertRaises(NestingError, canonical_json, "[" * 1001 + "]" * 1001)

    def test_depth_leaves_the_recursion_limit(self) -> None:
        """The recursion limit after a deep text is the one before."""
        self.addCleanup(sys.setrecursionlimit, sys.getrecursionlimit())
        sys.setrecursionlimit(600)
        canonical_json("[" * 1000 + "]" * 1000)
        self.assertRaises(ValueError, canonical_json, "[" * 1000)
        self.assertEqual(sys.getrecursionlimit(), 600)

    def test_depth_on_a_full_stack(self) -> None:
        """A deep text is read where the caller's own stack leaves little room."""
        text = "[" * 1000 + "]" * 1000

        def descend(levels: int) -> bytes:
            return descend(levels - 1) if levels else canonical_json(text)

        results: list[bytes] = []
        thread = threading.Thread(target=lambda: results.append(descend(sys.getrecursionlimit() - 100)))
        thread.start()
        thread.join()
        self.assertEqual(results, [text.encode()])

    def test_brackets_in_strings_are_no_depth(self) -> None:
        """Brackets within strings, and siblings, do not nest."""
        text = json.dumps(["[" * 3000, '\\"' + "{" * 3000, *[[{}]] * 2000], separators=(",", ":"))
        self.assertEqual(canonical_json(text), text.encode())

    def test_hostile_text_takes_linear_time(self) -> None:
        """A string that is never closed, full of escapes, is refused at once (it was minutes when quadratic)."""
        self.assertRaises(ValueError, canonical_json, "[" * 1001 + '"' + '\\"' * 1_000_000)

    @settings(max_examples=300, deadline=None)
    @given(JSON_VALUES)
    def test_fixed_point(self, value: object) -> None:
        """The canonical form of a canonical form is itself, and means what the text meant."""
        body = canonical_json(json.dumps(value))
        self.assertEqual(canonical_json(body.decode()), body)


class SignTests(SynchronousTestCase):
    """`sign` is HMAC-SHA512 in hex."""

    def test_known_answer(self) -> None:
        """RFC 4231, test case 2."""
        self.assertEqual(
            sign(b"what do ya want for nothing?", b"Jefe"),
            "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554"
            "9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
        )


class IsSignedTests(SynchronousTestCase):
    """`is_signed`: any of the signatures, under any of the secrets."""

    def test_combinations(self) -> None:
        """One that fits is enough, wherever it stands; none is not."""
        ours, other = sign(b"{}", b"ours"), sign(b"{}", b"other")
        for signatures, secrets, signed in (
            ([ours], [b"ours"], True),
            ([other, ours], [b"ours"], True),
            ([ours, other], [b"ours"], True),
            ([ours], [b"new", b"ours"], True),
            ([ours], [b"ours", b"new"], True),
            ([other], [b"ours"], False),
            ([ours, other], [b"new"], False),
            ([ours.upper(), ours[:-1], "", "é", "\udcff"], [b"ours"], False),
            ([], [b"ours"], False),
            ([ours], [], False),
        ):
            self.assertIs(is_signed(b"{}", signatures, secrets), signed, (signatures, secrets))

    def test_empty_secret(self) -> None:
        """It is refused: everybody can sign with it."""
        self.assertRaises(ValueError, is_signed, b"{}", [sign(b"{}", b"")], [b"ours", b""])
