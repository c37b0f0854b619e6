"""The whole loop, driven through whatever can happen to it, one thing after another.

Loads, faults at every call, deaths between any two steps, other writers, clocks that are set,
pods that come and go, two daemons of which one may be frozen in the middle of a cycle: what must
never happen is told by `machine/ledger.py`, on its own.
"""

from datetime import timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)

from autoscaler.decision.model import Fallback, Metric, Policy, RatePolicy, Scaling
from autoscaler.decision.words import (
    FallbackBehavior,
    MetricType,
    MissingKind,
    Mode,
    OnEmpty,
    PolicyType,
    SelectPolicy,
    UseFor,
)
from tests.machine.world import Fault, World

# --- what a policy may be -------------------------------------------------------------------------


def spans(*seconds):
    """Return one of a few spans, short enough to end within a run."""
    return st.sampled_from([timedelta(seconds=count) for count in seconds])


rates = st.builds(
    RatePolicy,
    type=st.sampled_from(PolicyType),
    value=st.sampled_from([1, 2, 50, 100]),
    period=spans(5, 60),
)
scalings = st.builds(
    Scaling,
    tolerance=st.sampled_from([0.0, 0.1, 0.3]),
    stabilization_window=spans(0, 0, 0, 20),
    cooldown=spans(0, 0, 0, 15, 60),
    policies=st.just(()) | st.lists(rates, max_size=2).map(tuple),
    select_policy=st.sampled_from(
        [SelectPolicy.MAX] * 4 + [SelectPolicy.MIN] * 2 + [*SelectPolicy]
    ),
)
queues = st.builds(
    Metric,
    name=st.just("queue"),
    type=st.just(MetricType.TOTAL),
    target=st.sampled_from([0.8, 1.0]),
    use_for=st.sampled_from([UseFor.BOTH, UseFor.BOTH, UseFor.SCALE_UP]),
    on_empty=st.sampled_from(OnEmpty),
)
cpus = st.builds(
    Metric,
    name=st.just("cpu"),
    type=st.just(MetricType.POD),
    target=st.just(0.5),
    use_for=st.sampled_from(UseFor),
    on_empty=st.sampled_from(OnEmpty),
)


@st.composite
def policies(draw):
    """Return any policy."""
    return Policy(
        min_replicas=draw(st.sampled_from([1, 0, 2])),
        max_replicas=draw(st.sampled_from([6, 8, 4, 2])),
        metrics=draw(
            st.sampled_from(["q", "q", "c", "qc"]).flatmap(
                lambda kinds: st.tuples(*({"q": queues, "c": cpus}[kind] for kind in kinds))
            )
        ),
        scale_up=draw(scalings),
        scale_down=draw(scalings),
        hold_limit=draw(spans(30, 120, 0)),
        fallback=Fallback(
            behavior=draw(st.sampled_from(FallbackBehavior)), replicas=draw(st.integers(0, 6))
        ),
        pending_limit=draw(spans(30, 120, 0)),
        conflict_hold=draw(spans(60, 300, 0)),
        mode=draw(st.sampled_from([Mode.ACT] * 15 + [Mode.SHADOW])),
    )


# --- what may happen ------------------------------------------------------------------------------

