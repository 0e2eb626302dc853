"""What the functions lend to their callers: nothing but their effect."""

import re

import psycopg2

from tests.application import FUNCTIONS, Application, ApplicationTestCase
from tests.roles import connect_as, make_role
from tests.upstream import forget_slayq, migrate_url

SIGNATURES = {
    "add_worker_job": "identifier text, payload json DEFAULT NULL::json, queue_name text DEFAULT NULL::text, "
    "run_at timestamp with time zone DEFAULT NULL::timestamp with time zone, max_attempts integer DEFAULT "
    "NULL::integer, job_key text DEFAULT NULL::text, priority integer DEFAULT NULL::integer, flags text[] DEFAULT "
    "NULL::text[], job_key_mode text DEFAULT 'replace'::text",
    "add_worker_jobs": "identifiers text[], payloads json[] DEFAULT NULL::json[], queue_names text[] DEFAULT "
    "NULL::text[], run_ats timestamp with time zone[] DEFAULT NULL::timestamp with time zone[], max_attempts integer[] "
    "DEFAULT NULL::integer[], job_keys text[] DEFAULT NULL::text[], priorities integer[] DEFAULT NULL::integer[], "
    "flags json[] DEFAULT NULL::json[], job_key_modes text[] DEFAULT NULL::text[]",
    "cancel_pending_tasks": "event text, matchkey text, matchval text",
    "trigger_waiting_invoker": "_job_key text, _result json",
    "trigger_waiting_workers": "_event text, _match_key text, _match_value text",
    "wait_for_invocation": "_invoker_job_key text, _target_job_key text, _step_name text",
    "wait_for_worker_event": "_job_key text, _event text, _match_key text, _match_value text, _step_name text, "
    "_expires_at timestamp with time zone",
}

SYNTAX = {
    "and", "any", "array", "as", "by", "case", "coalesce", "conflict", "else", "exists", "from", "greatest", "if", "in",
    "into", "lateral", "least", "not", "on", "operator", "or", "over", "returning", "select", "then", "using", "values",
    "when", "where",
}  # fmt: skip
"""What may stand before a parenthesis, or after `::`, without a schema: words of the grammar."""


class CatalogTests(ApplicationTestCase):
    """What the catalog says of the functions."""

    def test_signatures(self) -> None:
        """Names, types, order and defaults are the contract's; there is one of each; all return void."""
        found = self.app.rows(
            "SELECT proname::text, pg_get_function_arguments(oid), pg_get_function_result(oid), prosecdef, proconfig "
            "FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND proname = ANY (%s) ORDER BY proname",
            list(FUNCTIONS),
        )
        pinned = ["search_path=pg_catalog, pg_temp"]
        # What has to find one row among many follows no statistics.
        more = {
            "add_worker_job": ["enable_seqscan=off"],
            "add_worker_jobs": ["enable_seqscan=off", "jit=off"],
            "cancel_pending_tasks": ["enable_seqscan=off", "enable_indexscan=off", "jit=off"],
        }
        self.assertEqual(
            found,
            [
                (name, text, "void", True, pinned + more.get(name, []))
                for name, text in sorted(SIGNATURES.items())
            ],
        )

    def test_everything_is_qualified(self) -> None:
        """Bodies name every function, type and table with its schema."""
        bodies = self.app.rows(
            "SELECT proname::text, prosrc FROM pg_proc WHERE pronamespace = 'slayq'::regnamespace "
            "OR (pronamespace = 'public'::regnamespace AND proname = ANY (%s))",
            list(FUNCTIONS),
        )
        self.assertGreater(len(bodies), 15)
        for name, body in bodies:
            code = re.sub(r"--[^\n]*|E?'(?:[^']|'')*'", "''", body)
            bare = {word.lower() for word in re.findall(r"(?<![\w.])([a-z_]\w*)\s*\(", code, re.I)} - SYNTAX
            bare |= set(re.findall(r"::\s*(?!pg_catalog\.)(\w+)", code))
            bare |= set(re.findall(r"\b(?:JOIN|UPDATE|INTO|DELETE FROM)\s+([a-z_]\w*)\s+(?:AS|\()", code))
            aliases = set(re.findall(r"\bAS\s+([a-z_]\w*)\s*\(|\b([a-z_]\w*)\s+AS\s*\(", code, re.I))
            bare -= {alias.lower() for pair in aliases for alias in pair}
            for declared in re.findall(r"DECLARE(.*?)BEGIN", code, re.S):
                bare |= set(re.findall(r"^\s+\w+\s+(?!pg_catalog\.|graphile_worker\.)(\w+)", declared, re.M))
            self.assertEqual(bare, set(), name)

    def test_index_functions(self) -> None:
        """Only what an index evaluates as whoever adds a job is everybody's."""
        public = self.app.rows(
            "SELECT proname::text FROM pg_proc AS routine CROSS JOIN LATERAL "
            "aclexplode(coalesce(proacl, acldefault('f', proowner))) AS acl "
            "WHERE pronamespace = 'slayq'::regnamespace AND acl.grantee = 0 ORDER BY 1"
        )
        self.assertEqual(public, [("_private_matches",), ("_private_member",), ("_private_text",)])

    def test_row_security(self) -> None:
        """Even a granted table shows its rows to nobody but the owner."""
        bare = self.app.rows(
            "SELECT relname FROM pg_class WHERE relnamespace = 'slayq'::regnamespace AND relkind = 'r' "
            "AND NOT relrowsecurity AND relname <> '_migrations'"
        )
        self.assertEqual(bare, [])


