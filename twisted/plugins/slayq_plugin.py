"""Makes `twistd slayq` known."""

from twisted.application.service import ServiceMaker

slayq = ServiceMaker(
    "SlayQ server",
    "slayq_tw.tap",
    "Post due jobs from Postgres to their applications, signed.",
    "slayq",
)
