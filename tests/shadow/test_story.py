"""The sandbox's story without its processes: HPA's own rules on a load that is written down.

Times are those of life, so that what the report names can be told to the second.
"""

from dataclasses import dataclass, field, replace

from autoscaler.decision.model import Pod, RatePolicy
from autoscaler.decision.words import PolicyType
from autoscaler.hpa import pods as hpa_pods
from autoscaler.hpa.rules import Behavior, Bounds
from autoscaler.sandbox.hpa import MANAGER
from autoscaler.sandbox.hpa.behavior import Memory
from autoscaler.sandbox.hpa.replicas import Moment, propose
from autoscaler.shadow.stretches import Kind
from tests.decision.build import CPU, QUEUE, per_pod, policy, seconds, seen
from tests.shadow.build import QUICK, compared, shadowed

START_UP = 35.0
BOUNDS = Bounds(low=2, high=6)
PLAN = replace(
    policy(
        min_replicas=2,
        max_replicas=6,
        metrics=(QUEUE, CPU),
        down_stabilization_window=seconds(300),
        down_policies=(RatePolicy(type=PolicyType.PERCENT, value=50, period=seconds(60)),),
    ),
    mode=QUICK.mode,
)


@dataclass
class World:
    """Replicas with one slot each, and an HPA that scales them by CPU."""

    busy: float
    """What a replica at work uses of its limit, which it requests as well."""
    target: int = 50
    memory: Memory = field(default_factory=lambda: Memory(Behavior()))
    born: list[float] = field(default_factory=lambda: [-600.0, -600.0])
    """When each replica was made, the oldest first."""
    seen: list = field(default_factory=list)
    writer: str = "kubectl"

    def live(self, until: float, requests: int) -> None:
        """Let time pass under so many requests in the system."""
        now = 5.0 * len(self.seen)
        while now < until:
            ready = [at for at in self.born if now - at >= START_UP]
            working = min(requests, len(ready))
            use = {f"p{at:g}-{i}": 0.0 for i, at in enumerate(ready)}
            use |= dict.fromkeys(list(use)[:working], self.busy)
            if now % 15 == 0:
                self._scale(now, use)
            pods = tuple(Pod(name=name, in_flight=int(used > 0)) for name, used in use.items())
            cycle = seen(len(self.born), now=now, ready=len(ready), queue=requests)
            metrics = {**cycle.metrics, "cpu_to_limit": per_pod(use, now=now)}
            self.seen.append(replace(cycle, metrics=metrics, pods=pods, writer=self.writer))
            now += 5.0

    def _scale(self, now: float, use: dict[str, float]) -> None:
        current = len(self.born)
        self.memory.begin(current, now)
        pods = [
            hpa_pods.Pod(name=name, request=2000, started=-600.0, ready_since=-500.0)
            for name in use
        ]
        starting = [
            hpa_pods.Pod(name=f"new-{index}", request=2000, phase="Pending", ready=False)
            for index in range(current - len(use))
        ]
        usage = {
            name: hpa_pods.Sample(int(2000 * used), at=now, window=15.0)
            for name, used in use.items()
        }
        wanted = propose(current, self.target, [*pods, *starting], usage, Moment(now=now)).replicas
        wanted = self.memory.stabilize(current, wanted, now).replicas
        wanted = self.memory.limit(current, wanted, BOUNDS, now).replicas
        if wanted != current:
            self.memory.rescaled(current, wanted, now)
            self.writer = MANAGER
            self.born = (self.born + [now] * max(0, wanted - current))[:wanted]


def told(report):
    """Return each stretch that lasts: kind, from second, to second, their numbers, ours."""
    return [
        (
            each.kind,
            (each.begin - report.begin).total_seconds(),
            (each.end - report.begin).total_seconds(),
            each.theirs,
            each.ours,
        )
        for each in report.stretches
        if each.end - each.begin >= seconds(15)
    ]


def test_a_queue_behind_idle_processors_is_never_followed():
    """Replicas use 45 % at work: HPA sees its target held, and five people stand before two."""
    world = World(busy=0.45)
    world.live(60, 1)
    world.live(180, 5)
    world.live(600, 1)
    report = compared(shadowed(world.seen, PLAN))
    (stretch,) = report.stretches
    # Five minutes after the five have gone half of ours goes, and a minute later the rest.
    assert told(report) == [(Kind.NEVER_GREW, 60, 535, (2,), (6, 3))]
    assert stretch.ours_because.startswith("2 -> 6, AboveTarget (queue_depth 5, target 0.8")
    assert (stretch.most_waiting, stretch.waited) == (3, seconds(120))
    assert [(use.name, use.value) for use in stretch.widest.uses][1] == ("cpu_to_limit", 0.45)
    theirs, ours = report.figures.theirs, report.figures.ours
    assert theirs.queued == seconds(120)
    # Ours waits for its first new replicas; none was seen to start, so that takes one cycle.
    assert ours.queued == seconds(5)
    assert theirs.short == seconds(120)
    assert ours.short == seconds(0)


def test_a_burst_is_followed_late_and_in_steps():
    """At 100 % HPA doubles every time that the last replicas have come up."""
    world = World(busy=1.0)
    world.live(62, 1)
    world.live(300, 5)
    report = compared(shadowed(world.seen, PLAN))
    (stretch,) = report.stretches
    assert stretch.kind is Kind.GREW_LATER
    assert (stretch.begin - report.begin).total_seconds() == 65
    assert [(write.writer, write.to) for write in stretch.later] == [(MANAGER, 4), (MANAGER, 6)]
    first, second = ((write.at - report.begin).total_seconds() for write in stretch.later)
    assert (first, second) == (75, 120)
    assert report.survey.start_up == seconds(0)  # pods were seen when they were ready


def test_a_shrink_under_streams_takes_what_ours_keeps():
    """Four streams use 45 % of four replicas: that holds HPA's target, and nobody may come."""
    world = World(busy=0.45, target=20)
    world.live(120, 5)
    world.target = 50
    world.live(700, 4)
    report = compared(shadowed(world.seen, PLAN))
    shrunk = [each for each in report.stretches if each.kind is Kind.SHRANK_EARLIER]
    assert len(shrunk) == 1
    assert (shrunk[0].theirs, shrunk[0].ours) == ((4,), (6,))
    assert (shrunk[0].write.writer, shrunk[0].write.at) == (MANAGER, shrunk[0].begin)
    assert shrunk[0].ours_because.startswith("holds 6, WithinTolerance (queue_depth 4")
