"""Where deliveries may go, with a whole daemon."""

from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from tests.certificates import local_certificate, serving_with
from tests.e2e.case import SAMPLE, EndToEndCase

METADATA = "http://169.254.169.254/latest/meta-data/iam/"


class Moved(Resource):
    """Answers each POST with a redirect, and counts."""

    isLeaf = True
    asked = 0
    status, location = 307, b""

    def render_POST(self, request: Request) -> bytes:
        self.asked += 1
        request.setResponseCode(self.status)
        request.setHeader(b"location", self.location)
        return b""


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

    async def test_no_redirect_out_of_tls(self) -> None:
        """What was sent over TLS is not sent again in clear, to no port of the same host either: the attempt fails."""
        url = await self.receiver.ready()
        moved = Moved()
        certificate = local_certificate(Path(self.mktemp()).absolute())
        port = reactor.listenSSL(0, Site(moved), serving_with(certificate), interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        secure = f"https://localhost:{port.getHost().port}/hook"
        daemon = self.daemon(SLAY_Q_CRON_URL="http://cron.invalid/", SSL_CERT_FILE=str(certificate))
        await daemon.ready()
        for status in (307, 308):
            for target in (url, url.replace("127.0.0.1", "localhost")):
                moved.status, moved.location = status, f"{target}/ok?token=x".encode()
                asked = moved.asked
                self.send_to(secure)
                said = f"POST {secure}: {status} to {target}/ok, which is not encrypted as this was"
                await daemon.wait_for_line(f"job_failed: job {asked + 1} of mail, attempt 1: {said}")
                self.assertEqual(moved.asked, asked + 1)
        self.assertEqual(await daemon.stop(), 0)
        self.assertEqual(self.receiver.seen(), [])
        self.assertEqual({row[1] for row in self.jobs()}, {1})

    async def test_redirect_within_tls(self) -> None:
        """From one https URL to another it is followed."""
        await self.receiver.ready()
        moved, there = Moved(), Moved()
        there.status = 204
        certificate = local_certificate(Path(self.mktemp()).absolute())
        ports = [
            reactor.listenSSL(0, Site(one), serving_with(certificate), interface="127.0.0.1")  # type: ignore[attr-defined]
            for one in (moved, there)
        ]
        for port in ports:
            self.addCleanup(port.stopListening)
        first, second = (f"https://localhost:{port.getHost().port}" for port in ports)
        moved.location = f"{second}/there".encode()
        daemon = self.daemon(SLAY_Q_CRON_URL="http://cron.invalid/", SSL_CERT_FILE=str(certificate))
        await daemon.ready()
        self.send_to(f"{first}/hook")
        await daemon.wait_for_line("job_delivered")
        self.assertEqual((moved.asked, there.asked), (1, 1))
        self.assertEqual(await daemon.stop(), 0)
