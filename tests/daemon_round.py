"""One round of everything that a daemon does to its database, with what must come of it.

For tests of a setting, an encoding or a schema that is not as it usually is: whatever it is, the round works.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from slayq_tw.configcheck import CRON_IDENTIFIER
from slayq_tw.conninfo import parse
from slayq_tw.database import Database
from slayq_tw.grants import apply_grants
from slayq_tw.heartbeat import Heartbeat
from slayq_tw.housekeeping import Housekeeping
from slayq_tw.job import Failure
from slayq_tw.jobs import JobStore
from slayq_tw.listener import Listener
from slayq_tw.liveness import Beat
from slayq_tw.migrations import migrate
from tests.application import Application
from tests.postgres import ask
from tests.waiting import until

PLAIN = "SET search_path = pg_catalog;\n"
"""Before a statement of the test's own: it is not what is tested."""


async def opened(case: TestCase, url: str, *, size: int = 4) -> Database:
    """The pool that a daemon would have; closed at the test's end."""
    parameters, _ = parse(url)
    database = Database(parameters, reactor, size=size)
    case.addCleanup(database.close)
    await database.open()
    return database


async def start(
    database: Database, *, identifiers: tuple[str, ...] = ("mail",), roles: tuple[str, ...] = ()
) -> JobStore:
    """What a daemon does before it claims."""
    await migrate(database, reactor)
    await apply_grants(database, roles, reactor)
    store = JobStore(database, [*identifiers, CRON_IDENTIFIER])
    await store.register()
    await store.register_crontab()
    await store.remember_for(600.0)
    return store


async def enter(database: Database, store: JobStore) -> Heartbeat:
    """Be a daemon that lives, as far as others can see: only such a one may claim."""
    heartbeat = Heartbeat(database, store.worker, reactor, lambda: False, lambda: None, lambda: None)
    await heartbeat.enter()
    return heartbeat


async def work(case: TestCase, database: Database, store: JobStore, url: str) -> None:
    """Claim, complete, fail, release, put off, recall, tick, recover, clean up.

    Args:
        case: the test.
        database: the pool.
        store: of `start`.
        url: where the test itself asks; directly.
    """
    heartbeat = await enter(database, store)
    await heartbeat._turn()
    for key in ("completed", "failed", "released", "deferred", "lane"):
        lane = "'lane'" if key == "lane" else "NULL"
        send = f"SELECT public.add_worker_job('mail', '{{}}', job_key => '{key}', queue_name => {lane})"
        ask(url, PLAIN + send)
    apply(case, url)
    send = "SELECT public.add_worker_job('nobody', '{}', job_key => 'unserved')"
    ask(url, PLAIN + send)
    ((*jobs,),) = await store.claim([(["mail"], 10)])
    by_key = {job.key: job for job in jobs}
    case.assertEqual(sorted(by_key), ["completed", "deferred", "failed", "lane", "released"])
    done = [by_key["completed"], by_key["lane"]]
    case.assertEqual(await store.complete(done), {job.id for job in done})
    failed = by_key["failed"]
    case.assertEqual(
        await store.fail([Failure(failed, "refused", delay=30.0, final=False)]), {failed.id: False}
    )
    case.assertEqual(await store.release([by_key["released"]]), {by_key["released"].id})
    put_off = await store.defer([(by_key["deferred"], 60.0)])
    case.assertEqual(await store.recall(list(put_off.items())), [by_key["deferred"].id])
    case.assertEqual(await store.release_strays(), ([], 0))
    case.assertEqual(await store.unserved(), ["nobody"])
    minute = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)
    added, _ = await store.schedule_tick(minute, '{"event":"cron"}', None)
    case.assertTrue(added)
    case.assertFalse((await store.schedule_tick(minute, '{"event":"cron"}', None))[0])
    ((*again,),) = await store.claim([(["mail"], 10)])
    case.assertEqual({job.key for job in again}, {"released", "deferred"})
    await recover(case, database, url, heartbeat)
    chores = Housekeeping(database, ["mail"])
    await chores.sweep()
    await chores.delete_failed(1e-9)
    await chores.collect_queues()
    await chores.collect_tasks()
    await chores.recover_queues()
    await heartbeat.stopService()
    case.assertEqual(await store.complete(again), {job.id for job in again})


def apply(case: TestCase, url: str) -> None:
    """What an application does, along the paths of all six functions."""
    app = Application(url)
    case.addCleanup(app.close)
    app.rows("SET search_path = pg_catalog, public")
    app.send("order", key="k", run_at="tomorrow", more=r',"data":{"id":1,"x":"\u0000","y":"\\ \" e"}')
    app.wait("k")
    app.fire()
    case.assertIn('"step":true', app.keyed("k").payload)
    app.call("wait_for_invocation", _invoker_job_key="k", _target_job_key="t", _step_name="s")
    app.call("trigger_waiting_invoker", _job_key="t", _result='{"a":1}')
    case.assertIn('"s":{"a":1}', app.keyed("k").payload)
    case.assertIn(r'"x":"\u0000","y":"\\ \" e"', app.keyed("k").payload)
    app.call("cancel_pending_tasks", event="order", matchkey="id", matchval="1")
    case.assertEqual(app.jobs("job.key = 'k'"), [])
    app.close()


async def recover(case: TestCase, database: Database, url: str, heartbeat: Heartbeat) -> None:
    """A daemon that has died with a job of a serial lane: it is returned."""
    dead = JobStore(database, ["bequest"])
    await dead.register()
    send = "SELECT public.add_worker_job('bequest', '{}', job_key => 'bequest', queue_name => 'lane')"
    ask(url, PLAIN + send)
    await enter(database, dead)
    ((job,),) = await dead.claim([(["bequest"], 1)])
    ((beat,),) = ask(url, PLAIN + "SELECT beat FROM slayq._private_daemons WHERE worker = %s", dead.worker)
    await heartbeat._recover(Beat(dead.worker, beat, None, None), "")
    state = "SELECT locked_by, attempts::int FROM graphile_worker._private_jobs WHERE id = %s"
    case.assertEqual(ask(url, PLAIN + state, job.id), [(None, 0)])


async def listen(case: TestCase, database: Database, url: str) -> None:
    """Announcements arrive, over a connection of the listener's own."""
    heard = [0]
    parameters, _ = parse(url)

    def on_jobs() -> None:
        heard[0] += 1

    async def look() -> None:
        pass

    one = Listener(parameters, reactor, on_jobs, database.query, look_at_schema=look)
    case.addCleanup(one.close)
    await one.open()
    await until(lambda: one.hears, "the echo")
    before = heard[0]
    ask(url, PLAIN + "SELECT public.add_worker_job('mail', '{}', job_key => 'heard')")
    await until(lambda: heard[0] > before, "the announcement")
    one.close()


def settings_of(url: str, **settings: Any) -> None:
    """Have every new session on a database begin with these settings."""
    ((name,),) = ask(url, "SELECT pg_catalog.quote_ident(pg_catalog.current_database())")
    for setting, value in settings.items():
        ask(url, f"ALTER DATABASE {name} SET {setting} = {value}")
