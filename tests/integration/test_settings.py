"""Whatever a role or a database has set: the daemon's statements mean, and cost, the same."""

from typing import Any

import psycopg2
from twisted.trial.unittest import TestCase

from tests.application import Application
from tests.daemon_round import listen, opened, settings_of, start, work
from tests.pgbouncer import PgBouncer
from tests.postgres import ask, empty_database
from tests.roles import make_role

GROUPS: tuple[dict[str, Any], ...] = (
    {"default_transaction_isolation": "serializable", "default_transaction_deferrable": "on"},
    {"default_transaction_isolation": "'repeatable read'"},
    {"standard_conforming_strings": "off", "backslash_quote": "off", "escape_string_warning": "on"},
    {"DateStyle": "'SQL, DMY'", "IntervalStyle": "sql_standard", "TimeZone": "'Asia/Kathmandu'"},
    {"DateStyle": "'German'", "IntervalStyle": "iso_8601", "TimeZone": "'<+05:53>-05:53'", "array_nulls": "off"},
    {"TimeZone": "'America/St_Johns'", "timezone_abbreviations": "'Australia'", "DateStyle": "'Postgres, MDY'"},
    {"bytea_output": "escape", "xmloption": "document", "xmlbinary": "hex", "extra_float_digits": "-15"},
    {"quote_all_identifiers": "on", "transform_null_equals": "on", "check_function_bodies": "off", "row_security": "off"},
    {"client_min_messages": "debug5", "check_function_bodies": "on", "track_activities": "on"},
    {"lc_messages": "'C'", "lc_monetary": "'C'", "lc_numeric": "'C'", "lc_time": "'C'", "default_text_search_config": "'simple'"},
    {"lock_timeout": "1", "deadlock_timeout": "1"},
    {"enable_seqscan": "off", "enable_indexscan": "off", "enable_indexonlyscan": "off", "enable_bitmapscan": "off"},
    {"enable_nestloop": "off", "enable_hashjoin": "off", "enable_sort": "off", "enable_hashagg": "off"},
    {"enable_mergejoin": "off", "enable_material": "off", "enable_tidscan": "off", "geqo": "on", "geqo_threshold": "2"},
    {"from_collapse_limit": "1", "join_collapse_limit": "1", "cursor_tuple_fraction": "0", "constraint_exclusion": "on"},
    {"jit": "on", "jit_above_cost": "0", "jit_optimize_above_cost": "0", "jit_inline_above_cost": "0"},
    {"plan_cache_mode": "force_generic_plan", "work_mem": "64", "maintenance_work_mem": "1024", "temp_buffers": "100"},
    {"plan_cache_mode": "force_custom_plan", "random_page_cost": "1000", "seq_page_cost": "0", "cpu_tuple_cost": "0"},
    {"max_parallel_workers_per_gather": "4", "parallel_setup_cost": "0", "parallel_tuple_cost": "0",
     "min_parallel_table_scan_size": "0", "min_parallel_index_scan_size": "0", "max_parallel_workers": "8"},
    {"synchronous_commit": "off", "commit_delay": "0", "commit_siblings": "0"},
    {"session_replication_role": "replica"},
    {"search_path": "''", "default_tablespace": "pg_default", "temp_tablespaces": "''"},
    {"search_path": "no_such_schema, slayq, graphile_worker", "default_table_access_method": "heap"},
    {"vacuum_cost_delay": "100", "effective_io_concurrency": "0", "gin_fuzzy_search_limit": "1", "max_stack_depth": "100"},
    {"synchronize_seqscans": "off", "lo_compat_privileges": "on", "dynamic_library_path": "''", "password_encryption": "md5"},
)  # fmt: skip
"""Settings of a database, each group with one of its own."""
NEWER: tuple[tuple[int, dict[str, Any]], ...] = (
    (130000, {"hash_mem_multiplier": "1", "enable_incremental_sort": "off"}),
    (
        140000,
        {
            "enable_memoize": "off",
            "client_connection_check_interval": "1",
            "default_toast_compression": "pglz",
        },
    ),
    (160000, {"debug_parallel_query": "on", "createrole_self_grant": "'set'"}),
    (170000, {"enable_group_by_reordering": "off", "restrict_nonsystem_relation_kind": "'view'"}),
)
"""The same, of some release or later."""


