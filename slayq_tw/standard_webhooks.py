"""Header fields by which any library for Standard Webhooks verifies a delivery (standardwebhooks.com)."""

import hmac
from base64 import b64encode
from collections.abc import Iterable

KEY_PREFIX = "whsec_"


def shown_key(secret: bytes) -> str:
    """A secret as the libraries take it: `whsec_` and the base64 of its bytes."""
    return KEY_PREFIX + b64encode(secret).decode("ascii")


def header_fields(
    body: bytes, webhook_id: str, timestamp: int, secrets: Iterable[bytes]
) -> tuple[tuple[bytes, bytes], ...]:
    """`webhook-id`, `webhook-timestamp` and `webhook-signature`, as pairs of bytes.

    Args:
        body: the request's.
        webhook_id: ASCII without a full stop, which separates what is signed.
        timestamp: seconds since the epoch.
        secrets: one signature each, in the same order.
    """
    sent = b"%b.%d." % (webhook_id.encode("ascii"), timestamp)
    signed = sent + body
    signatures = [b"v1," + b64encode(hmac.digest(secret, signed, "sha256")) for secret in secrets]
    return (
        (b"webhook-id", webhook_id.encode("ascii")),
        (b"webhook-timestamp", b"%d" % timestamp),
        (b"webhook-signature", b" ".join(signatures)),
    )
