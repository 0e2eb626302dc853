"""`slayq_tw.grants` on a real Postgres."""

from twisted.internet.task import Clock

from slayq_tw.errors import MigrationError
from slayq_tw.grants import GrantReport, apply_grants
from tests.application import FUNCTIONS, ApplicationTestCase
from tests.blocking import BlockingDatabase, finish
from tests.roles import connect_as, make_role, make_supabase_roles
from tests.upstream import make_upstream, migrate_url


class GrantsTestCase(ApplicationTestCase):
    """`start(...)` is a start of the daemon."""

    def setUp(self) -> None:
        super().setUp()
        self.database = BlockingDatabase(self.url)
        self.addCleanup(self.database.close)

    def start(self, *roles: str) -> GrantReport:
        return finish(apply_grants(self.database, roles, Clock()))

    def may(self, role: str) -> set[bool]:
        """Whether a role may execute the functions: one value when it is the same for all of them."""
        return {
            self.app.value(
                "SELECT has_function_privilege(%s, oid, 'EXECUTE') FROM pg_proc "
                "WHERE proname = %s AND pronamespace = 'public'::regnamespace",
                role,
                function,
            )
            for function in FUNCTIONS
        }


class GrantTests(GrantsTestCase):
    """Each start brings the grants in line."""

    def test_configured_roles(self) -> None:
        """A configured role may call the functions; a second start changes nothing."""
        role, other = make_role(self, self.app), make_role(self, self.app)
        report = self.start(role, role)
        self.assertEqual(report, GrantReport(tuple((name, role) for name in sorted(FUNCTIONS)), (), ()))
        self.assertEqual((self.may(role), self.may(other)), ({True}, {False}))
        connect_as(self, self.app, role).call("add_worker_job", identifier="mail")
        self.assertEqual(self.start(role), GrantReport((), (), ()))

    def test_awkward_name(self) -> None:
        """A role's name is taken literally."""
        name = '"slayq test; DROP ROLE x--"'
        make_role(self, self.app, "NOLOGIN", name)
        self.start(name.strip('"'))
        self.assertEqual(self.may(name.strip('"')), {True})

    def test_unknown_role(self) -> None:
        """A role that does not exist ends the start with its name, and nothing is granted."""
        role = make_role(self, self.app)
        with self.assertRaises(MigrationError) as caught:
            self.start(role, "slayq_test_nobody", "PUBLIC")
        for part in ("grant_execute_to", '"slayq_test_nobody"', '"PUBLIC"'):
            self.assertIn(part, str(caught.exception))
        self.assertNotIn(role, str(caught.exception))
        self.assertEqual(self.may(role), {False})

    def test_public_roles_are_refused(self) -> None:
        """anon and authenticated cannot be configured."""
        for role in ("anon", "authenticated"):
            with self.assertRaises(MigrationError) as caught:
                self.start(role)
            self.assertIn(f'"{role}"', str(caught.exception))

    def test_taken_back(self) -> None:
        """What PUBLIC, anon and authenticated were given meanwhile is taken back; others keep theirs."""
        make_supabase_roles(self, self.app)
        role = make_role(self, self.app)
        for function in FUNCTIONS:
            self.app.rows(
                f"GRANT EXECUTE ON FUNCTION public.{function} TO PUBLIC, anon, authenticated, {role}"
            )
        report = self.start()
        names = {name for _, name in report.revoked}
        self.assertEqual(
            (names, len(report.revoked)), ({"PUBLIC", "anon", "authenticated"}, 3 * len(FUNCTIONS))
        )
        self.assertEqual(
            (self.may("anon"), self.may("authenticated"), self.may(role)), ({False}, {False}, {True})
        )

    def test_service_role(self) -> None:
        """Supabase's service_role is granted where it exists."""
        make_supabase_roles(self, self.app)
        self.start()
        self.assertEqual(self.may("service_role"), {True})

    def test_dropped_from_the_configuration(self) -> None:
        """A role that is configured no more keeps its grant: another daemon's configuration may name it."""
        role = make_role(self, self.app)
        self.start(role)
        self.assertEqual(self.start(), GrantReport((), (), ()))
        self.assertEqual(self.may(role), {True})


class AdoptedTests(GrantsTestCase):
    """The first start on upstream's database."""

    def setUp(self) -> None:
        super().setUp()
        make_upstream(self.app)

    def test_reported_once(self) -> None:
        """The roles that got grants of their own are named, once."""
        login = make_role(self, self.app)
        migrate_url(self.url)
        adopted = self.start().adopted
        self.assertIn(login, adopted)
        self.assertEqual(list(adopted), sorted(set(adopted)))
        self.assertEqual((self.start().adopted, self.may(login)), ((), {True}))

    def test_later_roles(self) -> None:
        """A role made afterwards gets nothing by itself."""
        migrate_url(self.url)
        self.start()
        late = make_role(self, self.app)
        self.start()
        self.assertEqual(self.may(late), {False})

    def test_failed_start(self) -> None:
        """A start that fails has not used up the report."""
        login = make_role(self, self.app)
        migrate_url(self.url)
        self.assertRaises(MigrationError, self.start, "slayq_test_nobody")
        self.assertIn(login, self.start().adopted)

    def test_revoked_by_hand(self) -> None:
        """A grant of the adoption that an operator takes back stays away."""
        login = make_role(self, self.app)
        migrate_url(self.url)
        self.start()
        for function in FUNCTIONS:
            self.app.rows(f"REVOKE EXECUTE ON FUNCTION public.{function} FROM {login}")
        migrate_url(self.url)
        self.start()
        self.assertEqual(self.may(login), {False})