class StrangerTests(ApplicationTestCase):
    """A role that may connect and nothing more."""

    def test_may_call_nothing(self) -> None:
        """Calls and reads are refused."""
        stranger = connect_as(self, self.app, make_role(self, self.app))
        for function, arguments in FUNCTIONS.items():
            nulls = ", ".join(["NULL"] * len(arguments.split()))
            with self.assertRaises(psycopg2.errors.InsufficientPrivilege):
                stranger.rows(f"SELECT public.{function}({nulls})")
        for table in ("_private_waiting_on", "_private_invoker", "_private_fired", "_private_results"):
            with self.assertRaises(psycopg2.errors.InsufficientPrivilege):
                stranger.rows(f"SELECT * FROM slayq.{table}")

    def test_producer_without_the_functions(self) -> None:
        """A role that adds jobs to the table itself is not stopped by our index, whatever the payload."""
        producer = make_role(self, self.app, "LOGIN BYPASSRLS")
        self.app.rows(
            f"GRANT USAGE ON SCHEMA graphile_worker TO {producer};"
            f"GRANT ALL ON ALL TABLES IN SCHEMA graphile_worker TO {producer}"
        )
        session = connect_as(self, self.app, producer)
        session.rows("SET standard_conforming_strings = off; SET search_path = pg_temp")
        for payload in (
            '{"event":"e"}',
            r'{"event":"e","x":"\u0000"}',
            r'{"\u0065vent":"\u0065","x":"\ud800"}',
        ):
            session.rows("SELECT graphile_worker.add_job('mail', payload => %s)", payload)
            self.app.rows(
                "UPDATE graphile_worker._private_jobs SET payload = (payload::text || ' ')::json, attempts = 0"
            )
        self.app.rows("ANALYZE graphile_worker._private_jobs")
        self.app.rows("REINDEX TABLE graphile_worker._private_jobs")


