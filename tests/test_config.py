"""The configuration file and the environment."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.config import Config, QueueConfig, load
from slayq_tw.destinations import DestinationRules
from slayq_tw.errors import ConfigError
from slayq_tw.keyring import Keys
from slayq_tw.weburl import origin_of

ROOT = Path(__file__).parent.parent
SAMPLE_SECRET = 'G,4DgB$.?>X]"w}w1745Xq2nKoM4BG74'
ENVIRONMENT = {
    "SLAY_Q_DATABASE_URL": "postgres://app:db-password@db.test/app",
    "SLAY_Q_SECRET": SAMPLE_SECRET,
    "SLAY_Q_CRON_URL": "http://app.test:3000/api/slayq?token=cron-token",
}
MINIMAL = {"queues": {"mail": {"concurrency": 4}}}


class ConfigTestCase(SynchronousTestCase):
    """Has a working directory of its own."""

    def setUp(self) -> None:
        """Make it."""
        # Not mktemp(): under pytest its folders stay behind in the working directory.
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def write(self, text: str | bytes, name: str = "slay-config.json") -> str:
        """Write a file there; its name."""
        data = text.encode() if isinstance(text, str) else text
        (self.folder / name).write_bytes(data)
        return name

    def load(self, document: object, name: str = "slay-config.json") -> Config:
        """Load a document, given as text, bytes or a value for JSON."""
        if not isinstance(document, str | bytes):
            document = json.dumps(document).replace("Infinity", "1e400")  # JSON, and infinite all the same
        return load(self.write(document, name), ENVIRONMENT, str(self.folder))

    def faults(self, document: object, name: str = "slay-config.json") -> list[str]:
        """The lines of the report on a document."""
        return str(self.assertRaises(ConfigError, self.load, document, name)).split("\n")


class SoundTests(ConfigTestCase):
    """What is right is read as it is meant."""

    def test_sample(self) -> None:
        """The sample of the repository: six queues, with their aliases."""
        config = load("slay-config.json", ENVIRONMENT, str(ROOT))
        self.assertEqual(
            config.queues,
            (
                QueueConfig("mail", 4),
                QueueConfig("messaging", 6, ("dispatch", "ready")),
                QueueConfig("interactions", 1, ("reconcile", "discord")),
                QueueConfig("housekeeping", 2),
                QueueConfig("profile", 8),
                QueueConfig("general", 10),
            ),
        )
        self.assertEqual(config.queues[1].names, ("messaging", "dispatch", "ready"))

    def test_defaults(self) -> None:
        """What need not be said."""
        config = self.load(MINIMAL)
        self.assertEqual((config.timeout, config.grace, config.grant_execute_to), (300.0, 8.0, ()))
        self.assertEqual(config.queues, (QueueConfig("mail", 4, (), None),))
        self.assertEqual(config.database_url, ENVIRONMENT["SLAY_Q_DATABASE_URL"])
        self.assertEqual(config.keys.current, SAMPLE_SECRET.encode())
        self.assertEqual(config.cron_url, ENVIRONMENT["SLAY_Q_CRON_URL"])

    def test_everything(self) -> None:
        """All that can be said, in JSON and in YAML."""
        document = {
            "$schema": "./slay-config.schema.json",
            "queues": {"mail": {"concurrency": 4.0, "alias": ["post", "übrig 😀"], "timeout": 0.5}},
            "timeout": 60,
            "grace": 0,
            "grant_execute_to": ["app", "web"],
        }
        yaml = (
            "$schema: ./slay-config.schema.json\n"
            "queues:\n  mail: {concurrency: 4, alias: [post, übrig 😀], timeout: 0.5}\n"
            "timeout: 60\ngrace: 0\ngrant_execute_to:\n  - app\n  - web\n"
        )
        config = self.load(document)
        self.assertEqual(config.queues, (QueueConfig("mail", 4, ("post", "übrig 😀"), 0.5),))
        self.assertEqual((config.timeout, config.grace, config.grant_execute_to), (60.0, 0.0, ("app", "web")))
        self.assertIsInstance(config.queues[0].concurrency, int)
        for name in ("c.yaml", "c.yml", "c.YAML"):
            self.assertEqual(self.load(yaml, name), config)

    def test_max_payload(self) -> None:
        """In megabytes, fractions too."""
        self.assertEqual(self.load(MINIMAL).max_payload, 16_777_216)
        self.assertEqual(self.load(MINIMAL | {"max_payload_mb": 0.5}).max_payload, 524_288)

    def test_destinations(self) -> None:
        """Where deliveries may go: anywhere by default; private networks shut; a list of origins in normal form."""
        self.assertEqual(self.load(MINIMAL).destinations, DestinationRules(True, None))
        config = self.load(
            MINIMAL
            | {
                "allow_private_networks": False,
                "allowed_origins": ["HTTP://App.Test:3000/", "https://bücher.example", "http://[0::1]:80"],
            }
        )
        self.assertEqual(
            config.destinations,
            DestinationRules(
                False,
                frozenset(
                    {
                        ("http", "app.test", 3000),
                        ("https", "xn--bcher-kva.example", 443),
                        ("http", "::1", 80),
                    }
                ),
            ),
        )

    def test_yaml_merge(self) -> None:
        """A merged key that a queue overrides stands once."""
        yaml = "queues:\n  a: &base {concurrency: 4, timeout: 9}\n  b: {<<: *base, concurrency: 2}\n"
        self.assertEqual(
            self.load(yaml, "c.yml").queues, (QueueConfig("a", 4, (), 9.0), QueueConfig("b", 2, (), 9.0))
        )

    def test_byte_order_mark(self) -> None:
        """A file from Windows is read."""
        self.assertEqual(self.load(b"\xef\xbb\xbf" + json.dumps(MINIMAL).encode()), self.load(MINIMAL))

    def test_absolute_path(self) -> None:
        """An absolute path does not care for the working directory."""
        name = self.write(json.dumps(MINIMAL))
        self.assertEqual(load(str((self.folder / name).resolve()), ENVIRONMENT, "/"), self.load(MINIMAL))

    def test_repr(self) -> None:
        """No secret is shown."""
        shown = repr(self.load(MINIMAL))
        for secret in (SAMPLE_SECRET, "db-password", "cron-token"):
            self.assertNotIn(secret, shown)


class FileFaultTests(ConfigTestCase):
    """A file that cannot be read, or is no object."""

    def test_unreadable(self) -> None:
        """A missing file, and a folder."""
        for path, reason in (("nope.json", "No such file"), (".", "directory")):
            error = self.assertRaises(ConfigError, load, path, ENVIRONMENT, str(self.folder))
            self.assertIn(f"{path}: cannot be read: ", str(error))
            self.assertIn(reason, str(error))

    def test_not_text(self) -> None:
        """Empty, blank, and in another encoding."""
        for data, reason in (
            (b"", "is empty"),
            (b" \n", "is empty"),
            (b"\xff\xfe{\0", "is not UTF-8: byte 0"),
        ):
            self.assertEqual(self.faults(data)[0].split(": ", 1)[1][: len(reason)], reason)

    def test_syntax(self) -> None:
        """Line and column, in both formats."""
        for name, text, place in (
            ("c.json", '{"queues": {\n "a": }', "c.json: is no JSON: line 2, column 7: expecting value"),
            ("c.json", '{"queues": NaN}', "c.json: is no JSON: NaN"),
            ("c.json", "{} {}", "c.json: is no JSON: line 1, column 4"),
            ("c.yml", "queues: [\n", "c.yml: is no YAML: line 2, column 1"),
            ("c.yml", "a: 1\n---\nb: 1\n", "c.yml: is no YAML: line 2, column 1"),
            ("c.yml", "a: !!python/name:os.system\n", "c.yml: is no YAML: line 1, column 4"),
            ("c.yml", "a: 2024-99-99\n", "c.yml: is no YAML: month"),
            ("c.yml", "a: !!bool x\n", "c.yml: is no YAML: a value does not fit its tag"),
            ("c.yml", "a: !!int ''\n", "c.yml: is no YAML: a value does not fit its tag"),
            ("c.yml", "a: !!timestamp x\n", "c.yml: is no YAML: a value does not fit its tag"),
            ("c.yml", "a: \x00", "c.yml: is no YAML: "),
        ):
            (fault,) = self.faults(text, name)
            self.assertTrue(fault.startswith(place), fault)

    def test_too_deep(self) -> None:
        """A text of brackets is a fault like another."""
        for name in ("c.json", "c.yaml"):
            self.assertEqual(self.faults("[" * 50_000, name), [f"{name}: is nested too deeply"])

    def test_no_object(self) -> None:
        """The top is an object with queues in it."""
        for text in ("[]", "null", '"x"', "1"):
            (fault,) = self.faults(text)
            self.assertIn("must be an object, got", fault)
        self.assertIn("queues: must be an object", self.faults({})[0])
        self.assertIn("queues: must be an object", self.faults({"queues": []})[0])
        self.assertEqual(
            self.faults({"queues": {}}), ["slay-config.json: queues: must have at least one queue"]
        )


class DocumentFaultTests(ConfigTestCase):
    """Everything wrong is reported, each with its place."""

    def test_all_at_once(self) -> None:
        """Faults of the file and of the environment in one report."""
        name = self.write('{"queues":{"mail":{"concurrency":"4"},"a.b":{"concurrency":0}},"grace":-1}')
        environment = {"SLAY_Q_DATABASE_URL": "mysql://x", "SLAY_Q_CRON_URL": "/api"}
        error = self.assertRaises(ConfigError, load, name, environment, str(self.folder))
        for line, start in zip(
            str(error).split("\n"),
            [
                'slay-config.json: queues.mail.concurrency: must be an integer ≥ 1, got "4"',
                'slay-config.json: queues["a.b"].concurrency: must be an integer ≥ 1, got 0',
                "slay-config.json: grace: must be a number of seconds ≥ 0 and ≤ 3,600, got -1",
                "SLAY_Q_SECRET: not set",
                "SLAY_Q_DATABASE_URL: is neither",
                "SLAY_Q_CRON_URL: is not an absolute",
            ],
            strict=True,
        ):
            self.assertTrue(line.startswith(start), line)

    def test_numbers(self) -> None:
        """Booleans and strings are no numbers; each number has its bounds."""
        values: list[object] = [True, False, "4", 0, -1, 1.5, 10_001, None, [], {}, 1e400]
        for value in values:
            (fault,) = self.faults({"queues": {"a": {"concurrency": value}}})
            self.assertIn("queues.a.concurrency: must be an integer ≥ 1", fault)
        values = [True, "1", 0, -1, 86_401, None, [], 1e400]
        for value in values:
            for place, document in (
                ("timeout", MINIMAL | {"timeout": value}),
                ("queues.a.timeout", {"queues": {"a": {"concurrency": 1, "timeout": value}}}),
            ):
                (fault,) = self.faults(document)
                self.assertIn(f" {place}: must be a number of seconds > 0 and ≤ 86,400", fault)
        values = [True, "1", 0, -1, 64.1, None, [], 1e400]
        for value in values:
            (fault,) = self.faults(MINIMAL | {"max_payload_mb": value})
            self.assertIn(" max_payload_mb: must be a number of megabytes > 0 and ≤ 64", fault)
        self.assertIn("≤ 10,000, got 20000", self.faults({"queues": {"a": {"concurrency": 20_000}}})[0])

    def test_identifiers(self) -> None:
        """1 to 128 characters that Postgres can store, once in the file, not the cron tick's."""
        self.load({"queues": {"x" * 128: {"concurrency": 1, "alias": ["é" * 128]}}})
        for alias, words in (
            ("", "1 to 128 characters"),
            ("x" * 129, "1 to 128 characters"),
            ("a\0", "U+0000"),
            ("a\ud800", "surrogate"),
            ("cronQueue", "reserved"),
            ("mail", "stands already at queues.mail"),
            (1, "must be a string, got 1"),
            (None, "must be a string, got null"),
        ):
            (fault,) = self.faults({"queues": {"mail": {"concurrency": 1, "alias": [alias]}}})
            self.assertIn("queues.mail.alias[0]: ", fault)
            self.assertIn(words, fault)
        self.assertIn("reserved", self.faults({"queues": {"cronQueue": {"concurrency": 1}}})[0])

    def test_twice(self) -> None:
        """The second place of an identifier is a fault that names the first, whichever way round."""
        one, two = {"concurrency": 1, "alias": ["x"]}, {"concurrency": 1, "alias": ["x", "a"]}
        self.assertEqual(
            self.faults({"queues": {"a": one, "b": two}}),
            [
                'slay-config.json: queues.b.alias[0]: identifier "x" stands already at queues.a.alias[0]',
                'slay-config.json: queues.b.alias[1]: identifier "a" stands already at queues.a',
            ],
        )
        self.assertEqual(
            self.faults({"queues": {"a": one, "x": {"concurrency": 1}}}),
            ['slay-config.json: queues.a.alias[0]: identifier "x" stands already at queues.x'],
        )

    def test_shapes(self) -> None:
        """A queue is an object, alias and grant_execute_to are arrays of strings."""
        for document, fault in (
            ({"queues": {"a": 4}}, 'queues.a: must be an object like {"concurrency": 4}, got 4'),
            ({"queues": {"a": {"concurrency": 1, "alias": "b"}}}, "queues.a.alias: must be an array"),
            (MINIMAL | {"grant_execute_to": "app"}, "grant_execute_to: must be an array"),
            (MINIMAL | {"grant_execute_to": ["app", ""]}, "grant_execute_to[1]: must be the name"),
            (MINIMAL | {"grant_execute_to": [None]}, "grant_execute_to[0]: must be the name"),
            (
                MINIMAL | {"grant_execute_to": ["é" * 32]},
                "grant_execute_to[0]: the name of a role has at most 63",
            ),
            (MINIMAL | {"grant_execute_to": ["a", "a"]}, 'grant_execute_to[1]: role "a" stands already'),
            (MINIMAL | {"$schema": 1}, "$schema: must be a string"),
        ):
            (line,) = self.faults(document)
            self.assertTrue(line.startswith(f"slay-config.json: {fault}"), line)

    def test_destinations(self) -> None:
        """Origins are bare ones, once each however they are written; a password in one is not shown."""
        for document, fault in (
            ({"allow_private_networks": 0}, "allow_private_networks: must be true or false"),
            ({"allowed_origins": []}, "allowed_origins: must be an array of at least one origin"),
            ({"allowed_origins": "http://a"}, "allowed_origins: must be an array of at least one"),
            ({"allowed_origins": ["app.test"]}, "allowed_origins[0]: must be an origin"),
            ({"allowed_origins": ["http://a/x"]}, "allowed_origins[0]: must be an origin"),
            ({"allowed_origins": ["http://a?x"]}, "allowed_origins[0]: must be an origin"),
            ({"allowed_origins": ["http://a", 7]}, "allowed_origins[1]: must be an origin"),
            ({"allowed_origins": ["http://u:tell-tale@a"]}, "allowed_origins[0]: must be an origin"),
            ({"allowed_origins": ["http://a:0"]}, "allowed_origins[0]: has a port outside"),
            ({"allowed_origins": ["http://a b"]}, "allowed_origins[0]: contains a space"),
            ({"allowed_origins": ["http://a\n"]}, "allowed_origins[0]: contains a space"),
            ({"allowed_origins": ["http://a\\"]}, "allowed_origins[0]: contains a space"),
            ({"allowed_origins": ["http://%61"]}, "allowed_origins[0]: contains a space"),
            ({"allowed_origins": [" http://a"]}, "allowed_origins[0]: must be an origin"),
            ({"allowed_origins": ["http:/a"]}, "allowed_origins[0]: must be an origin"),
            ({"allowed_origins": ["http:///a"]}, "allowed_origins[0]: must be an origin"),
            (
                {"allowed_origins": ["http://a", "HTTP://A:80/"]},
                "allowed_origins[1]: is the same origin as allowed_origins[0]",
            ),
        ):
            (line,) = self.faults(MINIMAL | document)
            self.assertTrue(line.startswith(f"slay-config.json: {fault}"), line)
            self.assertNotIn("tell-tale", line)

    def test_cron_url_and_destinations(self) -> None:
        """A receiver of the cron tick that nothing may be delivered to is a fault of the start."""

        def fault(cron_url: str, **rules: object) -> str:
            name = self.write(json.dumps(MINIMAL | rules))
            environment = ENVIRONMENT | {"SLAY_Q_CRON_URL": cron_url}
            return str(self.assertRaises(ConfigError, load, name, environment, str(self.folder)))

        self.assertEqual(
            fault("https://u:tell-tale@other.test/x?tell-tale", allowed_origins=["https://app.test"]),
            "SLAY_Q_CRON_URL: its origin https://other.test is not among allowed_origins",
        )
        self.assertEqual(
            fault("http://[::ffff:a9fe:a9fe]/"),
            "SLAY_Q_CRON_URL: ::ffff:169.254.169.254 is the address of a cloud's metadata service, to which nothing is"
            " delivered",
        )
        self.assertIn("allow_private_networks", fault("http://127.0.0.1/", allow_private_networks=False))
        self.load(MINIMAL | {"allowed_origins": ["http://app.test:3000"]})

    def test_spelled_origins(self) -> None:
        """An origin is the one that is connected to, whichever way it is spelled in the file or in an event."""
        origins = [
            "https://EXAMPLE.com:443/",
            "http://0x7f.1:3000",
            "http://b\u00fccher.test",
            "http://[::FFFF:1.2.3.4]",
        ]
        cron = "http://app.test:3000"  # its URL must be allowed too
        rules = self.load(MINIMAL | {"allowed_origins": [*origins, cron]}).destinations
        for url in (
            "https://example.com/hook",
            "http://127.0.0.1:3000/",
            "http://2130706433:3000\\@other.test",
            "http://xn--bcher-kva.test/",
            "http://[::ffff:102:304]/",
        ):
            self.assertIsNone(rules.origin_fault(origin_of(url)), url)
        for url in ("https://example.com:444/", "http://127.0.0.1/", "http://bucher.test", "http://1.2.3.4/"):
            self.assertIsNotNone(rules.origin_fault(origin_of(url)), url)

    def test_unknown_keys(self) -> None:
        """The nearest known key is suggested; where none is near, all are named."""
        self.assertEqual(
            self.faults({"queue": {}})[0], 'slay-config.json: unknown key "queue"; did you mean "queues"?'
        )
        self.assertEqual(
            self.faults({"queues": {"mail": {"concurrency": 1, "aliases": []}}}),
            ['slay-config.json: queues.mail: unknown key "aliases"; did you mean "alias"?'],
        )
        self.assertEqual(
            self.faults({"queues": {"mail": {"concurrency": 1, "zzz": 1}}}),
            ['slay-config.json: queues.mail: unknown key "zzz"; known are concurrency, alias, timeout'],
        )

    def test_repeated_keys(self) -> None:
        """A key that stands twice in one object, in both formats."""
        json_text = (
            '{"queues":{"a":{"concurrency":1,"concurrency":2},"a":{"concurrency":1}},"grace":1,"grace":1}'
        )
        self.assertEqual(
            self.faults(json_text),
            ['slay-config.json: key "grace" stands twice', 'slay-config.json: queues: key "a" stands twice'],
        )
        yaml = "queues:\n  a:\n    concurrency: 1\n    concurrency: 1\n  b: {concurrency: 1}\n  b: {concurrency: 1}\n"
        self.assertEqual(
            self.faults(yaml, "c.yml"),
            [
                'c.yml: queues: key "b" stands twice',
                'c.yml: queues.a: key "concurrency" stands twice',
            ],
        )

    def test_yaml_keys(self) -> None:
        """YAML's keys that are no strings, and values that JSON does not have."""
        self.assertEqual(
            self.faults("queues:\n  2: {concurrency: 1}\n  on: {concurrency: 1}\n", "c.yml"),
            [
                "c.yml: queues[2]: an identifier must be a string, got 2",
                "c.yml: queues[true]: an identifier must be a string, got true",
            ],
        )
        (fault,) = self.faults("queues: &q\n  a: {concurrency: 2024-01-01}\n", "c.yml")
        self.assertIn("must be an integer ≥ 1, got date 2024-01-01", fault)
        (fault,) = self.faults(f"queues:\n  a: {{concurrency: 0x{'f' * 5000}}}\n", "c.yml")
        self.assertIn("must be an integer ≥ 1 and ≤ 10,000, got a huge number", fault)
        (fault,) = self.faults("queues:\n  a: &a {concurrency: 1, alias: [*a]}\n", "c.yml")
        self.assertIn("queues.a.alias[0]: an identifier must be a string, got an object", fault)

    def test_values_are_cut(self) -> None:
        """A report quotes no long value, and can be printed whatever it quotes."""
        for fault in self.faults({"queues": {"a": {"concurrency": "\ud800" + "x" * 1000}}, "y" * 1000: 1}):
            self.assertLess(len(fault), 350)
            fault.encode()


