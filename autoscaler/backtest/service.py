"""How a service behaves: what a request costs, and how replicas come, share, rest and go.

A request alone on a replica takes ``S = overhead + input / pp + output / tg`` seconds. Of n busy
slots each progresses at ``1 / (1 - phi + phi n)``. All times are seconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from math import isfinite
from types import MappingProxyType

from autoscaler.errors import InputError

CONTEXT_TOKENS = 4096
"""Longer prompts are cut to this, as Ollama does with its default context on a CPU."""
OUTPUT_CAP_TOKENS = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One model on one kind of machine, and how it is run."""

    name: str
    pp: float
    """Prompt tokens per second of a request that is alone."""
    tg: float
    """Generated tokens per second of a request that is alone."""
    start: float
    """Median time from having a node to being ready, the model in memory (D)."""
    load: float
    """Time to load the model again after it was unloaded."""
    overhead: float = 0.2
    slots: int = 1
    """Requests at a time on one replica (c)."""
    phi: float = 0.8
    """Share of a token's cost that parallel slots do not have in common."""
    start_sigma: float = 0.3
    """Of the logarithm of the start-up time."""
    queue_limit: int = 512
    """Requests that may wait; one more is turned away."""
    patience: float = 120.0
    """Who has waited so long gives up."""
    grace: float = 120.0
    """A replica that is to go may finish what it has for so long; then it is cut off."""
    idle_unload: float = 300.0
    """After so long without a request, a replica has no model in memory any more; inf: never."""
    capacity: int | None = None
    """Replicas for which there is a node, those that drain included; None: no limit."""

    def __post_init__(self) -> None:
        for key in ("pp", "tg"):
            self._require(isfinite(getattr(self, key)), key, "must be finite")
            self._require(getattr(self, key) > 0, key, "must be above 0")
        for key in ("start", "load", "overhead", "start_sigma", "grace"):
            self._require(isfinite(getattr(self, key)), key, "must be finite")
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int | float):
                self._require(value >= 0, field.name, "must not be negative")
        for key in ("slots", "capacity", "patience", "idle_unload"):
            self._require(getattr(self, key) != 0, key, "must be above 0")
        self._require(self.phi <= 1, "phi", "must be at most 1")

    def _require(self, ok: bool, key: str, rule: str) -> None:  # noqa: FBT001
        if not ok:
            raise InputError(f"service {self.name}: {key} = {getattr(self, key)}, {rule}")

    def seconds(self, tokens_in: int, tokens_out: int) -> float:
        """Return how long a request takes that is alone on a replica."""
        prompt = min(tokens_in, CONTEXT_TOKENS) / self.pp
        return self.overhead + prompt + min(tokens_out, OUTPUT_CAP_TOKENS) / self.tg

    def speed(self, busy: int) -> float:
        """Return at which part of its own speed each of so many requests progresses."""
        return 1 / (1 - self.phi + self.phi * busy)

    @property
    def gamma(self) -> float:
        """Return the most work, in seconds alone, that one replica does in a second."""
        return self.slots * self.speed(self.slots)


# Figures and grounds: the sandbox's profiles say where each comes from. The load is what is left of
# the start without the 30 s that a usual readiness probe waits first; for the smallest model, what
# half a gigabyte takes to read.
_SETS = (
    Service(name="1b-sbc", pp=194, tg=38.8, start=30, load=3),
    Service(name="3b-i3", pp=28.7, tg=11.0, start=35, load=5),
    Service(name="3b-laptop", pp=72, tg=23.8, start=35, load=5),
    Service(name="8b-laptop", pp=27, tg=6.0, start=60, load=30),
    Service(name="8b-desktop", pp=123, tg=11.3, start=45, load=15),
)
SETS: Mapping[str, Service] = MappingProxyType({each.name: each for each in _SETS})


def service_named(name: str, **changes: float | None) -> Service:
    """Return that parameter set, with changes. Raises InputError where there is none."""
    try:
        return replace(SETS[name], **changes)  # type: ignore[arg-type]  # checked by the class
    except KeyError:
        raise InputError(f"--set = {name}, must be one of {', '.join(SETS)}") from None
