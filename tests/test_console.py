"""`slayq_tw.console`: arguments, exit statuses and what is printed where."""

import contextlib
import io
import os
from base64 import b64encode
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.console import main
from slayq_tw.dev import command
from slayq_tw.embedded import EmbeddedPostgresError


class ConsoleTests(SynchronousTestCase):
    """The command `slayq`."""

    def run_command(self, *arguments: str) -> tuple[int, str, str]:
        """Exit status, standard output, standard error."""
        output, errors = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            try:
                status = main(arguments)
            except SystemExit as end:
                status = end.code if isinstance(end.code, int) else 1
        return status, output.getvalue(), errors.getvalue()

    def test_help(self) -> None:
        """It names every command, and the one that is for production."""
        status, text, _ = self.run_command("--help")
        self.assertEqual(status, 0)
        for word in ("dev", "send", "webhook-secret", "health", "slay-q-server FILE"):
            self.assertIn(word, text)

    def test_usage(self) -> None:
        """A wrong call ends with 2 and says what is wrong."""
        for arguments, said in (
            ((), "COMMAND"),
            (("frobnicate",), "frobnicate"),
            (("send", "mail"), "EVENT"),
            (("send", "mail", "e", "--data", "{"), "no JSON"),
            (("send", "mail", "e", "--delay", "soon"), "soon"),
            (("dev", "--port", "x"), "'x'"),
        ):
            status, _, errors = self.run_command(*arguments)
            self.assertEqual(status, 2, arguments)
            self.assertIn(said, errors)

    def test_health(self) -> None:
        """`slayq health` passes its status on."""
        self.assertEqual(self.run_command("health", "nowhere")[0], 1)

    def test_webhook_secret(self) -> None:
        """`slayq webhook-secret` prints the key of the daemon's configuration, or that of one origin, and nothing else."""
        Path("slay-config.json").write_text(
            '{"queues":{"a":{"concurrency":1}},"origin_secrets":{"https://app.test":"SLAY_Q_SECRET_APP"}}'
        )
        Path("app").write_text("ключ\n")
        environment = {
            "SLAY_Q_DATABASE_URL": "postgresql://localhost/x",
            "SLAY_Q_SECRET": "a secret",
            "SLAY_Q_SECRET_PREVIOUS": "an old one",
            "SLAY_Q_SECRET_APP_FILE": "app",
            "SLAY_Q_CRON_URL": "http://localhost:3000/",
        }
        self.patch(os, "environ", environment)
        for arguments, secret in (
            ((), b"a secret"),
            (("--origin", "https://app.test/hook"), "ключ".encode()),
            (("--origin", "http://app.test"), b"a secret"),
        ):
            shown = f"whsec_{b64encode(secret).decode()}\n"
            self.assertEqual(self.run_command("webhook-secret", *arguments), (0, shown, ""))
        status, output, errors = self.run_command("webhook-secret", "--origin", "app.test")
        self.assertEqual((status, output), (1, ""))
        self.assertIn("--origin: is not an absolute", errors)
        del environment["SLAY_Q_SECRET"]
        self.assertIn("SLAY_Q_SECRET: not set", self.run_command("webhook-secret")[2])
        self.assertIn("nowhere.json", self.run_command("webhook-secret", "--config", "nowhere.json")[2])

    def test_send_to_nobody(self) -> None:
        """Without a development mode, one line says how to start it."""
        status, output, errors = self.run_command("send", "mail", "e", "--folder", "nowhere")
        self.assertEqual((status, output), (1, ""))
        self.assertEqual(
            errors,
            f"slayq: {Path('nowhere').absolute()}: no development mode runs here; start `slayq dev` first\n",
        )

    def test_dev(self) -> None:
        """What `slayq dev` is asked for, and what becomes of its result."""
        calls: list[Any] = []

        def develop(path: Path | None, port: int | None, *, once: bool, log_level: str) -> int:
            calls.append((path, port, once, log_level))
            if port == 1:
                raise EmbeddedPostgresError("no Postgres")
            if port == 2:
                raise KeyboardInterrupt
            return 57

        self.patch(command, "develop", develop)
        self.assertEqual(self.run_command("dev")[0], 57)
        self.assertEqual(
            self.run_command("dev", "--once", "--folder", "x", "--port", "1"), (1, "", "slayq: no Postgres\n")
        )
        self.assertEqual(self.run_command("dev", "--port", "2", "--log-level", "debug")[0], 130)
        self.assertEqual(
            calls, [(None, None, False, "warn"), (Path("x"), 1, True, "warn"), (None, 2, False, "debug")]
        )
