"""`slayq_tw.dev.scenario` and `slayq_tw.dev.timeline`."""

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.config import QueueConfig
from slayq_tw.dev.receiver import Delivery
from slayq_tw.dev.scenario import DELAY, SLEEP, Scenario, endpoint, samples
from slayq_tw.dev.timeline import Timeline

RECEIVER = "http://127.0.0.1:3939"
QUEUES = (QueueConfig("mail", 4), QueueConfig("chat", 1, ("dispatch", "ready")))


def delivery(event: str, queue: str = "mail", attempt: int = 1, **more: Any) -> Delivery:
    """What the receiver makes of a request; of run `r` unless told otherwise."""
    document = {"job_key": "k", "retry": attempt, "time": 0, "event": event, "data": {"run": "r"}, **more}
    return Delivery(queue, document)


class SamplesTests(SynchronousTestCase):
    """What is sent."""

    def test_kinds(self) -> None:
        """A plain one, a delayed one, one that fails, one that sleeps and one on an alias, over the queues."""
        found = [sample.event for sample in samples(QUEUES, RECEIVER, "r")]
        self.assertEqual(
            [(event.name, event.queue, event.delay, event.endpoint) for event in found],
            [
                ("demo/plain", "mail", None, f"{RECEIVER}/mail"),
                ("demo/delayed", "chat", DELAY, f"{RECEIVER}/chat"),
                ("demo/fails-first", "mail", None, f"{RECEIVER}/mail"),
                ("demo/sleeps", "chat", None, f"{RECEIVER}/chat"),
                ("demo/alias", "dispatch", None, f"{RECEIVER}/dispatch"),
            ],
        )

    def test_no_alias(self) -> None:
        """One queue is enough."""
        found = samples(QUEUES[:1], RECEIVER, "r")
        self.assertEqual({sample.event.queue for sample in found}, {"mail"})
        self.assertEqual(len(found), 4)

    def test_odd_name(self) -> None:
        """Any name makes a valid URL."""
        self.assertEqual(endpoint(RECEIVER, "a/b ü?"), f"{RECEIVER}/a%2Fb%20%C3%BC%3F")


class ScenarioTests(SynchronousTestCase):
    """The application's side."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.lines: list[str] = []
        self.asleep: list[tuple[str, str, str, float]] = []
        timeline = Timeline(self.clock.seconds, self.lines.append)
        self.scenario = Scenario(samples(QUEUES, RECEIVER, "r"), RECEIVER, "r", timeline, self.sleep)

    async def sleep(self, *arguments: Any) -> None:
        self.asleep.append(arguments)

    def answer(self, *arguments: Any, **more: Any) -> int:
        """The status for a delivery."""
        answering = Deferred.fromCoroutine(self.scenario.answer(delivery(*arguments, **more)))
        return self.successResultOf(answering)

    def test_everything(self) -> None:
        """It is complete when the last delivery has come, and not before."""
        complete = self.scenario.when_complete()
        self.assertEqual(self.answer("demo/plain"), 200)
        self.assertEqual(self.answer("demo/delayed"), 200)
        self.assertEqual(self.answer("demo/fails-first"), 500)
        self.assertEqual(self.answer("demo/fails-first", attempt=2), 200)
        self.assertEqual(self.answer("demo/alias"), 200)
        self.assertEqual(self.answer("demo/sleeps"), 200)
        self.assertEqual(self.scenario.missing(), ["demo/sleeps"])
        self.assertNoResult(complete)
        self.assertEqual(self.answer("demo/sleeps", cache={"first-step": True}), 200)
        self.successResultOf(complete)
        self.assertEqual(self.scenario.missing(), [])
        self.answer("demo/sleeps", cache={})

    def test_sleeping(self) -> None:
        """The function is added again under its key, with its data and the step that is done."""
        self.answer("demo/sleeps", "chat", job_key="sleepy")
        ((queue, key, payload, seconds),) = self.asleep
        self.assertEqual((queue, key, seconds), ("chat", "sleepy", SLEEP))
        self.assertEqual(
            json.loads(payload),
            {
                "url": f"{RECEIVER}/chat",
                "retry": 0,
                "event": "demo/sleeps",
                "data": {"run": "r"},
                "cache": {"first-step": True},
            },
        )

    def test_others_do_not_count(self) -> None:
        """An earlier run's events, the cron tick and the user's own are shown, and are not taken for this run's."""
        for data in ({"run": "earlier"}, {}, [], None, "r"):
            self.assertEqual(self.answer("demo/plain", data=data), 200)
        self.assertEqual(self.answer("cron", "cronQueue", data={}), 200)
        self.assertIn("demo/plain", self.scenario.missing())
        self.assertEqual(len(self.lines), 6)

    def test_lines(self) -> None:
        """A line says when, what, where and with which result."""
        self.clock.advance(2.718)
        self.answer("demo/fails-first")
        self.assertEqual(
            self.lines,
            [
                "    2.72 s  arrived  mail          demo/fails-first  attempt 1  verified  answered 500"
                "  so that it is tried again"
            ],
        )


class TimelineTests(SynchronousTestCase):
    """The lines."""

    def test_begin(self) -> None:
        """Seconds are counted from the beginning; a refused request stands out."""
        clock = Clock()
        lines: list[str] = []
        timeline = Timeline(clock.seconds, lines.append)
        clock.advance(7)
        timeline.begin()
        timeline.sent("mail", "demo/plain")
        clock.advance(1)
        timeline.refused("mail", "too old")
        self.assertEqual(
            [" ".join(line.split()) for line in lines],
            ["0.00 s sent mail demo/plain", "1.00 s refused mail NOT verified: too old"],
        )
