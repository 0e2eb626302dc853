"""`NameResolution`: the addresses of host names, looked up so that a mute name server holds up nobody else.

Names are looked up by the system's resolver, which knows /etc/hosts, search domains and Docker's networks. It blocks,
and cannot be cancelled: asked for a name whose server is mute, it keeps its thread for ten seconds and longer. So each
look-up has a thread of its own, which nothing waits for at the exit, and look-ups are told apart by what is known of
their name:

* `KNOWN`: found the last time, or the operator's own. Places are kept for these.
* `NEW`: never asked for, or not found.
* `MUTE`: no answer the last time.

A look-up that is not over within `BRISK` counts as slow, and its place is free for another one. How many may be slow is
bounded, so that with very many mute names it is these, and names that nobody has asked for before, that wait.
"""

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any, TypeAlias

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import DNSLookupError
from twisted.logger import Logger
from twisted.python.failure import Failure

from slayq_tw.errors import NameAwaited, NameUnresolved
from slayq_tw.look_up import Lane, LookUp, Past, Waiting
from slayq_tw.system_resolver import in_a_thread, literal

BRISK = 0.25
"""Seconds that a look-up takes at most, as long as its name server answers; then it counts as slow."""
PATIENCE, PATIENCE_NEW = 1.0, 0.05
"""Seconds that an impatient asker waits for a name that was found the last time, and for a new one."""
TIMEOUT = 8.0
"""Seconds until a look-up counts as failed; less than connecting may take, so that the reason is told."""
KEPT = 2.0
"""Seconds for which addresses serve further askers, and so does a failure that came promptly, for half of them."""
KEPT_MUTE = 5.0
"""The same of a failure that was slow: those who were told to come back have to find it."""
PLACES = 8
"""Look-ups of known names, and of new ones, that run and are not slow yet."""
SLOW, SLOW_AND_MUTE = 32, 24
"""Slow look-ups from which on no new name, and no mute one, is begun with."""
THREADS, THREADS_LEFT = 128, 32
"""Look-ups that run, at most, those included whose time was up; so many of them are left to known names."""
STRAINED = 4
"""Slow look-ups from which on nobody waits in a slot for a new name."""
COME_BACK, COME_BACK_MAX, COME_BACK_PACE = 60.0, 600.0, 100.0
"""Seconds after which those who were told to come back do so by themselves, at least and at most; and how many a second,
unless that would be more than the most."""
QUEUED = 2_000
"""Names, beside the known ones, that are looked up or wait for that; further ones have to come back by themselves."""
REMEMBERED = 10_000
"""Names of which is remembered how their last look-up went."""

Resolve: TypeAlias = Callable[[str], "Deferred[list[str]]"]
"""Looks a name up: fires with its addresses in their order of preference; fails as `system_addresses` does."""


