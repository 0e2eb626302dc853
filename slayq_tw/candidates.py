"""`candidates`: the hosts of one URL, each as the parameters of a connection of its own."""

from collections.abc import Mapping

Candidate = tuple[tuple[str, str], ...]
"""libpq keywords and values with one host at most."""

_LISTS = ("host", "hostaddr", "port")
_KEPT_WHOLE = {"target_session_attrs": ("prefer-standby",), "load_balance_hosts": ("random",)}
"""What libpq decides over all hosts together."""


def candidates(parameters: Mapping[str, str]) -> list[Candidate]:
    """Split a list of hosts, in its order.

    libpq would try them in turn by itself, but its asynchronous connect waits for a host without end before it goes on
    to the next: a machine that is switched off would stand in the way for ever.

    Args:
        parameters: libpq keywords. A single port counts for all hosts.

    Returns:
        At least one. What libpq has to decide over all of them stays together.
    """
    columns = {name: parameters[name].split(",") for name in _LISTS if parameters.get(name)}
    count = max((len(column) for column in columns.values()), default=1)
    whole = any(parameters.get(name) in values for name, values in _KEPT_WHOLE.items())
    if count == 1 or whole or any(len(column) not in (1, count) for column in columns.values()):
        return [tuple(parameters.items())]  # lists of different lengths: libpq says what is wrong with them
    return [
        tuple(
            (name, columns[name][number if len(columns[name]) > 1 else 0] if name in columns else value)
            for name, value in parameters.items()
        )
        for number in range(count)
    ]
