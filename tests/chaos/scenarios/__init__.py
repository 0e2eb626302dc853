"""The scenarios, by name."""

from tests.chaos.scenarios import database, kills, limits, transactions
from tests.chaos.scenarios.scenario import Scenario

SCENARIOS: dict[str, Scenario] = {
    one.name: one for one in (*kills.ALL, *database.ALL, *limits.ALL, *transactions.ALL)
}
