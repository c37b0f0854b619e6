"""The pods of a simulated run as the daemon sees them: by the API, by cAdvisor, by the gateway."""

from collections import deque
from datetime import UTC, datetime, timedelta

from autoscaler.backtest.rates import rate
from autoscaler.backtest.scaler import ReplicaView, Truth
from autoscaler.decision.model import Pod, Sample, Samples
from autoscaler.decision.words import PodPhase

EPOCH = datetime(2026, 1, 5, tzinfo=UTC)
"""Second 0 of a run: a Monday, at midnight."""

_Face = tuple[bool, bool, bool, int]
"""What the API and the gateway show of a replica: placed, ready, draining, running."""


def moment(seconds: float) -> datetime:
    """Return the time so many seconds after the start of a run."""
    return EPOCH + timedelta(seconds=seconds)


class PodWatch:
    """Keeps the last scrapes; hands out the same objects while they say the same."""

    def __init__(self, scrape: int, window: int) -> None:
        """Take the seconds between scrapes of CPU use, and the window of its rate."""
        self._window = window
        self._even = window % scrape == 0
        self._kept = window // scrape + 1
        self._lives: dict[str, _Life] = {}
        self._pods: tuple[Pod, ...] = ()
        self._ready = 0
        self._scraped = 0.0
        self._watched: tuple[_Life, ...] = ()
        self._uses: tuple[Samples, tuple[float, ...]] = (Samples(samples=()), ())
        self._open = True
        """Whether what `rate` gives changes until the next scrape."""

    def pods(self, truth: Truth) -> tuple[tuple[Pod, ...], int]:
        """Return the pods, and how many of them are ready and stay."""
        lives, found, ready = self._lives, [], 0
        for view in truth.replicas:
            life = lives.get(view.name) or self._begin(view)
            pod = life.pod if life.view is view else life.show(view)
            found.append(pod)
            ready += pod.ready and not pod.deleting
        pods = tuple(found)
        if pods != self._pods:
            self._pods, self._ready = pods, ready
        return self._pods, self._ready

    def scrape(self, truth: Truth) -> None:
        """Take a sample of each container's CPU seconds."""
        present = []
        for view in truth.replicas:
            life = self._lives.get(view.name) or self._begin(view)
            if view.placed:
                life.sample(truth.now, view.cpu_seconds)
            present.append(life)
        self._lives = {life.name: life for life in present}
        self._watched = tuple(life for life in present if life.cpu)
        self._scraped, self._open = truth.now, True

    def uses(self, now: float) -> tuple[Samples, tuple[float, ...]]:
        """Return each pod's CPU use over its limit, as samples and as bare numbers."""
        if not self._open:
            return self._uses
        at, window, is_open = moment(self._scraped), self._window, False
        samples = []
        for life in self._watched:
            if life.open:
                life.use = rate(life.cpu, now, window)
                life.open = not (self._even and life.is_settled(now, window))
                is_open = is_open or life.open
            if life.use is not None:
                samples.append(Sample(labels=life.labels, value=life.use, at=at))
        self._open = is_open
        self._uses = Samples(samples=tuple(samples)), tuple([each.value for each in samples])
        return self._uses

    def _begin(self, view: ReplicaView) -> "_Life":
        life = self._lives[view.name] = _Life(view, self._kept)
        return life


class _Life:
    """One pod, and what was scraped of it."""

    __slots__ = ("_created", "_faces", "cpu", "labels", "name", "open", "pod", "use", "view")

    def __init__(self, view: ReplicaView, kept: int) -> None:
        self.name = view.name
        self.labels = {"pod": view.name}
        self.cpu: deque[tuple[float, float]] = deque(maxlen=kept)
        self.use: float | None = None
        """The rate of its CPU seconds."""
        self.open = True
        """Whether that may be another before the next scrape."""
        self._created = moment(view.created)
        self._faces: dict[_Face, Pod] = {}
        self.pod = self.show(view)

    def show(self, view: ReplicaView) -> Pod:
        """Return the pod as it is now."""
        ready = view.ready_at is not None
        face = (view.placed, ready, view.draining, view.running)
        pod = self._faces.get(face)
        if pod is None:
            pod = self._faces[face] = Pod(
                name=self.name,
                phase=PodPhase.RUNNING if view.placed else PodPhase.PENDING,
                ready=ready,
                deleting=view.draining,
                created=self._created,
                in_flight=view.running if ready else None,  # the gateway has not met the others
                unschedulable=not view.placed,
                failing=False,
                template="1",
            )
        self.view, self.pod = view, pod
        return pod

    def sample(self, now: float, cpu_seconds: float) -> None:
        """Take a scrape's sample. Who has not moved all the time is at rest, and stays there."""
        cpu = self.cpu
        rests = not self.open and self.use == 0 and cpu[-1][1] == cpu_seconds
        cpu.append((now, cpu_seconds))
        self.open = not rests

    def is_settled(self, now: float, window: float) -> bool:
        """Tell whether the rate stays as it is until the next scrape.

        So it does where the samples fill the window and the counter is not so young that `rate`
        asks when it was zero; or where it has not moved.
        """
        cpu = self.cpu
        if len(cpu) < (cpu.maxlen or 0):
            return False
        # The oldest has just left the window, or is about to: it counts at no moment of the scrape.
        (first, low), (last, high) = cpu[1], cpu[-1]
        return low * (last - first) >= (high - low) * (first - (now - window))
