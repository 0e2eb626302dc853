"""What may stand in the configuration file, and what is wrong with what stands there."""

import difflib
import json
import re
from dataclasses import dataclass
from typing import Any

from slayq_tw.configfile import Table
from slayq_tw.origincheck import checked_destinations, checked_origins

MAX_TIMEOUT = 24 * 60 * 60
"""Seconds for a delivery, at most."""
MAX_GRACE = 60 * 60
"""Seconds for a stop, at most."""
MEGABYTE = 1024 * 1024
DEFAULT_MAX_PAYLOAD = 16 * MEGABYTE
"""Bytes of a payload, at most, unless the configuration says otherwise: larger ones are not read."""
MAX_PAYLOAD_MB = 64
"""Megabytes of a payload, at most. The daemon does nothing else while it reads one, and must not look dead meanwhile."""
MAX_CONCURRENCY = 10_000
"""Deliveries of one queue in flight at once, at most: more than one process can bear."""
MAX_IDENTIFIER = 128
"""Characters of a task identifier, as Graphile Worker's table holds them."""
MAX_ROLE = 63
"""Bytes of a Postgres role's name."""
MAX_SHOWN = 80
"""Characters of a value that a fault quotes, at most."""
CRON_IDENTIFIER = "cronQueue"
"""The identifier of the cron tick."""

MAX_DAYS = 36_500
"""Days that a failed job can be kept for before it is deleted, at most."""

_FILE_KEYS = (
    "queues",
    "timeout",
    "grace",
    "grant_execute_to",
    "housekeeping",
    "max_payload_mb",
    "allow_private_networks",
    "allowed_origins",
    "origin_secrets",
    "standard_webhooks",
    "$schema",
)
_HOUSEKEEPING_KEYS = ("delete_failed_after", "collect_queues", "collect_tasks")
_QUEUE_KEYS = ("concurrency", "alias", "timeout")
_MISSING = object()
_PLAIN_KEY = re.compile(r"[A-Za-z_$][\w$-]*\Z")
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class QueueConfig:
    """A task identifier that is served here.

    Attributes:
        name: the identifier.
        concurrency: deliveries in flight at once, those of the aliases included.
        aliases: further identifiers.
        timeout: seconds for a delivery; None for the file's.
    """

    name: str
    concurrency: int
    aliases: tuple[str, ...] = ()
    timeout: float | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """All identifiers of the queue."""
        return (self.name, *self.aliases)


@dataclass(frozen=True, slots=True)
class HousekeepingConfig:
    """What is cleaned up beside stale locks, which always are.

    Attributes:
        delete_failed_after: days for which jobs that failed for good are kept; None keeps them for ever.
        collect_queues: whether names of serial queues without a job are deleted. No data is lost by it.
        collect_tasks: whether task identifiers without a job are deleted. Unsafe with running Node workers: they go
            on using the id that an identifier had, and never see its new one.
    """

    delete_failed_after: float | None = None
    collect_queues: bool = True
    collect_tasks: bool = False


