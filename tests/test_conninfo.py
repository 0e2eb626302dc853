"""The database URL, in libpq's forms and in node-pg's dialect."""

from hypothesis import given
from hypothesis import strategies as st
from psycopg2.extensions import parse_dsn
from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.conninfo import display, parse
from slayq_tw.errors import ConfigError

PASSWORD = "qX7"


class ParseTests(SynchronousTestCase):
    """`parse` takes what libpq and node-pg take, and means the same."""

    def assertParsed(self, url: str, **expected: str) -> None:
        """The URL has these keywords and no warning."""
        self.assertEqual(parse(url), (expected, []), url)

    def test_libpq(self) -> None:
        """What libpq reads without help is read as libpq reads it."""
        for url in (
            "postgres://u:p@h:5432/db",
            "postgresql://u@h",
            "postgresql://",
            "postgresql:///db",
            "postgres://u:p%20%40%2F@h/d%20b",
            "postgres://u:p:q@h/db",
            "postgres://u:p#w@h/db",
            "postgres://u:p?w@h/db",
            "postgres://h1:1,h2,[::1]:3/db",
            "postgres://u@%2Fvar%2Frun/db",
            "postgres://u@/db?host=/var/run&port=99&sslmode=verify-full&options=-c%20a%3Db&application_name=a+b",
            "postgres://u@h/db?user=w&password=q&dbname=e",
            "postgres://u@h/db?ssl=true",
            "host=h port=5432 user=u password='a b' sslmode=disable",
        ):
            self.assertEqual(parse(url), (parse_dsn(url), []), url)

    def test_unknown_parameters(self) -> None:
        """Dropped, with one warning that names them."""
        parameters, warnings = parse(
            "postgres://u@h/db?schema=x&pgbouncer=true&sslmode=disable&connection_limit=1&schema=y"
        )
        self.assertEqual(parameters, {"user": "u", "host": "h", "dbname": "db", "sslmode": "disable"})
        (warning,) = warnings
        self.assertIn("schema, pgbouncer, connection_limit", warning)

    def test_ssl(self) -> None:
        """node-pg's ways to ask for TLS; `no-verify` is what libpq calls `require`. An explicit sslmode wins."""
        base = {"host": "h", "dbname": "db"}
        for query, mode in {
            "sslmode=no-verify": "require",
            "ssl=no-verify": "require",
            "ssl=true": "require",
            "ssl=1": "require",
            "ssl=false": "disable",
            "ssl=0": "disable",
            "ssl=true&sslmode=verify-full": "verify-full",
            "sslmode=verify-ca&ssl=true": "verify-ca",
        }.items():
            self.assertParsed(f"postgres://h/db?{query}", **base, sslmode=mode)
        self.assertParsed("host=h dbname=db sslmode=no-verify", **base, sslmode="require")

    def test_bare_percent(self) -> None:
        """A `%` that begins no escape is itself; then, as in node-pg, only two decimal digits make an escape."""
        base = {"user": "u", "host": "h", "dbname": "db"}
        self.assertParsed("postgres://u:50%@h/db", **base, password="50%")
        self.assertParsed("postgres://u:50%off@h/db", **base, password="50%off")
        self.assertParsed("postgres://u:50%off%40%2F@h/db", **base, password="50%off@%2F")
        self.assertParsed("postgres://u@h/db?password=50%", **base, password="50%")

    def test_bare_at(self) -> None:
        """An unescaped `@` in the password, as node-pg takes it: the last one ends it."""
        self.assertParsed(
            "postgres://u:p@ss@h:1/db", user="u", password="p@ss", host="h", port="1", dbname="db"
        )

    def test_faults(self) -> None:
        """Each names the variable, and none shows a piece of a password."""
        for url in (
            f"mysql://u:{PASSWORD}@h/db",
            f"postgres:u:{PASSWORD}@h/db",
            f"host=h password={PASSWORD} {PASSWORD}",
            f"host=h password=a {PASSWORD}=b",
            f"host=h password='{PASSWORD}",
            f"postgres://u:{PASSWORD}@h:x/db",
            f"postgres://u:{PASSWORD}@h:65536/db",
            f"postgres://u:{PASSWORD}@h:0/db",
            f"postgres://u:{PASSWORD}@[::1/db",
            f"postgres://u:{PASSWORD}%ff@h/db",
            f"postgres://u:{PASSWORD}@%ff/db",
            f"postgres://u:{PASSWORD}@h/%ff",
            f"postgres://u:{PASSWORD}@h/%00",
            f"postgres://u:{PASSWORD}@h/db?application_name=%ff",
            f"postgres://u:{PASSWORD}%00@h/db",
            f"postgres://u:{PASSWORD}\udcff@h/db",
            f"postgres://u:{PASSWORD}/1@h/db",
            f"postgres://u:1/{PASSWORD}@h/db",
            f"postgres://u:1?{PASSWORD}/x@h/db",
            f"postgres://u:{PASSWORD}@h/db?sslmode=on",
            f"postgres://u:{PASSWORD}@h/db?sslmode",
            " ",
        ):
            error = str(self.assertRaises(ConfigError, parse, url))
            self.assertTrue(error.startswith("SLAY_Q_DATABASE_URL: "), error)
            self.assertNotIn(PASSWORD, error)

    def test_another_variable(self) -> None:
        """Faults and warnings name the variable that the URL stands in."""
        error = self.assertRaises(ConfigError, parse, "mysql://x", "SLAY_Q_LISTEN_URL")
        self.assertTrue(str(error).startswith("SLAY_Q_LISTEN_URL: is neither"), error)
        _, (warning,) = parse("postgres://h/db?pgbouncer=true", "SLAY_Q_LISTEN_URL")
        self.assertTrue(warning.startswith("SLAY_Q_LISTEN_URL: dropped"), warning)

    @given(st.text() | st.text("pq:/@?&=%[],.#1aé ", max_size=30).map("postgres://".__add__))
    def test_any_text(self, url: str) -> None:
        """Keywords or a ConfigError, never anything else."""
        try:
            parameters, _ = parse(url)
        except ConfigError:
            return
        display(parameters)

    @given(st.text(min_size=1).filter(lambda text: "\0" not in text))
    def test_any_password(self, password: str) -> None:
        """A percent-encoded password is that password, and is not shown."""
        encoded = "".join(f"%{byte:02x}" for byte in password.encode())
        parameters, _ = parse(f"postgres://u:{encoded}@h/db")
        self.assertEqual(parameters["password"], password)
        self.assertEqual(display(parameters), "postgres://u@h/db")


class DisplayTests(SynchronousTestCase):
    """`display` is the URL without its password and options."""

    def test_forms(self) -> None:
        """Several hosts, addresses, socket folders, and nothing at all."""
        for url, shown in {
            "postgres://u:p@h:5432/db?sslmode=require": "postgres://u@h:5432/db",
            "postgres://u:p@h1:1,h2:2/db": "postgres://u@h1:1,h2:2/db",
            "postgres://[::1]:1/db": "postgres://[::1]:1/db",
            "postgres://u@/a%20b?host=/var/run": "postgres://u@%2Fvar%2Frun/a%20b",
            "host=h1,h2 port=1": "postgres://h1:1,h2:1",
            "postgres://": "postgres://",
        }.items():
            self.assertEqual(display(parse(url)[0]), shown)
