"""The jobs that the contestants deliver: their payload, and how they spread over the queues of a configuration."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.processes import ROOT

SAMPLE = ROOT / "slay-config.json"
"""The configuration that the targets speak of."""

Config = Mapping[str, Any]


def sample() -> Config:
    """The document of the sample configuration."""
    return _read(SAMPLE)


def single(concurrency: int) -> Config:
    """A configuration of one queue, the sample's `general`, with another concurrency."""
    return {"queues": {"general": {"concurrency": concurrency}}}


def identifiers(config: Config) -> list[str]:
    """Every queue and every alias, once."""
    return [name for queue, entry in config["queues"].items() for name in (queue, *entry.get("alias", ()))]


def by_concurrency(config: Config) -> list[str]:
    """Identifiers repeated so that, taken in turn, each queue gets jobs in proportion to its concurrency.

    So all queues stay busy for the same time, and a rate that is taken over a part of the jobs is that of all queues.
    """
    spots: list[tuple[float, str]] = []
    for queue, entry in config["queues"].items():
        names = [queue, *entry.get("alias", ())]
        # Twelve turns: the aliases of a queue with concurrency 1, up to 4 of them, get equal parts.
        number = 12 * entry["concurrency"]
        spots += [((k + 0.5) / number, names[k % len(names)]) for k in range(number)]
    return [name for _, name in sorted(spots)]


def payload_around(url: str) -> tuple[str, str]:
    """A payload such as the client stores, without its number: what stands before it, and what follows."""
    before, after = json.dumps(_payload(url, 0), separators=(",", ":")).split('"n":0')
    return f'{before}"n":', after


def payload(url: str, number: int) -> str:
    """A payload with its number, as JSON text."""
    before, after = payload_around(url)
    return f"{before}{number}{after}"


def _payload(url: str, number: int) -> dict[str, Any]:
    lines: Sequence[Mapping[str, Any]] = [{"sku": "A-1001", "count": 2}, {"sku": "B-2002", "count": 1}]
    data = {"n": number, "to": "ada@example.com", "subject": "Your order is on its way", "lines": lines}
    return {"url": url, "retry": 0, "event": "order/shipped", "data": data, "cache": {}}


def _read(path: Path) -> Config:
    document: Config = json.loads(path.read_text())
    return document
