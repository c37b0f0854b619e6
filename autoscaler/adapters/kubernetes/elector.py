"""Who leads, told from one Lease: what to ask of it next, and what its answers mean.

Nothing here calls or waits: `due` says what to ask, `answered` and `failed` take in what came of
it, with times of this machine's clock of elapsed seconds. Clocks of other machines are never looked
at.

Why two never lead at once. A write to the Lease succeeds only where nobody wrote since it was read.
A holder counts on the Lease for `duration - margin` from *before* it sent the write that succeeded.
Anyone else takes it only by a write on a Lease that it has seen unchanged for the whole `duration`,
from *after* it first saw it. So a holder stops at least a margin before another one may begin. The
margin is what a write that was begun while leading may still take, and what two clocks may drift
apart. A Lease that is not there, or names nobody, may have been taken from a holder that does not
know yet. So where there is none, one is made that names nobody, to have something that can be seen
unchanged; and only one that its holder itself has given back is taken at once.

A machine that is put to sleep counts the time; one that is stopped by its hypervisor, and does not
learn of it, does not. What is left then is that each write names the replicas that it starts from.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from math import inf
from typing import Protocol

from autoscaler.adapters.kubernetes.lease import Claim, Lease

_RENEWALS = 5
"""Renewals within the duration."""
_RETRIES = 15
"""Least time between two requests after one that failed, as a part of the duration."""
_DRIFT = 0.1
"""Part of the duration by which two clocks may disagree on how long it was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """What the electors of one Lease have to agree on, more or less."""

    duration: timedelta
    write: timedelta
    """The longest that a write may take that was begun while leading."""

    @property
    def validity(self) -> float:
        """Seconds that a holder counts on the Lease for."""
        seconds = self.duration.total_seconds()
        return seconds * (1 - _DRIFT) - self.write.total_seconds()

    @property
    def renewal(self) -> float:
        """Seconds between two renewals, and between two looks of who stands by."""
        return self.duration.total_seconds() / _RENEWALS

    @property
    def retry(self) -> float:
        """Seconds before what has failed is tried again."""
        return self.duration.total_seconds() / _RETRIES


