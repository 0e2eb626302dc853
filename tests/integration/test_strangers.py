"""What roles with few rights can do all the same: SECURITY.md says so, and here it is seen."""

import psycopg2

from slayq_tw.errors import DatabaseError
from tests.application import FUNCTIONS, Application, ApplicationTestCase
from tests.postgres import bring_up_to_date, empty_database
from tests.roles import connect_as, make_role


class LoginTests(ApplicationTestCase):
    """A role that may log in, and nothing more."""

    def test_may_hold_up_an_event(self) -> None:
        """Advisory locks are everybody's: whoever knows an event's name can have calls about it wait for him. His
        session's end, or a time-out of the caller's, ends that."""
        key = "SELECT slayq._private_triple('paid', 'id', '1')"
        stranger = connect_as(self, self.app, make_role(self, self.app))
        stranger.rows("SELECT pg_catalog.pg_advisory_lock(%s)", self.app.value(key))
        waiting = self.blocked(lambda app: app.fire())
        self.assertFalse(waiting.done())
        stranger.close()
        waiting.result(10)

    def test_may_not_lock_tables(self) -> None:
        """Tables are the owner's to lock."""
        stranger = connect_as(self, self.app, make_role(self, self.app))
        for table in ("slayq._migrations", "graphile_worker._private_jobs", "graphile_worker.migrations"):
            for mode in ("ACCESS SHARE", "SHARE ROW EXCLUSIVE"):
                with self.assertRaises(psycopg2.errors.InsufficientPrivilege):
                    stranger.rows(f"BEGIN; LOCK TABLE {table} IN {mode} MODE")
                stranger.rows("ROLLBACK")


class CreatorTests(ApplicationTestCase):
    """A role with CREATE on `public`."""

    def creator(self, app: Application) -> Application:
        role = make_role(self, app)
        app.rows(f"GRANT CREATE, USAGE ON SCHEMA public TO {role}")
        return connect_as(self, app, role)

    def test_planted_before_the_first_start(self) -> None:
        """A function with the name of one of the six does not survive the first start; one that others depend on ends
        that start with its name."""
        url = empty_database(self)
        owner = Application(url)
        self.addCleanup(owner.close)
        creator = self.creator(owner)
        plant = "CREATE FUNCTION public.cancel_pending_tasks(a text) RETURNS text LANGUAGE sql AS 'SELECT a'"
        creator.rows(plant)
        creator.rows("CREATE VIEW public.kept AS SELECT public.cancel_pending_tasks('x')")
        with self.assertRaisesRegex(
            DatabaseError, r"cannot drop function public.cancel_pending_tasks\(text\)"
        ):
            bring_up_to_date(url)
        owner.rows("DROP VIEW public.kept")
        bring_up_to_date(url)
        found = "SELECT count(*) FROM pg_proc WHERE proname = 'cancel_pending_tasks'"
        self.assertEqual(owner.value(found), 1)

    def test_may_stand_beside(self) -> None:
        """He may add functions of the same names with other arguments, and whoever calls without exact types may get
        his: the client of this package does not."""
        creator = self.creator(self.app)
        creator.rows(
            "CREATE FUNCTION public.cancel_pending_tasks(event varchar, matchkey varchar, matchval varchar) "
            "RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE 'his'; END $$"
        )
        with self.assertRaisesRegex(psycopg2.errors.RaiseException, "his"):
            self.app.rows("SELECT public.cancel_pending_tasks('e'::varchar, 'id'::varchar, '1'::varchar)")
        self.app.rows("SELECT public.cancel_pending_tasks('e'::text, 'id'::text, '1'::text)")

    def test_may_not_replace(self) -> None:
        """Ours stay ours."""
        creator = self.creator(self.app)
        with self.assertRaises(psycopg2.errors.InsufficientPrivilege):
            creator.rows(
                "CREATE OR REPLACE FUNCTION public.cancel_pending_tasks(event text, matchkey text, matchval text) "
                "RETURNS void LANGUAGE sql AS ''"
            )
        with self.assertRaises(psycopg2.errors.InsufficientPrivilege):
            creator.rows("DROP FUNCTION public.cancel_pending_tasks(text, text, text)")
        for schema in ("slayq", "graphile_worker"):
            with self.assertRaises(psycopg2.errors.InsufficientPrivilege):
                creator.rows(f"CREATE FUNCTION {schema}.f() RETURNS int LANGUAGE sql AS 'SELECT 1'")


class CallerTests(ApplicationTestCase):
    """A role with EXECUTE on the six functions."""

    def caller(self) -> Application:
        role = make_role(self, self.app)
        for function in FUNCTIONS:
            self.app.rows(f"GRANT EXECUTE ON FUNCTION public.{function} TO {role}")
        return connect_as(self, self.app, role)

    def test_may(self) -> None:
        """Whatever another application has sent is his as well: to replace, to answer, to cancel."""
        self.app.send("order", key="k", run_at="tomorrow", more=',"data":{"id":1}')
        self.app.wait("k")
        caller = self.caller()
        caller.call("trigger_waiting_workers", _event="paid", _match_key="id", _match_value="1")
        self.assertIn('"step":true', self.app.keyed("k").payload)
        caller.call(
            "add_worker_job", identifier="mail", payload='{"url":"http://elsewhere.test"}', job_key="k"
        )
        self.assertIn("elsewhere", self.app.keyed("k").payload)
        self.app.send("order", key="l", more=',"data":{"id":1}')
        caller.call("cancel_pending_tasks", event="order", matchkey="id", matchval="1")
        self.assertEqual(self.app.jobs("job.key = 'l'"), [])

    def test_may_not(self) -> None:
        """He reads no table, calls none of the functions behind, and changes no daemon."""
        caller = self.caller()
        for statement in (
            "SELECT payload FROM graphile_worker._private_jobs",
            "SELECT * FROM graphile_worker.jobs",
            "SELECT * FROM slayq._private_daemons",
            "UPDATE slayq._private_daemons SET beat = -1",
            "INSERT INTO graphile_worker.migrations (id, breaking) VALUES (999, true)",
            "SELECT slayq._private_claim_jobs('{1}', '{0}', '{1}', 'pool-x', 1, 1)",
            "SELECT slayq._private_return_jobs('pool-x', '{}', '{}', '{}')",
            "SELECT graphile_worker.add_job('mail')",
            "SELECT graphile_worker.force_unlock_workers('{}')",
        ):
            with self.assertRaises(psycopg2.errors.InsufficientPrivilege):
                caller.rows(statement)
