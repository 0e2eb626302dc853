"""When a stored event is announced: each, at the rates at which that costs nobody anything; else now and then."""

import json
import threading
import time
from typing import Any

import psycopg2

from tests.application import Application, ApplicationTestCase
from tests.roles import connect_as, make_role

LEAST_GAP = 0.002
"""Seconds from one announcement to the next, where the allowance is used up."""
BURST = 500
CROWD = 20
"""Transactions that may be about to announce beyond the two that cost nothing much."""

AT_ONCE = """
DO $test$
BEGIN
  FOR try IN 1..1000 LOOP
    BEGIN
      PERFORM setval('slayq._private_announced',
                     (date_part('epoch', clock_timestamp()) * 1000000)::bigint + {used});
      PERFORM set_config('test.began', clock_timestamp()::text, false);
      PERFORM public.add_worker_job('mail', '{{"event":"{event}"}}');
      IF clock_timestamp() > current_setting('test.began')::timestamptz + interval '{within}' THEN
        RAISE EXCEPTION 'too slow to tell';
      END IF;
      RETURN;
    EXCEPTION WHEN raise_exception THEN NULL;
    END;
  END LOOP;
  RAISE assert_failure;
END
$test$
"""
"""Stores an event with so many microseconds of the second's allowance used up; tries again what took too long."""


class AnnouncementTestCase(ApplicationTestCase):
    """A function that is known, and somebody who listens."""

    def setUp(self) -> None:
        super().setUp()
        self.app.send("first")
        self.listener = self.application()
        self.listener.rows('LISTEN "jobs:insert"')

    def heard(self) -> list[dict[str, Any]]:
        """What was announced since the last call."""
        self.listener.rows("SELECT 1")
        notices = [json.loads(notice.payload) for notice in self.listener.connection.notifies]
        self.listener.connection.notifies.clear()
        return notices

    def open_gate(self) -> None:
        """As after a quiet second."""
        self.app.rows("SELECT setval('slayq._private_announced', 1)")

    def used_up(
        self, event: str, used: int = 1_000_000, within: str = "1.5 ms", app: Application | None = None
    ) -> None:
        (app or self.app).rows(AT_ONCE.format(event=event, used=used, within=within))

    def wait_for_allowance(self) -> None:
        """Until the next one is announced whatever others do."""
        while self.app.value(
            "SELECT last_value - date_part('epoch', clock_timestamp()) * 1000000 > 940000 FROM slayq._private_announced"
        ):
            pass


class GateTests(AnnouncementTestCase):
    """Who passes."""

    def test_few(self) -> None:
        """As many as there are in a second at a normal rate are announced each, as Graphile Worker words it."""
        self.open_gate()
        for _ in range(200):
            self.app.send("order")
        notices = self.heard()
        self.assertEqual(
            [(sorted(notice), notice["count"]) for notice in notices], [(["count", "r"], 1)] * 200
        )
        self.assertTrue(all(0 <= notice["r"] < 1 for notice in notices))

    def test_crowd(self) -> None:
        """So are those of a crowd, which commit at the same moment."""
        self.open_gate()
        apps = [self.application() for _ in range(CROWD)]
        for app in apps:
            app.rows("BEGIN")
            app.send("order")
        for app in apps:
            app.rows("COMMIT")
        self.assertEqual(len(self.heard()), CROWD)

    def test_many(self) -> None:
        """However many sessions store, announcements have a rate."""
        self.open_gate()
        calls = 600

        def send(app: Application) -> None:
            for _ in range(calls):
                app.send("order")

        threads = [threading.Thread(target=send, args=(self.application(),)) for _ in range(4)]
        began = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.monotonic() - began
        self.assertEqual(len(self.app.jobs()), 1 + 4 * calls)
        # (Two that read the moment before one of them has written it both pass.)
        self.assertLess(len(self.heard()), BURST + 2 * seconds / LEAST_GAP + 4)

    def test_left_out(self) -> None:
        """Within two milliseconds of an announcement none is made. The event is stored."""
        self.used_up("order")
        self.assertEqual((self.heard(), len(self.app.jobs())), ([], 2))

    def test_next(self) -> None:
        """After that one is, and says that others may have been left out."""
        self.used_up("order", 997_000, "40 ms")
        (notice,) = self.heard()
        self.assertEqual((notice["count"], notice["again"]), (1, True))

    def test_clock_put_back(self) -> None:
        """A moment in the future opens the gate, however far off it is."""
        for seconds in (2, 3_600, 300_000_000):
            self.used_up("order", 1_000_000 * seconds)
            self.assertEqual(len(self.heard()), 1, seconds)

    def test_rolled_back(self) -> None:
        """What was used for nothing is there again within a twentieth of a second."""
        self.app.rows("BEGIN")
        for _ in range(1000):
            self.app.send("order")
        self.app.rows("ROLLBACK")
        self.wait_for_allowance()
        self.app.send("order")
        self.assertEqual(len(self.heard()), 1)

    def test_transactions_that_stay_open(self) -> None:
        """Two that are about to announce and do not end hold up the third, but for a twentieth of a second only."""
        for number in range(2):
            app = self.application()
            app.rows("BEGIN")
            self.used_up(f"late {number}", 960_000, "1 s", app)
        self.used_up("left out", 960_000, "5 ms")
        self.assertEqual(self.heard(), [])
        self.wait_for_allowance()
        self.app.send("order")
        self.assertEqual(len(self.heard()), 1)

    def test_several_in_one_transaction(self) -> None:
        """A transaction that announces may do it again: it waits for nobody but once, at its commit."""
        self.app.rows("BEGIN")
        self.used_up("one", 960_000, "30 ms")
        self.used_up("two", 960_000, "30 ms")
        self.app.rows("COMMIT")
        self.assertEqual(len(self.heard()), 2)

    def test_nothing_to_announce(self) -> None:
        """No job, no notice, and nothing is used."""
        self.open_gate()
        self.app.rows(
            "SELECT slayq._private_announce(0), slayq._private_announce(NULL), slayq._private_announce(-1)"
        )
        self.assertEqual(
            (self.heard(), self.app.value("SELECT last_value FROM slayq._private_announced")), ([], 1)
        )

    def test_graphile_worker(self) -> None:
        """add_job announces whatever the gate says, as it always did."""
        self.used_up("order")
        for _ in range(30):
            self.app.rows("SELECT graphile_worker.add_job('mail')")
        self.assertEqual([set(notice) for notice in self.heard()], [{"r", "count"}] * 30)


class StrangerTests(AnnouncementTestCase):
    """Nobody but the owner shuts the gate."""

    def test_no_right(self) -> None:
        """A role that may execute the functions, and look into the schemas, reaches neither sequence nor rows."""
        role = make_role(self, self.app)
        self.app.rows(
            f"GRANT EXECUTE ON FUNCTION public.add_worker_job TO {role}; GRANT USAGE ON SCHEMA slayq TO {role}"
        )
        stranger = connect_as(self, self.app, role)
        for statement in (
            "SELECT setval('slayq._private_announced', 1)",
            "SELECT nextval('slayq._private_announced')",
            "SELECT last_value FROM slayq._private_announced",
            "SELECT FROM slayq._private_announcers FOR UPDATE",
            "BEGIN; LOCK TABLE slayq._private_announcers",
            "SELECT slayq._private_announce(1)",
        ):
            with self.assertRaises(psycopg2.errors.InsufficientPrivilege):
                stranger.rows(statement)
            stranger.rows("ROLLBACK")
        stranger.send("order")
        self.assertEqual(len(self.heard()), 1)
