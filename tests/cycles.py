"""Small stand-ins for the loop's ports, and cycle reports to tell of."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from autoscaler.decision.model import Metric, Missing, Policy, Sample, Samples, Scaling
from autoscaler.decision.words import MetricType, MissingKind
from autoscaler.errors import ConflictError, TargetReadError
from autoscaler.loop import NoStore, Plan, Ports, TargetLoop
from autoscaler.ports import CycleReport, LastWriter, MetricQuery, TargetState

START = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
STEP = timedelta(seconds=5)

POLICY = Policy(
    min_replicas=2,
    max_replicas=6,
    metrics=(Metric(name="queue_depth", type=MetricType.TOTAL, target=0.8),),
    scale_up=Scaling(tolerance=0.1),
    scale_down=Scaling(tolerance=0.2, stabilization_window=timedelta(minutes=5)),
    hold_limit=timedelta(minutes=15),
    pending_limit=timedelta(minutes=5),
    conflict_hold=timedelta(minutes=10),
)
US = "ollama-autoscaler"
QUERIES = (MetricQuery(name="queue_depth", query="sum(x)"),)


class FakeClock:
    """Time that a test moves."""

    def __init__(self, at=START):
        self.at = at
        self.seconds = 100.0

    def now(self):
        """Return the test's time."""
        return self.at

    def monotonic(self):
        """Return the test's seconds."""
        return self.seconds

    def pass_by(self, span=STEP):
        """Let time pass on both clocks."""
        self.at += span
        self.seconds += span.total_seconds()


class FakeSource:
    """A metric source that says what it was told to."""

    def __init__(self, value=1.6):
        self.value = value
        self.per_pod = {}
        """Pod to value, for queries that ask for each pod."""
        self.asked = []

    def ask(self, queries: Sequence[MetricQuery], now: datetime):
        """Answer each query with the value, measured two seconds ago."""
        self.asked.append(tuple(queries))
        if isinstance(self.value, Exception):
            raise self.value
        return {query.name: self._answer(query, now) for query in queries}

    def _answer(self, query, now):
        if isinstance(self.value, MissingKind):
            return Missing(missing=self.value, detail="as told")
        at = now - timedelta(seconds=2)
        if query.per_pod:
            told = self.per_pod.items()
            samples = [Sample(labels={"pod": pod}, value=value, at=at) for pod, value in told]
        else:
            samples = [Sample(value=self.value, at=at)]
        return Samples(samples=tuple(samples))


class FakeTarget:
    """A Deployment in memory."""

    def __init__(self, replicas=2):
        self.replicas = replicas
        self.pods = ()
        self.addresses = {}
        self.marked = set()
        self.writer = None
        self.writes = []
        self.victims = ()
        self.unmarked = []
        self.replaced = []
        self.read_error = None
        self.write_error = None
        self.unmark_error = None
        self.writes_all_the_same = False

    def read(self):
        """Return the replicas, all of them ready."""
        if self.read_error:
            raise self.read_error
        return TargetState(
            current=self.replicas,
            ready=self.replicas,
            pods=self.pods,
            addresses=self.addresses,
            marked=tuple(sorted(self.marked)),
            writer=self.writer,
        )

    def set_by(self, manager, replicas):
        """Let somebody set the replicas."""
        self.replicas = replicas
        self.writer = LastWriter(manager=manager, at=None, is_us=manager == US)

    def scale(self, current, desired, victims=()):
        """Set the replicas, or fail as told."""
        self.writes.append((current, desired))
        self.victims = victims
        if not self.write_error or self.writes_all_the_same:
            self.replicas = desired
            self.writer = self.writer and LastWriter(manager=US, at=None, is_us=True)
        if self.write_error:
            raise self.write_error

    def unmark(self, pods):
        """Take marks back, or fail as told."""
        if self.unmark_error:
            raise self.unmark_error
        self.unmarked.append(tuple(pods))
        self.marked -= set(pods)

    def replace(self, pod):
        """Delete a pod, or fail as told."""
        if self.write_error:
            raise self.write_error
        self.replaced.append(pod)


class FakeLeadership:
    """Leads as a test says."""

    def __init__(self):
        self.now = 1
        self.next = []
        """Answers to come before that."""

    def term(self):
        """Return the term."""
        return self.next.pop(0) if self.next else self.now


class FakeStore:
    """Keeps memories, unless it is told to lose them."""

    def __init__(self):
        self.kept = {}

    def load(self, target):
        """Return the memory."""
        return self.kept.get(target)

    def save(self, target, memory):
        """Keep it."""
        self.kept[target] = memory


class FakeGateway:
    """Knows the requests in flight on some addresses, or cannot be asked."""

    def __init__(self):
        self.requests = None

    def in_flight(self):
        """Return them."""
        return self.requests


class FakeReporter:
    """Keeps the reports."""

    def __init__(self):
        self.reports = []

    def report(self, report: CycleReport):
        """Keep it."""
        self.reports.append(report)


class Rig:
    """A loop with all its stand-ins."""

    def __init__(self, policy=POLICY, dry_run=False, reporters=()):
        self.clock = FakeClock()
        self.source = FakeSource()
        self.target = FakeTarget()
        self.reporter = FakeReporter()
        self.leadership = FakeLeadership()
        self.store = NoStore()
        self.gateway = FakeGateway()
        self._reporters = (*reporters, self.reporter)
        self.plan = Plan(name="llm/ollama", policy=policy, queries=QUERIES, dry_run=dry_run)
        self.restart()

    def restart(self):
        """Begin a new process, which knows what the store has kept."""
        ports = Ports(
            source=self.source,
            target=self.target,
            clock=self.clock,
            reporters=self._reporters,
            busy=self.gateway,
            leadership=self.leadership,
            store=self.store,
        )
        self.loop = TargetLoop(self.plan, ports)

    def cycle(self, value=None):
        """Let one interval pass, then run a cycle."""
        self.clock.pass_by()
        if value is not None:
            self.source.value = value
        return self.loop.run_once()


def report_of(value=5.0, *, write_error=None, read_error=None, dry_run=False) -> CycleReport:
    """Return the report of a cycle in which the metric had this value."""
    rig = Rig(dry_run=dry_run)
    rig.target.write_error = write_error
    rig.target.read_error = read_error
    return rig.cycle(value)


CONFLICT = ConflictError("llm/ollama: replicas is 3, not 2")
UNREADABLE = TargetReadError("llm/ollama: connection refused")
