"""Nothing that is shown holds a secret."""

from urllib.parse import urlsplit

from tests.e2e.case import SAMPLE, EndToEndCase

TELL_TALE = "tell-tale"
SECRET = f"{TELL_TALE}-secret-0123456789"


class LeakTests(EndToEndCase):
    """Secrets with a distinctive part, and whatever can go wrong with them."""

    async def test_errors(self) -> None:
        """The log of a verbose daemon and the errors of its jobs, through failures of every kind."""
        url = await self.receiver.ready()
        parts = urlsplit(self.url)
        user = parts.username or "postgres"
        address = f"{parts.hostname}:{parts.port or 5432}"
        password = parts.password or f"{TELL_TALE}-database"
        daemon = self.daemon(
            SAMPLE,
            ["--log-level=debug"],
            SLAY_Q_DATABASE_URL=parts._replace(netloc=f"{user}:{password}@{address}").geturl(),
            SLAY_Q_SECRET=SECRET,
            SLAY_Q_SECRET_PREVIOUS=f"{TELL_TALE}-previous",
            SLAY_Q_CRON_URL=f"http://u:{TELL_TALE}@127.0.0.1:9/?{TELL_TALE}",
        )
        await daemon.ready()
        here = url.removeprefix("http://")
        secret = f"me:{TELL_TALE}@"
        bad = [
            f"http://{secret}127.0.0.1:9/x?{TELL_TALE}#{TELL_TALE}",
            f"http://{secret}nowhere.invalid/?{TELL_TALE}",
            f"http://{secret}{here}/status/500?{TELL_TALE}",
            f"http://{secret}{here}/redirect?ftp://{secret}app.test/",
            f"http://{secret}{here}/redirect?http://{secret}169.254.169.254/?{TELL_TALE}",
            f"http://{secret}{here}/redirect?http://{secret}127.0.0.1:9/?{TELL_TALE}",
            f"http://{secret}169.254.169.254/?{TELL_TALE}",
            f"http://{secret}app.test:99999/?{TELL_TALE}",
            f"ftp://{secret}app.test/",
            f"http://{secret}[::zz]/",
        ]
        for target in bad:
            self.sql(
                "SELECT graphile_worker.add_job('mail', json_build_object('url', %s::text, 'retry', 0, 'event', 'e'),"
                " max_attempts => 1)",
                target,
            )
        await daemon.until(lambda: self.failures() == len(bad), "failures of all")
        self.assertEqual(await daemon.stop(), 0)
        errors = "\n".join(error for (error,) in self.sql("SELECT last_error FROM graphile_worker.jobs"))
        self.assertNotIn(TELL_TALE, errors)
        self.assertNotIn(TELL_TALE, "\n".join(daemon.lines))

    def failures(self) -> int:
        """How many jobs have failed for good."""
        ((count,),) = self.sql("SELECT count(*)::int FROM graphile_worker.jobs WHERE last_error IS NOT NULL")
        return int(count)
