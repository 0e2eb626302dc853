"""All measurements by name."""

from collections.abc import Callable

from bench.adding import measure_adding
from bench.drain import measure_drain, measure_steady
from bench.due import measure_due
from bench.figures import Samples
from bench.footprint import measure_footprint, measure_memory
from bench.held import measure_held
from bench.latency import measure_latency, measure_latency_curve
from bench.plan import Plan
from bench.rig import Rig
from bench.scale import (
    measure_backlog,
    measure_churn,
    measure_lanes,
    measure_many_lanes,
    measure_throughput_curve,
    measure_two,
)
from bench.senders import measure_senders
from bench.starting import measure_start

MEASUREMENTS: dict[str, Callable[[Rig, Plan, Samples], None]] = {
    "drain": measure_drain,
    "steady": measure_steady,
    "latency": measure_latency,
    "due": measure_due,
    "held": measure_held,
    "adding": measure_adding,
    "senders": measure_senders,
    "footprint": measure_footprint,
    "start": measure_start,
    "memory": measure_memory,
    "backlog": measure_backlog,
    "lanes": measure_lanes,
    "many-lanes": measure_many_lanes,
    "two": measure_two,
    "churn": measure_churn,
    "throughput-curve": measure_throughput_curve,
    "latency-curve": measure_latency_curve,
}
"""Each records all its rounds into the samples."""
