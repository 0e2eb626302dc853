"""A name server that answers for some names and never for others, as one does whose own servers are away."""

import struct
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.protocol import DatagramProtocol

ADDRESS = "127.77.53.1"
"""Where it listens: resolv.conf has no ports, so it is port 53, of an address that nobody else has."""
ALIVE, DEAD = "alive.chaos", "dead.chaos"
_A, _NAME_ERROR = 1, 3


class NameServer(DatagramProtocol):
    """Says that `ALIVE` is 127.0.0.1, says nothing of what ends with `DEAD`, and knows of nothing else."""

    def __init__(self) -> None:
        self.asked = 0
        self._port: Any = None

    def listen(self) -> None:
        """Begin; needs root."""
        self._port = reactor.listenUDP(53, self, interface=ADDRESS)  # type: ignore[attr-defined]

    def close(self) -> Any:
        """End."""
        return None if self._port is None else self._port.stopListening()

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """One question."""
        self.asked += 1
        labels, at = [], 12
        while length := datagram[at]:
            labels.append(datagram[at + 1 : at + 1 + length].decode("ascii").lower())
            at += 1 + length
        (kind,) = struct.unpack_from("!H", datagram, at + 1)
        name = ".".join(labels)
        if name.endswith(DEAD):
            return
        known = name == ALIVE
        answers = b""
        if known and kind == _A:
            answers = struct.pack("!HHHIH4B", 0xC00C, _A, 1, 0, 4, 127, 0, 0, 1)
        head = datagram[:2] + struct.pack(
            "!HHHHH", 0x8180 if known else 0x8180 | _NAME_ERROR, 1, int(bool(answers)), 0, 0
        )
        self.transport.write(head + datagram[12 : at + 5] + answers, addr)  # type: ignore[union-attr]


def asking(folder: Path) -> list[str]:
    """What runs a command such that this server is the system's only one: in a mount namespace of its own, as root."""
    configuration = folder / "resolv.conf"
    configuration.write_text(f"nameserver {ADDRESS}\n", "ascii")
    mount = f"mount --bind '{configuration}' /etc/resolv.conf && exec \"$@\""
    return ["unshare", "--mount", "--propagation=private", "sh", "-c", mount, "sh"]
