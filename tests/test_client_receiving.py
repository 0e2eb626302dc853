"""`slayq_tw.client.verify`: what a Python application takes and refuses."""

import json
import time
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.client import SIGNATURE_HEADERS, Refused, verify
from slayq_tw.client.receiving import MAX_AGE
from slayq_tw.payload import parse_payload, request_body
from slayq_tw.signing import sign

SECRET = b"a secret"
NOW = 1_790_000_000.0


class VerifyTests(SynchronousTestCase):
    """Signed, and fresh."""

    def setUp(self) -> None:
        self.body = self.made_at(NOW)

    def made_at(self, now: float) -> bytes:
        payload = parse_payload('{"url":"http://app.test/","retry":0,"event":"e","data":{"b":1.50,"a":null}}')
        return request_body(payload, job_key="k", attempt=2, now_ms=int(now * 1000))

    def refusal(self, body: bytes, signature: str | None, now: float = NOW) -> str:
        return str(self.assertRaises(Refused, verify, body, [signature], [SECRET], now))

    def test_accepted(self) -> None:
        """What the daemon sends is taken, until it is too old."""
        signature = sign(self.body, SECRET)
        self.assertEqual(verify(self.body, [signature], [SECRET], NOW)["retry"], 2)
        self.assertEqual(verify(self.body, [signature], ["a secret"], NOW + MAX_AGE)["event"], "e")
        self.assertEqual(self.refusal(self.body, signature, NOW + MAX_AGE + 0.1), "too old")

    def test_clock(self) -> None:
        """The time is the clock's unless it is given."""
        body = self.made_at(time.time())
        verify(body, [sign(body, SECRET)], [SECRET])
        body = self.made_at(time.time() - 60)
        self.assertRaises(Refused, verify, body, [sign(body, SECRET)], [SECRET])

    def test_both_headers(self) -> None:
        """A receiver that passes both header fields on is content with its one secret before and after its change."""
        self.assertEqual(SIGNATURE_HEADERS, ("X-SlayQ-Signature", "X-SlayQ-Signature-Previous"))
        headers = {
            "X-SlayQ-Signature": sign(self.body, b"new"),
            "X-SlayQ-Signature-Previous": sign(self.body, b"old"),
        }
        for secret in ("new", "old"):
            verify(self.body, map(headers.get, SIGNATURE_HEADERS), [secret], NOW)
        self.assertRaises(Refused, verify, self.body, map(headers.get, SIGNATURE_HEADERS), ["another"], NOW)

    def test_several_secrets(self) -> None:
        """One that reads the first field only accepts both secrets meanwhile."""
        for signing in (b"new", b"old"):
            verify(self.body, [sign(self.body, signing), None], ["new", b"old"], NOW)
        self.assertRaises(Refused, verify, self.body, [sign(self.body, b"older")], ["new", "old"], NOW)

    def test_useless_secrets(self) -> None:
        """A secret that is empty is nobody's: with it anybody could sign. A lone string is no list of secrets."""
        signature = sign(self.body, b"")
        self.assertRaises(ValueError, verify, self.body, [signature], [""], NOW)
        self.assertRaises(ValueError, verify, self.body, [signature], [SECRET, b""], NOW)
        self.assertRaises(TypeError, verify, self.body, [signature], "a secret", NOW)
        self.assertRaises(Refused, verify, self.body, [signature], [], NOW)

    def test_unknown_members(self) -> None:
        """Members that it does not know are dropped before it checks, as the client does."""
        more = self.body[:-1] + b',"admin":true}'
        self.assertNotIn("admin", verify(more, [sign(self.body, SECRET)], [SECRET], NOW))
        self.assertEqual(self.refusal(more, sign(more, SECRET)), "the signature is wrong")

    def test_refused(self) -> None:
        """No signature, somebody else's, another body's, and what is no JSON."""
        self.assertIn("X-SlayQ-Signature", self.refusal(self.body, None))
        for signature in (sign(self.body, b"another"), "", "é", sign(b"{}", SECRET)):
            self.assertEqual(self.refusal(self.body, signature), "the signature is wrong")
        for body in (b"", b"[]", b"7", b"{", b"\xff"):
            self.assertTrue(self.refusal(body, sign(body, SECRET)))

    def test_no_delivery(self) -> None:
        """What is signed, but not what the daemon sends, is refused like the rest."""
        document = {"job_key": "k", "retry": 1, "time": NOW * 1000, "event": "e"}
        wrong: list[dict[str, Any]] = [
            {name: value for name, value in document.items() if name != left_out} for left_out in document
        ]
        for value in (None, "1790000000000", [], {}, True):
            wrong += [{**document, "time": value}, {**document, "retry": value}]
        wrong += [{**document, "event": 1}, {**document, "job_key": None}]
        for each in wrong:
            body = json.dumps(each, separators=(",", ":")).replace(".0", "").encode()
            self.assertEqual(self.refusal(body, sign(body, SECRET)), "not what the daemon sends", each)
        for number, refusal in (("-1", "too old"), ("1e999", "no JSON object")):
            body = f'{{"job_key":"k","retry":1,"time":{number},"event":"e"}}'.encode()
            self.assertEqual(self.refusal(body, sign(body, SECRET)), refusal)
