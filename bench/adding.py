"""What it costs to store events, which is a half of each event's life."""

import time
from contextlib import closing

import psycopg2

from bench.contestants import DAEMON
from bench.figures import Samples
from bench.jobs import payload, sample
from bench.plan import Plan
from bench.processes import cpu_seconds
from bench.rig import Rig

ADD = "SELECT public.add_worker_job(identifier => %s, payload => %s::json)"
"""As an application's client calls it."""


def measure_adding(rig: Rig, plan: Plan, samples: Samples) -> None:
    """`add_worker_job` on one connection, a transaction for each call, while nobody delivers."""
    queues = list(sample()["queues"])
    for _ in range(plan.rounds):
        with rig.database() as database:
            database.settle()
            with closing(psycopg2.connect(database.url)) as connection, connection.cursor() as cursor:
                connection.autocommit = True
                wal, cpu = rig.server.wal_position(), cpu_seconds(rig.server.pid)
                began = time.monotonic()
                for number in range(plan.added):
                    event = payload(rig.receiver.url, number)
                    cursor.execute(ADD, (queues[number % len(queues)], event))
                seconds = time.monotonic() - began
                cpu = cpu_seconds(rig.server.pid) - cpu
                wal = rig.server.wal_position() - wal
        samples.record("adding", DAEMON.name, seconds / plan.added * 1e6)
        samples.record("adding cpu", DAEMON.name, cpu / plan.added * 1e6)
        samples.record("adding wal", DAEMON.name, wal / plan.added)
