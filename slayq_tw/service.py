"""`SlayQService` and `build`: the parts put together, and their order at start and stop."""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure

from slayq_tw import conninfo
from slayq_tw.circuit import Circuits
from slayq_tw.claims import Claimer
from slayq_tw.config import Config
from slayq_tw.configcheck import CRON_IDENTIFIER
from slayq_tw.connect_probes import ConnectProbes
from slayq_tw.cron import CronService
from slayq_tw.database import Database
from slayq_tw.delivery import WebhookSender
from slayq_tw.errors import DatabaseError, SchemaTooNew
from slayq_tw.grants import apply_grants
from slayq_tw.graphile import REVISION
from slayq_tw.heartbeat import Heartbeat
from slayq_tw.housekeeping import Housekeeping, HousekeepingService
from slayq_tw.jobs import JobStore
from slayq_tw.keyring import Keyring, warn_of_samples
from slayq_tw.listener import Listener
from slayq_tw.migrations import breaking_revision, migrate
from slayq_tw.name_resolution import NameResolution
from slayq_tw.over import over
from slayq_tw.pace import Pace
from slayq_tw.poller import QueuePoller
from slayq_tw.posting import direct, through_treq
from slayq_tw.recall import Recall
from slayq_tw.results import ResultWriter
from slayq_tw.upcoming import Upcoming
from slayq_tw.watch import UnservedWatch
from slayq_tw.webclient import make_agent, make_http_client
from slayq_tw.weburl import origin_of
from slayq_tw.worker import JobWorker

EXIT_FAILED = 1
"""Exit status: it could not start."""
EXIT_SCHEMA_TOO_NEW = 57
"""Exit status: the job schema is newer than this program, and not compatible; Graphile Worker's own number."""
FLUSH_TIMEOUT = 1.5
"""Seconds at stop for the last results; with the default grace this fits into Docker's 10."""
MEMORY_MARGIN = 60.0
"""Seconds that fired events are remembered beyond the longest delivery."""