class NameResolution:
    """Looks names up; one look-up serves all who ask for the same name meanwhile.

    Args:
        reactor: timers, and the way back from threads.
        resolve: None for the system's resolver, each look-up in a thread of its own.
        trusted: hosts that always count as known, and are waited for.
        waiting: makes a collection of jobs that wait for a name; without it, nobody is told to come back.
        keep: whether what was found serves those who ask a moment later.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        resolve: Resolve | None = None,
        *,
        trusted: Collection[str] = (),
        waiting: Callable[[], Waiting] | None = None,
        keep: bool = True,
    ) -> None:
        self._clock = reactor
        self._resolve = partial(in_a_thread, reactor) if resolve is None else resolve
        self._trusted = frozenset(trusted)
        self._waiting = waiting
        self._keep = keep
        self._past: dict[str, Past] = {}  # the one that was looked up last stands last
        self._under_way: dict[str, LookUp] = {}
        self._queues: dict[Lane, dict[str, LookUp]] = {lane: {} for lane in Lane}
        self._running: set[LookUp] = set()
        self._next_turn = 0.0
        self._warned = False

    def addresses(self, host: str, *, patient: bool = True) -> "Deferred[Sequence[str]]":
        """The addresses of a host, in the resolver's order of preference, at least one.

        What is an address already, in any spelling that the system takes for one, needs no look-up.

        Args:
            host: a name or an address.
            patient: whether to wait however long it takes; otherwise it is `NameAwaited` when that is long.

        Returns:
            A Deferred, which may be cancelled. It fails with DNSLookupError when there is no such host, with
            NameUnresolved when that could not be found out, with NameAwaited when the asker should come back.
        """
        if found := literal(host):
            return succeed(found)
        now = self._clock.seconds()
        past = self._past.get(host)
        if past is not None and now < past.fresh_until:
            return succeed(past.addresses) if past.failure is None else fail(_copy(past.failure))
        look_up = self._looked_up(host, past)
        if look_up is None:
            too_many = f"the host name cannot be looked up: more than {QUEUED:,} others are"
            may_come_back = not patient and self._waiting is not None
            return fail(self._turned_away(host) if may_come_back else NameUnresolved(too_many))
        asked: Deferred[Sequence[str]] = Deferred(look_up.askers.discard)
        look_up.askers.add(asked)
        self._begin_what_may()
        if not patient and self._waiting is not None and host not in self._trusted and not asked.called:
            self._lose_patience(look_up, asked)
        return asked

    @property
    def trouble(self) -> bool:
        """Whether anything is being looked up. If not, `awaited` need not be called."""
        return bool(self._running)

    def awaited(self, host: str) -> NameAwaited | None:
        """What `addresses` would say at once to an impatient asker, at a fraction of the cost; None if it would not."""
        past = self._past.get(host)
        fresh = past is not None and self._clock.seconds() < past.fresh_until
        if fresh or (past is not None and past.lane is Lane.KNOWN) or host in self._trusted or literal(host):
            return None
        look_up = self._looked_up(host, past)
        if look_up is None:
            return self._turned_away(host)
        self._begin_what_may()
        return self._sent_away(look_up) if self._is_hopeless(look_up) else None

    def _is_hopeless(self, look_up: LookUp) -> bool:
        """Whether nobody should wait for it in a slot, not even for a moment."""
        strained = look_up.lane is Lane.NEW and self._slow >= STRAINED
        begun = look_up.timer is not None
        over = look_up.host not in self._under_way
        return not over and (look_up.slow or look_up.waiting is not None or strained or not begun)

    def _looked_up(self, host: str, past: Past | None) -> LookUp | None:
        """The look-up that is under way for a host, or a new one; None when there are too many."""
        look_up = self._under_way.get(host)
        if look_up is not None:
            if look_up.late:
                self._expire_later(look_up)
            return look_up
        lane = Lane.KNOWN if host in self._trusted else Lane.NEW if past is None else past.lane
        if lane is not Lane.KNOWN and len(self._under_way) >= QUEUED:
            return None
        look_up = self._under_way[host] = self._queues[lane][host] = LookUp(host, lane)
        return look_up

    def _lose_patience(self, look_up: LookUp, asked: "Deferred[Sequence[str]]") -> None:
        """Have an asker wait for a moment only, or not at all."""
        if self._is_hopeless(look_up):
            self._send_away(look_up, asked)
            return
        patience = PATIENCE if look_up.lane is Lane.KNOWN else PATIENCE_NEW
        timer = self._clock.callLater(patience, self._send_away, look_up, asked)

        def settled(result: Any) -> Any:
            if timer.active():
                timer.cancel()
            return result

        asked.addBoth(settled)

    def _send_away(self, look_up: LookUp, asked: "Deferred[Sequence[str]]") -> None:
        look_up.askers.discard(asked)
        asked.errback(self._sent_away(look_up))

    def _sent_away(self, look_up: LookUp) -> NameAwaited:
        if look_up.waiting is None:
            assert self._waiting is not None
            look_up.waiting = self._waiting()
        return NameAwaited(look_up.host, self._turn(), look_up.waiting.written)

    def _turned_away(self, host: str) -> NameAwaited:
        """For a name that there is no room for: nobody will say when to come back."""
        return NameAwaited(host, self._turn(), lambda number, run_at: None)

    def _turn(self) -> float:
        """Seconds until the next one may come back by itself."""
        now = self._clock.seconds()
        turn = max(now + COME_BACK, min(self._next_turn, now + COME_BACK_MAX))
        self._next_turn = turn + 1 / COME_BACK_PACE
        return float(turn - now)

    @property
    def _slow(self) -> int:
        return sum(one.slow and not one.late for one in self._running)

    def _may_begin(self, lane: Lane) -> bool:
        if lane is Lane.MUTE:
            room = self._slow < SLOW_AND_MUTE
        else:
            room = sum(one.lane is lane and not one.slow for one in self._running) < PLACES
            room = room and (lane is Lane.KNOWN or self._slow < SLOW)
        return room and len(self._running) < THREADS - (0 if lane is Lane.KNOWN else THREADS_LEFT)

    def _begin_what_may(self) -> None:
        for lane, queue in self._queues.items():
            while queue and self._may_begin(lane):
                self._begin(queue.pop(next(iter(queue))))

    def _begin(self, look_up: LookUp) -> None:
        look_up.slow = look_up.lane is Lane.MUTE
        self._running.add(look_up)
        look_up.timer = self._clock.callLater(BRISK, self._is_slow, look_up)
        self._resolve(look_up.host).addBoth(self._ended, look_up)

    def _is_slow(self, look_up: LookUp) -> None:
        look_up.slow = look_up.past_brisk = True
        self._warn(look_up.host)
        self._expire_later(look_up, TIMEOUT - BRISK)
        self._begin_what_may()

    def _expire_later(self, look_up: LookUp, seconds: float = TIMEOUT) -> None:
        if look_up.timer is None or not look_up.timer.active():
            look_up.timer = self._clock.callLater(seconds, self._expire, look_up)

    def _expire(self, look_up: LookUp) -> None:
        """Its time is up; it may still go on, and whoever asks again waits for what comes of it."""
        look_up.late = True
        text = f"the host name cannot be looked up: no answer within {TIMEOUT:g} s"
        self._settle(look_up, Failure(NameUnresolved(text)))

    def _ended(self, result: "list[str] | Failure", look_up: LookUp) -> None:
        if look_up.timer.active():
            look_up.timer.cancel()
        self._running.discard(look_up)
        if self._warned and not any(one.past_brisk for one in self._running):
            self._warned = False
            self.log.info("{event}: no look-up of a host name is slow any more", event="names_answered")
        del self._under_way[look_up.host]
        if not isinstance(result, Failure) and not result:
            result = Failure(DNSLookupError("no address"))
        self._settle(look_up, result)

    def _settle(self, look_up: LookUp, result: "list[str] | Failure") -> None:
        """Remember what came of a look-up, and tell everybody."""
        now = self._clock.seconds()
        self._past.pop(look_up.host, None)
        self._past[look_up.host] = self._remembered(look_up, result, now)
        if len(self._past) > REMEMBERED:
            del self._past[next(iter(self._past))]
        askers, look_up.askers = look_up.askers, set()
        waiting, look_up.waiting = look_up.waiting, None
        self._begin_what_may()
        for asked in askers:
            asked.callback(_copy(result) if isinstance(result, Failure) else result)
        if waiting is not None:
            waiting.over()

    def _remembered(self, look_up: LookUp, result: "list[str] | Failure", now: float) -> Past:
        if not isinstance(result, Failure):
            return Past(Lane.KNOWN, now + KEPT * self._keep, result, None)
        mute = look_up.past_brisk and result.check(NameUnresolved) is not None
        lane, kept = (Lane.MUTE, KEPT_MUTE) if mute else (Lane.NEW, KEPT / 2)
        return Past(lane, now + kept * self._keep, [], result)

    def _warn(self, host: str) -> None:
        """Say once that many names get no answer, and `_ended` when that is over."""
        slow = sum(one.past_brisk for one in self._running)
        if slow >= STRAINED and not self._warned:
            self._warned = True
            self.log.warn(
                "{event}: {count} host names get no answer from their name servers, among them {host}; events for "
                "names that were not found lately wait for theirs, uncharged",
                event="names_unanswered",
                count=slow,
                host=host,
            )


def _copy(failure: Failure) -> Failure:
    """One for each who gets it: raised again and again, an exception's traceback would grow."""
    error: Any = failure.value
    return Failure(type(error)(*error.args))
