"""All measurements by name."""

from collections.abc import Callable

from bench.drain import measure_drain
from bench.figures import Samples
from bench.plan import Plan
from bench.rig import Rig

Measurement = Callable[[Rig, Plan, Samples], None]

MEASUREMENTS: dict[str, Measurement] = {
    "drain": measure_drain,
}
"""Each records all its rounds into the samples."""
