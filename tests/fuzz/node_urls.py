"""What Node makes of URLs: one process answers for all of them."""

import atexit
import json
import re
import subprocess
from functools import cache
from shutil import which
from typing import Any

from slayq_tw.weburl import DEFAULT_PORTS, MAX_URL, parsed

PARSE = """
const members = ["href", "protocol", "hostname", "port", "pathname", "search", "username", "password"];
const lines = require("node:readline").createInterface({input: process.stdin});
lines.on("line", (line) => {
  let answer = null;
  try {
    const url = new URL(...JSON.parse(line));
    answer = Object.fromEntries(members.map((name) => [name, url[name]]));
  } catch (error) {}
  process.stdout.write(JSON.stringify(answer) + "\\n");
});
process.stdout.write(JSON.stringify(process.versions.ada ?? "0") + "\\n");
"""
"""Says which release of the parser Node has. Then it reads the arguments of `new URL`, as arrays, one a line, and answers
its members, null where it throws."""

# An older Node takes names that change their direction, too.
_OLDER_NAMES = "an older Node's international names"
_OLDER_DOTS = "an older Node's dots in paths"
_HOST = re.compile(r"\[[0-9a-f:]+\]|(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}\.?")


class NodeURLs:
    """`new URL`, in a process that `close` ends.

    Attributes:
        older: whether this Node's parser is older than ours: 26 has the same, 24 and before have not.
    """

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            ["node", "-e", PARSE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
        )
        assert self._process.stdout is not None
        self.older = int(json.loads(self._process.stdout.readline()).partition(".")[0]) < 4

    def parsed(self, url: str, *base: str) -> dict[str, Any] | None:
        """The members of a URL, relative to a base where one is given; None when it is none."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps([url, *base]) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] | None = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        """End it: its input closes."""
        self._process.communicate()


@cache
def shared() -> NodeURLs | None:
    """One for the whole process, whose end is its end too; None where there is no Node."""
    if which("node") is None:
        return None
    node = NodeURLs()
    atexit.register(node.close)
    return node


def differences(node: NodeURLs, url: str) -> str | None:
    """How we and Node differ on a URL: None, or one of the few ways that are meant.

    Raises:
        AssertionError: they differ in another way.
    """
    theirs = node.parsed(url)
    try:
        ours = parsed(url)
    except ValueError as fault:
        if theirs is None:
            return None
        reason = _refusal(url, theirs) or (
            _OLDER_NAMES if node.older and "xn--" in theirs["hostname"] else None
        )
        assert reason is not None, f"{url!a} {fault}; Node takes it as {theirs['href']}"
        return reason
    if theirs is not None and _members(theirs) == (*ours[:1], *ours[4:]):
        assert _refusal(url, theirs) is None, f"{url!a} is taken as {ours.wire}"
        return None
    if node.older and ("xn--" in ours.origin.host or (_may_be_international(url) and theirs is None)):
        # It refuses `xn--a`, which decodes to nothing, and characters that are ignored by now; it makes `ss` of a
        # capital sharp s.
        return _OLDER_NAMES
    again = None if theirs is None else parsed(theirs["href"])
    assert node.older and again == ours, (
        f"{url!a} is taken as {ours.href}; by Node as {theirs and theirs['href']}"
    )
    return _OLDER_DOTS  # it leaves the last one in `/.a/.`, against the URL standard; read again, it is gone


def _may_be_international(url: str) -> bool:
    """Whether there may be a host in it with characters beyond ASCII."""
    return "%" in url or not url.isascii()


def _refusal(url: str, found: dict[str, Any]) -> str | None:
    """Why we refuse what Node takes."""
    host: str = found["hostname"]
    if max(len(url), len(found["href"])) > MAX_URL:
        return "too long"
    if found["protocol"][:-1] not in DEFAULT_PORTS:
        return "another scheme"
    if found["port"] == "0":
        return "port 0"
    if not _HOST.fullmatch(host) or len(host) > 254:
        return "a host that no name server knows"
    return None


def _members(found: dict[str, Any]) -> tuple[str, str, str]:
    """What Node's `fetch` connects to and asks for, and the credentials.

    By the URL standard since the end of 2024, `^` in a path is encoded. Node 22 and before leave it; a receiver decodes
    both to the same.
    """
    host, port = found["hostname"], found["port"]
    path = found["pathname"].replace("^", "%5E")
    wire = f"{found['protocol']}//{host}{':' + port if port else ''}{path}{found['search']}"
    return wire, found["username"], found["password"]
