"""Keeps at the Lease, in a thread of its own, and says at any moment who leads."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from threading import Condition, Thread
from typing import Protocol

from autoscaler.adapters.kubernetes.elector import Elector, Read, Write
from autoscaler.adapters.kubernetes.lease import Claim, Lease
from autoscaler.errors import AutoscalerError, ConflictError

_LAST_TRIES = 2
"""Failures after which a Lease that is to be given back is left to run out."""


class LeaseAccess(Protocol):
    """The Lease, as `LeaseClient` has it."""

    def read(self) -> Lease | None:
        """Return the Lease; None where there is none. Raises AutoscalerError."""

    def write(self, claim: Claim, over: Lease | None, now: datetime) -> Lease:
        """Write where it is as it was read. Raises ConflictError, other AutoscalerErrors."""


class ElapsedClock(Protocol):
    """What a leadership reads of the clock."""

    def now(self) -> datetime:
        """Return wall-clock time, for people."""

    def boottime(self) -> float:
        """Return seconds that also pass while the machine sleeps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeadershipListeners:
    """Who is told what becomes of the leadership; called from its thread."""

    on_leads: Callable[[int], None]
    """With the number of the term."""
    on_stands_by: Callable[[str], None]
    """With the name of who leads; empty where nobody does."""
    on_lost: Callable[[str], None]
    """With the reason."""
    on_failure: Callable[[str], None]
    """With what kept a request about the Lease from being answered."""
    on_trouble: Callable[[str], None]
    """With what was lost of that which is kept in it."""


class LeaseLeadership:
    """A Leadership by an Elector."""

    def __init__(
        self,
        elector: Elector,
        lease: LeaseAccess,
        clock: ElapsedClock,
        listeners: LeadershipListeners,
    ) -> None:
        """Contend once started."""
        self._elector = elector
        self._lease = lease
        self._clock = clock
        self._listeners = listeners
        self._changed = Condition()
        self._hurry = False
        self._stopping = False
        self._failures = 0
        self._why = ""
        self._told: tuple[int | None, str] | None = None
        self._thread = Thread(target=self._work, name="leadership", daemon=True)

    def start(self) -> None:
        """Begin to contend."""
        self._thread.start()

    def stop(self) -> None:
        """Lead no more, and give the Lease back, if that can be done in a few requests.

        Nothing may be written under this leadership any more, nor be on its way.
        """
        with self._changed:
            self._stopping = True
            self._failures = 0
            self._elector.resign()
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()

    def term(self) -> int | None:
        """Return the number of our present term; None while not leading."""
        return self._elector.term(self._clock.boottime())

    def hurry(self) -> None:
        """Renew soon: there is something to keep that should not be lost."""
        with self._changed:
            self._hurry = True
            self._changed.notify()

    def _work(self) -> None:
        while True:
            self._wait()
            request = self._elector.due(self._clock.boottime())
            if request is None:
                break
            self._ask(request)
            if self._stopping and self._is_over(request):
                break
        self._tell()

    def _is_over(self, request: Read | Write) -> bool:
        # A renewal may have been on its way as we were told to stop.
        gave_back = isinstance(request, Write) and request.claim.given_back
        return (gave_back and not self._failures) or self._failures >= _LAST_TRIES

    def _wait(self) -> None:
        """Return when something is to be asked, telling of what changes in the meantime."""
        while not self._is_due():
            self._tell()
            with self._changed:
                now = self._clock.boottime()
                left = self._elector.pause(now, hurry=self._hurry)
                ends = self._elector.ends(now)
                if left > 0:
                    self._changed.wait(left if ends is None else min(left, max(ends, 0.001)))

    def _is_due(self) -> bool:
        with self._changed:
            if self._elector.pause(self._clock.boottime(), hurry=self._hurry) > 0:
                return False
            self._hurry = False
            return True

    def _ask(self, request: Read | Write) -> None:
        sent = self._clock.boottime()
        try:
            lease = self._carry_out(request)
        except AutoscalerError as error:
            with self._changed:
                self._elector.failed(self._clock.boottime())
                self._failures += 1
            if not isinstance(error, ConflictError):
                self._why = str(error)
                self._safely(self._listeners.on_failure, self._why)
            return
        with self._changed:
            self._elector.answered(request, lease, sent=sent, now=self._clock.boottime())
            self._failures = 0
        if isinstance(request, Write):
            self._why = ""

    def _carry_out(self, request: Read | Write) -> Lease | None:
        if isinstance(request, Read):
            return self._lease.read()
        return self._lease.write(request.claim, request.over, self._clock.now())

    def _tell(self) -> None:
        """Tell of a change, each once."""
        term, holder = self.term(), self._elector.holder
        if self._told == (term, holder) or (self._told is None and not self._elector.has_looked):
            return
        before, self._told = self._told, (term, holder)
        led = before[0] if before else None
        if led is not None and term != led:
            self._safely(self._listeners.on_lost, self._reason(holder))
        if term is not None and term != led:
            self._safely(self._listeners.on_leads, term)
        if term is None and not self._elector.is_holder and not self._stopping:
            self._safely(self._listeners.on_stands_by, holder)

    def _reason(self, holder: str) -> str:
        if self._stopping:
            return "the daemon stops"
        if holder and not self._elector.is_holder:
            return f"{holder} leads"
        return self._why or "not renewed in time"

    @staticmethod
    def _safely(tell: Callable[..., None], *arguments: object) -> None:
        with suppress(Exception):  # a listener must not end the leadership
            tell(*arguments)
