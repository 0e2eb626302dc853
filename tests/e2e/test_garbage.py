"""Rows that nobody should have put there harm nobody but themselves."""

from tests.e2e.case import EndToEndCase

DEEP = "[" * 3000 + "]" * 3000


class GarbageTests(EndToEndCase):
    """Payloads of every malformed kind, between good ones."""

    async def test_malformed_payloads(self) -> None:
        """Each fails for good with its reason, and the events beside it arrive."""
        url = await self.receiver.ready()
        daemon = self.daemon()
        await daemon.ready()
        member = '{{"url":"{}/ok","retry":0,"event":"e","data":{}}}'
        bad = [
            "null",
            "7",
            '"text"',
            "[]",
            "{}",
            '{"url":"/relative","retry":0,"event":"e"}',
            '{"url":"ftp://app.test/","retry":0,"event":"e"}',
            '{"url":"http://app.test:99999/","retry":0,"event":"e"}',
            '{"url":"http://app.test/","retry":"0","event":"e"}',
            '{"url":"http://app.test/","retry":0,"event":7}',
            '{"url":"http://app.test:+80/","retry":0,"event":"e"}',
            '{"url":"http://app.test/%s","retry":0,"event":"e"}' % ("x" * 1_000_000),
            r'{"url":"http://app\ud800\u0000.test/","retry":0,"event":"e"}',
            member.format(url, DEEP),
            member.format(url, '{"a":' * 3000 + "1" + "}" * 3000),
            member.format(url, '{"a":{"__proto__":1}}'),
        ]
        odd = [
            r'"\u0000\ud800"',
            "1e999",
            "-0.0",
            "1" * 100_000,
            f"[-1e-{'9' * 5000},0.{'0' * 5000}1]",
            "[" * 900 + "]" * 900,
            '{"2":1,"1":2,"1":3}',
            '"' + "x" * 2_000_000 + '"',
        ]
        for payload in bad:
            self.sql("SELECT graphile_worker.add_job('mail', %s::json)", payload)
        for data in odd:
            self.sql("SELECT graphile_worker.add_job('mail', %s::json)", member.format(url, data))
        arrived = await self.receiver.wait_for(len(odd))
        self.assertEqual([record["verified"] for record in arrived], [True] * len(odd))
        await daemon.until(
            lambda: sum("job_failed_for_good" in line for line in daemon.lines) == len(bad), "failures"
        )
        self.assertEqual(await daemon.stop(), 0)
        errors = self.sql("SELECT last_error, attempts = max_attempts, locked_at FROM graphile_worker.jobs")
        self.assertEqual(len(errors), len(bad))
        for error, exhausted, locked_at in errors:
            self.assertTrue(error.startswith("payload"), error)
            self.assertEqual((exhausted, locked_at), (True, None))