class SlayQService(MultiService):
    """The daemon. Its children start when the schema is ready.

    Args:
        database: opened first, closed last.
        prepare: brings the schema up to date.
        listener: announces jobs and schema changes.
        heartbeat: begins before anything is claimed, ends when nothing is held.
        pollers: one for each queue, and the cron tick's.
        others: further services that need the schema.
        results: flushed at stop.
        grace: seconds that deliveries may go on after a stop.
        reactor: stopped when the start fails.

    Attributes:
        exit_status: what the process should end with.
    """

    log = Logger()

    def __init__(
        self,
        database: Database,
        prepare: Callable[[], Awaitable[None]],
        listener: Listener,
        heartbeat: Heartbeat,
        pollers: Sequence[QueuePoller],
        others: Sequence[Any],
        results: ResultWriter,
        grace: float,
        reactor: Any,
    ) -> None:
        super().__init__()
        self.exit_status = 0
        self.database = database
        self._prepare = prepare
        self._listener = listener
        self._heartbeat = heartbeat
        self._pollers = pollers
        self._others = others
        self._results = results
        self._grace = grace
        self._reactor = reactor
        self._brought_up: Deferred[None] | None = None
        self._waiting: list[Deferred[None]] = []
        self._stopping: Deferred[None] | None = None
        self._cut: Deferred[None] = Deferred()
        self.state = "stopped"

    def startService(self) -> None:
        """Begin to start; `when_ready` tells when it is done."""
        super().startService()  # no children yet: one added before this line would start twice
        self.state = "starting"
        self._stopping = None
        self._cut = Deferred()
        self._brought_up = Deferred.fromCoroutine(self._bring_up())
        self._brought_up.addErrback(self._give_up)

    def when_ready(self) -> Deferred[None]:
        """Fires when jobs are being claimed."""
        ready: Deferred[None] = Deferred()
        if self.state == "running":
            ready.callback(None)
        else:
            self._waiting.append(ready)
        return ready

    async def _bring_up(self) -> None:
        await self.database.open()
        await self.database.persist(self._prepare)
        await self._listener.open()
        await self.database.persist(self._heartbeat.enter)
        self._heartbeat.startService()
        if not self.running:
            return
        for child in (*self._pollers, *self._others):
            child.setServiceParent(self)  # starts it: the parent is running
        self.state = "running"
        self.log.info("{event}: {count} queues", event="started", count=len(self._pollers) - 1)
        waiting, self._waiting = self._waiting, []
        for ready in waiting:
            ready.callback(None)

    def _give_up(self, failure: Failure) -> None:
        if not self.running:
            return  # stopped while starting: whatever was under way was cut off
        self.exit_status = EXIT_SCHEMA_TOO_NEW if failure.check(SchemaTooNew) else EXIT_FAILED
        if failure.check(DatabaseError):
            self.log.critical("{event}: {reason}", event="start_failed", reason=str(failure.value))
        else:
            self.log.failure("{event}", failure, event="start_failed")
        self._reactor.stop()

    @property
    def in_flight(self) -> int:
        """Deliveries under way."""
        return sum(poller.in_flight for poller in self._pollers)

    def wake(self) -> None:
        """Have every queue looked at now."""
        for poller in self._pollers:
            poller.wake()

    def migrated(self, revision: int) -> None:
        """The job schema was brought to a breaking revision: stop, if this program does not know it."""
        if revision <= REVISION or not self.running:
            return
        self.log.critical(
            "{event}: the job schema is now at revision {revision}, a breaking change; this program knows up to "
            "{known} and must be updated",
            event="schema_too_new",
            revision=revision,
            known=REVISION,
        )
        self.exit_status = EXIT_SCHEMA_TOO_NEW
        self._reactor.stop()

    def stopService(self) -> Deferred[None]:
        """Claim nothing more, let deliveries finish within the grace period, write every result, close."""
        if self._stopping is None:
            self._stopping = Deferred.fromCoroutine(self._take_down())
            self._stopping.addErrback(self._stop_failed)
        return over(self._stopping)

    def _stop_failed(self, failure: Failure) -> None:
        self.log.failure("{event}", failure, event="stop_failed")

    def cut_grace(self) -> None:
        """End the deliveries in flight now, whose jobs are handed back, and wait for no statement that has no answer."""
        for poller in self._pollers:
            poller.cut()
        if not self._cut.called:
            self._cut.callback(None)

    async def _take_down(self) -> None:
        self.running = False
        if self.state == "starting":
            await self.database.close()  # ends whatever the start waits for
        self.state = "stopping"
        if self._brought_up is not None:
            await self._brought_up
        self._listener.close()
        if self.in_flight:
            self.log.info(
                "{event}: {count} deliveries have up to {grace:g} s to finish",
                event="draining",
                count=self.in_flight,
                grace=self._grace,
            )
        end_of_grace = self._reactor.callLater(self._grace, self.cut_grace)
        drained = super().stopService()  # side by side
        await DeferredList([over(drained), self._cut], fireOnOneCallback=True)
        if end_of_grace.active():
            end_of_grace.cancel()
        await self._results.flush(FLUSH_TIMEOUT)
        await self._heartbeat.stopService()
        await self.database.close()  # statements that nobody waited for have failed now
        await over(drained)
        for child in list(self):
            child.disownServiceParent()  # so that a next start begins anew
        self.state = "stopped"
        self.log.info("{event}", event="stopped")