UNHURRIED = "?options=-c%20statement_timeout%3D0%20-c%20idle_in_transaction_session_timeout%3D0%20-c%20transaction_timeout%3D0"
"""For the test's own statements."""


class SettingsTests(TestCase):
    """The round, from an empty database on."""

    timeout = 300

    async def round(self, url: str, through: str = "", own: str = "") -> None:
        database = await opened(self, through or url)
        store = await start(database)
        await work(self, database, store, own or url)
        await database.close()

    async def test_databases(self) -> None:
        """Settings of a database."""
        for settings in GROUPS:
            with self.subTest(str(settings)):
                url = empty_database(self)
                settings_of(url, **settings)
                await self.round(url)

    async def test_newer_servers(self) -> None:
        """Settings that are not everywhere."""
        ((version,),) = ask(empty_database(self), "SELECT current_setting('server_version_num')::int")
        for since, settings in NEWER:
            if version >= since:
                with self.subTest(str(settings)):
                    url = empty_database(self)
                    settings_of(url, **settings)
                    await self.round(url)

    async def test_time_outs(self) -> None:
        """Time-outs so short that nothing could be done in them; through a pooler too.

        (Until 12, a string of SQL that has begun under a statement's time-out keeps that: Postgres sets the timer once.)
        """
        url = empty_database(self)
        ((version,),) = ask(url, "SELECT current_setting('server_version_num')::int")
        more = {"transaction_timeout": "40"} if version >= 170000 else {}
        own = url + (UNHURRIED if more else UNHURRIED.partition("%20-c%20transaction")[0])
        settings_of(url, idle_in_transaction_session_timeout="1", **more)
        if version >= 130000:
            ask(own, f"ALTER DATABASE {url.rpartition('/')[2]} SET statement_timeout = 5")
        await self.round(url, url, own)
        await self.again(PgBouncer(self, url).url)

    async def again(self, through: str) -> None:
        """A later start."""
        database = await opened(self, through)
        await start(database)
        await database.close()

    async def test_roles(self) -> None:
        """Settings of the daemon's role, which acts as another one; through a pooler too."""
        url = empty_database(self)
        owner = Application(url)
        self.addCleanup(owner.close)
        other = make_role(self, owner, "NOLOGIN BYPASSRLS")
        role = make_role(self, owner, f"LOGIN IN ROLE {other}")
        database = owner.value("SELECT current_database()")
        owner.rows(
            f"GRANT CREATE ON DATABASE {database} TO {other}; GRANT CREATE, USAGE ON SCHEMA public TO {other}"
        )
        for name, value in (
            ("role", other),
            ("default_transaction_isolation", "serializable"),
            ("search_path", "nowhere"),
            ("client_encoding", "LATIN1"),
            ("DateStyle", "German"),
            ("lock_timeout", "1"),
        ):
            owner.rows(f"ALTER ROLE {role} SET {name} = {value}")
        as_role = psycopg2.extensions.make_dsn(url, user=role)
        await self.round(url, as_role)
        self.assertEqual(
            owner.rows("SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = 'slayq'"), [(other,)]
        )

    async def test_through_a_pooler(self) -> None:
        """Some of them once more through PgBouncer in transaction mode."""
        for settings in GROUPS[:6]:
            url = empty_database(self)
            settings_of(url, **settings)
            await self.round(url, PgBouncer(self, url).url, url)

    async def test_isolation_levels(self) -> None:
        """Every way of asking has the level that it needs, and a database that may only be read still says so."""
        url = empty_database(self)
        settings_of(url, default_transaction_isolation="serializable", default_transaction_read_only="on")
        database = await opened(self, url)
        level = "SELECT current_setting('transaction_isolation'), current_setting('transaction_read_only')"

        async def ask_level(cursor: Any) -> list[tuple[Any, ...]]:
            await cursor.execute(level)
            return cursor.fetchall()  # type: ignore[no-any-return]

        expected = [("read committed", "on")]
        self.assertEqual(await database.query(level), expected)
        self.assertEqual(await database.brief_query(level), expected)
        self.assertEqual(await database.urgent_query(level, timeout=5.0), expected)
        self.assertEqual(await database.transaction(ask_level), expected)

    async def test_announcements(self) -> None:
        """The listening connection under what could disturb it."""
        url = empty_database(self)
        settings_of(
            url, default_transaction_isolation="serializable", search_path="nowhere", lock_timeout="1"
        )
        database = await opened(self, url)
        await start(database)
        await listen(self, database, url)
