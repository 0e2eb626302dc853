"""Database roles for one test. Roles belong to the whole server, so names are random unless the name is the point."""

import secrets

import psycopg2
from twisted.trial.unittest import SynchronousTestCase

from tests.application import Application

SUPABASE = ("anon", "authenticated", "service_role")


def make_role(case: SynchronousTestCase, app: Application, options: str = "LOGIN", name: str = "") -> str:
    """Create a role, dropped at the end of the test with what it owns in `app`'s database.

    One with a given name may be there already, another suite's: it is used then, and left.
    """
    name = name or f"slayq_test_{secrets.token_hex(6)}"
    try:
        app.rows(f"CREATE ROLE {name} {options}")
    except psycopg2.errors.DuplicateObject:
        return name
    case.addCleanup(_drop_role, app.url, name)
    return name


def make_supabase_roles(case: SynchronousTestCase, app: Application) -> None:
    """The three roles of a Supabase project, with everything granted to them by default, as there."""
    for name in SUPABASE:
        make_role(case, app, "NOLOGIN", name)
    for kind in ("TABLES", "SEQUENCES", "FUNCTIONS"):
        app.rows(f"ALTER DEFAULT PRIVILEGES GRANT ALL ON {kind} TO {', '.join(SUPABASE)}")
    app.rows(f"GRANT USAGE ON SCHEMA public TO {', '.join(SUPABASE)}")


def connect_as(case: SynchronousTestCase, app: Application, role: str) -> Application:
    """A connection that acts as a role."""
    other = Application(app.url)
    case.addCleanup(other.close)
    other.rows(f"SET SESSION AUTHORIZATION {role}")
    return other


def _drop_role(url: str, name: str) -> None:
    app = Application(url)
    try:
        app.rows(f"DROP OWNED BY {name}")
        app.rows(f"DROP ROLE {name}")
    except psycopg2.errors.DependentObjectsStillExist:
        pass  # another suite's database has granted something to it: theirs to drop
    finally:
        app.close()
