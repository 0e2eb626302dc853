"""The functions beside workers and each other: nothing is lost, nothing deadlocks."""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

import psycopg2

from tests.application import Application, ApplicationTestCase


class ConcurrencyTestCase(ApplicationTestCase):
    """Runs functions side by side, each on a connection of its own."""

    def together(self, *acts: Callable[[Application], None]) -> None:
        """Run all of them to their ends; the first error is raised."""
        apps = [self.application() for _ in acts]
        with ThreadPoolExecutor(len(acts)) as pool:
            for running in [pool.submit(act, app) for act, app in zip(acts, apps, strict=True)]:
                running.result()


class LostWakeUpTests(ConcurrencyTestCase):
    """An event that fires while a function is about to wait for it."""

    JOBS = 60

    def test_events(self) -> None:
        """Each job gets its event, whenever between claim and completion that fires."""
        claimed: SimpleQueue[str | None] = SimpleQueue()
        resumed: SimpleQueue[str] = SimpleQueue()

        def work(app: Application) -> None:
            try:
                while job := app.claim():
                    assert job.key is not None
                    if '"step":true' in job.payload:
                        resumed.put(job.key)
                        app.complete(job)
                        continue
                    claimed.put(job.key)
                    app.send("order", key=job.key, run_at="tomorrow", more=',"cache":{}')
                    app.wait(job.key, job.key)
                    app.complete(job)
            finally:
                claimed.put(None)

        def fire(app: Application) -> None:
            while key := claimed.get():
                app.fire(key)

        for number in range(self.JOBS):
            self.app.send("order", key=f"k{number}")
        self.together(work, work, fire, fire)
        self.assert_all_resumed(resumed)

    def test_results(self) -> None:
        """Each invoker gets its target's result, also of a target that another delivery had started."""
        claimed: SimpleQueue[str | None] = SimpleQueue()
        resumed: SimpleQueue[str] = SimpleQueue()

        def invoke(app: Application) -> None:
            try:
                while job := app.claim():
                    assert job.key is not None
                    if '"step":true' in job.payload:
                        resumed.put(job.key)
                        app.complete(job)
                        continue
                    claimed.put(job.key)
                    app.send("order", key=job.key, run_at="tomorrow", more=',"cache":{}')
                    app.rows("SELECT public.wait_for_invocation(%s, %s, 'step')", job.key, "t" + job.key)
                    app.complete(job)
            finally:
                claimed.put(None)

        def end(app: Application) -> None:
            while key := claimed.get():
                app.rows("SELECT public.trigger_waiting_invoker(%s, 'true')", "t" + key)

        for number in range(self.JOBS):
            self.app.send("order", key=f"k{number}")
        self.together(invoke, invoke, end, end)
        self.assert_all_resumed(resumed)

    def assert_all_resumed(self, resumed: "SimpleQueue[str]") -> None:
        """Each job was delivered a second time or is due to be, with its step's result."""
        left = self.app.jobs()
        self.assertEqual([job.key for job in left if '"step":true' not in job.payload or job.due > 0], [])
        self.assertEqual((resumed.qsize() + len(left), self.app.waits()), (self.JOBS, 0))


class DeadlockTests(ConcurrencyTestCase):
    """Everything at once on a handful of keys."""

    def test_everything_at_once(self) -> None:
        """Four connections re-add, wait, fire, end, cancel, claim, fail and complete: no call fails."""

        def play(seed: int) -> Callable[[Application], None]:
            chance = random.Random(seed)

            def act(app: Application) -> None:
                for _ in range(150):
                    key = f"k{chance.randrange(4)}"
                    match chance.randrange(7):
                        case 0:
                            more = chance.choice(("", ',"cache":{}', r',"cache":{"x":"\u0000"}'))
                            app.send("order", key=key, more=more, run_at=chance.choice((None, "2020-01-01")))
                        case 1:
                            if job := app.claim():
                                chance.choice((app.complete, app.fail))(job)
                        case 2:
                            app.call("cancel_pending_tasks", event="order", matchkey="id", matchval="1")
                            app.fire(chance.choice("12"))
                        case 3:
                            app.rows("SELECT public.trigger_waiting_invoker('t', '1')")
                        case 4 | 5:
                            expires = chance.choice(("0 seconds", "1 hour"))
                            try:
                                app.wait(key, chance.choice("12"), expires=expires)
                                app.rows("SELECT public.wait_for_invocation(%s, 't', 's')", key)
                            except psycopg2.errors.RaiseException as error:
                                self.assertIn("Job not found", str(error))
                        case 6:
                            app.rows("SELECT slayq._private_forget(100)")

            return act

        self.together(*(play(seed) for seed in range(4)))

    def test_same_key(self) -> None:
        """Connections that add and claim one key all the time: each add is stored or fails loudly."""
        adds = 60

        def add(app: Application) -> None:
            for _ in range(adds):
                app.send("order", key="k")

        def claim(app: Application) -> None:
            for _ in range(2 * adds):
                if job := app.claim():
                    app.complete(job)

        self.together(add, add, claim, claim)
        # The last add came after every claim, or its job was claimed.
        self.app.send("order", key="k")
        self.assertEqual(len(self.app.jobs("job.key = 'k'")), 1)
