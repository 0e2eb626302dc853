"""Who may do what in the database, with Supabase's roles and default privileges in place before our migrations run."""

import psycopg2
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from slayq_tw.grants import apply_grants
from tests.application import FUNCTIONS, Application
from tests.blocking import BlockingDatabase, finish
from tests.postgres import empty_database, migrated_database
from tests.roles import SUPABASE, connect_as, make_role, make_supabase_roles
from tests.upstream import make_upstream, migrate_url

SCHEMAS = ["graphile_worker", "slayq"]

HELD = """
WITH target AS (
  SELECT nspname::text AS name, nspacl AS acl, nspowner AS owner, 'n' AS kind FROM pg_namespace
   WHERE nspname = ANY (%(schemas)s)
   UNION ALL
  SELECT oid::regclass::text, coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner)),
         relowner, CASE relkind WHEN 'S' THEN 's' ELSE 'r' END
    FROM pg_class WHERE relnamespace::regnamespace::text = ANY (%(schemas)s) AND relkind IN ('r', 'v', 'm', 'p', 'f', 'S')
   UNION ALL
  SELECT attrelid::regclass::text || '.' || attname, attacl, relowner, 'r'
    FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
   WHERE relnamespace::regnamespace::text = ANY (%(schemas)s) AND attacl IS NOT NULL
   UNION ALL
  SELECT oid::regprocedure::text, coalesce(proacl, acldefault('f', proowner)), proowner, 'f'
    FROM pg_proc WHERE pronamespace::regnamespace::text = ANY (%(schemas)s)
)
SELECT DISTINCT target.kind, target.name, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END
  FROM target CROSS JOIN LATERAL aclexplode(target.acl) AS entry
 WHERE entry.grantee <> target.owner
"""
"""Whatever anybody but the owner was granted on the two schemas and what is in them: kind, name, role."""

INDEXED = {
    "slayq._private_matches(json)",
    "slayq._private_member(json,text)",
    "slayq._private_text(json)",
}
"""What indexes on the job table evaluate as whoever adds a job. Only usable with the schema's USAGE."""


class DoorsTestCase(SynchronousTestCase):
    """A database in which everything that is made is granted to Supabase's roles, and then our migrations."""

    def setUp(self) -> None:
        self.app = self.prepared()
        self.start()

    def prepared(self) -> Application:
        """The database before our first start."""
        return self.opened(empty_database(self))

    def opened(self, url: str) -> Application:
        app = Application(url)
        self.addCleanup(app.close)
        make_supabase_roles(self, app)
        for kind in ("SCHEMAS", "TYPES"):
            app.rows(f"ALTER DEFAULT PRIVILEGES GRANT ALL ON {kind} TO {', '.join(SUPABASE)}")
        for kind in ("TABLES", "SEQUENCES", "FUNCTIONS"):
            app.rows(
                f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON {kind} TO {', '.join(SUPABASE)}"
            )
        return app

    def start(self) -> None:
        """As the daemon does."""
        migrate_url(self.app.url)
        database = BlockingDatabase(self.app.url)
        try:
            finish(apply_grants(database, (), Clock()))
        finally:
            database.close()

    def held(self, *roles: str) -> list[tuple[str, str, str]]:
        """What these roles were granted in the two schemas."""
        return sorted(
            row for row in self.app.rows(HELD.replace("%(schemas)s", "%s"), *[SCHEMAS] * HELD.count("%(schemas)s"))
            if row[2] in roles
        )  # fmt: skip


