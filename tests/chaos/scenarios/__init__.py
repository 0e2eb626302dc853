"""The scenarios, by name."""

from tests.chaos.scenarios import (
    clock,
    comebacks,
    database,
    failover,
    kills,
    limits,
    names,
    network,
    patience,
    receivers,
    stops,
    transactions,
)
from tests.chaos.scenarios.scenario import Scenario

SCENARIOS: dict[str, Scenario] = {
    one.name: one
    for one in (
        *kills.ALL,
        *database.ALL,
        *failover.ALL,
        *limits.ALL,
        *network.ALL,
        *stops.ALL,
        *clock.ALL,
        *receivers.ALL,
        *comebacks.ALL,
        *names.ALL,
        *patience.ALL,
        *transactions.ALL,
    )
}
