"""Databases that are not new: upstream's, with waits pending and grants of all kinds."""

import json

import psycopg2

from slayq_tw.errors import DatabaseError
from tests.application import FUNCTIONS, ApplicationTestCase
from tests.roles import connect_as, make_role, make_supabase_roles
from tests.upstream import forget_slayq, make_upstream, migrate_url

ADDED = (
    "SELECT grantee.rolname FROM pg_proc AS routine CROSS JOIN LATERAL aclexplode(routine.proacl) AS acl "
    "JOIN pg_roles AS grantee ON grantee.oid = acl.grantee "
    "WHERE routine.proname = %s AND routine.pronamespace = 'public'::regnamespace"
)


class AdoptionTests(ApplicationTestCase):
    """Upstream's database is taken over as it is."""

    def setUp(self) -> None:
        super().setUp()
        make_upstream(self.app)

    def granted(self, function: str) -> set[str]:
        return {name for (name,) in self.app.rows(ADDED, function)}

    def test_waits_pending(self) -> None:
        """Jobs and waits that upstream recorded are served by the new functions."""
        self.app.send("order", key="a", run_at="tomorrow")
        self.app.send("order", key="b", run_at="tomorrow")
        self.app.wait("a", step="one, two")
        self.app.call("wait_for_invocation", _invoker_job_key="b", _target_job_key="t", _step_name="s")
        before = self.app.rows("SELECT id, payload::text FROM graphile_worker._private_jobs ORDER BY id")
        migrate_url(self.url)
        self.assertEqual(
            self.app.rows("SELECT id, payload::text FROM graphile_worker._private_jobs ORDER BY id"), before
        )
        self.app.fire()
        self.app.call("trigger_waiting_invoker", _job_key="t", _result=None)
        self.assertEqual(json.loads(self.app.keyed("a").payload)["cache"], {"one, two": True})
        self.assertEqual(json.loads(self.app.keyed("b").payload)["cache"], {"s": None})
        self.assertEqual(self.app.waits(), 0)

    def test_upstream_goes_on(self) -> None:
        """Upstream's migration stays recorded, so that it does not put its own functions back after a swap."""
        migrate_url(self.url)
        self.assertEqual(
            self.app.value("SELECT count(*) FROM slayq._migrations WHERE migration = '20240110.up.sql'"), 1
        )

    def test_public_becomes_login_roles(self) -> None:
        """Where everybody could call the functions, every role that can log in gets its own grant."""
        login, group = make_role(self, self.app), make_role(self, self.app, "NOLOGIN")
        make_role(self, self.app, "LOGIN", "anon")
        make_role(self, self.app, "LOGIN", "authenticated")
        migrate_url(self.url)
        for function in FUNCTIONS:
            granted = self.granted(function)
            self.assertIn(login, granted)
            self.assertFalse(granted & {group, "anon", "authenticated"})
            self.assertFalse([name for name in granted if name.startswith("pg_")])
        connect_as(self, self.app, login).call("add_worker_job", identifier="mail")

    def test_only_where_public_could(self) -> None:
        """A function that PUBLIC had lost already is given to nobody; a hand-given grant stays."""
        login, trusted = make_role(self, self.app), make_role(self, self.app, "NOLOGIN")
        self.app.rows("REVOKE EXECUTE ON FUNCTION public.cancel_pending_tasks FROM PUBLIC")
        self.app.rows(f"GRANT EXECUTE ON FUNCTION public.cancel_pending_tasks TO {trusted}")
        migrate_url(self.url)
        self.assertFalse(login in self.granted("cancel_pending_tasks"))
        self.assertIn(trusted, self.granted("cancel_pending_tasks"))
        self.assertIn(login, self.granted("add_worker_job"))

    def test_role_dropped_meanwhile(self) -> None:
        """A role that goes between the note and the grant is left out."""
        migrate_url(self.url)
        stays = make_role(self, self.app, "NOLOGIN")
        self.app.rows(
            "INSERT INTO slayq._private_adopted_grants (function_name, role_name)"
            " VALUES ('add_worker_job', 'gone'), ('add_worker_job', %s)",
            stays,
        )
        before = self.granted("add_worker_job")
        self.app.rows("SELECT slayq._private_secure('add_worker_job')")
        self.assertEqual(self.granted("add_worker_job") - before, {stays})

    def test_overloads(self) -> None:
        """Other functions of the names are dropped; grants on them go over to the new one."""
        trusted = make_role(self, self.app, "NOLOGIN")
        self.app.rows("DROP FUNCTION public.cancel_pending_tasks")
        self.app.rows(
            "CREATE FUNCTION public.cancel_pending_tasks(a text, b jsonb) RETURNS int LANGUAGE sql AS 'SELECT 1'"
        )
        self.app.rows(
            'CREATE PROCEDURE public.add_worker_job("Odd Name" text[]) LANGUAGE sql AS $$SELECT 1$$'
        )
        self.app.rows("REVOKE EXECUTE ON FUNCTION public.cancel_pending_tasks FROM PUBLIC")
        self.app.rows(f"GRANT EXECUTE ON FUNCTION public.cancel_pending_tasks TO {trusted} WITH GRANT OPTION")
        migrate_url(self.url)
        self.assertEqual(
            self.app.rows(
                "SELECT proname::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace "
                "AND proname = ANY (%s) ORDER BY proname",
                list(FUNCTIONS),
            ),
            [(name,) for name in sorted(FUNCTIONS)],
        )
        self.assertEqual(
            self.app.value(
                f"SELECT has_function_privilege('{trusted}', 'public.cancel_pending_tasks(text, text, text)', "
                "'EXECUTE WITH GRANT OPTION')"
            ),
            True,
        )

    def test_dependents(self) -> None:
        """What an application built on a function of the same signature goes on working."""
        self.app.rows(
            "CREATE VIEW public.depends AS SELECT public.cancel_pending_tasks('a', 'b', 'c') IS NULL AS done"
        )
        migrate_url(self.url)
        self.app.rows("SELECT * FROM public.depends")

    def test_owner(self) -> None:
        """A function that somebody else owns is replaced by ours: it would run with his rights, and he may change it."""
        other = make_role(self, self.app, "NOLOGIN")
        self.app.rows(f"GRANT CREATE, USAGE ON SCHEMA public TO {other}")
        self.app.rows(f"ALTER FUNCTION public.cancel_pending_tasks OWNER TO {other}")
        migrate_url(self.url)
        self.assertEqual(
            self.app.value(
                "SELECT proowner::regrole::text = current_user FROM pg_proc WHERE proname = 'cancel_pending_tasks'"
            ),
            True,
        )

    def test_interrupted(self) -> None:
        """Roles that could log in at the first look get their grants although the migration ends at a later start."""
        login = make_role(self, self.app)
        self.app.rows(
            "CREATE FUNCTION public.cancel_pending_tasks(all_of_them boolean) RETURNS int LANGUAGE sql AS 'SELECT 1';"
            "CREATE VIEW public.depends AS SELECT public.cancel_pending_tasks(true)"
        )
        with self.assertRaises(DatabaseError):
            migrate_url(self.url)
        self.app.rows(f"DROP VIEW public.depends; ALTER ROLE {login} NOLOGIN")
        migrate_url(self.url)
        for function in FUNCTIONS:
            self.assertIn(login, self.granted(function))