def build(
    config: Config,
    reactor: Any,
    *,
    now: Callable[[], float] = time.time,
    upgrade_old: bool = False,
    verbose: bool = False,
) -> SlayQService:
    """Put a daemon together.

    Args:
        config: checked.
        reactor: its `seconds` should be monotonic.
        now: wall-clock time, seconds since the epoch.
        upgrade_old: whether a job schema that no running worker survives the upgrade of may be upgraded.
        verbose: whether each delivery is worth an event for the log.
    """
    log = Logger()
    parameters, warnings = conninfo.parse(config.database_url)
    listen_parameters = parameters
    if config.listen_url:
        listen_parameters, more = conninfo.parse(config.listen_url, conninfo.LISTEN_VARIABLE)
        warnings = [*warnings, *more]
    for warning in warnings:
        log.warn("{event}: {warning}", event="database_url", warning=warning)
    warn_of_samples((config.keys, *config.origin_keys.values()))
    database = Database(parameters, reactor, display=conninfo.display(parameters))
    timeouts = {name: queue.timeout or config.timeout for queue in config.queues for name in queue.names}
    timeouts[CRON_IDENTIFIER] = config.timeout

    def wake() -> None:
        service.wake()

    upcoming = Upcoming(wake, reactor)
    store = JobStore(database, timeouts, config.max_payload, upcoming)

    async def prepare() -> None:
        await migrate(database, reactor, upgrade_old=upgrade_old)
        await apply_grants(database, config.grant_execute_to, reactor)
        await store.register()
        await store.register_crontab()
        await store.remember_for(max(timeouts.values()) + MEMORY_MARGIN)

    def hand_back() -> None:
        for poller in pollers:
            poller.hand_back()

    async def look_at_schema() -> None:
        service.migrated(await breaking_revision(database))

    slots = sum(queue.concurrency for queue in config.queues) + 1
    keyring = Keyring(config.keys, config.origin_keys, now if config.standard_webhooks else None)
    results = ResultWriter(store, reactor, wake, lambda: store.held > results.pending)
    recall = Recall(store.recall, wake, reactor)
    cron_host = origin_of(config.cron_url).host
    names = NameResolution(reactor, trusted={cron_host}, waiting=recall.waiting)
    agent = make_agent(reactor, slots, config.destinations, names, patient=False)
    first = direct(agent, through_treq(make_http_client(agent), reactor))
    # Of their own, because a delivery that has begun does not come back for a name; and a connection that may be used
    # for one receiver's redirects may not for another's.
    inward, outward = (
        through_treq(make_http_client(make_agent(reactor, slots, rules, names)), reactor)
        for rules in (config.destinations, replace(config.destinations, public_only=True))
    )
    sender = WebhookSender(first, inward, reactor, keyring, outward)
    connect_probes = ConnectProbes(agent.reach, reactor)
    circuits = Circuits(reactor, recall.waiting, connect_probes)
    worker = JobWorker(sender, results, timeouts, circuits, now, names=names, verbose=verbose)
    claimer = Claimer(store, reactor, lambda: results.behind)
    heartbeat = Heartbeat(
        database, store.worker, reactor, lambda: store.held > 0 or claimer.misses_an_answer, wake, hand_back
    )
    pace = Pace(lambda: listener.hears, wake, reactor)
    work = upcoming.following(pace.following(worker.work))
    groups = [(queue.names, queue.concurrency) for queue in config.queues]
    pollers = [
        QueuePoller(names, concurrency, claimer, work, results.released, reactor, lambda: heartbeat.sure)
        for names, concurrency in (*groups, ((CRON_IDENTIFIER,), 1))
    ]
    others = [
        pace,
        upcoming,
        recall,
        connect_probes,
        CronService(config.cron_url, store.schedule_tick, reactor, now),
        UnservedWatch(store.unserved, reactor),
        HousekeepingService(Housekeeping(database, timeouts), config.housekeeping, reactor),
    ]
    listener = Listener(
        listen_parameters,
        reactor,
        wake,
        database.query,
        look_at_schema=look_at_schema,
        on_thinned=pace.thinned,
        display=conninfo.display(listen_parameters),
        outage=None if config.listen_url else database.outage,
    )
    service = SlayQService(
        database, prepare, listener, heartbeat, pollers, others, results, config.grace, reactor
    )
    return service
