"""Databases, roles and URLs with another encoding than UTF-8."""

import os
from datetime import UTC, datetime

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from slayq_tw.cron import minute_of, tick_payload
from slayq_tw.database import Database
from slayq_tw.errors import DatabaseError
from slayq_tw.job import Failure
from slayq_tw.jobs import JobStore
from tests.daemon_round import enter, listen, opened, settings_of, start, work
from tests.pgbouncer import PgBouncer
from tests.postgres import ask, empty_database

FOREIGN = "日本 – ✓"
SEND = "SELECT public.add_worker_job('mail', %s::json, job_key => %s)"
ERRORS = "SELECT key, last_error FROM graphile_worker._private_jobs WHERE last_error IS NOT NULL ORDER BY key"


class EncodingTests(TestCase):
    """Everything that a daemon does, in one that has few characters."""

    timeout = 120

    async def test_other_encodings(self) -> None:
        """It works in a LATIN1 and in an SQL_ASCII database, directly and through PgBouncer."""
        for encoding in ("LATIN1", "SQL_ASCII", "EUC_JP"):
            for pooled in (False, True):
                url = empty_database(self, encoding)
                database = await opened(self, PgBouncer(self, url).url if pooled else url)
                store = await start(database)
                await work(self, database, store, url)
                if not pooled:
                    await listen(self, database, url)

    async def test_role_with_another_encoding(self) -> None:
        """What a role, the environment or the URL says of the client's encoding changes nothing."""
        self.patch_environment("PGCLIENTENCODING", "SJIS")
        url = empty_database(self)
        settings_of(url, client_encoding="LATIN1")
        for through in (url, f"{url}?client_encoding=SQL_ASCII", PgBouncer(self, url).url):
            database = await opened(self, through)
            store = await start(database)
            self.assertEqual(await database.query("SHOW client_encoding"), [("UTF8",)])
            await self.deliver(database, store)

    async def test_foreign_payload(self) -> None:
        """An SQL_ASCII database holds any text: it comes out as it went in."""
        url = empty_database(self, "SQL_ASCII")
        database = await opened(self, url)
        await self.deliver(database, await start(database))

    async def deliver(self, database: Database, store: JobStore) -> None:
        payload = f'{{"event":"{FOREIGN}"}}'
        await database.query(SEND, (payload, FOREIGN))
        await enter(database, store)
        ((job,),) = await store.claim([(["mail"], 10)])
        self.assertEqual((job.payload, job.key), (payload, FOREIGN))
        await store.complete([job])

    async def test_foreign_error(self) -> None:
        """An error that the database cannot hold is written in escapes, and holds up nobody else's."""
        url = empty_database(self, "LATIN1")
        database = await opened(self, url)
        store = await start(database)
        for key in ("one", "other"):
            await database.query(SEND, ('{"event":"e"}', key))
        await enter(database, store)
        ((*jobs,),) = await store.claim([(["mail"], 10)])
        texts = {"one": f"said {FOREIGN}", "other": "said nothing"}
        failures = [Failure(job, texts[job.key or ""]) for job in jobs]
        self.assertEqual(await store.fail(failures), {job.id: False for job in jobs})
        self.assertEqual(
            ask(url, ERRORS), [("one", r"said \u65e5\u672c \u2013 \u2713"), ("other", "said nothing")]
        )
        self.assertEqual(store.held, 0)

    async def test_foreign_tick(self) -> None:
        """A cron URL that the database has no characters for is stored all the same."""
        url = empty_database(self, "LATIN1")
        database = await opened(self, url)
        store = await start(database)
        await enter(database, store)
        minute = minute_of(datetime.now(UTC).timestamp())
        text = tick_payload(f"http://app.test/{FOREIGN}", minute)
        added, _ = await store.schedule_tick(minute, text, None)
        self.assertTrue(added)
        ((*jobs,),) = await store.claim([(["cronQueue"], 1)])
        self.assertEqual([job.payload for job in jobs], [text])

    async def test_foreign_queue(self) -> None:
        """A queue's name that it has no characters for ends the start, and is named."""
        url = empty_database(self, "LATIN1")
        starting = Deferred.fromCoroutine(start(await opened(self, url), identifiers=("mail", "日本")))
        error = await self.assertFailure(starting, DatabaseError)
        self.assertIn('queues: the database\'s encoding cannot hold one of "日本"', str(error))
        self.assertIn("LATIN1", str(error))

    def patch_environment(self, name: str, value: str) -> None:
        before = os.environ.get(name)
        os.environ[name] = value

        def restore() -> None:
            if before is None:
                del os.environ[name]
            else:
                os.environ[name] = before

        self.addCleanup(restore)
