"""`slayq_tw.dev.receiver`: what the example application takes and refuses."""

from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.dev.receiver import MAX_AGE, Refused, verify
from slayq_tw.payload import parse_payload, request_body
from slayq_tw.signing import sign

SECRET = b"a secret"
NOW = 1_790_000_000.0


class VerifyTests(SynchronousTestCase):
    """Signed, and fresh."""

    def setUp(self) -> None:
        payload = parse_payload('{"url":"http://app.test/","retry":0,"event":"e","data":{"b":1.50,"a":null}}')
        self.body = request_body(payload, job_key="k", attempt=2, now_ms=int(NOW * 1000))

    def refusal(self, body: bytes, signature: str | None, now: float = NOW) -> str:
        return str(self.assertRaises(Refused, verify, body, signature, SECRET, now))

    def test_accepted(self) -> None:
        """What the daemon sends is taken, until it is too old."""
        signature = sign(self.body, SECRET)
        self.assertEqual(verify(self.body, signature, SECRET, NOW)["retry"], 2)
        self.assertEqual(verify(self.body, signature, SECRET, NOW + MAX_AGE)["event"], "e")
        self.assertEqual(self.refusal(self.body, signature, NOW + MAX_AGE + 0.1), "too old")

    def test_unknown_members(self) -> None:
        """Members that it does not know are dropped before it checks, as the client does."""
        more = self.body[:-1] + b',"admin":true}'
        self.assertNotIn("admin", verify(more, sign(self.body, SECRET), SECRET, NOW))
        self.assertEqual(self.refusal(more, sign(more, SECRET)), "the signature is wrong")

    def test_refused(self) -> None:
        """No signature, somebody else's, another body's, and what is no JSON."""
        self.assertIn("X-SlayQ-Signature", self.refusal(self.body, None))
        for signature in (sign(self.body, b"another"), "", "é", sign(b"{}", SECRET)):
            self.assertEqual(self.refusal(self.body, signature), "the signature is wrong")
        for body in (b"", b"[]", b"7", b"{", b"\xff"):
            self.assertTrue(self.refusal(body, sign(body, SECRET)))
