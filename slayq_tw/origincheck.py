"""What the configuration file says of secrets: the variables that hold those of single origins."""

import re
from collections.abc import Callable

from slayq_tw.configfile import Table
from slayq_tw.weburl import Origin, check_web_url, display_url, origin_of

PLACE = "origin_secrets"
_VARIABLE = re.compile(r"SLAY_Q_SECRET_[A-Z0-9_]+(?<!_FILE)(?<!_PREVIOUS)\Z")
_ONLY_ORIGIN = re.compile(r"https?://[^/?#@]+/?\Z", re.IGNORECASE)


def checked_origins(table: object, fault: Callable[[str, str], None]) -> dict[Origin, str]:
    """The variable for each origin.

    No value is ever quoted: who mistook its meaning has written a secret there.

    Args:
        table: what stands in the file.
        fault: told of what is wrong, with its place.
    """
    if not isinstance(table, Table):
        fault(PLACE, 'must be an object like {"https://app.example": "SLAY_Q_SECRET_APP"}')
        return {}
    variables: dict[Origin, str] = {}
    for key in table.repeated:
        fault(PLACE, f'key "{display_url(str(key))}" stands twice')
    for key, variable in table.items():
        place = f'{PLACE}["{display_url(str(key))}"]'
        if not isinstance(key, str) or not _ONLY_ORIGIN.match(key):
            fault(place, "must be an origin: https:// or http://, a host, perhaps a port, and nothing more")
        elif wrong := check_web_url(key):
            fault(place, wrong)
        elif not isinstance(variable, str) or not _VARIABLE.match(variable):
            fault(
                place,
                "must be the name of a variable that holds the secret: SLAY_Q_SECRET_ and further capitals, digits or "
                "underscores, but neither _FILE nor _PREVIOUS at the end",
            )
        elif origin_of(key) in variables:
            fault(place, "is the same origin as another one here")
        else:
            variables[origin_of(key)] = variable
    return variables


def shown_origin(origin: Origin) -> str:
    """An origin as it may stand in the file."""
    scheme, host, port = origin
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
