"""`slayq_tw.system_resolver`: the system's resolver, in threads that hold up nothing."""

import socket
import subprocess
import sys
import threading

from twisted.internet import reactor
from twisted.internet.error import DNSLookupError
from twisted.trial.unittest import SynchronousTestCase, TestCase

from slayq_tw.errors import NameUnresolved
from slayq_tw.system_resolver import in_a_thread, system_addresses
from tests.processes import ROOT

HANGING = """
import threading, time
from twisted.internet import reactor
from slayq_tw.system_resolver import in_a_thread
begun = threading.Event()
def hang(name):
    begun.set()
    threading.Event().wait()
for number in range(50):
    in_a_thread(reactor, "mute.test", hang)
reactor.callWhenRunning(lambda: (begun.wait(), reactor.stop()))
reactor.run()
print("stopped", flush=True)
"""


class SystemAddressesTests(SynchronousTestCase):
    """What `getaddrinfo` says, in our words."""

    def failing(self, error: Exception) -> None:
        def getaddrinfo(*arguments: object, **named: object) -> list[object]:
            raise error

        self.patch(socket, "getaddrinfo", getaddrinfo)

    def test_hosts_file(self) -> None:
        """Names of the system's own are found, each address once."""
        found = system_addresses("localhost")
        self.assertIn(found[0], ("127.0.0.1", "::1"))
        self.assertEqual(len(found), len(set(found)))

    def test_no_such_host(self) -> None:
        """Only a resolver that knows of none says that there is no such host; and so does a name that cannot be one."""
        for number in (socket.EAI_NONAME, socket.EAI_NODATA):
            self.failing(socket.gaierror(number, "Name or service not known"))
            self.assertRaises(DNSLookupError, system_addresses, "nowhere.test")
        self.failing(UnicodeError("label too long"))
        self.assertRaises(DNSLookupError, system_addresses, "x" * 64)

    def test_resolver_fails(self) -> None:
        """Whatever else it says is its own trouble: SERVFAIL and no answer (EAI_AGAIN), a refusal, no memory."""
        for number, text in (
            (socket.EAI_AGAIN, "Temporary failure in name resolution"),
            (socket.EAI_FAIL, "Non-recoverable failure in name resolution"),
            (socket.EAI_SYSTEM, "System error"),
            (socket.EAI_MEMORY, "Memory allocation failure"),
        ):
            self.failing(socket.gaierror(number, text))
            error = self.assertRaises(NameUnresolved, system_addresses, "app.test")
            self.assertEqual(str(error), f"the host name cannot be looked up: {text}")


class ThreadTests(TestCase):
    """Threads of their own."""

    timeout = 30

    async def test_side_by_side(self) -> None:
        """One that hangs holds up no other, nor the reactor's pool."""
        go = threading.Event()
        self.addCleanup(go.set)
        hanging = [
            in_a_thread(reactor, "mute.test", lambda name: [name] if go.wait(20) else []) for _ in range(40)
        ]
        self.assertEqual(await in_a_thread(reactor, "app.test", lambda name: ["10.0.0.1"]), ["10.0.0.1"])
        self.assertFalse(any(one.called for one in hanging))
        go.set()
        for one in hanging:
            self.assertEqual(await one, ["mute.test"])

    async def test_failures(self) -> None:
        """An error in the thread is the Deferred's."""

        def fail(name: str) -> list[str]:
            raise NameUnresolved("no")

        await self.assertFailure(in_a_thread(reactor, "app.test", fail), NameUnresolved)

    async def test_no_more_threads(self) -> None:
        """Where no thread can be had, nothing is known of the name."""

        def start(thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        self.patch(threading.Thread, "start", start)
        await self.assertFailure(in_a_thread(reactor, "app.test"), NameUnresolved)

    def test_exit(self) -> None:
        """The exit waits for none of them."""
        ended = subprocess.run(
            [sys.executable, "-c", HANGING], capture_output=True, timeout=20, cwd=ROOT, check=True
        )
        self.assertEqual(ended.stdout, b"stopped\n")
