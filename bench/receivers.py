"""The receivers: nginx, which costs the machine least, and the one that notes arrivals (see `arrivals`)."""

import http.client
import json
import re
import socket
import sys
import time
from pathlib import Path

from bench.processes import ROOT, BenchError, Child, program

START_TIMEOUT = 15.0
"""Seconds until a receiver listens."""

_NGINX = """\
daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr warn;
events { worker_connections 4096; }
http {
  access_log off;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  keepalive_requests 1000000000;
  keepalive_timeout 1h;
  client_max_body_size 0;
  server {
    listen 127.0.0.1:%d backlog=512;
    location / { return 200; }
    location = /status { stub_status; }
  }
}
"""


class Receiver:
    """What both have: a process, the URL to deliver to, and a count of the deliveries."""

    child: Child
    port: int

    def __init__(self) -> None:
        self._client: http.client.HTTPConnection | None = None

    @property
    def url(self) -> str:
        """Where jobs are delivered."""
        return f"http://127.0.0.1:{self.port}/api/slay-q"

    def count(self) -> int:
        """Requests of the contestants so far."""
        raise NotImplementedError

    def stop(self) -> None:
        """End it."""
        self.child.stop()

    def _get(self, path: str) -> str:
        if self._client is None:
            self._client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        self._client.request("GET", path)
        return self._client.getresponse().read().decode()


class Nginx(Receiver):
    """nginx with one worker. It reads each body, throws it away, and answers 200.

    Raises:
        BenchError: it is not installed, or does not start.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._asked = 0
        self.port = _free_port()
        folder.mkdir()
        (folder / "nginx.conf").write_text(_NGINX % self.port)
        nginx = program("nginx", "install it (on Debian: nginx-light)")
        self.child = Child([nginx, "-p", str(folder), "-c", "nginx.conf", "-e", "stderr"], folder, "nginx")
        for _ in range(round(START_TIMEOUT / 0.05)):
            self.child.check()
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except ConnectionRefusedError:
                time.sleep(0.05)
        raise BenchError("nginx does not listen")

    def count(self) -> int:
        """From its status page, whose third line counts connections and requests: this one is among them."""
        self._asked += 1
        numbers = re.findall(r"\d+", self._get("/status").splitlines()[2])
        return int(numbers[2]) - self._asked


class Stamping(Receiver):
    """The receiver that notes arrivals.

    Raises:
        BenchError: it does not start.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        folder.mkdir()
        command = [sys.executable, "-m", "bench.arrivals"]
        self.child = Child(command, folder, "arrivals", {"PYTHONPATH": str(ROOT)})
        self.port = int(self.child.wait_for_line("listening on ", START_TIMEOUT).split()[-1])

    def count(self) -> int:
        """What it counted."""
        return int(self._get("/count"))

    def last(self) -> int:
        """The greatest number of the backlog so far."""
        return int(self._get("/last"))

    def forget(self) -> None:
        """Begin a new backlog, of which nothing has come."""
        self._get("/forget")

    def delay(self, milliseconds: int) -> None:
        """Answer what comes from now on that much later."""
        self._get(f"/delay/{milliseconds}")

    def arrivals(self) -> dict[int, float]:
        """When each job came first, of those since the last call: its number, and seconds of the monotonic clock."""
        first: dict[int, float] = {}
        for number, at in json.loads(self._get("/arrivals")):
            first.setdefault(number, at)
        return first


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
