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

from autoscaler.decision.model import Fallback, Metric, Policy, RatePolicy, Scaling, Schedule
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
from tests.machine.cluster import AUTOSCALER
from tests.machine.daemon import Fault
from tests.machine.world import World

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
    stabilization_window=spans(0, 0, 0, 0, 20),
    cooldown=spans(0, 0, 0, 0, 15, 60),
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
    use_for=st.sampled_from([UseFor.BOTH, UseFor.BOTH, *UseFor]),
    on_empty=st.sampled_from(OnEmpty),
)


schedules = st.builds(
    Schedule,
    name=st.just("even minutes"),
    start=st.just("*/2 * * * *"),
    end=st.just("1-59/2 * * * *"),
    min_replicas=st.sampled_from([0, 1, 2]),
    max_replicas=st.sampled_from([None, 2, 7]),
)


@st.composite
def policies(draw):
    """Return any policy."""
    return Policy(
        min_replicas=draw(st.sampled_from([1, 0, 2])),
        max_replicas=draw(st.sampled_from([8, 6, 4])),
        metrics=draw(
            st.sampled_from(["q", "qc", "qc", "c"]).flatmap(
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
        conflict_hold=draw(spans(20, 60, 0)),
        idle_period=draw(spans(0, 20, 60)),
        stuck_after=draw(spans(10, 10, 30) | st.none()),
        restart_stuck=draw(st.sampled_from([True, True, False])),
        schedules=draw(st.just(()) | st.tuples(schedules)),
    )


# --- what may happen ------------------------------------------------------------------------------

managers = st.sampled_from([AUTOSCALER, "kubectl", "argocd"])
daemons = st.integers(0, 1)
qualities = st.sampled_from(
    [
        *(
            "whole",
            "whole",
            "whole",
            "whole",
            "whole",
            "whole",
            "partial",
            "partly stale",
            "stale",
            "NaN",
            "negative",
            "twice",
            "no series",
        ),
        *MissingKind,
    ]
)
leads = st.tuples(st.just("lead"), st.sampled_from([1, 0, 1, 0, None]))
waits = st.tuples(st.just("wait"), st.sampled_from([5, 20, 60, 300]))
jumps = st.tuples(st.just("jump"), st.sampled_from([-3600, -60, -8, 8, 60, 3600]))
foreign = st.one_of(
    st.tuples(st.just("scale"), managers, st.integers(0, 8)),
    st.tuples(st.just("reapply"), managers),
)
pods = st.one_of(
    st.tuples(st.just("busy"), st.integers(0, 7), st.integers(0, 2)),
    st.tuples(
        st.just("pod"),
        st.sampled_from(["stalls", "crashes", "recovers", "is evicted", "is deleted"]),
        st.integers(0, 7),
    ),
    st.tuples(st.sampled_from(["control", "start", "settle"])),
    st.tuples(st.just("room"), st.integers(0, 8)),
)
metrics = st.one_of(
    st.tuples(st.just("load"), st.just("queue"), qualities, st.integers(0, 8).map(float)),
    st.tuples(st.just("load"), st.just("cpu"), qualities, st.sampled_from([0.0, 0.1, 0.5, 0.9])),
    st.tuples(st.just("gateway"), st.sampled_from(["all", "some", "none"])),
)
pauses = st.tuples(st.just("pause"), st.sampled_from(["none", "none", "both", "up", "down"]))
adoptions = st.one_of(
    st.tuples(st.just("adopt"), policies()), st.tuples(st.just("mode"), st.sampled_from(Mode))
)
meanwhile = st.one_of(
    *(leads, leads, waits, waits, jumps, foreign, foreign, pods, metrics, pauses, adoptions),
    st.tuples(st.just("cycle"), daemons),
    st.tuples(st.just("restart"), daemons),
)

often = ["read", "busy", "ask", "act", "mark", "patch", "patched", "save"]
calls = st.sampled_from(
    [*often, *often, "lead", "load", "tidy", "unmark", "take back", "replace", "saved", "report"]
)
busy = st.lists(st.integers(0, 2), max_size=6)
"""Requests in flight on the first replicas."""
more = st.sampled_from([1, -1, 2, -2, 5, -5, 0])
"""By how many replicas the load asks for more than there are."""
maybe_more = more | st.none()
calm = st.booleans()
"""Whether nothing has been amiss for a minute."""
scripts = st.just({}) | st.dictionaries(
    calls,
    st.sampled_from(Fault) | st.lists(meanwhile, min_size=1, max_size=3),
    min_size=1,
    max_size=2,
)


class LoopMachine(RuleBasedStateMachine):
    """A world in which anything happens; an objection of its own ends it."""

    world: World

    @initialize(
        policy=policies(),
        skew=st.sampled_from([0, 0, 5, -5]),
        tells_writers=st.sampled_from([True, True, True, False]),
        asks_gateway=st.sampled_from([True, True, True, False]),
    )
    def begin(self, **given):
        """Start a cluster and two daemons, of which the first leads."""
        self.world = World(**given)

    def cycle(self, more, script=None):
        """Run a cycle of the leader, five seconds after the last; None: it is too early."""
        if more is None:
            return
        self.world.time.wait(5)
        self.world.want(more)
        if self.world.leader is not None:
            self.world.leader.cycle(script)

    def load(self, busy, stalled=None):
        """Give requests to some of the replicas, and take them from the others."""
        for number in range(8):
            requests = busy[number] if number < len(busy) else 0
            self.world.happen(("busy", number, requests))
        if stalled is not None:
            self.world.happen(("pod", "stalls", stalled))

    @rule(
        count=st.sampled_from([1, 2, 3, 6]),
        more=more,
        busy=busy,
        stalled=st.integers(0, 3) | st.none(),
        script=scripts,
    )
    def serve(self, count, more, busy, stalled, script):
        """A few cycles as they usually are, but for the last."""
        for number in range(count):
            self.world.happen(("settle",))
            self.load(busy, stalled)
            self.cycle(more, script if number == count - 1 else None)

    @rule(calm=calm, more=more, busy=busy, script=scripts)
    def follow(self, calm, more, busy, script):
        """One cycle, in which calls may fail, or be halted while the world goes on."""
        self.world.calm(calm)
        self.load(busy)
        self.cycle(more, script)

    @rule(calm=calm, event=foreign, more=maybe_more, script=scripts)
    def write(self, calm, event, more, script):
        """Somebody else sets the replicas."""
        self.world.calm(calm)
        self.world.happen(event)
        self.cycle(more, script)

    @rule(
        jump=st.none() | jumps,
        event=leads | st.tuples(st.just("restart"), daemons),
        more=maybe_more,
        script=scripts,
    )
    def hand_over(self, jump, event, more, script):
        """Another daemon leads, or another process, perhaps by another clock."""
        if jump is not None:
            self.world.happen(jump)
        self.world.happen(event)
        self.cycle(more, script)

    @rule(what=st.sampled_from(["behind", "behind", "lost"]), more=maybe_more, script=scripts)
    def forget(self, what, more, script):
        """The leader ends, and the store has not kept its last memory, or none at all."""
        self.world.happen(("store", what))
        if self.world.leader is not None:
            self.world.leader.start()
        self.cycle(more, script)

    @rule(who=daemons)
    def stand_by(self, who):
        """A cycle of whoever it is."""
        self.world.happen(("cycle", who))

    @rule(event=jumps | waits, more=maybe_more, script=scripts)
    def pass_time(self, event, more, script):
        """Time passes without a cycle, or the wall clock is set."""
        self.world.happen(event)
        self.cycle(more, script)

    @rule(event=pods, more=maybe_more, script=scripts)
    def change_pods(self, event, more, script):
        """Pods come, fail, go, and are given requests."""
        self.world.happen(event)
        self.cycle(more, script)

    @rule(event=metrics, more=maybe_more, script=scripts)
    def spoil(self, event, more, script):
        """A metric is answered in another way."""
        self.world.happen(event)
        self.cycle(more, script)

    @rule(event=pauses, more=maybe_more)
    def pause(self, event, more):
        """A person pauses the scaling, or lets it go on."""
        self.world.happen(event)
        self.cycle(more)

    @rule(event=adoptions, more=maybe_more)
    def adopt(self, event, more):
        """The configuration is another."""
        self.world.happen(event)
        self.cycle(more)

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
        for _ in range(3):
            world.time.wait(15)
            world.happen(("settle",))
            world.leader.cycle()
        left = [pod.name for pod in world.cluster.pods if pod.marked]
        assert not left or world.plan.policy.mode is Mode.SHADOW
        assert not world.objections, world.objections


TestLoop = LoopMachine.TestCase
TestLoop.settings = settings(stateful_step_count=30, max_examples=2 * settings().max_examples)
