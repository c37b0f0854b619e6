"""Other autoscalers: what they are called, how they are built, and what holds them to their model.

A peer may stand beside ours only if it passes the figures of its own tests. They are in
tests/backtest/peers, in tables of our own form; here is how many each table has.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from autoscaler.backtest.peers.delayed_off import DelayedOff
from autoscaler.backtest.peers.hpa import Hpa
from autoscaler.backtest.peers.keda import Keda, ScaledObject
from autoscaler.backtest.peers.kpa import Kpa, Spec, target
from autoscaler.backtest.peers.kubeai import KubeAI
from autoscaler.backtest.peers.static import Static
from autoscaler.backtest.scaler import Scaler
from autoscaler.hpa.rules import Behavior, Bounds


@dataclass(frozen=True, slots=True)
class Place:
    """Where a peer is put to work."""

    bounds: Bounds
    slots: int  # requests that a replica answers at once
    start: float  # seconds until a replica is ready
    busy: float = 0.0  # requests in the system before it begins, on the mean: who starts warm


@dataclass(frozen=True, slots=True)
class Target:
    """What a peer is tuned by."""

    what: str
    least: float = 0.01
    whole: bool = False  # whether it takes whole numbers alone
    rising: bool = False  # whether a higher one means more replicas


@dataclass(frozen=True, slots=True)
class Peer:
    """One peer."""

    name: str
    target: Target
    build: Callable[[Place, float], Scaler]
    shipped: Callable[[Place], float | None]  # the target that it comes with; None: it has none
    tables: Mapping[str, int]  # the tables that it passes, and how many figures each has
    derived: int = 0  # how many of them were derived by hand, for want of a test upstream


REQUESTS = Target("requests in the system for each replica")
PERCENT = Target("CPU use in percent of the request", least=1, whole=True)
_HPA = {"hpa_counts.yaml": 92, "hpa_rules.yaml": 77, "hpa_sync.yaml": 83}
_HPA_DERIVED = 8


def _hpa(behavior: Behavior | None) -> Callable[[Place, float], Scaler]:
    return lambda place, number: Hpa(number, place.bounds, behavior=behavior)


def _hpa_cpu(behavior: Behavior | None) -> Callable[[Place, float], Scaler]:
    return lambda place, number: Hpa(number, place.bounds, metric="cpu", behavior=behavior)


def _keda(place: Place, number: float) -> Scaler:
    return Keda(number, ScaledObject(low=place.bounds.low, high=place.bounds.high))


def _of_slots(place: Place) -> float:
    """Return what a user would enter first, where nothing is shipped: the slots of a replica."""
    return float(place.slots)


def _percent(_: Place) -> float:
    return 80.0  # what an HPA that names no metric gets


_ALL = (
    Peer("hpa", REQUESTS, _hpa(None), _of_slots, _HPA, _HPA_DERIVED),
    Peer("hpa-behavior", REQUESTS, _hpa(Behavior()), _of_slots, _HPA, _HPA_DERIVED),
    Peer("hpa-cpu", PERCENT, _hpa_cpu(None), _percent, _HPA, _HPA_DERIVED),
    Peer("hpa-cpu-behavior", PERCENT, _hpa_cpu(Behavior()), _percent, _HPA, _HPA_DERIVED),
    Peer("keda", REQUESTS, _keda, _of_slots, {"keda.yaml": 39, **_HPA}, derived=11 + _HPA_DERIVED),
    Peer(
        "kpa",
        REQUESTS,
        lambda place, number: Kpa(Spec(number), place.bounds),
        lambda place: target(place.slots),
        {"kpa.yaml": 138},
        derived=3,
    ),
    Peer(
        "kubeai",
        Target(REQUESTS.what, least=1, whole=True),
        lambda place, number: KubeAI(max(1, round(number)), place.bounds, seed=place.busy),
        lambda _: 100.0,
        {"kubeai.yaml": 47},
        derived=39,
    ),
    Peer(
        "static",
        Target("replicas", least=1, whole=True, rising=True),
        lambda _, number: Static(round(number)),
        lambda _: None,  # the peak, or what is enough for a share of the time: static.busy_at_once
        {"static.yaml": 8},
        derived=8,
    ),
    Peer(
        "delayed-off",
        Target("seconds without work", least=0, rising=True),
        lambda place, number: DelayedOff(number, place.slots, place.bounds),
        lambda place: place.start,
        {"delayed_off.yaml": 10},
        derived=10,
    ),
)

PEERS: Mapping[str, Peer] = {peer.name: peer for peer in _ALL}
