"""Which process on which kernel: what proves, to another process there, that one is gone.

Linux only; elsewhere, and where `/proc` says less than it should, nothing is proved.
"""

import os
from pathlib import Path

PROC = Path("/proc")


def here() -> str | None:
    """The running kernel and the namespace in which process ids count, or None when that is unknown.

    A boot id is never given twice; a namespace's number is given again only when nobody is left in it.
    """
    try:
        boot = (PROC / "sys/kernel/random/boot_id").read_text("ascii").strip()
        namespace = os.readlink(PROC / "self/ns/pid")
    except (OSError, ValueError):
        return None
    return f"{boot} {namespace}" if boot and namespace else None


def process(number: int) -> str | None:
    """A running process: its id and when it began, in the kernel's ticks; None when there is none of that id."""
    try:
        line = (PROC / str(number) / "stat").read_text("utf-8", "replace")
    except OSError:
        return None
    # The name in parentheses may hold anything; state is the first field after it, the start time the twentieth.
    fields = line.rpartition(")")[2].split()
    if len(fields) < 20 or fields[0] in "ZX":
        return None
    return f"{number} {fields[19]}"


def this_process() -> str | None:
    """The same of this one."""
    return process(os.getpid())


def is_gone(place: str | None, name: str | None) -> bool:
    """Whether a process, as `process` named it at `place`, certainly runs no more."""
    if place is None or name is None or place != here() or this_process() is None:
        return False
    number = name.partition(" ")[0]
    return number.isdecimal() and process(int(number)) != name