class DocumentCheck:
    """Walks the file's document and collects what is wrong in it.

    Each method returns what it checked in the form that `Config` wants; after a fault, whatever comes next to it.
    """

    def __init__(self) -> None:
        self.faults: list[str] = []
        self._places: dict[str, str] = {}

    def document(self, document: object) -> dict[str, Any]:
        """The whole of it."""
        if not isinstance(document, Table):
            self._fault("", f"must be an object, got {_shown(document)}")
            return {}
        self._keys(document, "", _FILE_KEYS)
        checked: dict[str, Any] = {"queues": self._queues(document)}
        if "timeout" in document:
            checked["timeout"] = self._timeout(document["timeout"], "timeout")
        if "grace" in document:
            checked["grace"] = self._number(document["grace"], "grace", "seconds", MAX_GRACE, least="≥ 0")
        if "max_payload_mb" in document:
            megabytes = self._number(
                document["max_payload_mb"], "max_payload_mb", "megabytes", MAX_PAYLOAD_MB, least="> 0"
            )
            checked["max_payload"] = round(megabytes * MEGABYTE)
        if "grant_execute_to" in document:
            checked["grant_execute_to"] = self._roles(document["grant_execute_to"])
        if "housekeeping" in document:
            checked["housekeeping"] = self._housekeeping(document["housekeeping"])
        checked["destinations"] = checked_destinations(document, self._fault)
        if "origin_secrets" in document:
            checked["origin_secrets"] = checked_origins(document["origin_secrets"], self._fault)
        if "standard_webhooks" in document:
            checked["standard_webhooks"] = self._flag(document, "", "standard_webhooks", False)
        if not isinstance(document.get("$schema", ""), str):
            self._fault("$schema", f"must be a string, got {_shown(document['$schema'])}")
        return checked

    def _queues(self, document: Table) -> tuple[QueueConfig, ...]:
        queues = document.get("queues", _MISSING)
        if not isinstance(queues, Table):
            self._fault("queues", f"must be an object with a queue for each identifier, got {_shown(queues)}")
            return ()
        if not queues:
            self._fault("queues", "must have at least one queue")
        self._repeated(queues, "queues")
        names = [name for name in queues if self._identifier(name, _place("queues", name))]
        return tuple(self._queue(name, queues[name], _place("queues", name)) for name in names)

    def _queue(self, name: Any, queue: object, place: str) -> QueueConfig:
        if not isinstance(queue, Table):
            self._fault(place, f'must be an object like {{"concurrency": 4}}, got {_shown(queue)}')
            return QueueConfig(name, 1)
        self._keys(queue, place, _QUEUE_KEYS)
        concurrency = self._concurrency(queue.get("concurrency", _MISSING), f"{place}.concurrency")
        aliases = queue.get("alias", [])
        if not isinstance(aliases, list):
            self._fault(f"{place}.alias", f"must be an array of identifiers, got {_shown(aliases)}")
            aliases = []
        aliases = [alias for n, alias in enumerate(aliases) if self._identifier(alias, f"{place}.alias[{n}]")]
        timeout = self._timeout(queue["timeout"], f"{place}.timeout") if "timeout" in queue else None
        return QueueConfig(name, concurrency, tuple(aliases), timeout)

    def _concurrency(self, value: Any, place: str) -> int:
        # As JSON has integers: 4.0 is one, true is none.
        whole = isinstance(value, int | float) and not isinstance(value, bool) and value == value // 1
        if whole and 1 <= value <= MAX_CONCURRENCY:
            return int(value)
        most = f" and ≤ {MAX_CONCURRENCY:,}" if whole and value > 1 else ""
        self._fault(place, f"must be an integer ≥ 1{most}, got {_shown(value)}")
        return 1

    def _identifier(self, name: object, place: str) -> bool:
        """Whether a name can be an identifier. One that stands twice is a fault of the second place."""
        if not isinstance(name, str):
            self._fault(place, f"an identifier must be a string, got {_shown(name)}")
        elif not 1 <= len(name) <= MAX_IDENTIFIER:
            self._fault(place, f"an identifier must have 1 to {MAX_IDENTIFIER} characters, got {len(name)}")
        elif _UNSTORABLE.search(name):
            self._fault(place, "an identifier cannot hold U+0000 or half a surrogate pair")
        elif name == CRON_IDENTIFIER:
            self._fault(place, f'"{CRON_IDENTIFIER}" is reserved for the cron tick')
        elif name in self._places:
            self._fault(place, f"identifier {_shown(name)} stands already at {self._places[name]}")
        else:
            self._places[name] = place
            return True
        return False

    def _roles(self, roles: object) -> tuple[str, ...]:
        if not isinstance(roles, list):
            self._fault("grant_execute_to", f"must be an array of role names, got {_shown(roles)}")
            return ()
        for number, role in enumerate(roles):
            place = f"grant_execute_to[{number}]"
            if not isinstance(role, str) or not role or _UNSTORABLE.search(role):
                self._fault(place, f"must be the name of a role, got {_shown(role)}")
            elif len(role.encode()) > MAX_ROLE:
                self._fault(place, f"the name of a role has at most {MAX_ROLE} bytes, got {_shown(role)}")
            elif role in roles[:number]:
                self._fault(
                    place, f"role {_shown(role)} stands already at grant_execute_to[{roles.index(role)}]"
                )
        return tuple(map(str, roles))

    def _housekeeping(self, table: object) -> HousekeepingConfig:
        if not isinstance(table, Table):
            self._fault("housekeeping", f"must be an object, got {_shown(table)}")
            return HousekeepingConfig()
        self._keys(table, "housekeeping", _HOUSEKEEPING_KEYS)
        days: Any = table.get("delete_failed_after")
        number = isinstance(days, int | float) and not isinstance(days, bool)
        if days is not None and not (number and 0 < days <= MAX_DAYS):
            place = "housekeeping.delete_failed_after"
            self._fault(
                place, f"must be a number of days > 0 and ≤ {MAX_DAYS:,}, or null, got {_shown(days)}"
            )
            days = None
        return HousekeepingConfig(
            None if days is None else float(days),
            self._flag(table, "housekeeping.", "collect_queues", True),
            self._flag(table, "housekeeping.", "collect_tasks", False),
        )

    def _flag(self, table: Table, place: str, name: str, default: bool) -> bool:
        value = table.get(name, default)
        if isinstance(value, bool):
            return value
        self._fault(place + name, f"must be true or false, got {_shown(value)}")
        return default

    def _timeout(self, value: Any, place: str) -> float:
        return self._number(value, place, "seconds", MAX_TIMEOUT, least="> 0")

    def _number(self, value: Any, place: str, unit: str, most: int, *, least: str) -> float:
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not 0 <= value <= most
            or (value == 0 and least == "> 0")
        ):
            self._fault(place, f"must be a number of {unit} {least} and ≤ {most:,}, got {_shown(value)}")
            return 0.0
        return float(value)

    def _keys(self, table: Table, place: str, known: tuple[str, ...]) -> None:
        """No key but the known ones, and none twice."""
        self._repeated(table, place)
        for key in table:
            if key not in known:
                nearest = difflib.get_close_matches(str(key), known, n=1, cutoff=0.5)
                hint = f'did you mean "{nearest[0]}"?' if nearest else f"known are {', '.join(known)}"
                self._fault(place, f"unknown key {_shown(key)}; {hint}")

    def _repeated(self, table: Table, place: str) -> None:
        for key in table.repeated:
            self._fault(place, f"key {_shown(key)} stands twice")

    def _fault(self, place: str, fault: str) -> None:
        self.faults.append(f"{place}: {fault}" if place else fault)


def _place(table: str, key: object) -> str:
    """Where a member stands, as one would write it in JavaScript."""
    plain = isinstance(key, str) and _PLAIN_KEY.match(key)
    return f"{table}.{key}" if plain else f"{table}[{_shown(key)}]"


def _shown(value: object) -> str:
    """A value of the file, for a fault: short, on one line."""
    if value is _MISSING:
        return "none"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "an array"
    if isinstance(value, int) and value.bit_length() > 128:  # the interpreter refuses to print 4,300 digits
        return "a huge number"
    plain = value is None or isinstance(value, str | bool | int | float)
    text = json.dumps(value, ensure_ascii=False) if plain else f"{type(value).__name__} {value}"
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 1]}…"
