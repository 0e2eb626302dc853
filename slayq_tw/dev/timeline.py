"""`Timeline`: what happens, a line each, with the seconds since the beginning."""

from collections.abc import Callable

from slayq_tw.dev.receiver import Delivery


class Timeline:
    """Writes the lines.

    Args:
        seconds: monotonic.
        write: takes one line.
    """

    def __init__(self, seconds: Callable[[], float], write: Callable[[str], None]) -> None:
        self._seconds = seconds
        self._write = write
        self._began = seconds()

    def begin(self) -> None:
        """Count from now."""
        self._began = self._seconds()

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return self._seconds() - self._began

    def sent(self, queue: str, event: str, remark: str = "") -> None:
        """An event was added."""
        self._line("sent", queue, event, remark)

    def arrived(self, delivery: Delivery, status: int, remark: str = "") -> None:
        """A delivery was verified, and is answered with a status."""
        said = [f"attempt {delivery.attempt}", "verified", f"answered {status}", remark]
        self._line("arrived", delivery.queue, delivery.event, "  ".join(filter(None, said)))

    def refused(self, queue: str, reason: str) -> None:
        """A request was not accepted."""
        self._line("refused", queue, "", f"NOT verified: {reason}")

    def _line(self, what: str, queue: str, event: str, said: str) -> None:
        self._write(f"{self.elapsed:8.2f} s  {what:<7}  {queue:<13} {event:<17} {said}".rstrip())
