"""What `check` looks at beyond the configuration, and what it may ask there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from autoscaler.adapters.haproxy_look import Servers
from autoscaler.adapters.kubernetes import Written
from autoscaler.ports import MetricSource, ScaleTarget


class OtherScaler(Protocol):
    """Somebody else who writes the replicas."""

    @property
    def kind(self) -> str:
        """Return the kind of the object."""

    @property
    def name(self) -> str:
        """Return the object's name."""


class Checks(Protocol):
    """What can be asked about one target; each raises TargetReadError where it cannot look."""

    def rights(self, *, acts: bool, replaces: bool) -> Mapping[str, bool]:
        """Return each right that is needed to scale and to replace, and whether we have it."""

    def written(self) -> Written:
        """Return the Deployment as somebody has written it."""

    def other_scalers(self) -> Sequence[OtherScaler]:
        """Return who else scales the target."""


class LeaseChecks(Protocol):
    """What can be asked about the Lease; raises TargetReadError where it cannot look."""

    def rights(self) -> Mapping[str, bool]:
        """Return each right that leadership needs, and whether we have it."""


class Gateway(Protocol):
    """What the gateway says of its servers."""

    def servers(self) -> Sequence[Servers]:
        """Return those of each gateway pod. Raises ObserveError with what to do."""


class Source(MetricSource, Protocol):
    """Answers the queries, and says how often there is something new."""

    def spacing(self, selector: str) -> timedelta | None:
        """Return how far apart the samples of a selector's series are; None: unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One target's place in the cluster."""

    target: ScaleTarget
    checks: Checks
    gateway: Gateway | None = None
    """None: no gateway is named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseProbe:
    """The Lease by which daemons tell who acts."""

    namespace: str
    name: str
    checks: LeaseChecks


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What there is to look at, beyond the configuration."""

    source: Source
    probes: Mapping[str, Probe]
    """By the target's name."""
    now: datetime
    lease: LeaseProbe | None = None
    """None: the daemon shares its targets with no other."""
