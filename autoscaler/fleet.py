"""The loops of all targets that are configured now."""

from collections.abc import Callable, Mapping
from functools import partial
from threading import Lock

from autoscaler.loop import Plan, Ports, TargetLoop

Outfits = Mapping[str, tuple[Plan, Ports]]
"""What each target's loop is to do, and with what."""


class Member:
    """One target's loop, whose plan changes between two cycles, and which can be retired."""

    def __init__(self, plan: Plan, ports: Ports, farewell: Callable[[], None]) -> None:
        """Call `farewell` once it is retired and its last cycle has ended."""
        self._loop = TargetLoop(plan, ports)
        self._farewell = farewell
        self._lock = Lock()
        self._next: tuple[Plan, Ports] | None = None
        self._running = self._retired = False

    def run(self) -> None:
        """Run one cycle."""
        with self._lock:
            if self._retired:
                return
            self._running = True
            following, self._next = self._next, None
        try:
            if following is not None:
                self._loop.adopt(*following)
            self._loop.run_once()
        finally:
            with self._lock:
                self._running = False
                was_last = self._retired
            if was_last:
                self._farewell()

    def adopt(self, plan: Plan, ports: Ports) -> None:
        """Go on by these from the next cycle; nothing that is remembered is lost."""
        with self._lock:
            self._next = (plan, ports)

    def retire(self) -> None:
        """Begin no cycle any more."""
        with self._lock:
            self._retired = True
            if self._running:
                return
        self._farewell()


class Fleet:
    """All members."""

    def __init__(self, greet: Callable[[str], None], farewell: Callable[[str], None]) -> None:
        """Tell of each target that comes, and of each that has gone."""
        self._greet = greet
        self._farewell = farewell
        self._members: dict[str, Member] = {}

    @property
    def cycles(self) -> Mapping[str, Callable[[], object]]:
        """Return what is to be run of each target."""
        return {target: member.run for target, member in self._members.items()}

    def put(self, outfits: Outfits) -> None:
        """Have exactly these targets from now on; one that stays keeps what it remembers."""
        for gone in [target for target in self._members if target not in outfits]:
            self._members.pop(gone).retire()
        for target, (plan, ports) in outfits.items():
            if target in self._members:
                self._members[target].adopt(plan, ports)
            else:
                self._greet(target)
                self._members[target] = Member(plan, ports, partial(self._leave, target))

    def _leave(self, target: str) -> None:
        if target not in self._members:  # it may have come back while its last cycle ran
            self._farewell(target)