HOSTILE = """
CREATE TEMP TABLE stolen (by text);
GRANT ALL ON stolen TO PUBLIC;
CREATE FUNCTION pg_temp.steal() RETURNS pg_catalog.bool LANGUAGE plpgsql AS $$
BEGIN
  IF current_user <> session_user THEN
    INSERT INTO pg_temp.stolen VALUES (current_user);
  END IF;
  RETURN true;
END $$;
CREATE TEMP TABLE _private_jobs (LIKE graphile_worker.stub);
CREATE TEMP TABLE pg_proc (oid oid);
CREATE TEMP TABLE _private_waiting_on (id int);
"""


class AttackerTests(ApplicationTestCase):
    """A role that may execute the functions and create temporary objects, which shadow what is not pinned down."""

    def attacker(self) -> Application:
        role = make_role(self, self.app)
        for function in FUNCTIONS:
            self.app.rows(f"GRANT EXECUTE ON FUNCTION public.{function} TO {role}")
        session = connect_as(self, self.app, role)
        self.app.rows("CREATE TABLE graphile_worker.stub (id bigint)")
        self.app.rows(
            f"GRANT USAGE ON SCHEMA graphile_worker TO {role}; GRANT SELECT ON graphile_worker.stub TO {role}"
        )
        session.rows(HOSTILE)
        for name, base in (
            ("text", "text"), ("json", "json"), ("int8", "int8"), ("int4", "int4"), ("int2", "int2"),
            ("bool", "bool"), ("timestamptz", "timestamptz"), ("_text", "text[]"), ("regclass", "oid"),
            ("float8", "float8"), ("name", "name"), ("oid", "oid"), ("jsonb", "jsonb"), ("record", "text"),
            ("_private_member", "text"),
        ):  # fmt: skip
            session.rows(f'CREATE DOMAIN pg_temp."{name}" AS pg_catalog.{base} CHECK (pg_temp.steal())')
        session.rows(
            "CREATE FUNCTION pg_temp.grab(pg_catalog.text, pg_catalog.text) RETURNS pg_catalog.bool "
            "LANGUAGE sql AS 'SELECT pg_temp.steal()'"
        )
        for operator in ("=", "<", "||"):
            session.rows(
                f"CREATE OPERATOR pg_temp.{operator} (leftarg = pg_catalog.text, rightarg = pg_catalog.text, "
                "function = pg_temp.grab)"
            )
        for function in ("now()", "strpos(pg_catalog.text, pg_catalog.text)", "format(pg_catalog.text)"):
            session.rows(
                f"CREATE FUNCTION pg_temp.{function} RETURNS pg_catalog.bool LANGUAGE sql AS 'SELECT pg_temp.steal()'"
            )
        session.rows("SET search_path = pg_temp, public, pg_catalog")
        return session

    def play(self, session: Application) -> None:
        """Every function, along all its paths."""
        for statement in (
            "SELECT public.add_worker_job('mail', '{\"event\":\"e\"}', job_key => 'k')",
            'SELECT public.add_worker_job(\'mail\', \'{"event":"e","x":"\\u0000"}\', job_key => \'k\')',
        ):
            session.rows(statement)
        self.app.claim()
        for statement in (
            'SELECT public.add_worker_job(\'mail\', \'{"event":"e","cache":{},"x":"\\u0000"}\', job_key => \'k\')',
            "SELECT public.add_worker_job('mail', '{\"event\":\"e\",\"cache\":{}}', job_key => 'job-1')",
            "SELECT public.add_worker_jobs(ARRAY['mail', 'new', 'mail'], ARRAY['{\"event\":\"e\"}', NULL, '[]']"
            "::pg_catalog.json[], job_keys => ARRAY['k', NULL, 'bulk'], flags => ARRAY[NULL, '[\"f\"]', NULL]"
            "::pg_catalog.json[], queue_names => ARRAY[NULL, 'lane', NULL])",
            "SELECT public.wait_for_worker_event('k', 'paid', 'id', '1', 's', pg_catalog.now() + '1 hour')",
            "SELECT public.trigger_waiting_workers('paid', 'id', '1')",
            "SELECT public.wait_for_worker_event('k', 'paid', 'id', '1', 's', pg_catalog.now() + '1 hour')",
            "SELECT public.wait_for_invocation('k', 't', 's')",
            "SELECT public.trigger_waiting_invoker('t', '{\"a\":1}')",
            "SELECT public.wait_for_invocation('k', 't', 's')",
            "SELECT public.cancel_pending_tasks('e', 'id', '1')",
        ):
            session.rows(statement)

    def assert_nothing_stolen(self, session: Application) -> None:
        self.assertEqual(session.rows("SELECT * FROM pg_temp.stolen"), [])

    def test_as_shipped(self) -> None:
        """Nothing of the attacker's runs with the owner's rights."""
        session = self.attacker()
        self.play(session)
        self.assert_nothing_stolen(session)

    def test_trap_works(self) -> None:
        """The traps are real: a function that is written carelessly falls into them."""
        session = self.attacker()
        self.app.rows(
            "CREATE FUNCTION public.careless() RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' "
            "AS $$ BEGIN PERFORM 'x'::text; END $$; GRANT EXECUTE ON FUNCTION public.careless() TO PUBLIC"
        )
        session.rows("SELECT public.careless()")
        self.assertEqual(len(session.rows("SELECT * FROM pg_temp.stolen")), 1)

    def test_bodies_without_the_pin(self) -> None:
        """The bodies hold by themselves: also with a path on which temporary types and tables come first."""
        session = self.attacker()
        # add_worker_job calls add_job, whose body is Graphile Worker's: it needs the pin, and so does who calls it.
        for function, arguments in FUNCTIONS.items():
            if not function.startswith("add_"):
                types = {"_expires_at": "timestamptz", "_result": "json"}
                signature = ", ".join(types.get(name, "text") for name in arguments.split())
                self.app.rows(f"ALTER FUNCTION public.{function}({signature}) SET search_path = ''")
        self.play(session)
        self.assert_nothing_stolen(session)


