"""Resolves the database's host names. libpq would do it synchronously, and stop everything meanwhile."""

from collections.abc import Mapping, Sequence
from typing import Any

from twisted.internet.defer import TimeoutError
from twisted.internet.error import DNSLookupError

from slayq_tw.errors import DatabaseUnavailable, NameUnresolved
from slayq_tw.name_resolution import NameResolution


async def resolved(
    parameters: Mapping[str, str], names: NameResolution, clock: Any, timeout: float
) -> dict[str, str]:
    """The same libpq parameters with a `hostaddr` for each host name, so that libpq does not resolve by itself.

    `host` keeps the names, which TLS verifies. A name with several addresses is listed once per address, and libpq
    tries them in turn. Socket folders and given addresses stay as they are.

    Args:
        parameters: libpq keywords.
        names: looks them up; for the database only, so that no receiver's name can be in its way.
        clock: IReactorTime.
        timeout: seconds for each name.

    Raises:
        DatabaseUnavailable: a name has no address, or none was found within `timeout` seconds.
    """
    hosts = parameters.get("host", "").split(",")
    if "hostaddr" in parameters or hosts == [""]:
        return dict(parameters)
    ports = parameters.get("port", "").split(",")
    rows: list[tuple[str, str, str]] = []
    for number, host in enumerate(hosts):
        port = ports[number] if len(ports) > 1 else ports[0]
        if not host or host.startswith(("/", "@")):
            rows.append((host, "", port))
            continue
        addresses = await _addresses(host, names, clock, timeout)
        rows += [(host, address, port) for address in addresses]
    result = dict(parameters)
    result["host"], result["hostaddr"], result["port"] = (
        ",".join(column) for column in zip(*rows, strict=True)
    )
    if not result["port"].strip(","):
        del result["port"]
    return result


async def _addresses(host: str, names: NameResolution, clock: Any, timeout: float) -> Sequence[str]:
    try:
        return await names.addresses(host).addTimeout(timeout, clock)
    except DNSLookupError:
        raise DatabaseUnavailable(f"no address for the database host {host!r}") from None
    except TimeoutError:
        raise DatabaseUnavailable(
            f"the database host {host!r} cannot be looked up: no answer within {timeout:g} s"
        ) from None
    except NameUnresolved as error:
        raise DatabaseUnavailable(f"the database host {host!r}: {error}") from None
