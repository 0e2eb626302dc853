"""The receiver's process as the suite sees it, and what /proc says of a daemon's."""

import json
import os
import sys
from pathlib import Path
from typing import Any

from tests.chaos.ledger import Arrival
from tests.processes import Child, Owner, python_environment

_TICKS = os.sysconf("SC_CLK_TCK")


class Receiver(Child):
    """`tests.chaos.receiver`. Wait for `ready` first.

    Args:
        owner: ends it.
        secret: of the signatures.
        port: where it listens; 0 for any free one.
    """

    def __init__(self, owner: Owner, secret: str, port: int = 0) -> None:
        folder = Path(owner.mktemp())
        folder.mkdir(parents=True)
        self._path = folder / "arrivals"
        super().__init__(
            owner,
            [sys.executable, "-m", "tests.chaos.receiver", str(self._path), secret, str(port)],
            python_environment(),
            folder,
        )
        self._read = 0
        self._requests: dict[int, dict[str, Any]] = {}

    async def ready(self) -> None:
        """Wait until it listens."""
        line = await self.wait_for_line("listening on ")
        self.url = f"http://127.0.0.1:{line.split()[-1]}"

    def arrivals(self) -> list[Arrival]:
        """All events that have come so far, the ones under way among them; no cron ticks."""
        return [_arrival(one) for one in self._all() if one["number"] is not None]

    def ticks(self) -> list[Arrival]:
        """The same of the cron ticks, whose number is -1."""
        return [_arrival({**one, "number": -1}) for one in self._all() if one["number"] is None]

    def _all(self) -> list[dict[str, Any]]:
        with self._path.open("rb") as file:
            file.seek(self._read)
            news = file.read()
        whole = news[: news.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            kind, request, *rest = json.loads(line)
            if kind == "begin":
                self._requests[request] = dict(
                    zip(("number", "attempt", "time_ms", "began", "wall"), rest, strict=True)
                )
            elif kind == "end":
                self._requests[request] |= {"status": rest[0], "ended": rest[1]}
            else:
                self._requests[request] |= {"ended": rest[0]}
        return list(self._requests.values())


def _arrival(request: dict[str, Any]) -> Arrival:
    return Arrival(
        number=request["number"],
        attempt=request["attempt"] or 0,
        began=request["began"],
        ended=request.get("ended"),
        status=request.get("status"),
        behind=request["wall"] - (request["time_ms"] or 0) / 1000,
    )


def cpu_seconds(pid: int) -> float:
    """CPU time of a process, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def memory(pid: int) -> tuple[int, int]:
    """Resident bytes of a process: now, and at most so far."""
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line
    )
    return int(status["VmRSS"].split()[0]) * 1024, int(status["VmHWM"].split()[0]) * 1024
