"""`slayq_tw.keyring`."""

import time
from collections.abc import Callable

from standardwebhooks import Webhook
from twisted.logger import LogLevel, capturedLogs
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.keyring import SAMPLE_SECRET, Keyring, Keys, warn_of_samples
from slayq_tw.signing import sign
from slayq_tw.standard_webhooks import shown_key
from slayq_tw.weburl import origin_of

BODY = b'{"job_key":"k","retry":1,"time":1,"event":"e"}'
OWN = Keys("SLAY_Q_SECRET_APP", b"own secret", b"own old secret")
ROTATED = Keys("SLAY_Q_SECRET", b"new secret", b"old secret")


class KeyringTests(SynchronousTestCase):
    """Who signs for whom, and how."""

    def fields(
        self, keyring: Keyring, url: str = "http://app.test/", webhook_id: str = "job_1_0"
    ) -> dict[str, str]:
        """The header fields for a delivery to a URL."""
        pairs = keyring.signer(url).fields(BODY, webhook_id)
        self.assertEqual(len({name for name, _ in pairs}), len(pairs))
        return {name.decode(): value.decode() for name, value in pairs}

    def test_one_secret(self) -> None:
        """One header field, as upstream has it, and no more."""
        self.assertEqual(
            self.fields(Keyring(Keys("SLAY_Q_SECRET", b"a secret"))),
            {"X-SlayQ-Signature": sign(BODY, b"a secret")},
        )

    def test_previous(self) -> None:
        """While a secret changes, the current one signs the first field and the previous one the second."""
        self.assertEqual(
            self.fields(Keyring(ROTATED)),
            {
                "X-SlayQ-Signature": sign(BODY, b"new secret"),
                "X-SlayQ-Signature-Previous": sign(BODY, b"old secret"),
            },
        )

    def test_origins(self) -> None:
        """An origin's own secret signs for all of it, and for it alone; the common ones do not sign for it."""
        keyring = Keyring(ROTATED, {origin_of("https://app.test"): OWN})
        own = {
            "X-SlayQ-Signature": sign(BODY, b"own secret"),
            "X-SlayQ-Signature-Previous": sign(BODY, b"own old secret"),
        }
        for url in (
            "https://app.test/hook?x=1",
            "HTTPS://APP.test:443",
            "https://user:password@app.test/#fragment",
            " https:\\\\app.test\\hook\n",
            "https:/app.\ttest/",
            "https://app.test\\@other.test/",
            "https://%61pp.test/",
        ):
            self.assertEqual(self.fields(keyring, url), own, url)
        for url in (
            "http://app.test/",
            "https://app.test:8443/",
            "https://app.test.evil.test/",
            "https://evil.test/https://app.test/",
            "https://app.test@evil.test/",
            "https://sub.app.test/",
        ):
            self.assertEqual(self.fields(keyring, url), self.fields(Keyring(ROTATED)), url)

    def test_same_signer(self) -> None:
        """Where the same secrets sign, the same signer does, whatever variables they come from."""
        same = Keys("SLAY_Q_SECRET_B", b"new secret", b"old secret")
        keyring = Keyring(ROTATED, {origin_of("http://a.test"): OWN, origin_of("http://b.test"): same})
        default = keyring.signer("http://elsewhere.test/")
        self.assertIs(keyring.signer("http://b.test/"), default)
        self.assertIsNot(keyring.signer("http://a.test/"), default)

    def test_standard_webhooks(self) -> None:
        """The fields of Standard Webhooks stand beside the others: the id that was given, the time of this attempt, a
        signature for each secret.
        """
        now: Callable[[], float] = iter((1_790_000_000.9, 1_790_000_042.0)).__next__
        keyring = Keyring(ROTATED, now=now)
        first, second = (self.fields(keyring, webhook_id="job_7_2") for _ in range(2))
        self.assertEqual({first["webhook-id"], second["webhook-id"]}, {"job_7_2"})
        self.assertEqual(
            (first["webhook-timestamp"], second["webhook-timestamp"]), ("1790000000", "1790000042")
        )
        self.assertNotEqual(first["webhook-signature"], second["webhook-signature"])
        self.assertEqual(first["X-SlayQ-Signature"], sign(BODY, b"new secret"))
        self.assertEqual(len(first["webhook-signature"].split(" ")), 2)

    def test_real_library(self) -> None:
        """A library for Standard Webhooks takes the fields as they are."""
        headers = self.fields(Keyring(ROTATED, now=time.time))
        for secret in ROTATED.secrets:
            Webhook(shown_key(secret)).verify(BODY, headers)

    def test_nothing_is_shown(self) -> None:
        """No secret stands in a `repr`, nor in a traceback."""
        keyring = Keyring(ROTATED, {origin_of("http://a.test"): OWN}, now=lambda: float("nan"))
        signer = keyring.signer("http://a.test/")
        failure = Failure(self.assertRaises(ValueError, signer.fields, BODY, "job_1_0"))
        for text in (repr(OWN), repr(keyring), repr(signer), failure.getTraceback(), str(failure.value)):
            self.assertNotRegex(text, "(own|old|new) secret")

    def test_samples(self) -> None:
        """The documentation's secret is found in whatever variable it is, each named once."""
        own = Keys("SLAY_Q_SECRET_APP", SAMPLE_SECRET)
        leaving = Keys("SLAY_Q_SECRET_B", b"new", SAMPLE_SECRET)
        with capturedLogs() as events:
            warn_of_samples([Keys("SLAY_Q_SECRET", SAMPLE_SECRET), own, own, leaving, ROTATED])
        self.assertEqual(
            [(event["event"], event["variable"], event["log_level"]) for event in events],
            [
                ("sample_secret", variable, LogLevel.warn)
                for variable in ("SLAY_Q_SECRET", "SLAY_Q_SECRET_APP", "SLAY_Q_SECRET_B_PREVIOUS")
            ],
        )
        self.assertNotIn(SAMPLE_SECRET.decode(), str(events))
