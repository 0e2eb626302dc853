"""`Circuits`: an origin that cannot be reached is tried by one delivery at a time; what else is for it waits.

Where do waiting jobs live? Not here: claimed jobs are locked, so that nobody could cancel or replace them. Nor at the
head of their queue: they would be claimed again at once, for ever, and nothing behind them would come. (The claim
cannot pass them over, since the origin is deep in the payload's text.) So they go back with their attempt uncounted and
a later `run_at`. That costs two writes for each job and look, so looks are spread: all waiting jobs together come up at
no more than `PACE` a second, one after the other in the order in which they were put off, each at least every
`WAIT_MAX`. There is then always one that can be the probe. When the origin answers, those that were put off are due at
once (`Recall`); if this process has ended by then, they come up by themselves.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple, Protocol

from twisted.logger import Logger

from slayq_tw.webclient import CONNECT_TIMEOUT
from slayq_tw.weburl import Origin, shown_origin

FAILURES = 5
"""Deliveries without an answer, with no answer to any other in between, after which an origin's circuit opens. One that
ends without an answer while another one is answered says nothing: it is that function that hangs, not its origin."""
PAUSE_MIN, PAUSE_MAX = 1.0, 30.0
"""Seconds until the first probe, and between two at most; each pause is twice the one before."""
PACE = 100.0
"""Waiting jobs that come up in a second, at most, whatever they wait for."""
LANE_COST = 10.0
"""A job in a serial lane counts as so many: a claim takes only one of each lane."""
WAIT_MAX = 600.0
"""Seconds until a waiting job comes up again, at most, even if that breaks `PACE`."""
CONNECTED_AFTER = CONNECT_TIMEOUT + 5.0
"""Seconds after which a probe must have a connection, since it has not failed: then it only waits for its answer."""
ORIGINS_MAX = 1000
"""Origins that are remembered."""
FORGET_AFTER = 3600.0
"""Seconds after its last failure for which an origin is remembered; longer than deliveries take."""
HEARD_MAX = 10_000
"""Origins of which is known when they last answered."""


class Waiting(Protocol):
    """The jobs that wait for one origin."""

    def __len__(self) -> int: ...

    def written(self, number: int, run_at: datetime) -> None:
        """A job was put off until then."""

    def over(self) -> int:
        """They need not wait any longer; how many there are."""


class Probes(Protocol):
    """Who finds out by connecting whether an origin is there again."""

    def begin(self, origin: Origin, reached: Callable[[], None], after: float = ...) -> None:
        """Try it until it is reached."""

    def end(self, origin: Origin) -> None:
        """Try it no more."""


class Wait(NamedTuple):
    """A job's delivery would be in vain.

    Attributes:
        seconds: until it should come up again.
        written: to be told the job's id and its new `run_at`, when that is stored.
    """

    seconds: float
    written: Callable[[int, datetime], None]


@dataclass(slots=True)
class _Circuit:
    """An origin in trouble.

    Attributes:
        failures: in a row.
        failed_at: the last one; this and all times are the clock's.
        silent: whether one of them had a connection.
        reached: whether it was closed because the origin could be connected to, and nothing was answered since.
        waiting: who waits; None while the circuit is closed.
        next_turn: when the last of these comes up, and so at the earliest the next.
        probe: id of the job whose delivery is the probe.
        announced: whether the log has it.
    """

    failures: int = 0
    failed_at: float = 0.0
    silent: bool = False
    reached: bool = False
    waiting: Waiting | None = None
    opened_at: float = 0.0
    pause: float = PAUSE_MIN
    retry_at: float = 0.0
    next_turn: float = 0.0
    probe: int | None = None
    probed_at: float = 0.0
    announced: bool = False


class Circuits:
    """Says which deliveries would be in vain. Only origins in trouble are known here.

    A circuit opens after `FAILURES` in a row, in silence: if an earlier delivery is still answered, or the first probe
    is, that was a short trouble (a restart, one bad server of several), and it closes again as if nothing had been. It
    is announced when the first probe has failed as well.

    A probe is an attempt like any other: it counts. Any answer, also a 500, closes the circuit. Since functions run
    during the request, an answer may take minutes; where failures were those of connecting, a probe that is still
    under way after `CONNECTED_AFTER` counts as answered.

    Where all failures were those of connecting, it is also found out by connecting, which costs the receiver nothing
    and charges nobody. A connection closes the circuit. If the next delivery fails all the same, it opens again: for a
    receiver that takes connections and does not answer, as if nobody had connected; otherwise it is tried less often,
    until there is an answer.

    Args:
        clock: IReactorTime, on monotonic time.
        waiting: makes a new collection of waiting jobs.
        probes: connect; None for nobody.
    """

    log = Logger()

    def __init__(self, clock: Any, waiting: Callable[[], Waiting], probes: Probes | None = None) -> None:
        self._clock = clock
        self._new_waiting = waiting
        self._probes = probes
        self._circuits: dict[Origin, _Circuit] = {}  # by failed_at
        self._open = 0
        self._heard: dict[Origin, float] = {}

    @property
    def trouble(self) -> bool:
        """Whether any origin is in trouble. If not, `ask` need not be called."""
        return bool(self._circuits)

    def seconds(self) -> float:
        """The moment, for `failed`."""
        return float(self._clock.seconds())

    def ask(self, origin: Origin, number: int, *, serial: bool = False, at_once: bool = False) -> Wait | None:
        """Whether a delivery has to wait; if not, it begins now, and its end is to be reported.

        Args:
            origin: whom it is for.
            number: the job's id.
            serial: whether the job is in a serial lane.
            at_once: whether it cannot wait: then it is the next probe, unless one is under way.
        """
        circuit = self._circuits.get(origin)
        if circuit is None or circuit.waiting is None:
            return None
        now = self._clock.seconds()
        if circuit.probe is not None:
            if not circuit.silent and now - circuit.probed_at >= CONNECTED_AFTER:
                self.answered(origin)
                return None
            earliest = now + circuit.pause
        elif at_once or now >= circuit.retry_at:
            circuit.probe = number
            circuit.probed_at = now
            return None
        else:
            earliest = circuit.retry_at
        turn = max(earliest, min(circuit.next_turn, now + WAIT_MAX))
        circuit.next_turn = turn + self._open * (LANE_COST if serial else 1.0) / PACE
        return Wait(turn - now, circuit.waiting.written)

    def answered(self, origin: Origin) -> None:
        """The origin has answered, whatever it said."""
        self._hear(origin)
        if self._circuits:
            self._end(origin)

    def _hear(self, origin: Origin) -> None:
        if len(self._heard) >= HEARD_MAX and origin not in self._heard:
            self._heard.clear()  # costs no more than that a failure counts that should not
        self._heard[origin] = self._clock.seconds()

    def _reached(self, origin: Origin) -> None:
        """The origin could be connected to: deliveries may go there, but a single failure shows that it was no use."""
        circuit = self._circuits.get(origin)
        if circuit is None or circuit.waiting is None:
            return
        self._hear(origin)  # what failed before does not speak against that
        self._close(origin, circuit)
        circuit.waiting = circuit.probe = None
        circuit.announced = False
        circuit.failures = FAILURES - 1
        circuit.reached = True

    def _end(self, origin: Origin) -> None:
        circuit = self._circuits.pop(origin, None)
        if circuit is not None and circuit.waiting is not None:
            self._close(origin, circuit)

    def failed(
        self, origin: Origin, number: int, *, connected: bool, reason: str, began: float | None = None
    ) -> None:
        """A delivery ended without an answer.

        Args:
            origin: whom it was for.
            number: the job's id.
            connected: whether a connection stood.
            reason: one line for the log.
            began: when it began, by `seconds`; None for now.
        """
        now = self._clock.seconds()
        if began is not None and self._heard.get(origin, began) > began:
            return
        self._forget(now)
        circuit = self._circuits.pop(origin, None)
        if circuit is None:
            circuit = _Circuit()
            self._make_room()
        self._circuits[origin] = circuit
        circuit.failures += 1
        circuit.failed_at = now
        circuit.silent = circuit.silent or connected
        if circuit.waiting is None:
            if circuit.failures >= FAILURES:
                self._open += 1
                circuit.waiting = self._new_waiting()
                circuit.opened_at = now
                if circuit.reached:
                    circuit.pause = min(circuit.pause * 2, PAUSE_MAX)
                circuit.retry_at = now + circuit.pause
                if self._probes is not None and not circuit.silent:
                    self._probes.begin(origin, partial(self._reached, origin), circuit.pause)
        elif circuit.probe == number:
            circuit.probe = None
            circuit.pause = min(circuit.pause * 2, PAUSE_MAX)
            circuit.retry_at = now + circuit.pause
            self._announce(origin, circuit, reason)
        if self._probes is not None and circuit.silent:
            self._probes.end(origin)

    def withdrawn(self, number: int) -> None:
        """The delivery of a job was given up; that says nothing about its origin."""
        for circuit in self._circuits.values():
            if circuit.probe == number:
                circuit.probe = None

    def _forget(self, now: float) -> None:
        """End what lies too far back."""
        while self._circuits:
            origin, circuit = next(iter(self._circuits.items()))
            if now - circuit.failed_at < FORGET_AFTER:
                return
            self._end(origin)

    def _make_room(self) -> None:
        while len(self._circuits) >= ORIGINS_MAX:
            self._end(next(iter(self._circuits)))

    def _announce(self, origin: Origin, circuit: _Circuit, reason: str) -> None:
        if circuit.announced or circuit.waiting is None:
            return
        circuit.announced = True
        self.log.warn(
            "{event}: {origin} gives no answer, {failures} times in a row ({reason}); {count} jobs wait, and more may "
            "come; one is tried now and then, at least every {pause:g} s",
            event="circuit_opened",
            origin=shown_origin(origin),
            failures=circuit.failures,
            reason=reason,
            count=len(circuit.waiting),
            pause=PAUSE_MAX,
        )

    def _close(self, origin: Origin, circuit: _Circuit) -> None:
        self._open -= 1
        if self._probes is not None:
            self._probes.end(origin)
        count = circuit.waiting.over() if circuit.waiting is not None else 0
        if circuit.announced:
            self.log.info(
                "{event}: {origin} is tried as usual again, after {seconds:.0f} s and {failures} failures; {count} jobs "
                "have waited",
                event="circuit_closed",
                origin=shown_origin(origin),
                seconds=self._clock.seconds() - circuit.opened_at,
                failures=circuit.failures,
                count=count,
            )