class FreshTests(ApplicationTestCase):
    """A database that was never upstream's."""

    def test_nobody_is_granted(self) -> None:
        """Nobody but the owner may execute the functions, and nothing is noted."""
        for function in FUNCTIONS:
            self.assertEqual(
                self.app.value(
                    "SELECT array_agg(acl.grantee = routine.proowner) FROM pg_proc AS routine "
                    "CROSS JOIN LATERAL aclexplode(routine.proacl) AS acl "
                    "WHERE routine.proname = %s AND routine.pronamespace = 'public'::regnamespace",
                    function,
                ),
                [True],
            )
        self.assertEqual(self.app.value("SELECT count(*) FROM slayq._private_adopted_grants"), 0)

    def test_planted_function(self) -> None:
        """A function that somebody put there beforehand neither survives nor earns anybody a grant."""
        login, friend = make_role(self, self.app), make_role(self, self.app)
        forget_slayq(self.app)
        self.app.rows(f"GRANT CREATE ON SCHEMA public TO {login}")
        connect_as(self, self.app, login).rows(
            "CREATE FUNCTION public.cancel_pending_tasks(event text, matchkey text, matchval text) RETURNS void "
            f"LANGUAGE sql AS 'SELECT'; GRANT EXECUTE ON FUNCTION public.cancel_pending_tasks TO {friend}"
        )
        migrate_url(self.url)
        for role in (login, friend):
            may = "SELECT has_function_privilege(%s, 'public.cancel_pending_tasks(text, text, text)', 'EXECUTE')"
            self.assertFalse(self.app.value(may, role))

    def test_default_privileges(self) -> None:
        """Supabase's default privileges give its public roles nothing."""
        forget_slayq(self.app)
        make_supabase_roles(self, self.app)
        migrate_url(self.url)
        for role in ("anon", "authenticated"):
            session = connect_as(self, self.app, role)
            for function, arguments in FUNCTIONS.items():
                nulls = ", ".join(["NULL"] * len(arguments.split()))
                with self.assertRaises(psycopg2.errors.InsufficientPrivilege):
                    session.rows(f"SELECT public.{function}({nulls})")
        for role in ("anon", "authenticated", "service_role"):
            self.assertEqual(
                self.app.rows(
                    "SELECT relname FROM pg_class WHERE relnamespace = 'slayq'::regnamespace AND relkind IN ('r', 'S') "
                    "AND CASE relkind WHEN 'r' THEN has_table_privilege(%s, oid, "
                    "'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER') "
                    "ELSE has_sequence_privilege(%s, oid, 'SELECT, USAGE, UPDATE') END",
                    role,
                    role,
                ),
                [],
            )
            self.assertFalse(
                self.app.value("SELECT has_schema_privilege(%s, 'slayq', 'USAGE, CREATE')", role)
            )
