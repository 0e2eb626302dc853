"""Secrets that change, that differ by origin, that come from files; and a standard library as the receiver's check."""

from collections.abc import Mapping
from typing import Any

from standardwebhooks import Webhook

from slayq_tw.client import SIGNATURE_HEADERS, Refused, verify
from tests.e2e.case import SAMPLE, SECRET, EndToEndCase
from tests.processes import Child, Daemon, NodeReceiver, program, python_environment

NEW = "the new secret"
OWN = "a secret of its own"


def taken(request: Mapping[str, Any], *secrets: str, headers: tuple[str, ...] = SIGNATURE_HEADERS) -> bool:
    """Whether a receiver that knows these secrets and reads these header fields takes a request."""
    signatures = [request["headers"].get(name.lower()) for name in headers]
    try:
        verify(request["text"].encode(), signatures, secrets, request["at"] / 1000)
    except Refused:
        return False
    return True


class SecretTests(EndToEndCase):
    """A real daemon, and receivers that verify in every way there is."""

    async def event_through(self, config: Mapping[str, Any] = SAMPLE, **environment: str) -> dict[str, Any]:
        """One event through a new daemon, stopped again: how it arrived."""
        daemon = self.daemon(config, **environment)
        await daemon.ready()
        count = len(self.receiver.seen()) + 1
        self.send("mail", "/ok?show", n=count)
        *_, request = await self.receiver.wait_for(count)
        self.assertEqual(await daemon.stop(), 0)
        self.assert_no_secret(daemon)
        return request

    def assert_no_secret(self, *children: Child) -> None:
        """Nothing of them is printed."""
        for child in children:
            for secret in (SECRET, NEW, OWN):
                self.assertNotIn(secret, "\n".join(child.lines))

    async def test_change(self) -> None:
        """The README's steps: at each of them every receiver that can do its part takes what each daemon sends."""
        await self.receiver.ready()
        before = await self.event_through()
        during = await self.event_through(SLAY_Q_SECRET=NEW, SLAY_Q_SECRET_PREVIOUS=SECRET)
        after = await self.event_through(SLAY_Q_SECRET=NEW)
        first = SIGNATURE_HEADERS[:1]
        # Step 2 goes through the daemons one by one, so receivers meet both kinds of them.
        for request in (before, during):
            self.assertTrue(taken(request, SECRET))  # reads both fields
            self.assertTrue(taken(request, SECRET, NEW, headers=first))  # knows both secrets
        # Step 3 goes through the receivers, step 4 through the daemons.
        for request in (during, after):
            self.assertTrue(taken(request, NEW))
            self.assertTrue(taken(request, NEW, headers=first))
        # Why none may be left out, and why the unmodified client needs the pause.
        self.assertFalse(taken(before, NEW))
        self.assertFalse(taken(after, SECRET))
        self.assertFalse(taken(during, SECRET, headers=first))
        self.assertEqual([request["verified"] for request in self.receiver.seen()], [True, False, False])

    async def test_files(self) -> None:
        """The secrets and the URLs may be files, as container engines mount them."""
        await self.receiver.ready()
        environment = self.environment(SLAY_Q_SECRET=NEW, SLAY_Q_SECRET_PREVIOUS=SECRET)
        folder = self.folder_with(**{name: f"{value}\n" for name, value in environment.items()})
        files = {f"{name}_FILE": str(folder / name) for name in environment}
        daemon = Daemon(self, SAMPLE, files)
        await daemon.ready()
        self.send("mail", "/ok?show")
        (request,) = await self.receiver.wait_for(1)
        self.assertTrue(taken(request, NEW) and taken(request, SECRET))
        self.assertEqual(await daemon.stop(), 0)
        daemon = Daemon(self, SAMPLE, {**files, "SLAY_Q_SECRET": OWN, "SLAY_Q_DATABASE_URL_FILE": "nowhere"})
        self.assertEqual(await daemon.wait_for_end(), 1)
        said = "\n".join(daemon.lines)
        self.assertIn("SLAY_Q_SECRET: SLAY_Q_SECRET_FILE is set as well", said)
        self.assertIn("SLAY_Q_DATABASE_URL_FILE: nowhere cannot be read: No such file or directory", said)
        self.assert_no_secret(daemon)

    async def test_origins(self) -> None:
        """Each receiver's deliveries have its own secret's signature, and no redirect takes one to the other."""
        mine = await self.receiver.ready()
        other = NodeReceiver(self, OWN)
        theirs = await other.ready()
        config = {**SAMPLE, "origin_secrets": {theirs: "SLAY_Q_SECRET_OTHER"}}
        daemon = self.daemon(config, SLAY_Q_SECRET_OTHER=OWN)
        await daemon.ready()
        self.send("mail", "/ok?show", n=1)
        self.send("mail", f"/moved/{theirs.rpartition(':')[2]}", n=2, max_attempts=1)
        self.receiver.url = theirs
        self.send("mail", "/ok?show", n=3)
        self.send("mail", f"/moved/{mine.rpartition(':')[2]}", n=4, max_attempts=1)
        await other.wait_for(2)
        await self.receiver.wait_for(2)
        for receiver, numbers in ((self.receiver, [1, 2]), (other, [3, 4])):
            requests = receiver.seen()
            self.assertEqual(sorted(request["body"]["data"]["n"] for request in requests), numbers)
            self.assertTrue(all(request["verified"] for request in requests))
        for url in (theirs, mine):
            await daemon.wait_for_line(f"307 to {url}/ok, which has another secret")
        self.assertEqual(await daemon.stop(), 0)
        self.assertEqual(self.jobs("attempts, max_attempts"), [(1, 1), (1, 1)])
        self.assert_no_secret(daemon)

    async def test_standard_webhooks(self) -> None:
        """A library for Standard Webhooks takes each attempt, by the key that the command prints, old or new; the id
        is the same for all attempts of one event, and for no other.
        """
        await self.receiver.ready()
        config = {**SAMPLE, "standard_webhooks": True}
        daemon = self.daemon(config, SLAY_Q_SECRET=NEW, SLAY_Q_SECRET_PREVIOUS=SECRET)
        await daemon.ready()
        self.send("mail", "/fail-once?show", n=1, job_key="the ключ.")
        first, second = await self.receiver.wait_for(2)
        self.send("mail", "/ok?show", n=2, job_key="the ключ.")
        other = (await self.receiver.wait_for(3))[-1]
        key, old_key = await self.printed_key(NEW), await self.printed_key(SECRET)
        for request in (first, second, other):
            for shown in (key, old_key):
                document = Webhook(shown).verify(request["text"], request["headers"])
                self.assertEqual(document["job_key"], "the ключ.")
            self.assertTrue(taken(request, NEW))
        ids = [request["headers"]["webhook-id"] for request in (first, second, other)]
        self.assertEqual(ids[0], ids[1])
        self.assertNotEqual(ids[0], ids[2])
        self.assertEqual([request["body"]["retry"] for request in (first, second)], [1, 2])
        times = [int(request["headers"]["webhook-timestamp"]) for request in (first, second)]
        self.assertGreaterEqual(times[1] - times[0], 2)
        self.assertEqual(await daemon.stop(), 0)
        self.assert_no_secret(daemon)

    async def printed_key(self, secret: str) -> str:
        """What `slayq webhook-secret` prints where the daemon has this secret."""
        folder = self.folder_with(slay_config__json='{"queues":{"mail":{"concurrency":1}}}')
        command = [
            program("python"),
            "-m",
            "slayq_tw.console",
            "webhook-secret",
            "--config",
            "slay_config.json",
        ]
        environment = {**python_environment(), **self.environment(SLAY_Q_SECRET=secret)}
        child = Child(self, command, environment, folder)
        self.assertEqual(await child.wait_for_end(), 0)
        (line,) = child.lines
        return line