class PlainOwnerTests(ApplicationTestCase):
    """The daemon's role need not be a superuser."""

    def test_plain_role(self) -> None:
        """A role that owns the job schema and may create in the database migrates and serves it."""
        owner = make_role(self, self.app)
        forget_slayq(self.app)
        database = self.app.value("SELECT current_database()")
        self.app.rows(
            f"GRANT CREATE ON DATABASE {database} TO {owner}; GRANT CREATE, USAGE ON SCHEMA public TO {owner}"
        )
        self.app.rows(f"ALTER SCHEMA graphile_worker OWNER TO {owner}")
        for kind, name in self.app.rows(
            """
            SELECT 'TABLE', oid::regclass::text FROM pg_class
             WHERE relnamespace = 'graphile_worker'::regnamespace AND relkind IN ('r', 'v')
             UNION ALL
            SELECT 'TYPE', oid::regtype::text FROM pg_type
             WHERE typnamespace = 'graphile_worker'::regnamespace AND typname = 'job_spec'
             UNION ALL
            SELECT 'FUNCTION', oid::regprocedure::text FROM pg_proc
             WHERE pronamespace = 'graphile_worker'::regnamespace
            """
        ):
            self.app.rows(f"ALTER {kind} {name} OWNER TO {owner}")
        migrate_url(psycopg2.extensions.make_dsn(self.url, user=owner))
        caller_role = make_role(self, self.app)
        for function in FUNCTIONS:
            self.app.rows(f"GRANT EXECUTE ON FUNCTION public.{function} TO {caller_role}")
        caller = connect_as(self, self.app, caller_role)
        caller.send("order", key="k", run_at="tomorrow", more=r',"data":{"id":1,"x":"\u0000"}')
        caller.wait("k")
        caller.fire()
        self.assertIn('"step":true', self.app.keyed("k").payload)
        caller.call("cancel_pending_tasks", event="order", matchkey="id", matchval="1")
        self.assertEqual(self.app.jobs(), [])
