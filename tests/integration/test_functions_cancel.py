"""`cancel_pending_tasks`."""

import random
from typing import Any

from tests.application import ApplicationTestCase


class CancelTests(ApplicationTestCase):
    """Which jobs a cancellation deletes."""

    def add(self, event: str, data: str, key: str | None = None) -> None:
        self.app.send(event, key=key, more=f',"data":{data}')

    def cancel(self, event: Any, matchkey: Any, matchval: Any) -> int:
        """Cancel; how many jobs it deleted."""
        before = len(self.app.jobs())
        self.app.call("cancel_pending_tasks", event=event, matchkey=matchkey, matchval=matchval)
        return before - len(self.app.jobs())

    def test_match(self) -> None:
        """Jobs of that event with that member are deleted, keyed or not, due or not; others stay."""
        self.add("order", '{"id":"1"}')
        self.add("order", '{"id":"1","more":2}', key="k")
        self.add("order", '{"id":"2"}')
        self.add("order", '{"no":"1"}')
        self.add("other", '{"id":"1"}')
        self.app.send("order")
        self.assertEqual(self.cancel("order", "id", "1"), 2)
        self.assertEqual(self.cancel("order", "id", "1"), 0)

    def test_compared_as_text(self) -> None:
        """Anything is compared as `->>` would give it."""
        for value, text in (
            ("1", "1"),
            ("1.50", "1.50"),
            ("true", "true"),
            ('{"a": [1,  2]}', '{"a": [1,  2]}'),
            ('[1, "\\u00e9"]', '[1, "\\u00e9"]'),
            ('"\\u00e9\\n"', "é\n"),
            ('""', ""),
            ('"null"', "null"),
        ):
            self.add("order", f'{{"id":{value}}}')
            self.assertEqual(self.cancel("order", "id", text), 1, value)
        for value, text in (("1.0", "1"), ("null", "null"), ("null", ""), ("null", None), ('"1"', '"1"')):
            self.add("order", f'{{"id":{value}}}')
            self.assertEqual(self.cancel("order", "id", text), 0, value)

    def test_nulls(self) -> None:
        """A null argument matches nothing."""
        self.add("order", '{"id":null}')
        for arguments in ((None, "id", "1"), ("order", None, "1"), ("order", "id", None)):
            self.assertEqual(self.cancel(*arguments), 0)

    def test_data_of_other_kinds(self) -> None:
        """Data without members matches nothing and breaks nothing."""
        for data in ("null", "[1]", '"id"', "7", "{}"):
            self.add("order", data)
        for payload in ("[1]", '"order"', "null", '{"event":7,"data":{"id":"1"}}', f'["{chr(92)}u0000"]'):
            self.app.call("add_worker_job", identifier="mail", payload=payload)
        self.assertEqual(self.cancel("order", "id", "1"), 0)
        self.assertEqual(self.cancel("7", "id", "1"), 1)

    def test_locked(self) -> None:
        """A job that a delivery holds stays."""
        self.add("order", '{"id":"1"}')
        self.app.claim()
        self.assertEqual(self.cancel("order", "id", "1"), 0)

    def test_failed_for_good(self) -> None:
        """Permanently failed jobs go too."""
        self.add("order", '{"id":"1"}')
        self.app.rows("UPDATE graphile_worker._private_jobs SET attempts = max_attempts")
        self.assertEqual(self.cancel("order", "id", "1"), 1)

    def test_waiting(self) -> None:
        """A cancelled job's waits go with it."""
        self.add("order", '{"id":"1"}', key="k")
        self.app.wait("k")
        self.app.call("wait_for_invocation", _invoker_job_key="k", _target_job_key="t", _step_name="s")
        self.assertEqual((self.cancel("order", "id", "1"), self.app.waits()), (1, 0))

    def test_foreign_payloads(self) -> None:
        """Payloads that Postgres cannot read do not break the call; what is readable in them is compared."""
        for text in (r"\u0000", r"\ud800", r"\udc00\ud800", r"a\\\u0000"):
            self.add("order", f'{{"id":"1","x":"{text}"}}')
            self.add("order", f'{{"id":"{text}"}}')
            self.add("other", f'{{"id":"1","x":"{text}"}}')
        self.assertEqual(self.cancel("order", "id", "1"), 4)
        for text in ("", "\\u0000", "\\ud800", "\ufffd"):
            self.assertEqual(self.cancel("order", "id", text), 0)
        self.assertEqual(self.cancel("order", "x", r"a\\u0000"), 0)

    def test_escaped_names(self) -> None:
        """Names are compared as they read, also beside what cannot be read."""
        self.app.call(
            "add_worker_job",
            identifier="mail",
            payload=r'{"\u0065vent":"ord\u0065r","d\u0061ta":{"i\u0064":"\u0031","x":"\u0000"}}',
        )
        self.assertEqual(self.cancel("order", "id", "1"), 1)

    def test_last_member_counts(self) -> None:
        """Of a repeated name the last counts, as for the receiver."""
        for unreadable in ("", r',"x":"\u0000"'):
            self.app.call(
                "add_worker_job",
                identifier="mail",
                payload=f'{{"event":"a","event":"order","data":{{"id":"0","id":"1"}}{unreadable}}}',
            )
            self.assertEqual(self.cancel("a", "id", "1"), 0)
            self.assertEqual(self.cancel("order", "id", "0"), 0)
            self.assertEqual(self.cancel("order", "id", "1"), 1)

    def test_long_event(self) -> None:
        """An event's name may be longer than an index entry."""
        event = "".join(chr(0x4E00 + n * 7919 % 20000) for n in range(9000))
        self.add(event, '{"id":"1"}')
        self.assertEqual(self.cancel(event + "!", "id", "1"), 0)
        self.assertEqual(self.cancel(event, "id", "1"), 1)

    def test_many_members(self) -> None:
        """Any member of large data is found, and of data with hundreds of them."""
        for count, text in (
            (10, "x" * 3000),
            (32, ""),
            (33, ""),
            (400, ""),
            (400, r"\u00e9"),
            (400, r"\u0000"),
        ):
            members = ",".join(f'"m{n}":"{n}{text}"' for n in range(count))
            self.add("order", f'{{{members},"id":"1"}}')
            self.assertEqual(self.cancel("order", "id", "2"), 0)
            self.assertEqual(self.cancel("other", "id", "1"), 0)
            self.assertEqual(self.cancel("order", "id", "1"), 1, (count, text))

    def test_deep(self) -> None:
        """Data that nests deeper than Postgres reads is stored, and breaks no cancellation."""
        self.add("order", '{"id":"1","x":' + "[" * 900 + "]" * 900 + "}")
        self.assertEqual(self.cancel("order", "id", "1"), 1)

    def test_as_it_is_defined(self) -> None:
        """Random payloads: what goes is what the definition says, by every member's name and value."""
        chance = random.Random(7)
        values = (
            '"a"',
            '"b"',
            "1",
            "1.0",
            "true",
            "null",
            '"\\u0061"',
            '"\\u0000"',
            '{"k":"a"}',
            '["a"]',
            '"a b"',
        )
        names = ("id", "user", "\\u0069d", "a b", "")
        for number in range(150):
            members = [
                f'"{chance.choice(names)}":{chance.choice(values)}' for _ in range(chance.randrange(5))
            ]
            self.add(chance.choice(("order", "other")), "{" + ",".join(members) + "}", key=f"k{number}")
        for event in ("order", "other", ""):
            for name in ("id", "user", "a b", "", "k"):
                for value in ("a", "b", "1", "1.0", "true", "null", '{"k":"a"}', '["a"]', "a b", ""):
                    expected = {
                        key
                        for (key,) in self.app.rows(
                            "SELECT key FROM graphile_worker._private_jobs WHERE"
                            " slayq._private_text(slayq._private_member(payload, 'event')) = %s AND"
                            " slayq._private_text(slayq._private_member(slayq._private_member(payload, 'data'), %s)) = %s",
                            event,
                            name,
                            value,
                        )
                    }
                    before = {job.key for job in self.app.jobs()}
                    self.cancel(event, name, value)
                    self.assertEqual(
                        before - {job.key for job in self.app.jobs()}, expected, (event, name, value)
                    )

    def test_taken_meanwhile(self) -> None:
        """A job that a worker takes while the call waits for it stays."""
        self.add("order", '{"id":"1"}')
        self.app.rows("BEGIN")
        job = self.app.claim()
        cancelling = self.blocked(
            lambda app: app.rows("SELECT public.cancel_pending_tasks('order', 'id', '1')")
        )
        self.app.rows("COMMIT")
        cancelling.result()
        self.assertEqual([left.id for left in self.app.jobs()], [job.id if job else None])


