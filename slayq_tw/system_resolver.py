"""The system's resolver: what it finds for a host name, without holding up the reactor or the exit."""

import socket
from collections.abc import Callable
from threading import Thread
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import DNSLookupError
from twisted.python.failure import Failure

from slayq_tw.errors import NameUnresolved

_NO_SUCH_HOST = {getattr(socket, name) for name in ("EAI_NONAME", "EAI_NODATA") if hasattr(socket, name)}


def system_addresses(host: str, flags: int = 0) -> list[str]:
    """What the system's resolver finds, in its order of preference; blocks, for how long is up to its name servers.

    Raises:
        DNSLookupError: there is no such host.
        NameUnresolved: it could not be found out.
    """
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=flags)
    except UnicodeError:  # what no name can be
        raise DNSLookupError("no address") from None
    except OSError as error:
        if isinstance(error, socket.gaierror) and error.errno in _NO_SUCH_HOST:
            raise DNSLookupError("no address") from None
        raise NameUnresolved(f"the host name cannot be looked up: {error.strerror or error}") from None
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def literal(host: str) -> list[str]:
    """The address that a host is, if it is none that would have to be looked up, else nothing; asks nobody.

    It is the system that says so, and that says which: `127.1` and `0x7f.1` are `127.0.0.1`, and what is returned is
    what is checked and connected to.
    """
    try:
        return system_addresses(host, socket.AI_NUMERICHOST)
    except (DNSLookupError, NameUnresolved):
        return []


def in_a_thread(
    reactor: Any, host: str, look_up: Callable[[str], list[str]] = system_addresses
) -> "Deferred[list[str]]":
    """Look a name up in a thread of its own.

    Not in the reactor's pool: its threads are few, and the exit waits for them.
    """
    over: Deferred[list[str]] = Deferred()

    def work() -> None:
        result: list[str] | Failure
        try:
            result = look_up(host)
        except Exception:
            result = Failure()
        reactor.callFromThread(over.callback, result)

    try:
        Thread(target=work, name="look-up", daemon=True).start()
    except RuntimeError:
        over.errback(NameUnresolved("the host name cannot be looked up: no more threads can be started"))
    return over