managers = st.sampled_from(["kube-controller-manager", "kubectl", "argocd"])
daemons = st.integers(0, 1)
qualities = st.sampled_from(
    ["whole"] * 6
    + ["partial", "partly stale", "stale", "NaN", "negative", "twice", "no series"]
    + list(MissingKind)
)
events = st.one_of(
    st.tuples(st.just("load"), st.just("queue"), qualities, st.integers(0, 8).map(float)),
    st.tuples(st.just("load"), st.just("cpu"), qualities, st.sampled_from([0.0, 0.1, 0.5, 0.9])),
    st.tuples(st.just("busy"), st.integers(0, 7), st.integers(0, 2)),
    st.tuples(st.just("settle")),
    st.tuples(st.sampled_from(["control", "start"])),
    st.tuples(st.just("scale"), managers, st.integers(0, 8)),
    st.tuples(st.just("reapply"), managers),
    st.tuples(st.just("wait"), st.sampled_from([1, 5, 20, 60, 300])),
    st.tuples(st.just("lead"), st.sampled_from([0, 1, 0, 1, None])),
    st.tuples(st.just("cycle"), daemons),
    st.tuples(st.just("restart"), daemons),
    st.tuples(st.just("store"), st.sampled_from(["behind", "behind", "lost"])),
    st.tuples(st.just("jump"), st.sampled_from([-3600, -60, -8, 8, 60, 3600])),
    st.tuples(
        st.just("pod"),
        st.sampled_from(["crashes", "recovers", "is evicted", "is deleted", "stalls"]),
        st.integers(0, 7),
    ),
    st.tuples(st.just("room"), st.integers(0, 8)),
    st.tuples(st.just("gateway"), st.sampled_from(["all", "all", "some", "none"])),
    st.tuples(st.just("pause"), st.sampled_from(["none"] * 5 + ["both", "up", "down"])),
    st.tuples(st.just("adopt"), policies()),
)
calls = st.sampled_from(
    [
        *("lead", "load", "read", "tidy", "unmark", "busy", "ask", "act", "mark", "patch"),
        *("patched", "take back", "replace", "save", "saved", "report"),
    ]
)
scripts = st.dictionaries(
    calls, st.sampled_from(Fault) | st.lists(events, min_size=1, max_size=4), max_size=2
)


wanted = st.integers(0, 8)
"""Replicas that the metrics are to ask for."""


class LoopMachine(RuleBasedStateMachine):
    """A world in which anything happens; an objection of its own ends it."""

    world: World

    @initialize(
        policy=policies(),
        skew=st.sampled_from([0, 0, 5, -5]),
        tells_writers=st.sampled_from([True, True, False]),
        asks_gateway=st.sampled_from([True, True, False]),
    )
    def begin(self, **given):
        """Start a cluster and two daemons, of which the first leads."""
        self.world = World(**given)

    @rule(
        other=st.sampled_from([False] * 4 + [True]),
        seconds=st.sampled_from([5, 1, 20]),
        wanted=st.none() | wanted,
        script=scripts,
    )
    def cycle(self, other, seconds, wanted, script):
        """One cycle, mostly of the leader, in which something may happen at any call."""
        self.world.time.wait(seconds)
        self.world.want(wanted)
        leads = self.world.daemons.index(self.world.leader) if self.world.leader else 0
        self.world.cycle(1 - leads if other else leads, script)

    @rule(count=st.integers(1, 4), wanted=wanted, busy=st.lists(st.integers(0, 2), max_size=6))
    def serve(self, count, wanted, busy):
        """A few cycles as they usually are, with requests on some of the replicas."""
        self.world.want(wanted)
        for _ in range(count):
            self.world.time.wait(5)
            self.world.happen(("settle",))
            for number, requests in enumerate(busy):
                self.world.happen(("busy", number, requests))
            if self.world.leader is not None:
                self.world.leader.cycle()

    @rule(events=st.lists(events, min_size=1, max_size=4))
    def happen(self, events):
        """Something happens between two cycles."""
        for event in events:
            self.world.happen(event)

    @invariant()
    def nobody_objects(self):
        """Nothing has happened that must not."""
        assert not self.world.objections, self.world.objections

    def teardown(self):
        """Left alone for a while, the cluster has no mark left."""
        world = getattr(self, "world", None)
        if world is None or world.objections:
            return
        world.happen(("lead", 0))
        world.happen(("pause", "both"))
        for _ in range(4):
            world.time.wait(15)
            world.happen(("settle",))
            world.cycle(0)
        left = [pod.name for pod in world.cluster.pods if pod.marked]
        assert not left or world.plan.mode is Mode.SHADOW
        assert not world.objections, world.objections


TestLoop = LoopMachine.TestCase
TestLoop.settings = settings(stateful_step_count=40)
