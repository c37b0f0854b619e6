"""One Deployment, two daemons, and everything that can happen to them."""

import math
from dataclasses import replace
from datetime import timedelta

from autoscaler.decision.model import Missing, Sample, Samples
from autoscaler.decision.words import MetricType, MissingKind, PodPhase
from autoscaler.loop import Plan
from autoscaler.ports import MetricQuery
from tests.machine.cluster import Cluster, Time
from tests.machine.daemon import Daemon

NAME = "llm/ollama"


class World:
    """One Deployment, two daemons, and what can happen; `object` collects what must not."""

    def __init__(self, policy, *, skew=0, tells_writers=True, asks_gateway=True):
        self.objections = []
        self.doomed = (None, set())
        """What the controller has to go by after our last write, and who goes then."""
        self.tells_writers = tells_writers
        self.time = Time()
        self.cluster = Cluster(self.time, tells_writers=tells_writers)
        self.plan = plan_of(policy)
        self.kept = []
        self.annotation = "none"
        self.gateway = "all"
        self.feeds = {"queue": ("whole", 1.0), "cpu": ("whole", 0.3)}
        self.daemons = [Daemon(self, skew=each, asks_gateway=asks_gateway) for each in (0, skew)]
        self.leader, self.term = self.daemons[0], 1

    def object(self, text):
        """Note what must not happen."""
        self.objections.append(text)

    def want(self, more):
        """Let the load ask for so many replicas more than there are, or less."""
        policy, now = self.plan.policy, self.cluster.replicas
        number = now + more
        if number > policy.max_replicas or number < policy.min_replicas > 0:
            number = now - more  # there is no room on that side
        number = max(0, number)
        serving = sum(pod.serves for pod in self.cluster.pods) or 1
        for metric in policy.metrics:
            share = number if metric.type is MetricType.TOTAL else number / serving
            quality, _ = self.feeds[metric.name]
            self.feeds[metric.name] = (quality, metric.target * share)

    def calm(self, really):
        """Let nothing be amiss for so long that nothing of the past counts any more."""
        if really:
            self.annotation, self.gateway, self.cluster.room = "none", "all", 8
            self.feeds = {name: ("whole", value) for name, (_, value) in self.feeds.items()}
            self.happen(("settle",))
            self.time.wait(61)

    def happen(self, event):
        """Let an event happen: its name and what belongs to it."""
        name, *details = event
        getattr(self, f"_on_{name}")(*details)

    # --- time, processes, leadership ----------------------------------------------------------

    def _on_wait(self, seconds):
        self.time.wait(seconds)

    def _on_jump(self, seconds):
        self.time.wall += timedelta(seconds=seconds)
        for daemon in self.daemons:
            daemon.jumped += timedelta(seconds=seconds)

    def _on_restart(self, who):
        if not self.daemons[who].running:
            self.daemons[who].start()

    def _on_cycle(self, who):
        self.time.wait(1)
        self.daemons[who].cycle()

    def _on_lead(self, who):
        self.leader = None if who is None else self.daemons[who]
        self.term += 1

    def _on_store(self, what):
        """Forget the last memory, or all."""
        self.kept = self.kept[:-1] if what == "behind" else []

    def _on_adopt(self, policy):
        self.plan = plan_of(policy)

    def _on_mode(self, mode):
        self._on_adopt(replace(self.plan.policy, mode=mode))

    # --- other writers ------------------------------------------------------------------------

    def _on_scale(self, manager, number):
        self.cluster.write(manager, number)
        self.doomed = (None, set())

    def remember_marks(self, writes, costs):
        """Marks stay whose write did not come: who has them goes before those of the last write."""
        same_write = len(self.cluster.log) == writes and self.doomed[0] == self.cluster.key()
        if same_write and self.cluster.costs() != costs:
            self.doomed = (self.cluster.key(), self.cluster.going())

    def _on_reapply(self, manager):
        self.cluster.write(manager, self.cluster.replicas)

    def _on_pause(self, annotation):
        self.annotation = annotation

    # --- pods and requests --------------------------------------------------------------------

    def _on_control(self):
        """Let the controller work; what a write of ours has doomed goes, and nothing else."""
        key, doomed = self.doomed
        if key == self.cluster.key() and doomed != self.cluster.going():
            self.object(f"{self.cluster.going()} go, not {doomed}")
        self.cluster.control()

    def _on_start(self):
        self.cluster.start()

    def _on_settle(self):
        self._on_control()
        self.cluster.bury()
        self.cluster.control()
        self.cluster.start()

    def _on_room(self, number):
        self.cluster.room = number

    def _on_pod(self, what, number):
        pods = self.cluster.pods
        if not pods:
            return
        pod = pods[number % len(pods)]
        if what == "crashes" and pod.phase is PodPhase.RUNNING:
            pod.ready, pod.failing = False, True
        elif what == "recovers":
            pod.failing = False
        elif what == "is evicted":
            pod.phase, pod.ready, pod.requests = PodPhase.FAILED, False, 0
        elif what == "is deleted":
            pod.deleting = True
        elif what == "stalls":
            pod.requests, pod.stalled = max(1, pod.requests), True

    def _on_busy(self, number, requests):
        serving = [pod for pod in self.cluster.pods if pod.serves]
        if serving:
            pod = serving[number % len(serving)]
            pod.requests, pod.stalled = requests, False

    # --- metrics ------------------------------------------------------------------------------

    def _on_load(self, name, quality, value):
        self.feeds[name] = (quality, value)

    def _on_gateway(self, knows):
        self.gateway = knows

    def answer(self, metric, now):
        """Return the answer of a metric, of the quality that it has now."""
        quality, value = self.feeds[metric.name]
        if quality in list(MissingKind):
            return Missing(missing=MissingKind(quality))
        if quality == "no series":
            return Samples(samples=())
        if metric.type is MetricType.TOTAL:
            samples = [Sample(value=value, at=now - timedelta(seconds=2))]
        else:
            samples = [
                Sample(
                    labels={"pod": pod.name},
                    value=0.0 if pod.stalled else value,
                    at=now - timedelta(seconds=2),
                )
                for pod in self.cluster.pods
                if pod.phase is PodPhase.RUNNING
            ]
        return Samples(samples=tuple(_spoilt(quality, samples)))


def _spoilt(quality, samples):
    if quality == "partial":
        return samples[1:] if len(samples) > 1 else samples
    if quality == "twice":
        return [*samples, *samples[:1]]
    for count, sample in enumerate(samples):
        first = count == 0
        old = quality == "stale" or (quality == "partly stale" and first)
        at = sample.at - timedelta(minutes=5) if old else sample.at
        value = {"NaN": math.nan, "negative": -1.0}.get(quality, sample.value)
        samples[count] = replace(sample, at=at, value=value if first else sample.value)
    return samples


def plan_of(policy):
    """Return what the loops are to do."""
    queries = tuple(
        MetricQuery(name=metric.name, query="x", per_pod=metric.type is MetricType.POD)
        for metric in policy.metrics
    )
    return Plan(name=NAME, policy=policy, queries=queries)
