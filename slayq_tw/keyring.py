"""`Keyring`: which secrets sign what goes where, and the header fields that come of it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeAlias

from twisted.logger import Logger

from slayq_tw.signing import PREVIOUS_SIGNATURE, SIGNATURE, sign
from slayq_tw.standard_webhooks import header_fields
from slayq_tw.weburl import Origin, origin_of

VARIABLE = "SLAY_Q_SECRET"
PREVIOUS_SUFFIX = "_PREVIOUS"
"""Of the variable with the secret that another one replaces."""
SAMPLE_SECRET = b'G,4DgB$.?>X]"w}w1745Xq2nKoM4BG74'
"""The secret that upstream's documentation prints, and that is therefore none."""

Fields: TypeAlias = Sequence[tuple[bytes, bytes]]
"""Header fields: names and values."""

_SIGNATURE = SIGNATURE.encode("ascii")
_PREVIOUS_SIGNATURE = PREVIOUS_SIGNATURE.encode("ascii")
_log = Logger()
_NO_ORIGINS: Mapping[Origin, "Keys"] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Keys:
    """The secrets of one variable. The `repr` shows none.

    Attributes:
        variable: its name.
        current: signs.
        previous: signs beside it, as long as a change of the secret is under way.
    """

    variable: str
    current: bytes = field(repr=False)
    previous: bytes | None = field(default=None, repr=False)

    @property
    def secrets(self) -> tuple[bytes, ...]:
        """All of them, the current one first."""
        return (self.current,) if self.previous is None else (self.current, self.previous)


def warn_of_samples(keys: Iterable[Keys]) -> None:
    """Log each variable that holds the secret of the documentation."""
    found = set()
    for each in keys:
        if each.current == SAMPLE_SECRET:
            found.add(each.variable)
        if each.previous == SAMPLE_SECRET:
            found.add(each.variable + PREVIOUS_SUFFIX)
    for variable in sorted(found):
        _log.warn(
            "{event}: {variable} is the sample from the documentation; everybody knows it, so it proves nothing",
            event="sample_secret",
            variable=variable,
        )


class Signer:
    """Signs with one set of secrets.

    Args:
        secrets: the current one first.
        now: wall-clock time, seconds since the epoch; None leaves the fields of Standard Webhooks out.
    """

    __slots__ = ("_current", "_now", "_previous", "_secrets")

    def __init__(self, secrets: Sequence[bytes], now: Callable[[], float] | None = None) -> None:
        self._secrets = secrets
        self._current, *previous = secrets
        self._previous = previous[0] if previous else None
        self._now = now

    @property
    def secrets(self) -> Sequence[bytes]:
        """As given."""
        return self._secrets

    def fields(self, body: bytes, webhook_id: str) -> Fields:
        """The header fields for a body that is sent now.

        Args:
            body: the request's.
            webhook_id: the same for each attempt.
        """
        fields = [(_SIGNATURE, sign(body, self._current).encode("ascii"))]
        if self._previous is not None:
            fields.append((_PREVIOUS_SIGNATURE, sign(body, self._previous).encode("ascii")))
        if self._now is not None:
            fields += header_fields(body, webhook_id, int(self._now()), self._secrets)
        return fields


class Keyring:
    """Has a signer for every URL.

    Args:
        default: of every origin that has none of its own.
        origins: of single origins.
        now: see `Signer`.
    """

    def __init__(
        self,
        default: Keys,
        origins: Mapping[Origin, Keys] = _NO_ORIGINS,
        now: Callable[[], float] | None = None,
    ) -> None:
        every = {keys.secrets: Signer(keys.secrets, now) for keys in (default, *origins.values())}
        self._default = every[default.secrets]
        self._by_origin = {origin: every[keys.secrets] for origin, keys in origins.items()}

    def signer(self, url: str) -> Signer:
        """Who signs for a checked URL: the same object for all with the same secrets."""
        if not self._by_origin:
            return self._default
        return self._by_origin.get(origin_of(url), self._default)
