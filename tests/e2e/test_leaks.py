"""What a daemon says, in the log and in `last_error`, while a dozen things go wrong: no secret is in it."""

import json
import re
from base64 import b64encode

from tests.e2e.case import SAMPLE, EndToEndCase
from tests.processes import Child, NodeReceiver

SECRET = 'tell-tale "<&%> secret'
PREVIOUS = "tell-tale, the previous one"
DATABASE_PASSWORD = "tell-tale-database"
USER_INFO = "somebody:tell-tale-password"
TOKEN = "tell-tale-token"
BASIC = b64encode(USER_INFO.encode()).decode()
SIGNATURE = re.compile(r"[0-9a-f]{128}|v1,[A-Za-z0-9+/]{43}=")


class LeakTests(EndToEndCase):
    """Everything that is secret has `tell-tale` in it, and the receiver shows all that it has."""

    def setUp(self) -> None:
        super().setUp()
        self.receiver = NodeReceiver(self, SECRET)

    def assert_nothing_in(self, text: str) -> None:
        for leak in ("tell-tale", "tell\\u002dtale", BASIC):
            self.assertNotIn(leak, text)
        self.assertIsNone(SIGNATURE.search(text), text)

    def with_password(self, url: str) -> str:
        return url.replace("postgres@", f"postgres:{DATABASE_PASSWORD}@", 1)

    def started(self, log_format: str) -> Child:
        url = self.with_password(self.url)
        return self.daemon(
            {**SAMPLE, "standard_webhooks": True, "timeout": 2, "max_payload_mb": 0.01},
            [f"--log-format={log_format}"],
            SLAY_Q_SECRET=SECRET,
            SLAY_Q_SECRET_PREVIOUS=PREVIOUS,
            SLAY_Q_DATABASE_URL=url,
            SLAY_Q_LISTEN_URL=url,
            SLAY_Q_CRON_URL=f"{self.receiver.url.replace('//', f'//{USER_INFO}@')}/echo?token={TOKEN}",
        )

    async def provoked(self, log_format: str) -> None:
        base = (await self.receiver.ready()).replace("//", f"//{USER_INFO}@")
        query = f"?token={TOKEN}&show"
        urls = [
            f"{base}/echo{query}",
            f"{base}/echo/part{query}",
            f"{base}/echo/env{query}",
            f"{base}/hang{query}",
            f"{base}/status/503{query}",
            f"{base}/redirect/301?{base}/x{query}",
            f"{base}/redirect?{base}/redirect?{base}/echo{query}",
            f"{base}/redirect?http://{USER_INFO}@169.254.169.254/{query}",
            f"{base}/redirect?http://{USER_INFO}@[::1/{query}",
            f"http://{USER_INFO}@169.254.169.254/{query}",
            f"http://{USER_INFO}@127.0.0.1:9/{query}",
            f"http://{USER_INFO}@nowhere.invalid/{query}",
            f"{base.replace('http:', 'https:')}/ok{query}",
            f"http://{USER_INFO}@127.0.0.1:99999/{query}",
            f"http://{USER_INFO}@[::1/{query}",
            f"ftp://{USER_INFO}@app.test/{query}",
            f"{TOKEN} is no URL",
        ]
        payloads = [json.dumps({"url": url, "retry": 0, "event": TOKEN, "data": TOKEN}) for url in urls]
        payloads += [
            json.dumps(TOKEN),
            json.dumps([TOKEN]),
            json.dumps({"url": TOKEN, TOKEN: TOKEN}),
            f'{{"{TOKEN}":1e999}}',
        ]
        daemon = self.started(log_format)
        await daemon.wait_for_line("started: ")
        for payload in [*payloads, json.dumps("x" * 20_000 + TOKEN)]:
            self.sql("SELECT graphile_worker.add_job('mail', %s::json, max_attempts => 1)", payload)
        self.sql("SELECT graphile_worker.add_job('cronQueue', %s::json, max_attempts => 1)", payloads[0])
        count = len(payloads) + 1
        await daemon.until(
            lambda: sum("job_failed_for_good: " in line for line in daemon.lines) == count, "all failures"
        )
        await daemon.wait_for_line("cron_tick_failed")
        self.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        self.send("mail", "/ok")
        await daemon.wait_for_line("job_delivered")
        self.assertEqual(await daemon.stop(), 0)
        self.assert_nothing_in("\n".join(daemon.lines))
        errors = [error for (error,) in self.sql("SELECT last_error FROM graphile_worker.jobs ORDER BY id")]
        self.assertEqual(len(errors), count)
        for error in errors:
            self.assert_nothing_in(error)
            self.assertTrue(0 < len(error) <= 1000 and error.isprintable(), error)
        self.assertTrue(
            any('"SLAY_Q_WORKER_SECRET":"…' in error for error in errors), errors
        )  # it had been there

    async def test_errors(self) -> None:
        """In lines of text."""
        await self.provoked("text")

    async def test_errors_as_json(self) -> None:
        """In lines of JSON, with the fields of each event."""
        await self.provoked("json")

    async def test_failed_starts(self) -> None:
        """A start that fails says why, and quotes nothing."""
        await self.receiver.ready()
        url = self.with_password(self.url)
        for changes in (
            {"SLAY_Q_DATABASE_URL": url + "_gone"},
            {"SLAY_Q_DATABASE_URL": url.replace("//postgres:", "//slayq_test_nobody:")},
            {"SLAY_Q_DATABASE_URL": url.replace("127.0.0.1:", "127.0.0.1:x")},
            {"SLAY_Q_DATABASE_URL": url.replace("postgresql:", "mysql:")},
            {"SLAY_Q_LISTEN_URL": url + "?sslmode=tell-tale"},
            {"SLAY_Q_CRON_URL": f"http://{USER_INFO}@127.0.0.1:x/?{TOKEN}"},
            {"SLAY_Q_CRON_URL": f"http://{USER_INFO}@169.254.169.254/?{TOKEN}"},
        ):
            environment = {"SLAY_Q_SECRET": SECRET, "SLAY_Q_DATABASE_URL": url, **changes}
            daemon = self.daemon(SAMPLE, **environment)
            self.assertEqual(await daemon.wait_for_end(), 1, (changes, daemon.lines))
            self.assert_nothing_in("\n".join(daemon.lines))
