"""Where deliveries may go, with a whole daemon."""

from typing import Any

from tests.e2e.case import SAMPLE, EndToEndCase

METADATA = "http://169.254.169.254/latest/meta-data/iam/"


class DestinationTests(EndToEndCase):
    """A refused job fails for good at its first attempt, and says why; the events beside it arrive."""

    def send_to(self, url: str) -> None:
        self.sql(
            "SELECT public.add_worker_job('mail', json_build_object('url', %s::text, 'retry', 0, 'event', 'e'))",
            url,
        )

    async def refused(self, urls: list[str], **settings: Any) -> list[str]:
        """What becomes of jobs for these URLs: their errors."""
        daemon = self.daemon({**SAMPLE, **settings})
        await daemon.ready()
        for url in urls:
            self.send_to(url)
        self.send("mail", "/ok")
        await daemon.until(
            lambda: sum("job_failed_for_good" in line for line in daemon.lines) == len(urls), "refusals"
        )
        await daemon.wait_for_line("job_delivered")
        self.assertEqual(await daemon.stop(), 0)
        rows = self.sql(
            "SELECT last_error, attempts = max_attempts, locked_at FROM graphile_worker.jobs ORDER BY id"
        )
        self.assertEqual([row[1:] for row in rows], [(True, None)] * len(urls))
        return [error for error, *_ in rows]

    async def test_always(self) -> None:
        """Metadata services and link-local addresses, asked for directly or by a receiver's redirect."""
        url = await self.receiver.ready()
        direct, redirected, mapped = await self.refused(
            [METADATA, f"{url}/redirect?{METADATA}", "http://[::ffff:169.254.1.1]/"]
        )
        reason = "refused: 169.254.169.254, which is the address of a cloud's metadata service"
        self.assertTrue(direct.startswith(f"POST {METADATA}: {reason}"), direct)
        self.assertTrue(redirected.startswith(f"POST {METADATA}: {reason}"), redirected)
        self.assertIn("link-local", mapped)

    async def test_allowed_origins(self) -> None:
        """A list of origins, with the receiver on it."""
        url = await self.receiver.ready()
        other = url.replace("127.0.0.1", "localhost")
        errors = await self.refused([f"{other}/ok", f"{url}/redirect?{other}/ok"], allowed_origins=[url])
        self.assertEqual(errors, [f"POST {other}/ok: refused: {other} is not among allowed_origins"] * 2)
        self.assertEqual(
            {record["path"] for record in self.receiver.seen()}, {"/ok", f"/redirect?{other}/ok"}
        )

    async def test_private_networks_shut(self) -> None:
        """Private and loopback addresses, shut by the setting; nothing reaches the receiver, the cron tick neither."""
        url = await self.receiver.ready()
        daemon = self.daemon(
            {**SAMPLE, "allow_private_networks": False}, SLAY_Q_CRON_URL="http://cron.invalid/"
        )
        await daemon.ready()
        for host in ("127.0.0.1", "localhost", "0x7f.1", "10.0.0.1"):
            self.send_to(url.replace("127.0.0.1", host) + "/ok")
        await daemon.until(
            lambda: sum("allow_private_networks is false" in line for line in daemon.lines) >= 4, "refusals"
        )
        await daemon.until(lambda: sum("job_failed_for_good" in line for line in daemon.lines) == 4, "ends")
        self.assertEqual(await daemon.stop(), 0)
        self.assertEqual(self.receiver.seen(), [])

    async def test_cron_url(self) -> None:
        """A cron URL that nothing may be delivered to ends the start."""
        await self.receiver.ready()
        daemon = self.daemon({**SAMPLE, "allowed_origins": ["https://app.test"]})
        await daemon.wait_for_line("is not among allowed_origins")
        self.assertEqual(await daemon.wait_for_end(), 1)