class EnvironmentTests(ConfigTestCase):
    """The three variables, from the environment or from `.env`."""

    def loaded(self, environ: dict[str, str]) -> Config:
        """Load the minimal file with this environment."""
        return load(self.write(json.dumps(MINIMAL)), environ, str(self.folder))

    def test_required(self) -> None:
        """Each is; an empty one is as good as none."""
        for name in ENVIRONMENT:
            others = {key: value for key, value in ENVIRONMENT.items() if key != name}
            self.assertTrue(
                str(self.assertRaises(ConfigError, self.loaded, others)).startswith(f"{name}: not set")
            )
            error = self.assertRaises(ConfigError, self.loaded, others | {name: ""})
            self.assertTrue(str(error).startswith(f"{name}: empty"))

    def test_dotenv(self) -> None:
        """`.env` fills what is lacking and overrides nothing; `$` in it is a character like any other."""
        self.write(
            "\ufeffSLAY_Q_SECRET='" + SAMPLE_SECRET + "'\n"
            "SLAY_Q_DATABASE_URL=postgres://other.test/\n"
            'export SLAY_Q_CRON_URL="http://app.test/${SLAY_Q_SECRET}" # comment\n',
            ".env",
        )
        config = self.loaded({"SLAY_Q_DATABASE_URL": "postgres://db.test/"})
        self.assertEqual(config.keys.current, SAMPLE_SECRET.encode())
        self.assertEqual(config.database_url, "postgres://db.test/")
        self.assertEqual(config.cron_url, "http://app.test/${SLAY_Q_SECRET}")

    def test_dotenv_unquoted(self) -> None:
        """The published secret, written without quotes, is itself."""
        self.write(f"SLAY_Q_SECRET={SAMPLE_SECRET}\nSLAY_Q_CRON_URL\n", ".env")
        environ = {name: ENVIRONMENT[name] for name in ("SLAY_Q_DATABASE_URL", "SLAY_Q_CRON_URL")}
        self.assertEqual(self.loaded(environ).keys.current, SAMPLE_SECRET.encode())

    def test_unreadable_dotenv(self) -> None:
        """A `.env` in another encoding is a fault."""
        self.write("SLAY_Q_SECRET=ü".encode("latin-1"), ".env")
        self.assertEqual(
            str(self.assertRaises(ConfigError, self.loaded, ENVIRONMENT)), ".env, line 1: is not UTF-8"
        )

    def test_values(self) -> None:
        """The URLs are checked, and quoted nowhere."""
        for name, value in (
            ("SLAY_Q_CRON_URL", "http://u:tell-tale@app.test:x/"),
            ("SLAY_Q_CRON_URL", "tell-tale"),
            ("SLAY_Q_DATABASE_URL", "postgres://u:tell-tale@h:x/"),
            ("SLAY_Q_LISTEN_URL", "postgres://u:tell-tale@h:x/"),
            ("SLAY_Q_LISTEN_URL", "tell-tale"),
        ):
            error = str(self.assertRaises(ConfigError, self.loaded, ENVIRONMENT | {name: value}))
            self.assertTrue(error.startswith(f"{name}: "), error)
            self.assertNotIn("tell-tale", error)

    def test_listen_url(self) -> None:
        """The listener's own connection is optional; a variable that is empty is not set. Its URL is not shown."""
        url = "postgres://app:tell-tale@direct.test/app"
        config = self.loaded(ENVIRONMENT | {"SLAY_Q_LISTEN_URL": url})
        self.assertEqual(config.listen_url, url)
        self.assertNotIn("tell-tale", repr(config))
        for environment in (ENVIRONMENT, ENVIRONMENT | {"SLAY_Q_LISTEN_URL": ""}):
            self.assertIsNone(self.loaded(environment).listen_url)

    def test_files(self) -> None:
        """Each may be the name of a file instead; what is wrong in it is reported like any other value."""
        (self.folder / "secrets").mkdir()
        values = {
            **ENVIRONMENT,
            "SLAY_Q_LISTEN_URL": "postgres://direct.test/app",
            "SLAY_Q_SECRET_PREVIOUS": "old",
        }
        for name, value in values.items():
            self.write(f"{value}\n", f"secrets/{name}")
        config = self.loaded({f"{name}_FILE": f"secrets/{name}" for name in values})
        self.assertEqual(config, self.loaded(values))
        self.assertEqual(config.keys.secrets, (SAMPLE_SECRET.encode(), b"old"))
        self.write("mysql://x", "secrets/SLAY_Q_DATABASE_URL")
        faults = str(
            self.assertRaises(
                ConfigError,
                self.loaded,
                {
                    "SLAY_Q_DATABASE_URL_FILE": "secrets/SLAY_Q_DATABASE_URL",
                    "SLAY_Q_SECRET_FILE": "secrets/nowhere",
                    "SLAY_Q_CRON_URL": "http://app.test/",
                    "SLAY_Q_CRON_URL_FILE": "secrets/SLAY_Q_CRON_URL",
                },
            )
        ).split("\n")
        for fault, start in zip(
            faults,
            [
                "SLAY_Q_SECRET_FILE: secrets/nowhere cannot be read: No such file",
                "SLAY_Q_CRON_URL: SLAY_Q_CRON_URL_FILE is set as well",
                "SLAY_Q_DATABASE_URL: is neither",
            ],
            strict=True,
        ):
            self.assertTrue(fault.startswith(start), fault)

    def test_previous_secret(self) -> None:
        """Optional, and not shown; empty is none."""
        config = self.loaded(ENVIRONMENT | {"SLAY_Q_SECRET_PREVIOUS": "tell-tale"})
        self.assertEqual(config.keys.previous, b"tell-tale")
        self.assertNotIn("tell-tale", repr(config))
        for environment in (ENVIRONMENT, ENVIRONMENT | {"SLAY_Q_SECRET_PREVIOUS": ""}):
            self.assertIsNone(self.loaded(environment).keys.previous)

    def test_secret_bytes(self) -> None:
        """The secret is its UTF-8, and the environment's bytes where they are none."""
        for text, secret in (("ключ", "ключ".encode()), (" a ", b" a "), ("a\udcff", b"a\xff")):
            self.assertEqual(self.loaded(ENVIRONMENT | {"SLAY_Q_SECRET": text}).keys.current, secret)