@dataclass(frozen=True, slots=True)
class Read:
    """Asks for the Lease."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """Asks to put a claim in the place of what was read; `over` None: where there is nothing."""

    claim: Claim
    over: Lease | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reign:
    """One stretch of leading, up to a second of the clock."""

    term: int
    until: float


class StateKeeper(Protocol):
    """What is kept in the Lease beside the claim."""

    def text(self) -> str:
        """Return what the next leader is to find."""

    def begin(self, text: str) -> None:
        """Go on from what was found as a term of ours begins, before anybody can know of it."""


class Elector:
    """One contender for one Lease."""

    def __init__(
        self, identity: str, timing: Timing, keeper: StateKeeper, jitter: Callable[[], float]
    ) -> None:
        """Contend as `identity`, which no other process has or ever had.

        `jitter` gives numbers from 0 to 1 at random.
        """
        self._identity = identity
        self._timing = timing
        self._keeper = keeper
        self._jitter = jitter
        self._reign: _Reign | None = None  # replaced as a whole, since other threads read it
        self._term: int | None = None
        self._resigning = False
        self._seen: Lease | None = None
        self._since: float | None = None
        self._patience = timing.duration.total_seconds()
        self._is_current = False
        self._next = self._soonest = -inf

    def term(self, now: float) -> int | None:
        """Return our term's number where we lead at this very moment. For any thread."""
        reign = self._reign
        return reign.term if reign is not None and now < reign.until else None

    def ends(self, now: float) -> float | None:
        """Return in how many seconds we lead no more, if nothing comes; None where we do not."""
        reign = self._reign
        return reign.until - now if reign is not None and now < reign.until else None

    @property
    def holder(self) -> str:
        """Return who held the Lease when we last heard of it; empty: nobody."""
        return self._seen.claim.holder if self._seen else ""

    @property
    def has_looked(self) -> bool:
        """Tell whether we have heard of the Lease at all."""
        return self._since is not None

    @property
    def is_holder(self) -> bool:
        """Tell whether it is us who held the Lease when we last heard of it."""
        return self.holder == self._identity

    def resign(self) -> None:
        """Lead no more, from now on, and have `due` give the Lease back."""
        self._resigning = True
        self._reign = None
        self._next = -inf

    # --- what to ask ------------------------------------------------------------------------

    def pause(self, now: float, *, hurry: bool = False) -> float:
        """Return the seconds until something is to be asked; a hurry shortens it, within limits."""
        return max(0.0, (min(self._next, self._soonest) if hurry else self._next) - now)

    def due(self, now: float) -> Read | Write | None:
        """Return what to ask; None where we resigned and nothing is left to give back."""
        if not self._is_current:
            return Read()
        if self._is_ours(now):
            return Write(claim=self._renewed(), over=self._seen)
        if self._resigning:
            return None
        if self._seen is None:
            return Write(claim=Claim(holder="", duration=self._timing.duration), over=None)
        if self._seen.claim.given_back or self._left(now) <= 0:
            return Write(claim=self._taken(self._seen.claim), over=self._seen)
        return Read()

    def _is_ours(self, now: float) -> bool:
        if self._seen is None:  # removed, which ends nothing
            return self.term(now) is not None
        return self.is_holder

    def _left(self, now: float) -> float:
        """Return the seconds until a Lease that does not change may be taken."""
        since = now if self._since is None else self._since
        return since + self._patience - now

    def _renewed(self) -> Claim:
        if self._seen is not None and self._seen.claim.transitions != self._term:
            # Taken without our learning of it: it still has what the leader before has left.
            renewed = self._seen.claim
        else:
            renewed = self._claim(self._term or 0, self._keeper.text())
        return replace(renewed, holder="", given_back=True) if self._resigning else renewed

    def _taken(self, found: Claim) -> Claim:
        before = -1 if self._term is None else self._term
        return self._claim(max(before, found.transitions) + 1, found.state)

    def _claim(self, transitions: int, state: str) -> Claim:
        return Claim(
            holder=self._identity,
            duration=self._timing.duration,
            transitions=transitions,
            state=state,
        )

    # --- what came of it --------------------------------------------------------------------

    def answered(
        self, request: Read | Write, lease: Lease | None, *, sent: float, now: float
    ) -> None:
        """Take in the Lease as it is; the request was sent no earlier than `sent`."""
        self._see(lease, now)
        if lease is not None and not self.is_holder:
            self._reign = None
        elif isinstance(request, Write):
            self._lead(sent)
        wait = self._wait(request, now)
        self._next, self._soonest = now + wait, min(now + wait, sent + self._timing.retry)

    def failed(self, now: float) -> None:
        """Take in that nothing came of it, as far as we know: it may have, or may still."""
        self._is_current = False
        self._next = self._soonest = now + self._timing.retry * (1 + self._jitter())

    def _see(self, lease: Lease | None, now: float) -> None:
        version, before = (each.version if each else None for each in (lease, self._seen))
        if self._since is None or version != before:
            self._since = now
        if lease is not None:
            self._patience = max(self._timing.duration, lease.claim.duration).total_seconds()
        self._seen, self._is_current = lease, True

    def _lead(self, sent: float) -> None:
        seen = self._seen
        if self._resigning or seen is None:
            return
        term = seen.claim.transitions
        if term != self._term:
            self._keeper.begin(seen.claim.state)
            self._term = term
        self._reign = _Reign(term=term, until=sent + self._timing.validity)

    def _wait(self, request: Read | Write, now: float) -> float:
        """Return the seconds from an answer to the next request."""
        renewal = self._timing.renewal * (1 - 0.2 * self._jitter())
        if self._resigning:
            return 0.0
        if self.is_holder:
            return renewal if isinstance(request, Write) else 0.0
        return 0.0 if isinstance(self.due(now), Write) else min(renewal, self._left(now))