class FreshTests(DoorsTestCase):
    """A database that is ours from the beginning."""

    def test_nothing_is_granted(self) -> None:
        """Neither schema, nor anything in them, is the Supabase roles', whatever the default privileges say."""
        self.assertEqual(self.held(*SUPABASE), [])

    def test_public(self) -> None:
        """Everybody has nothing but Graphile Worker's own functions and three of ours, which nobody can reach."""
        for kind, name, _ in self.held("PUBLIC"):
            self.assertEqual(kind, "f", name)
            self.assertTrue(name.startswith("graphile_worker.") or name in INDEXED, name)

    def test_attempts(self) -> None:
        """Reading, writing and calling are refused; Postgres says so itself."""
        tables = self.app.rows(
            "SELECT oid::regclass::text FROM pg_class WHERE relkind IN ('r', 'v') "
            "AND relnamespace::regnamespace::text = ANY (%s)", SCHEMAS
        )  # fmt: skip
        sequences = self.app.rows(
            "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'S' "
            "AND relnamespace::regnamespace::text = ANY (%s)", SCHEMAS
        )  # fmt: skip
        functions = self.app.rows(
            "SELECT pronamespace::regnamespace || '.' || proname, pronargs::int FROM pg_proc "
            "WHERE pronamespace::regnamespace::text = ANY (%s) AND prorettype <> 'trigger'::regtype", SCHEMAS
        )  # fmt: skip
        self.assertGreater(min(len(tables), len(sequences), len(functions)), 5)
        attempts = [f"SELECT * FROM {table}" for (table,) in tables]
        attempts += [f"SELECT count(*) FROM {table}" for (table,) in tables]
        attempts += [f"DELETE FROM {table}" for (table,) in tables]
        attempts += [f"TRUNCATE {table}" for (table,) in tables]
        attempts += [f"SELECT nextval('{sequence}')" for (sequence,) in sequences]
        attempts += [f"SELECT {name}({', '.join(['NULL'] * count)})" for name, count in functions]
        attempts += [f"CREATE TABLE {schema}.mine ()" for schema in SCHEMAS]
        attempts += ["CREATE TEMP VIEW peep AS SELECT * FROM graphile_worker.jobs"]
        for role in (*SUPABASE, make_role(self, self.app)):
            session = connect_as(self, self.app, role)
            for attempt in attempts:
                with self.assertRaises(psycopg2.errors.InsufficientPrivilege, msg=f"{role}: {attempt}"):
                    session.rows(attempt)

    def test_functions(self) -> None:
        """The six functions are service_role's, whose calls work, and neither anon's nor authenticated's."""
        for role in ("anon", "authenticated"):
            session = connect_as(self, self.app, role)
            for function, arguments in FUNCTIONS.items():
                nulls = ", ".join(["NULL"] * len(arguments.split()))
                with self.assertRaises(psycopg2.errors.InsufficientPrivilege):
                    session.rows(f"SELECT public.{function}({nulls})")
        server = connect_as(self, self.app, "service_role")
        server.send("order", key="k", more=',"data":{"id":1}')
        self.app.claim()
        server.wait("k")
        server.fire()
        server.call("wait_for_invocation", _invoker_job_key="k", _target_job_key="t", _step_name="s")
        server.call("trigger_waiting_invoker", _job_key="t", _result="1")
        self.assertIn('"cache":{"step":true,"s":1}', self.app.keyed("k").payload.replace(" ", ""))

    def test_definer_functions(self) -> None:
        """Only those in public lend their owner's rights; these are pinned to a path, and the migrating role's."""
        lending = self.app.rows(
            "SELECT pronamespace::regnamespace || '.' || proname, proowner = current_user::regrole, proconfig::text "
            "FROM pg_proc WHERE prosecdef AND pronamespace::regnamespace::text NOT IN "
            "('pg_catalog', 'information_schema') ORDER BY 1"
        )
        pinned = '"search_path=pg_catalog, pg_temp"'
        more = {
            "add_worker_job": ",enable_seqscan=off",
            "add_worker_jobs": ",enable_seqscan=off,jit=off",
            "cancel_pending_tasks": ",enable_seqscan=off,enable_indexscan=off,jit=off",
        }
        self.assertEqual(
            lending,
            [(f"public.{name}", True, f"{{{pinned}{more.get(name, '')}}}") for name in sorted(FUNCTIONS)],
        )

    def test_attacker_with_temporary_objects(self) -> None:
        """A role that may only create temporary objects neither reads through them nor has them run by others."""
        attacker = connect_as(self, self.app, make_role(self, self.app))
        attacker.rows(
            "CREATE TEMP TABLE stolen (by text); GRANT ALL ON stolen TO PUBLIC;"
            "CREATE FUNCTION pg_temp.add_worker_job() RETURNS void LANGUAGE sql SECURITY DEFINER AS '';"
            "CREATE FUNCTION pg_temp.steal() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN INSERT INTO pg_temp.stolen VALUES (current_user); RETURN NEW; END $$"
        )
        for attempt in (
            "CREATE TRIGGER steal BEFORE INSERT ON graphile_worker._private_jobs EXECUTE FUNCTION pg_temp.steal()",
            "CREATE RULE steal AS ON INSERT TO slayq._private_fired DO ALSO INSERT INTO stolen VALUES ('')",
            "CREATE TEMP TABLE child () INHERITS (graphile_worker._private_jobs)",
            "CREATE TEMP TABLE copy (LIKE graphile_worker._private_jobs)",
            "CREATE TEMP TABLE peep (job bigint REFERENCES graphile_worker._private_jobs)",
            "CREATE TEMP TABLE peep (job graphile_worker._private_jobs)",
            "CREATE OR REPLACE FUNCTION public.cancel_pending_tasks(event text, matchkey text, matchval text) "
            "RETURNS void LANGUAGE sql AS ''",
            "ALTER FUNCTION public.cancel_pending_tasks RESET ALL",
            "ALTER TABLE graphile_worker._private_jobs DISABLE ROW LEVEL SECURITY",
            "DROP SCHEMA slayq CASCADE",
        ):
            with self.assertRaises(psycopg2.errors.InsufficientPrivilege, msg=attempt):
                attacker.rows(attempt)
        connect_as(self, self.app, "service_role").send("order")
        self.assertEqual(attacker.rows("SELECT * FROM pg_temp.stolen"), [])