class OriginSecretTests(ConfigTestCase):
    """The file names the variables of single origins' secrets; these hold them."""

    document = MINIMAL | {
        "origin_secrets": {
            "https://APP.test/": "SLAY_Q_SECRET_APP",
            "http://app.test:3000": "SLAY_Q_SECRET_APP",
            "http://[::1]:3000": "SLAY_Q_SECRET_B2",
        }
    }

    def loaded(self, document: object, **environ: str) -> Config:
        """Load a document with these variables beside the three."""
        return load(self.write(json.dumps(document)), ENVIRONMENT | environ, str(self.folder))

    def test_read(self) -> None:
        """Each origin, however it is spelled, gets its variable's secrets; predecessors and files work as elsewhere."""
        self.write("b2\n", "b2")
        config = self.loaded(
            self.document,
            SLAY_Q_SECRET_APP="new",
            SLAY_Q_SECRET_APP_PREVIOUS="old",
            SLAY_Q_SECRET_B2_FILE="b2",
        )
        app = Keys("SLAY_Q_SECRET_APP", b"new", b"old")
        self.assertEqual(
            config.origin_keys,
            {
                ("https", "app.test", 443): app,
                ("http", "app.test", 3000): app,
                ("http", "::1", 3000): Keys("SLAY_Q_SECRET_B2", b"b2"),
            },
        )
        self.assertEqual(self.loaded(MINIMAL).origin_keys, {})
        self.assertIsNone(config.keys.previous)

    def test_missing(self) -> None:
        """A variable that is not set is a fault that says who wants it, once."""
        error = self.assertRaises(ConfigError, self.loaded, self.document, SLAY_Q_SECRET_B2="")
        self.assertEqual(
            str(error).split("\n"),
            [
                "SLAY_Q_SECRET_APP: not set; it is the secret of https://app.test, says origin_secrets",
                "SLAY_Q_SECRET_B2: empty; it is the secret of http://[::1]:3000, says origin_secrets",
            ],
        )

    def test_one_secret(self) -> None:
        """Development mode has one secret for everybody; what is wrong in the file is found all the same."""
        name = self.write(json.dumps(self.document))
        config = load(name, ENVIRONMENT, str(self.folder), one_secret=True)
        self.assertEqual(config.origin_keys, {})
        name = self.write(json.dumps(MINIMAL | {"origin_secrets": 1}))
        self.assertRaises(ConfigError, load, name, ENVIRONMENT, str(self.folder), one_secret=True)

    def test_faults(self) -> None:
        """What is no origin, and what is no variable. A secret that was written there is not shown."""
        for origin in (
            "app.test",
            "ftp://app.test",
            "https://",
            "https://app.test/path",
            "https://app.test?tell-tale",
            "https://u:tell-tale@app.test",
            "https://app.test:99999",
            "https://a b.test",
            "",
        ):
            (fault,) = self.faults(MINIMAL | {"origin_secrets": {origin: "SLAY_Q_SECRET_APP"}})
            self.assertIn(" origin_secrets[", fault)
            self.assertNotIn("tell-tale", fault)
        for variable in (
            "tell-tale",
            "SLAY_Q_SECRET",
            "SLAY_Q_SECRET_",
            "SLAY_Q_SECRET_tell-tale",
            "SLAY_Q_SECRET_PREVIOUS",
            "SLAY_Q_SECRET_APP_FILE",
            "SLAY_Q_SECRET_APP_PREVIOUS",
            None,
            1,
        ):
            (fault,) = self.faults(MINIMAL | {"origin_secrets": {"https://app.test": variable}})
            self.assertIn(' origin_secrets["https://app.test"]: must be the name of a variable', fault)
            self.assertNotIn("tell-tale", fault)
        self.assertIn("must be an object", self.faults(MINIMAL | {"origin_secrets": "tell-tale"})[0])

    def test_twice(self) -> None:
        """An origin stands once, however it is spelled."""
        twice = {"https://app.test": "SLAY_Q_SECRET_A", "HTTPS://app.test:443/": "SLAY_Q_SECRET_B"}
        fault, _ = self.faults(MINIMAL | {"origin_secrets": twice})
        self.assertIn('origin_secrets["HTTPS://app.test:443/"]: is the same origin as another one', fault)
        entry = '"https://app.test":"SLAY_Q_SECRET_A"'
        text = f'{{"queues":{{"a":{{"concurrency":1}}}},"origin_secrets":{{{entry},{entry}}}}}'
        fault, _ = self.faults(text)
        self.assertIn('origin_secrets: key "https://app.test" stands twice', fault)

    def test_standard_webhooks(self) -> None:
        """Off unless asked for."""
        self.assertFalse(self.load(MINIMAL).standard_webhooks)
        self.assertTrue(self.load(MINIMAL | {"standard_webhooks": True}).standard_webhooks)
        (fault,) = self.faults(MINIMAL | {"standard_webhooks": "yes"})
        self.assertIn('standard_webhooks: must be true or false, got "yes"', fault)
