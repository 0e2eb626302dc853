"""The bytes that are signed, their signature, and how it is checked."""

import hmac
from collections.abc import Iterable

from slayq_tw.canonical import parse, write

SIGNATURE = "X-SlayQ-Signature"
"""Header field: the signature under the secret."""
PREVIOUS_SIGNATURE = "X-SlayQ-Signature-Previous"
"""Header field: the signature under the secret that the current one replaces, while there is one."""


def canonical_json(text: str) -> bytes:
    """A JSON text as a JavaScript engine would write it: the UTF-8 of `JSON.stringify(JSON.parse(text))`.

    Receivers sign what they get by parsing and serialising it again, so only this form verifies there.

    Raises:
        ValueError: the text is no JSON (with the position), or is nested more than 1,000 levels deep.
    """
    return write(parse(text))


def sign(body: bytes, secret: bytes) -> str:
    """Sign a request body: HMAC-SHA512, as 128 lowercase hex digits.

    Source: slay-q's `X-SlayQ-Signature` header, which its receivers recompute.
    """
    return hmac.digest(secret, body, "sha512").hex()


def is_signed(body: bytes, signatures: Iterable[str], secrets: Iterable[bytes]) -> bool:
    """Whether one of the signatures is that of the body under one of the secrets. Each is compared in constant time.

    Raises:
        ValueError: a secret is empty; anybody could sign with that.
    """
    given = [signature.encode("utf-8", "replace") for signature in signatures]
    verified = False
    for secret in secrets:
        if not secret:
            raise ValueError("a secret is empty")
        expected = sign(body, secret).encode("ascii")
        for signature in given:
            verified |= hmac.compare_digest(expected, signature)
    return verified
