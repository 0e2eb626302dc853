"""What the configuration file says of origins: where deliveries may go, and the variables with secrets of their own."""

import re
from collections.abc import Callable

from slayq_tw.configfile import Table
from slayq_tw.destinations import DestinationRules
from slayq_tw.weburl import Origin, as_written, check_web_url, origin_of

PLACE = "origin_secrets"
_VARIABLE = re.compile(r"SLAY_Q_SECRET_[A-Z0-9_]+(?<!_FILE)(?<!_PREVIOUS)\Z")
_ONLY_ORIGIN = re.compile(r"https?://[^/?#@]+/?\Z", re.IGNORECASE)
_GUESSWORK = re.compile(r"[\x00-\x20\x7f-\xa0\\%]")
"""What a URL may have, and the parser takes out or decodes: in a list of who is trusted it is a mistake."""


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
        fault(PLACE, f'key "{as_written(str(key))}" stands twice')
    for key, variable in table.items():
        place = f'{PLACE}["{as_written(str(key))}"]'
        if wrong := _no_origin(key):
            fault(place, wrong)
        elif not isinstance(variable, str) or not _VARIABLE.match(variable):
            fault(
                place,
                "must be the name of a variable that holds the secret: SLAY_Q_SECRET_ and further capitals, digits or "
                "underscores, but neither _FILE nor _PREVIOUS at the end",
            )
        elif (origin := origin_of(str(key))) in variables:
            fault(place, "is the same origin as another one here")
        else:
            variables[origin] = variable
    return variables


def checked_destinations(document: Table, fault: Callable[[str, str], None]) -> DestinationRules:
    """Where deliveries may go.

    Args:
        document: the file.
        fault: told of what is wrong, with its place.
    """
    private = document.get("allow_private_networks", True)
    if not isinstance(private, bool):
        fault("allow_private_networks", "must be true or false")
    if "allowed_origins" not in document:
        return DestinationRules(private is True)
    texts = document["allowed_origins"]
    if not isinstance(texts, list) or not texts:
        fault("allowed_origins", 'must be an array of at least one origin like "https://app.example"')
        return DestinationRules(private is True)
    places: dict[Origin, str] = {}
    for number, text in enumerate(texts):
        place = f"allowed_origins[{number}]"
        if wrong := _no_origin(text):
            fault(place, wrong)
        elif (origin := origin_of(text)) in places:
            fault(place, f"is the same origin as {places[origin]}")
        else:
            places[origin] = place
    return DestinationRules(private is True, frozenset(places))


def _no_origin(text: object) -> str | None:
    """Why a text is no origin. It is not quoted: it may hold a password."""
    if not isinstance(text, str) or not _ONLY_ORIGIN.match(text):
        return "must be an origin: https:// or http://, a host, perhaps a port, and nothing more"
    if _GUESSWORK.search(text):
        return "contains a space, a control character, a backslash or a percent sign"
    return check_web_url(text)
