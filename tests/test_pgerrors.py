"""`slayq_tw.pgerrors`: what the driver's errors mean."""

import psycopg2
from psycopg2 import errors as pg
from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from txpostgres.reconnection import ConnectionDead

from slayq_tw.errors import DatabaseError, DatabaseUnavailable, MigrationError
from slayq_tw.pgerrors import is_dead, may_pass, translate


def coded(error: type[psycopg2.Error], sqlstate: str) -> psycopg2.Error:
    """A driver error that carries a code, as the server's do."""

    class Coded(error):  # type: ignore[valid-type,misc]  # `pgcode` of a real one cannot be set
        pgcode = sqlstate

    return Coded("the\nmessage")


class ErrorTests(SynchronousTestCase):
    """Dead, refused, or neither."""

    def test_dead(self) -> None:
        """A lost connection is one without a code, of class 08, or ended by an administrator; or one that may only read."""
        for error in (
            psycopg2.OperationalError("server closed the connection unexpectedly"),
            psycopg2.InterfaceError("connection already closed"),
            psycopg2.DatabaseError("error with no message from the libpq"),
            coded(pg.OperationalError, "08006"),
            coded(pg.AdminShutdown, "57P01"),
            coded(pg.CrashShutdown, "57P02"),
            coded(pg.CannotConnectNow, "57P03"),
            coded(pg.ReadOnlySqlTransaction, "25006"),
            ConnectionDone(),
            ConnectionDead(),
        ):
            self.assertTrue(is_dead(Failure(error)), error)
            self.assertIsInstance(translate(Failure(error)), DatabaseUnavailable, error)

    def test_alive(self) -> None:
        """Lock time-outs, deadlocks and a full disk are OperationalErrors of a living connection."""
        for error in (
            coded(pg.LockNotAvailable, "55P03"),
            coded(pg.DeadlockDetected, "40P01"),
            coded(pg.DiskFull, "53100"),
            coded(pg.QueryCanceledError, "57014"),
            ValueError(),
        ):
            self.assertFalse(is_dead(Failure(error)), error)

    def test_translation(self) -> None:
        """Our error keeps the code, and the message on one line; what is not the driver's stays."""
        error = translate(Failure(coded(pg.UniqueViolation, "23505")))
        self.assertEqual(
            (type(error), str(error), error and error.sqlstate), (DatabaseError, "the message", "23505")
        )
        timed_out = translate(Failure(CancelledError()))
        self.assertEqual(timed_out and timed_out.sqlstate, "57014")
        self.assertIsNone(translate(Failure(ValueError())))

    def test_refused_for_good(self) -> None:
        """A refused password or a missing database ends the start, a server that is starting does not."""
        for text, expected in (
            ('FATAL: password authentication failed for user "app"', False),
            ('FATAL: database "app" does not exist', False),
            ('FATAL: role "app" does not exist', False),
            ('FATAL: permission denied for database "app"', False),
            ("FATAL: the database system is starting up", True),
            ("FATAL: sorry, too many clients already", True),
            ("Connection refused Is the server running on that host?", True),
        ):
            self.assertEqual(may_pass(DatabaseUnavailable(text)), expected, text)

    def test_passing(self) -> None:
        """A full disk, a read-only database and a deadlock are waited for; what the server refuses otherwise is not."""
        for sqlstate, expected in (
            ("53100", True),
            ("53200", True),
            ("40P01", True),
            ("42501", False),
            ("42P07", False),
        ):
            self.assertEqual(may_pass(DatabaseError("refused", sqlstate)), expected, sqlstate)
        read_only = translate(Failure(coded(pg.ReadOnlySqlTransaction, "25006")))
        self.assertTrue(read_only and may_pass(read_only))
        self.assertFalse(may_pass(MigrationError("Postgres 12 or newer is required")))
