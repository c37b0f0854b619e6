"""The loops of all targets that are configured now."""

from collections.abc import Callable, Mapping
from functools import partial
from threading import Lock

from autoscaler.loop import Plan, Ports, TargetLoop

LoopInputs = Mapping[str, tuple[Plan, Ports]]
"""What each target's loop is to do, and with what."""


class ManagedLoop:
    """One target's loop, whose plan changes between two cycles, and which can be retired."""

    def __init__(self, plan: Plan, ports: Ports, on_gone: Callable[[], None]) -> None:
        """Call `on_gone` once it is retired and its last cycle has ended."""
        self._loop = TargetLoop(plan, ports)
        self._on_gone = on_gone
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
                self._on_gone()

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
        self._on_gone()


class Fleet:
    """All of them, each under its target's name."""

    def __init__(self, on_added: Callable[[str], None], on_gone: Callable[[str], None]) -> None:
        """Tell of each target that comes, and of each that has gone."""
        self._on_added = on_added
        self._on_gone = on_gone
        self._loops: dict[str, ManagedLoop] = {}

    @property
    def cycles(self) -> Mapping[str, Callable[[], object]]:
        """Return what is to be run of each target."""
        return {target: loop.run for target, loop in self._loops.items()}

    def put(self, inputs: LoopInputs) -> None:
        """Have exactly these targets from now on; one that stays keeps what it remembers."""
        for gone in [target for target in self._loops if target not in inputs]:
            self._loops.pop(gone).retire()
        for target, (plan, ports) in inputs.items():
            if target in self._loops:
                self._loops[target].adopt(plan, ports)
            else:
                self._on_added(target)
                self._loops[target] = ManagedLoop(plan, ports, partial(self._leave, target))

    def _leave(self, target: str) -> None:
        if target not in self._loops:  # it may have come back while its last cycle ran
            self._on_gone(target)
