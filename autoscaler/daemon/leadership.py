"""Whether this daemon has to be the leader before it acts, and whether it is."""

from collections.abc import Callable, Iterable
from typing import Protocol

from autoscaler.loop import NoStore, SoleLeader
from autoscaler.ports import Leadership, Memory, StateStore


class Contender(Leadership, Protocol):
    """A leadership that others contend for, too."""

    def start(self) -> None:
        """Begin to contend."""

    def stop(self) -> None:
        """Lead no more, and let another one lead."""


class TargetStore(StateStore, Protocol):
    """A store that knows which targets there are."""

    def keep_only(self, targets: Iterable[str]) -> None:
        """Keep these alone from now on."""


class SharedLeadership:
    """The leadership and the store of all loops: contended for, or nobody's business.

    It is contended for from the first moment in which there is something to write, and then until
    the end: who has acted may have a write on its way.
    """

    def __init__(self, contend: Callable[[], tuple[Contender, TargetStore]]) -> None:
        """Take what is contended for from `contend`, when it is needed."""
        self._contend = contend
        self._contender: Contender | None = None
        self._store: TargetStore | None = None
        self._started = False

    @property
    def is_contended(self) -> bool:
        """Tell whether another daemon may lead."""
        return self._contender is not None

    def put(self, targets: Iterable[str], *, contended: bool) -> None:
        """Look after these targets; `contended`: nothing may be written unless we lead."""
        if contended and self._contender is None:
            contender, self._store = self._contend()
            if self._started:
                contender.start()
            self._contender = contender
        if self._store is not None:
            self._store.keep_only(targets)

    # --- a duty -----------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to contend, where there is something to contend for."""
        self._started = True
        if self._contender is not None:
            self._contender.start()

    def glance(self) -> None:
        """Do nothing: a contender looks after itself."""

    def stop(self) -> None:
        """Let another one lead."""
        if self._contender is not None:
            self._contender.stop()

    # --- for the loops ----------------------------------------------------------------------

    def term(self) -> int | None:
        """Return the number of our present term; None while another one leads, or nobody."""
        leadership = self._contender or _SOLE
        return leadership.term()

    def load(self, target: str) -> Memory | None:
        """Return what was kept of a target."""
        store = self._store or _FORGETFUL
        return store.load(target)

    def save(self, target: str, memory: Memory) -> None:
        """Keep it."""
        store = self._store or _FORGETFUL
        store.save(target, memory)


_SOLE = SoleLeader()
_FORGETFUL = NoStore()
