"""Receivers that are down: what waits is not charged, and nobody else has to wait."""

import os
import socket
from typing import Any

from twisted.internet import reactor
from twisted.internet.protocol import Factory, Protocol

from tests.e2e.case import SECRET, EndToEndCase
from tests.postgres import migrated_database
from tests.processes import Daemon, NodeReceiver

CONCURRENCY = 6
FAILURES = 5
"""Deliveries without an answer, after which the others wait."""
QUEUE = {"queues": {"mail": {"concurrency": CONCURRENCY}}, "timeout": 1}


class StormTests(EndToEndCase):
    """One queue, several receivers."""

    def setUp(self) -> None:
        super().setUp()
        self.url = migrated_database(self)  # there are jobs before the daemon starts

    async def test_dead_receiver(self) -> None:
        """500 jobs for a dead receiver stand before those for a living one: these arrive at once, the former wait
        without being charged; the log has a line, the processor next to nothing to do; when the receiver comes up, all
        arrive, as many at once as may.
        """
        await self.receiver.ready()
        port = free_port()
        self.send_many(f"http://127.0.0.1:{port}/slow/50", 500, "timestamptz '2020-01-01'")
        self.send_many(f"{self.receiver.url}/ok", 50, "now()")
        daemon = self.daemon(QUEUE)
        await daemon.ready()
        await self.receiver.wait_for(50, patience=5.0)
        self.assertEqual({record["body"]["retry"] for record in self.receiver.seen()}, {1})

        await daemon.wait_for_line("circuit_opened: ")
        before, statements = cpu_of(daemon), self.statements()
        self.send_many(f"{self.receiver.url}/ok", 1, "now() + interval '5 s'")
        await self.receiver.wait_for(51)
        self.assertLess(cpu_of(daemon) - before, 0.5)
        self.assertLess(self.statements() - statements, 5 * 20)

        charged = self.charged()
        self.assertLessEqual(charged, FAILURES + CONCURRENCY + 5)
        self.assertEqual(len(self.jobs()), 500)
        said = [line for line in daemon.lines if "job_delivered" not in line]
        self.assertLess(len(said), 25, said)

        risen = NodeReceiver(self, SECRET, port)
        await risen.ready()
        await daemon.wait_for_line("circuit_closed: ")
        await risen.wait_for(495 - charged, patience=15.0)
        self.assertEqual(max(record["concurrent"] for record in risen.seen("begin")), CONCURRENCY)
        first_tries = [record["body"]["data"]["n"] for record in risen.seen() if record["body"]["retry"] == 1]
        self.assertEqual(len(first_tries), len(set(first_tries)))
        for name in ("circuit_opened", "circuit_closed"):
            self.assertEqual(len([line for line in daemon.lines if name in line]), 1)
        self.assertEqual(await daemon.stop(), 0)

    async def test_independent(self) -> None:
        """Two dead receivers: one comes up, the other's jobs go on waiting. At stop they are due again."""
        await self.receiver.ready()
        ports = [free_port(), free_port()]
        for port in ports:
            self.send_many(f"http://127.0.0.1:{port}/ok", 60, "now()")
        daemon = self.daemon(QUEUE)
        for port in ports:
            await daemon.wait_for_line(f"circuit_opened: http://127.0.0.1:{port} ")
        risen = NodeReceiver(self, SECRET, ports[0])
        await risen.ready()
        await daemon.wait_for_line(f"circuit_closed: http://127.0.0.1:{ports[0]} ")
        await risen.wait_for(40)
        self.assertFalse(
            [line for line in daemon.lines if f"circuit_closed: http://127.0.0.1:{ports[1]}" in line]
        )
        ((waiting,),) = self.sql(
            "SELECT count(*)::int FROM graphile_worker._private_jobs WHERE attempts = 0 AND run_at > now()"
        )
        self.assertGreater(waiting, 0)
        self.assertEqual(await daemon.stop(), 0)
        self.assertEqual(
            self.sql("SELECT count(*) FROM graphile_worker.jobs WHERE attempts = 0 AND run_at > now()"),
            [(0,)],
        )

    async def test_silent_receiver(self) -> None:
        """A receiver that takes requests and never answers is tried by one delivery at a time; others get the slots."""
        await self.receiver.ready()
        silent = Silent()
        port = reactor.listenTCP(0, silent, interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        self.send_many(f"http://127.0.0.1:{port.getHost().port}/", 300, "timestamptz '2020-01-01'")
        daemon = self.daemon(QUEUE)
        await daemon.wait_for_line("circuit_opened: ")
        silent.most = len(silent.open)
        self.send_many(f"{self.receiver.url}/slow/20", 100, "now()")
        await self.receiver.wait_for(100, patience=5.0)
        self.assertLessEqual(silent.most, 1)
        self.assertLessEqual(silent.met, 2 * CONCURRENCY + 5)
        self.assertLessEqual(self.charged(), 2 * CONCURRENCY + 5)
        self.assertEqual(await daemon.stop(), 0)

    async def test_restart(self) -> None:
        """A receiver that answers errors is alive: every job is tried, and no circuit opens."""
        await self.receiver.ready()
        self.send_many(f"{self.receiver.url}/status/503", 100, "now()")
        daemon = self.daemon(QUEUE)
        await self.receiver.wait_for(100)
        self.assertEqual(await daemon.stop(), 0)
        self.assertFalse([line for line in daemon.lines if "circuit_" in line])

    async def test_lane(self) -> None:
        """A serial lane whose head waits lets others by, and keeps its order when the receiver comes up."""
        await self.receiver.ready()
        port = free_port()
        self.send_many(f"http://127.0.0.1:{port}/ok", 40, "timestamptz '2020-01-01'", lane="lane")
        self.send_many(f"{self.receiver.url}/ok", 1, "now()", lane="lane")
        daemon = self.daemon(QUEUE)
        await self.receiver.wait_for(1, patience=5.0)
        await daemon.wait_for_line("circuit_opened: ")
        risen = NodeReceiver(self, SECRET, port)
        await risen.ready()
        await risen.wait_for(30)
        numbers = [record["body"]["data"]["n"] for record in risen.seen() if record["body"]["retry"] == 1]
        # The first is the probe; the second, if anything, one that had just come up for another look.
        self.assertEqual(numbers[2:], sorted(numbers[2:]))
        self.assertEqual({record["concurrent"] for record in risen.seen("begin")}, {1})
        self.assertEqual(await daemon.stop(), 0)

    def send_many(self, url: str, count: int, run_at: str, lane: str | None = None) -> None:
        """Add events; `run_at` is SQL."""
        self.sql(
            f"""
            SELECT public.add_worker_job('mail', json_build_object('url', %s::text, 'retry', 0, 'event', 'mail/test',
                     'data', json_build_object('n', n)), run_at => {run_at} + n * interval '1 ms', queue_name => %s)
              FROM generate_series(0, %s - 1) AS n
            """,
            url,
            lane,
            count,
        )

    def charged(self) -> int:
        """How many jobs have an attempt that counts. (A claim counts one until the job is put off.)"""
        return len(
            [1 for attempts, holder in self.jobs("attempts, locked_by") if attempts and holder is None]
        )

    def statements(self) -> int:
        """Transactions of this database so far, as far as its statistics know."""
        ((count,),) = self.sql(
            "SELECT xact_commit::int FROM pg_stat_database WHERE datname = current_database()"
        )
        return int(count)


class Silent(Factory):
    """Takes connections, and says nothing.

    Attributes:
        open: those that stand.
        met: how many there were.
        most: that stood at once.
    """

    def __init__(self) -> None:
        self.open: set[Protocol] = set()
        self.met = 0
        self.most = 0

    def buildProtocol(self, addr: Any) -> Protocol:
        """One more."""
        return Listener(self)


class Listener(Protocol):
    def __init__(self, factory: Silent) -> None:
        self.silent = factory

    def connectionMade(self) -> None:
        self.silent.met += 1
        self.silent.open.add(self)
        self.silent.most = max(self.silent.most, len(self.silent.open))

    def connectionLost(self, reason: Any = None) -> None:
        self.silent.open.discard(self)


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def cpu_of(daemon: Daemon) -> float:
    """Seconds of processor time that a process has used."""
    with open(f"/proc/{daemon.pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
