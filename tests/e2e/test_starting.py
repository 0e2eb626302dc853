"""What it takes to start, and what is said when it is not there."""

import json

import psycopg2

from tests.e2e.case import SAMPLE, EndToEndCase
from tests.processes import Child, Daemon, program, python_environment


class StartTests(EndToEndCase):
    """Ways to run, and exit statuses."""

    async def refused(self, daemon: Daemon) -> str:
        """Wait for a daemon that does not start: status 1, no traceback. Its output."""
        self.assertEqual(await daemon.wait_for_end(), 1)
        output = "\n".join(daemon.lines)
        self.assertNotIn("Traceback", output)
        return output

    async def test_bad_configuration(self) -> None:
        """Everything that is wrong, in file and environment, in one report."""
        output = await self.refused(
            self.daemon(
                {"queues": {"mail": {"concurrency": "4", "aliases": ["x"]}}, "timeout": -1},
                SLAY_Q_SECRET="",
                SLAY_Q_CRON_URL="localhost",
            )
        )
        for text in ("queues.mail.concurrency", "alias", "timeout", "SLAY_Q_SECRET", "SLAY_Q_CRON_URL"):
            self.assertIn(text, output)
        self.assertNotIn("starting up", output)

    async def test_unreadable_file(self) -> None:
        """A file that is not there is named."""
        self.assertIn("nowhere.json", await self.refused(self.daemon(arguments=["--config=nowhere.json"])))

    async def test_no_such_database(self) -> None:
        """A missing database ends the start."""
        url = self.url.rpartition("/")[0] + "/no_such_database"
        output = await self.refused(self.daemon(SLAY_Q_DATABASE_URL=url))
        self.assertIn('database "no_such_database" does not exist', output)
        self.assertIn("start_failed", output)

    async def test_missing_privilege(self) -> None:
        """A role that may not create the schemas ends the start, and its name is said."""
        role = self.make_role("poor", "LOGIN PASSWORD 'secret word'")
        parameters = psycopg2.extensions.parse_dsn(self.url)
        database = parameters["dbname"]
        self.sql(f'REVOKE CREATE ON DATABASE "{database}" FROM PUBLIC')
        host = f"{parameters['host']}:{parameters.get('port', '5432')}"
        output = await self.refused(
            self.daemon(SLAY_Q_DATABASE_URL=f"postgresql://{role}:secret%20word@{host}/{database}")
        )
        self.assertIn(role, output)
        self.assertNotIn("secret word", output)

    async def test_unknown_role(self) -> None:
        """A role to grant to that does not exist ends the start."""
        output = await self.refused(self.daemon({**SAMPLE, "grant_execute_to": ["no_such_role"]}))
        self.assertIn("no_such_role", output)

    async def test_schema_too_new(self) -> None:
        """A breaking revision beyond what is known is refused with 57, and ends who runs (item 59)."""
        first = self.daemon()
        await first.ready()
        self.sql("INSERT INTO graphile_worker.migrations (id, breaking) VALUES (21, true)")
        self.sql("""NOTIFY "worker:migrate", '{"migrationNumber":21,"breaking":true}'""")
        self.assertEqual(await first.wait_for_end(), 57)
        second = self.daemon()
        self.assertEqual(await second.wait_for_end(), 57)
        self.assertIn("revision 21", "\n".join(second.lines))

    async def test_json_log(self) -> None:
        """With --log-format=json every line is an object with the same fields."""
        await self.receiver.ready()
        daemon = self.daemon(arguments=["--log-format=json"])
        await daemon.wait_for_line('"event": "started"')
        self.send("mail", "/ok")
        await daemon.wait_for_line('"event": "job_delivered"')
        self.assertEqual(await daemon.stop(), 0)
        records = [json.loads(line) for line in daemon.lines]
        self.assertTrue(all({"time", "level", "namespace", "message"} <= record.keys() for record in records))
        (delivered,) = [
            record
            for record in records
            if record.get("event") == "job_delivered" and record["queue"] == "mail"
        ]
        self.assertEqual((delivered["level"], delivered["attempt"], delivered["status"]), ("debug", 1, 200))
        self.assertIsInstance(delivered["job_id"], int)

    async def test_console_script(self) -> None:
        """`slay-q-server FILE` is the same daemon."""
        url = await self.receiver.ready()
        folder = self.folder_with(my__json=json.dumps(SAMPLE))
        server = Child(
            self,
            [program("python"), "-m", "slayq_tw.server_command", "my.json"],
            {**python_environment(), **self.environment()},
            folder,
        )
        await server.wait_for_line("started: 6 queues")
        self.send("ready", "/ok", n=1)
        await self.receiver.wait_for(1)
        self.assertTrue(self.receiver.seen()[0]["verified"], url)
        self.assertEqual(await server.stop(), 0)

    async def test_tac(self) -> None:
        """So is a `.tac` file."""
        folder = self.folder_with(
            slay_config__yaml="queues: {mail: {concurrency: 1}}",
            my__tac='from slayq_tw.tap import application as make\napplication = make("slay_config.yaml")\n',
        )
        await self.receiver.ready()
        server = Child(
            self,
            [program("twistd"), "-n", "--pidfile=", "-y", "my.tac"],
            {**python_environment(), **self.environment()},
            folder,
        )
        await server.wait_for_line("started: 1 queues")
        self.assertEqual(await server.stop(), 0)

    async def test_dotenv(self) -> None:
        """Variables may come from `.env` in the working directory; the environment's own win."""
        folder = self.folder_with(
            __env="\n".join(
                f"{name}='{value}'" for name, value in self.environment(SLAY_Q_SECRET="of the file").items()
            ),
        )
        (folder / "slay-config.json").write_text(json.dumps(SAMPLE))
        await self.receiver.ready()
        server = Child(
            self,
            [program("twistd"), "-n", "--pidfile=", "slayq"],
            {**python_environment(), "SLAY_Q_SECRET": self.environment()["SLAY_Q_SECRET"]},
            folder,
        )
        await server.wait_for_line("started: 6 queues")
        self.send("mail", "/ok")
        (seen,) = await self.receiver.wait_for(1)
        self.assertTrue(seen["verified"])
        self.assertEqual(await server.stop(), 0)
