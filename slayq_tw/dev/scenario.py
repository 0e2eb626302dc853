"""`Scenario`: a handful of events, the application that gets them, and what must have arrived in the end."""

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from twisted.internet.defer import Deferred

from slayq_tw.client import Event
from slayq_tw.config import QueueConfig
from slayq_tw.dev.receiver import Delivery
from slayq_tw.dev.timeline import Timeline

DELAY = 3.0
"""Seconds that the delayed event is sent ahead."""
SLEEP = 2.0
"""Seconds that the sleeping function sleeps."""
FAILING = "demo/fails-first"
SLEEPING = "demo/sleeps"

Sleep = Callable[[str, str, str, float], Awaitable[object]]
"""Adds a function's job again: queue, key, payload, seconds."""


@dataclass(frozen=True)
class Sample:
    """One of the events.

    Attributes:
        event: as the client sends it.
        deliveries: how many belong to it.
        remark: what is special about it.
    """

    event: Event
    deliveries: int = 1
    remark: str = ""


def endpoint(receiver: str, queue: str) -> str:
    """The URL to which a queue's events are posted in development mode."""
    return f"{receiver}/{quote(queue, safe='')}"


def samples(queues: Sequence[QueueConfig], receiver: str, run: str) -> list[Sample]:
    """The events, spread over the queues.

    Args:
        queues: at least one. An event on an alias is among them where there is one.
        receiver: the example receiver's URL.
        run: tells this run's events from an earlier one's.
    """

    def event(name: str, number: int, *, delay: float | None = None, key: str | None = None) -> Event:
        return on(queues[number % len(queues)].name, name, delay=delay, key=key)

    def on(queue: str, name: str, *, delay: float | None = None, key: str | None = None) -> Event:
        url = endpoint(receiver, queue)
        return Event(name, {"run": run}, queue=queue, endpoint=url, delay=delay, key=key, retries=5)

    found = [
        Sample(event("demo/plain", 0)),
        Sample(event("demo/delayed", 1, delay=DELAY), 1, f"due in {DELAY:g} s"),
        Sample(event(FAILING, 2), 2, "its first attempt fails"),
        Sample(event(SLEEPING, 3, key=f"demo-sleeps-{run}"), 2, f"sleeps {SLEEP:g} s between two steps"),
    ]
    for queue in queues:
        if queue.aliases:
            found.append(Sample(on(queue.aliases[0], "demo/alias"), 1, f"an alias of {queue.name}"))
            break
    return found


class Scenario:
    """Plays the application, and keeps count.

    Args:
        samples: what is sent.
        receiver: the example receiver's URL.
        run: the same as the samples'.
        timeline: told of each delivery.
        sleep: what the sleeping function calls.
    """

    def __init__(
        self, samples: Sequence[Sample], receiver: str, run: str, timeline: Timeline, sleep: Sleep
    ) -> None:
        self._missing = Counter({sample.event.name: sample.deliveries for sample in samples})
        self._receiver = receiver
        self._run = run
        self._timeline = timeline
        self._sleep = sleep
        self._complete: Deferred[None] = Deferred()

    async def answer(self, delivery: Delivery) -> int:
        """What the application does; the status of its answer."""
        status, remark = 200, ""
        falls_asleep = delivery.event == SLEEPING and "cache" not in delivery.document
        if delivery.event == FAILING and delivery.attempt == 1:
            status, remark = 500, "so that it is tried again"
        elif delivery.event == SLEEPING:
            remark = f"after its {'first' if falls_asleep else 'second'} step"
        self._timeline.arrived(delivery, status, remark)
        if falls_asleep:
            await self._fall_asleep(delivery)
        self._count(delivery)
        return status

    def missing(self) -> list[str]:
        """The events that have not arrived as often as they should."""
        return sorted(name for name, count in self._missing.items() if count > 0)

    def when_complete(self) -> Deferred[None]:
        """Fires, once, when nothing is missing."""
        return self._complete

    async def _fall_asleep(self, delivery: Delivery) -> None:
        """What the SlayQ client does at a step that sleeps, while the delivery still holds the job."""
        payload: dict[str, Any] = {
            "url": endpoint(self._receiver, delivery.queue),
            "retry": 0,
            "event": delivery.event,
            "cache": {"first-step": True},
        }
        if "data" in delivery.document:
            payload["data"] = delivery.document["data"]
        await self._sleep(delivery.queue, delivery.document["job_key"], json.dumps(payload), SLEEP)

    def _count(self, delivery: Delivery) -> None:
        data = delivery.document.get("data")
        if not isinstance(data, dict) or data.get("run") != self._run:
            return
        self._missing[delivery.event] -= 1
        if not self.missing() and not self._complete.called:
            self._complete.callback(None)