class IndexTests(ApplicationTestCase):
    """The look-ups are served by indexes."""

    def plans(self, statement: str) -> str:
        """The plans that a call of one of the functions ran, as the server logs them."""
        with self.app.connection.cursor() as cursor:
            cursor.execute(
                "LOAD 'auto_explain'; SET auto_explain.log_min_duration = 0;"
                "SET auto_explain.log_nested_statements = on; SET client_min_messages = log"
            )
            self.app.connection.notices.clear()
            cursor.execute(statement)
        return "\n".join(self.app.connection.notices)

    def fill(self) -> None:
        self.app.rows(
            """
            SELECT count(*) FROM graphile_worker.add_jobs(ARRAY(
              SELECT ROW('mail', json_build_object('event', 'e' || n % 500, 'data', json_build_object('id', n)),
                         NULL, now() + interval '1 day', NULL, 'k' || n, NULL, NULL)::graphile_worker.job_spec
                FROM generate_series(1, 5000) AS n))
            """
        )
        self.app.rows(
            """
            INSERT INTO slayq._private_waiting_on (job_id, event, match_key, match_value, step_name, expires_at)
            SELECT id, 'paid', 'id', id::text, 's', now() + interval '1 hour' FROM graphile_worker._private_jobs
            """
        )
        self.app.rows(
            "INSERT INTO slayq._private_invoker (job_id, job_key, step_name) "
            "SELECT id, 't' || id, 's' FROM graphile_worker._private_jobs"
        )

    def test_plans(self) -> None:
        """With and without statistics, no call reads a whole table of jobs or waits."""
        self.fill()
        for analyze in ("", "ANALYZE"):
            if analyze:
                self.app.rows(analyze)
            for statement in (
                "SELECT public.cancel_pending_tasks('e7', 'id', '7')",
                "SELECT public.trigger_waiting_workers('paid', 'id', '8')",
                "SELECT public.trigger_waiting_invoker('t9', '1')",
                "SELECT public.add_worker_job('mail', '{}', job_key => 'k10')",
                "SELECT public.wait_for_worker_event('k11', 'paid', 'id', 'x', 's', now())",
            ):
                plans = self.plans(statement)
                self.assertIn("Index", plans)
                for table in ("_private_jobs", "_private_waiting_on", "_private_invoker"):
                    self.assertNotIn(f"Seq Scan on {table}", plans, statement)
                    self.assertNotIn(f"Seq Scan on ONLY {table}", plans, statement)
