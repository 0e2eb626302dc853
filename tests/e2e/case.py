"""What the end-to-end tests share: a migrated database, a receiver on Node, daemons between them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from twisted.trial.unittest import TestCase

from tests.postgres import ask, empty_database
from tests.processes import ROOT, Daemon, NodeReceiver

SECRET = 'G,4DgB$.?>X]"w}w1745Xq2nKoM4BG74'
SAMPLE: dict[str, Any] = json.loads((ROOT / "slay-config.json").read_text())


class EndToEndCase(TestCase):
    """Real processes around a database of the test's own."""

    timeout = 180

    def setUp(self) -> None:
        self.url = empty_database(self)
        self.receiver = NodeReceiver(self, SECRET)

    def environment(self, **changes: str) -> dict[str, str]:
        """The contract's three variables."""
        return {
            "SLAY_Q_DATABASE_URL": self.url,
            "SLAY_Q_SECRET": SECRET,
            "SLAY_Q_CRON_URL": f"{getattr(self.receiver, 'url', 'http://127.0.0.1:9')}/ok",
            **changes,
        }

    def daemon(
        self, config: Mapping[str, Any] = SAMPLE, arguments: Sequence[str] = (), **environment: str
    ) -> Daemon:
        """Start a daemon."""
        return Daemon(self, config, self.environment(**environment), arguments)

    def sql(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run one statement on the test's database."""
        return ask(self.url, statement, *parameters)

    def make_role(self, prefix: str, options: str) -> str:
        """Create a role for the test; its name."""
        name = f"{prefix}_{self.url.rpartition('_')[2]}"
        self.sql(f"CREATE ROLE {name} {options}")
        # Roles belong to the whole server: another run that shares it may have adopted a database meanwhile.
        self.addCleanup(
            self.sql,
            f"DO $$ BEGIN DROP OWNED BY {name}; DROP ROLE {name};"
            f" EXCEPTION WHEN dependent_objects_still_exist THEN ALTER ROLE {name} NOLOGIN; END $$",
        )
        return name

    def send(self, queue: str, path: str = "/ok", *, n: int = 0, **arguments: Any) -> None:
        """Add one event."""
        payload = {"url": self.receiver.url + path, "retry": 0, "event": f"{queue}/test", "data": {"n": n}}
        named = "".join(f", {name} => %s" for name in arguments)
        self.sql(
            f"SELECT public.add_worker_job(%s, %s{named})", queue, json.dumps(payload), *arguments.values()
        )

    def jobs(self, columns: str = "task_identifier, attempts, locked_by") -> list[tuple[Any, ...]]:
        """The jobs that are in the table, without the cron tick."""
        return self.sql(
            f"SELECT {columns} FROM graphile_worker.jobs WHERE task_identifier <> 'cronQueue' ORDER BY id"
        )

    def folder_with(self, **files: str) -> Path:
        """A new folder with files; `__` in a name stands for a dot."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir(parents=True)
        for name, text in files.items():
            (folder / name.replace("__", ".")).write_text(text)
        return folder
