"""`verify`: the other direction, what the daemon posts to a Python application."""

import json
import time
from collections.abc import Iterable
from typing import Any

from slayq_tw.errors import SlayQError
from slayq_tw.signing import PREVIOUS_SIGNATURE, SIGNATURE, canonical_json, is_signed

KEYS = ("job_key", "retry", "time", "event", "data", "cache")
"""The members of a request, in the order in which they are signed."""
MAX_AGE = 15.0
"""Seconds after which a request is refused, so that nobody can send it again."""
SIGNATURE_HEADERS = (SIGNATURE, PREVIOUS_SIGNATURE)
"""The header fields whose values `verify` takes: a receiver that gives it both can change its secret at any time of a
change."""


class Refused(SlayQError):
    """The request is not the daemon's, or not a fresh one; the text says why."""


def verify(
    body: bytes,
    signatures: Iterable[str | None],
    secrets: Iterable[str | bytes],
    now: float | None = None,
) -> dict[str, Any]:
    """The document in a request, checked in the way of the SlayQ client.

    With Django, `verify(request.body, map(request.headers.get, SIGNATURE_HEADERS), [settings.SLAY_Q_WORKER_SECRET])`;
    with Flask, `request.get_data()` instead of `request.body`.

    Args:
        body: as it arrived.
        signatures: values of `SIGNATURE_HEADERS`, None for one that is not there.
        secrets: those that may have signed it; while a change is under way, the old one and the new one.
        now: seconds since the epoch; the clock's by default.

    Raises:
        Refused: it is signed with none of the secrets, too old, or no document of the daemon's.
        ValueError: a secret is empty.
    """
    if isinstance(secrets, str | bytes):
        raise TypeError("secrets must be a list of them")
    keys = [
        secret.encode("utf-8", "surrogateescape") if isinstance(secret, str) else secret for secret in secrets
    ]
    given = [signature for signature in signatures if signature is not None]
    if not given:
        raise Refused(f"no {SIGNATURE}")
    try:
        parsed = json.loads(body)
        document = {key: parsed[key] for key in KEYS if key in parsed}
        written = canonical_json(json.dumps(document))
    except (ValueError, TypeError, RecursionError) as error:
        raise Refused("no JSON object") from error
    if not is_signed(written, given, keys):
        raise Refused("the signature is wrong")
    if not _is_delivery(document):
        raise Refused("not what the daemon sends")
    if document["time"] < ((time.time() if now is None else now) - MAX_AGE) * 1000:
        raise Refused("too old")
    return document


def _is_delivery(document: dict[str, Any]) -> bool:
    """Whether the members that every delivery has are there, each of its kind."""
    kinds = {"job_key": str, "event": str, "retry": int | float, "time": int | float}
    return all(
        isinstance(document.get(name), kind) and not isinstance(document[name], bool)
        for name, kind in kinds.items()
    )
