"""A Deployment with its pods, as Kubernetes' controllers treat them, and a log of all writes."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from autoscaler.decision.model import Pod
from autoscaler.decision.words import ALIVE, PodPhase
from autoscaler.ports import LastWriter

US = "ollama-autoscaler"
AUTOSCALER = "kube-controller-manager"
"""Kubernetes' own horizontal one."""
FIRST_COST = -1000


class Time:
    """The machine's clocks; the wall clock can be set."""

    def __init__(self):
        self.wall = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
        self.ticks = 1000.0

    def wait(self, seconds):
        """Let time pass."""
        self.wall += timedelta(seconds=seconds)
        self.ticks += seconds


@dataclass
class SimPod:
    """One pod; it begins without a node."""

    name: str
    number: int
    created: datetime
    phase: PodPhase = PodPhase.PENDING
    ready: bool = False
    deleting: bool = False
    unschedulable: bool = False
    failing: bool = False
    cost: int = 0
    requests: int = 0
    stalled: bool = False
    """Has requests and does nothing."""

    @property
    def alive(self):
        """Tell whether it counts as a replica."""
        return self.phase in ALIVE and not self.deleting

    @property
    def serves(self):
        """Tell whether it is one of those whose samples count."""
        return self.phase is PodPhase.RUNNING and self.ready and not self.deleting

    @property
    def marked(self):
        """Tell whether it carries our mark."""
        return self.cost < 0

    @property
    def address(self):
        """Return its IP address, once it has one."""
        return f"10.0.0.{self.number}" if self.phase is PodPhase.RUNNING else None

    def shown(self):
        """Return it as the API shows it."""
        return Pod(
            name=self.name,
            phase=self.phase,
            ready=self.ready,
            deleting=self.deleting,
            created=self.created,
            unschedulable=self.unschedulable,
            failing=self.failing,
        )


@dataclass(frozen=True)
class Write:
    """One change of the replicas that the API let through."""

    manager: str
    at: datetime
    from_: int
    to: int
    late: bool = False
    """Made by a daemon that had lost the leadership between asking for it and the write."""

    @property
    def ours(self):
        """Tell whether it has our name on it."""
        return self.manager == US


class Cluster:
    """One Deployment and the room for its pods."""

    def __init__(self, time, *, tells_writers):
        self._time = time
        self._tells_writers = tells_writers
        self._born = 0
        self.replicas = 2
        self.room = 8
        self.pods = []
        self.log = []
        self.control()
        self.start()

    # --- what the API does ----------------------------------------------------------------------

    @property
    def writer(self):
        """Return the last writer, as the managed fields have it.

        They have no time for what was written by the subresource `scale`, and else whole seconds.
        """
        if not self._tells_writers or not self.log:
            return None
        last = self.log[-1]
        by_scale = last.ours or last.manager == AUTOSCALER
        at = None if by_scale else last.at.replace(microsecond=0)
        return LastWriter(manager=last.manager, at=at, is_us=last.ours)

    def write(self, manager, to, *, late=False):
        """Set the replicas."""
        write = Write(manager=manager, at=self._time.wall, from_=self.replicas, to=to, late=late)
        self.log.append(write)
        self.replicas = to

    def pod(self, name):
        """Return the pod of that name, None where it is gone."""
        return next((pod for pod in self.pods if pod.name == name), None)

    def mark(self, name, cost):
        """Set a pod's deletion cost; 0 takes the mark away."""
        pod = self.pod(name)
        if pod is not None:
            pod.cost = cost

    def costs(self):
        """Return the deletion cost of each pod."""
        return {pod.name: pod.cost for pod in self.pods}

    # --- what the controllers and the kubelet do --------------------------------------------------

    def surplus(self):
        """Return the pods that go now, in Kubernetes' order of deletion."""
        alive = sorted((pod for pod in self.pods if pod.alive), key=_rank)
        return alive[: max(0, len(alive) - self.replicas)]

    def going(self):
        """Return their names."""
        return {pod.name for pod in self.surplus()}

    def key(self):
        """Return what decides who goes, but for the marks."""
        return self.replicas, [(pod.name, pod.phase, pod.ready) for pod in self.pods if pod.alive]

    def control(self):
        """Delete or create pods until there are as many as replicas."""
        for pod in self.surplus():
            pod.deleting = True
        for _ in range(self.replicas - sum(pod.alive for pod in self.pods)):
            self._born += 1
            name = f"ollama-{self._born}"
            self.pods.append(SimPod(name=name, number=self._born, created=self._time.wall))
            taken = sum(pod.phase in ALIVE and not pod.unschedulable for pod in self.pods)
            self.pods[-1].unschedulable = taken > self.room

    def start(self):
        """Let all that can become ready."""
        for pod in self.pods:
            taken = sum(each.phase in ALIVE and not each.unschedulable for each in self.pods)
            if pod.unschedulable and pod.phase is PodPhase.PENDING:
                pod.unschedulable = taken >= self.room
            if pod.phase is PodPhase.PENDING and not pod.unschedulable:
                pod.phase = PodPhase.RUNNING
            if pod.phase is PodPhase.RUNNING and not pod.failing:
                pod.ready = True

    def bury(self):
        """Take away what is being deleted or has failed."""
        self.pods = [pod for pod in self.pods if pod.phase in ALIVE and not pod.deleting]


def _rank(pod):
    return (
        not pod.unschedulable,
        pod.phase is PodPhase.RUNNING,
        pod.ready,
        pod.cost,
        -pod.number,
    )
