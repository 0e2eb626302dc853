"""The bytes that are signed, and their signature."""

import hmac

from slayq_tw.canonical import parse, write


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
