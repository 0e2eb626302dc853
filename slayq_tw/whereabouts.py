"""Which process on which kernel: what proves, to another process there, that one is gone.

Linux only; elsewhere, and where `/proc` says less than it should, nothing is proved.
"""

import os
from pathlib import Path

PROC = Path("/proc")


def here() -> str | None:
    """The machine, its running kernel, and the namespace in which process ids count; None when any of it is unknown.

    A boot id is never given twice, though a copy of a running machine has it too; a namespace's number is given again
    only when nobody is left in it.
    """
    try:
        boot = (PROC / "sys/kernel/random/boot_id").read_text("ascii").strip()
        namespace = os.readlink(PROC / "self/ns/pid")
        counted_here = os.readlink(PROC / "self") == str(os.getpid())  # or it is another namespace's /proc
    except (OSError, ValueError):
        return None
    machine = os.uname().nodename
    return f"{machine} {boot} {namespace}" if machine and boot and namespace and counted_here else None


def process(number: int) -> str | None:
    """A process: its id and when it began, in the kernel's ticks; None when that cannot be seen."""
    fields = _stat(number)
    return None if fields is None else f"{number} {fields[19]}"


def this_process() -> str | None:
    """The same of this one."""
    return process(os.getpid())


def is_gone(place: str | None, name: str | None) -> bool:
    """Whether a process, as `process` named it at `place`, certainly runs no more.

    That its files in `/proc` cannot be read proves nothing: they may be hidden, or this process have too many open. The
    kernel must say that there is no such process, or show another one, or what is left of it.
    """
    if place is None or name is None or place != here() or this_process() is None:
        return False
    text = name.partition(" ")[0]
    if not text.isdecimal() or int(text) == 0:
        return False
    number = int(text)
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        pass
    fields = _stat(number)
    if fields is None:
        return False
    ended = fields[0] in "ZX" and fields[17] == "1"  # no other thread of it is left
    return ended or f"{number} {fields[19]}" != name


def _stat(number: int) -> list[str] | None:
    """The fields of `/proc/N/stat` from the state on, which is the third of proc(5)."""
    try:
        line = (PROC / str(number) / "stat").read_text("utf-8", "replace")
    except OSError:
        return None
    fields = line.rpartition(")")[2].split()  # the name in parentheses may hold anything
    return fields if len(fields) >= 20 else None