class AdoptedTests(DoorsTestCase):
    """Upstream's database, whose job schema Supabase's default privileges have opened."""

    def prepared(self) -> Application:
        app = self.opened(migrated_database(self))
        roles = ", ".join(SUPABASE)
        make_upstream(app)
        for schema in SCHEMAS:
            app.rows(
                f"GRANT ALL ON SCHEMA {schema} TO {roles}; GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO {roles};"
                f"GRANT ALL ON ALL SEQUENCES IN SCHEMA {schema} TO {roles};"
                f"GRANT ALL ON ALL FUNCTIONS IN SCHEMA {schema} TO {roles}"
            )
        app.rows(f"GRANT SELECT (payload) ON graphile_worker._private_jobs TO {roles}")
        return app

    def test_nothing_is_granted(self) -> None:
        """What stood open is shut."""
        self.assertEqual(self.held(*SUPABASE), [])
        for role in SUPABASE:
            session = connect_as(self, self.app, role)
            for table in (
                "graphile_worker.jobs",
                "graphile_worker._private_jobs",
                "slayq._private_waiting_on",
            ):
                with self.assertRaises(psycopg2.errors.InsufficientPrivilege):
                    session.rows(f"SELECT * FROM {table}")

    def test_other_roles(self) -> None:
        """An application's own role keeps what it was given."""
        producer = make_role(self, self.app)
        self.app.rows(f"GRANT USAGE ON SCHEMA graphile_worker TO {producer}")
        self.app.rows(f"GRANT SELECT ON graphile_worker._private_tasks TO {producer}")
        self.start()
        self.assertEqual(
            self.held(producer),
            [("n", "graphile_worker", producer), ("r", "graphile_worker._private_tasks", producer)],
        )


class LaterTests(DoorsTestCase):
    """What is opened after the first start."""

    def test_shut_at_the_next_start(self) -> None:
        """What anon and authenticated were given is taken; what service_role was given by hand stays."""
        self.app.rows(
            f"GRANT USAGE ON SCHEMA graphile_worker, slayq TO {', '.join(SUPABASE)};"
            f"GRANT SELECT ON graphile_worker.jobs, slayq._private_results TO {', '.join(SUPABASE)};"
            "GRANT SELECT (payload) ON graphile_worker._private_jobs TO anon"
        )
        with capturedLogs() as events:
            self.start()
        self.assertEqual(self.held("anon", "authenticated"), [])
        self.assertEqual(len(self.held("service_role")), 4)
        (said,) = [event for event in events if event.get("event") == "schemas_closed"]
        self.assertIn("graphile_worker.jobs", said["objects"])
        self.assertIn("authenticated", said["roles"])
        with capturedLogs() as events:
            self.start()
        self.assertEqual([event for event in events if event.get("event") == "schemas_closed"], [])

    def test_what_cannot_be_shut_is_said(self) -> None:
        """What everybody was given by hand stays, and each start warns of it."""
        self.app.rows("GRANT USAGE ON SCHEMA graphile_worker TO PUBLIC")
        with capturedLogs() as events:
            self.start()
        self.assertEqual([event for event in events if event.get("event") == "schemas_open"], [])
        self.app.rows("GRANT SELECT ON graphile_worker.jobs TO PUBLIC")
        for _ in range(2):
            with capturedLogs() as events:
                self.start()
            (said,) = [event for event in events if event.get("event") == "schemas_open"]
            self.assertIn("graphile_worker.jobs", said["objects"])
            self.assertEqual(said["log_level"].name, "warn")
