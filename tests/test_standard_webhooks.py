"""`slayq_tw.standard_webhooks`, checked by the library that others use."""

import time
from base64 import b64decode

from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError
from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.standard_webhooks import header_fields, shown_key

BODY = '{"job_key":"ключ","retry":1,"time":1,"event":"e"}'.encode()


class StandardWebhooksTests(SynchronousTestCase):
    """What is sent verifies, and nothing else."""

    def headers(self, *secrets: bytes, at: float | None = None) -> dict[str, str]:
        timestamp = int(time.time() if at is None else at)
        return {
            name.decode(): value.decode()
            for name, value in header_fields(BODY, "job_7_0", timestamp, secrets)
        }

    def test_example(self) -> None:
        """The example that the specification's documentation works out: key, id, time, body and signature."""
        key = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
        secret = b64decode(key)
        fields = header_fields(b'{"test": 2432232314}', "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, [secret])
        self.assertEqual(shown_key(secret), f"whsec_{key}")
        self.assertEqual(
            dict(fields)[b"webhook-signature"], b"v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        )

    def test_verified(self) -> None:
        """A receiver that has the shown key takes it, and gets the document."""
        document = Webhook(shown_key(b"a secret")).verify(BODY, self.headers(b"a secret"))
        self.assertEqual(document["job_key"], "ключ")

    def test_two_secrets(self) -> None:
        """During a change either key verifies, and the current one stands first."""
        headers = self.headers(b"new", b"old")
        for secret in (b"new", b"old"):
            Webhook(shown_key(secret)).verify(BODY, headers)
        self.assertEqual(
            headers["webhook-signature"].split(" ")[0], self.headers(b"new")["webhook-signature"]
        )

    def test_refused(self) -> None:
        """Another key, another body, another id, and an old one."""
        headers = self.headers(b"a secret")
        library = Webhook(shown_key(b"a secret"))
        for body, changed in (
            (BODY + b" ", headers),
            (BODY, headers | {"webhook-id": "job_8_0"}),
            (BODY, self.headers(b"another")),
            (BODY, self.headers(b"a secret", at=time.time() - 400)),
        ):
            self.assertRaises(WebhookVerificationError, library.verify, body, changed)

    @given(st.binary(min_size=1, max_size=80))
    def test_any_secret(self, secret: bytes) -> None:
        """Any bytes are a key, whatever their number."""
        Webhook(shown_key(secret)).verify(BODY, self.headers(secret))
