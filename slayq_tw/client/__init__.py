"""Enqueue from Python: events for a SlayQ application, and jobs for any Graphile Worker task. `verify` checks what the
daemon posts in return.

Every other call takes a connection of the caller's first, and happens inside the caller's transaction: it never commits,
never rolls back, and never changes the connection's settings. So an event is sent exactly if the work that caused it
is committed. With Django:

    from django.db import connection, transaction
    from slayq_tw.client import send_event

    with transaction.atomic():
        user = User.objects.create(email=email)
        send_event(
            connection,
            "mail/welcome",
            {"user": user.pk},
            queue="mail",
            endpoint="https://app.example/api/slay-q",
            key=f"welcome-{user.pk}",
            delay=timedelta(minutes=5),
        )

With Flask and SQLAlchemy:

    with Session.begin() as session:
        session.add(order)
        session.flush()
        send_event(session.connection().connection, "order/placed", {"order": order.id}, queue="mail", endpoint=…)

With psycopg2 or psycopg 3, the connection itself. `slayq_tw.client.asynchronous` has the same calls for Twisted.

The role needs what calling the functions needs: EXECUTE on `public.add_worker_job` to send events, and on
`public.add_worker_jobs` to send many as fast as can be; the job tables' owner for everything else. Errors of the database come through as the driver raises them. Under READ COMMITTED nothing
is to be retried but a deadlock (40P01); under stricter isolation 40001 means, as always, to retry the transaction.
"""

from slayq_tw.client.blocking import (
    Connection,
    add_job,
    add_jobs,
    complete_jobs,
    force_unlock_workers,
    permanently_fail_jobs,
    remove_job,
    reschedule_jobs,
    send_event,
    send_events,
)
from slayq_tw.client.checks import Delay, InvalidRequest, JobKeyMode, JobNotStored
from slayq_tw.client.receiving import SIGNATURE_HEADERS, Refused, verify
from slayq_tw.client.requests import Event, NewJob
from slayq_tw.client.rows import StoredJob

__all__ = [
    "SIGNATURE_HEADERS",
    "Connection",
    "Delay",
    "Event",
    "InvalidRequest",
    "JobKeyMode",
    "JobNotStored",
    "NewJob",
    "Refused",
    "StoredJob",
    "add_job",
    "add_jobs",
    "complete_jobs",
    "force_unlock_workers",
    "permanently_fail_jobs",
    "remove_job",
    "reschedule_jobs",
    "send_event",
    "send_events",
    "verify",
]
