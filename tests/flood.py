"""`python -m tests.flood URL CHANNEL PAYLOAD RATE SECONDS`: announce so often, from a process of its own.

Twenty in a transaction, so that it is the daemon that is tested, and not how fast Postgres commits. `{n}` in the payload
is a number that is never the same.
"""

import sys
import time

import psycopg2

TOGETHER = 20


def flood(url: str, channel: str, payload: str, rate: float, seconds: float) -> int:
    """Announce; how often."""
    connection = psycopg2.connect(url)
    connection.autocommit = True
    announce = (
        "SELECT pg_catalog.count(pg_catalog.pg_notify(%s, pg_catalog.replace(%s, '{n}', (n + %s)::text)))"
        " FROM pg_catalog.generate_series(1, %s) AS n"
    )
    begin = time.monotonic()
    sent = 0
    with connection.cursor() as cursor:
        while (now := time.monotonic()) < begin + seconds:
            if sent > (now - begin) * rate:
                time.sleep(0.001)
                continue
            cursor.execute(announce, (channel, payload, sent, TOGETHER))
            sent += TOGETHER
    connection.close()
    return sent


if __name__ == "__main__":
    print(flood(sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4]), float(sys.argv[5])), flush=True)
