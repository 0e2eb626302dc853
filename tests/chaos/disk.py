"""A small disk: a tmpfs of a few megabytes, where this process may mount one."""

import subprocess
import tempfile
from pathlib import Path

SIZE = "24m"


def small_disk(owner: tuple[int, int]) -> Path | None:
    """Mount one; its folder, or None where that is not allowed.

    Args:
        owner: user and group to whom it belongs.
    """
    folder = Path(tempfile.mkdtemp(prefix="slayq-chaos-disk-"))
    options = f"size={SIZE},mode=700,uid={owner[0]},gid={owner[1]}"
    try:
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "slayq-chaos", str(folder)],
            check=True,
            capture_output=True,
        )
    except (OSError, subprocess.CalledProcessError):
        folder.rmdir()
        return None
    return folder


def unmount(folder: Path) -> None:
    """Take it away."""
    subprocess.run(["umount", str(folder)], check=True)
    folder.rmdir()
