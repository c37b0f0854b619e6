"""How long an answer takes: the service model of Ollama on a CPU, with named parameter sets.

A request alone on a replica takes ``S = overhead + input / prompt_rate + output / output_rate``
seconds. Of n busy slots each decoding request progresses at ``1 / (1 - sharing + sharing n)`` of
its speed, each one in prompt evaluation at ``1 / n``. Everything here is pure and in simulated
seconds; the caller owns the clock.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from autoscaler.errors import InputError

CONTEXT_TOKENS = 4096
"""Longer prompts are cut to this, as Ollama does with its default context on a CPU."""
OUTPUT_CAP_TOKENS = 1024
_EPSILON_S = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One model on one machine. Rates are tokens per second for a request that is alone."""

    name: str
    model: str
    prompt_rate: float
    output_rate: float
    overhead_s: float = 0.2
    start_up_s: float
    """Median time from the pod's creation to the model being in memory; jitter comes on top."""
    sharing: float = 0.8
    """Share of a token's cost that parallel slots do not have in common (phi)."""
    grounds: str
    """What the figures rest on."""

    def prompt_s(self, input_tokens: int) -> float:
        """Time until the first token could be made, alone on a replica."""
        return self.overhead_s + min(input_tokens, CONTEXT_TOKENS) / self.prompt_rate

    def output_s(self, output_tokens: int) -> float:
        """Time to generate that many tokens, alone on a replica."""
        return min(output_tokens, OUTPUT_CAP_TOKENS) / self.output_rate

    def service_s(self, input_tokens: int, output_tokens: int) -> float:
        """Time that the whole answer takes, alone on a replica."""
        return self.prompt_s(input_tokens) + self.output_s(output_tokens)


_PROFILES = (
    Profile(
        name="1b-sbc",
        model="tinyllama:1.1b",
        prompt_rate=194,
        output_rate=38.8,
        start_up_s=30,
        grounds="1.1B Q4_K_M on a board of 8 Arm cores: geerlingguy/ai-benchmarks issue 54",
    ),
    Profile(
        name="3b-i3",
        model="llama3.2:3b",
        prompt_rate=28.7,
        output_rate=11.0,
        start_up_s=35,
        grounds="3.2B Q4_K_M on an i3-1315U, 2 threads: geerlingguy/sbc-reviews issue 107",
    ),
    Profile(
        name="3b-laptop",
        model="llama3.2:3b",
        prompt_rate=72,
        output_rate=23.8,
        start_up_s=35,
        grounds="composite: output measured on a Ryzen AI 5 340 (geerlingguy/ai-benchmarks"
        " issue 33), prompt on another machine of 8 cores (issue 54)",
    ),
    Profile(
        name="8b-laptop",
        model="llama3.1:8b",
        prompt_rate=27,
        output_rate=6.0,
        start_up_s=60,
        grounds="8B on an i7-1165G7, from one news page: weak",
    ),
    Profile(
        name="8b-desktop",
        model="llama3.1:8b",
        prompt_rate=123,
        output_rate=11.3,
        start_up_s=45,
        grounds="8B Q4_0 on a Ryzen 7950X: ikawrakow/ik_llama.cpp PR 54, mainline column",
    ),
)
PROFILES: Mapping[str, Profile] = MappingProxyType({each.name: each for each in _PROFILES})


def profile_named(name: str) -> Profile:
    """Return that parameter set. Raises InputError where there is none of this name."""
    try:
        return PROFILES[name]
    except KeyError:
        raise InputError(
            f"--profile = {name}, must be one of {', '.join(PROFILES)}",
            next_step=f"autoscaler sandbox --profile {next(iter(PROFILES))}",
        ) from None


@dataclass(slots=True, eq=False)
class Job:
    """One request inside a replica. Times are simulated seconds; None: not yet."""

    input_tokens: int
    output_tokens: int
    arrived: float = 0.0
    started: float | None = None
    """When it got its slot."""
    prompt_done: float | None = None
    finished: float | None = None
    prompt_left: float = 0.0
    """Work left, in seconds alone on a replica."""
    output_left: float = 0.0
    emitted: int = 0
    """Output tokens made so far."""


@dataclass(slots=True)
class Slots:
    """The slots of one replica and the unlimited line before them, first come first served."""

    profile: Profile
    count: int
    now: float = 0.0
    open: bool = False
    """False until the model is in memory: requests only wait."""
    running: list[Job] = field(default_factory=list)
    waiting: deque[Job] = field(default_factory=deque)
    busy_s: float = 0.0
    """Time so far during which at least one slot was busy."""
    served: int = 0

    def admit_from(self, now: float) -> None:
        """Open the slots: the model is in memory."""
        self.advance(now)
        self.open = True
        self._admit()

    def submit(self, job: Job, now: float) -> None:
        """Give it a slot, or put it at the end of the line."""
        self.advance(now)
        job.arrived = now
        job.output_tokens = max(1, min(job.output_tokens, OUTPUT_CAP_TOKENS))
        job.prompt_left = self.profile.prompt_s(job.input_tokens)
        job.output_left = self.profile.output_s(job.output_tokens)
        self.waiting.append(job)
        self._admit()

    def cancel(self, job: Job, now: float) -> None:
        """Forget it, wherever it is; its slot goes to the next in line."""
        self.advance(now)
        if job in self.running:
            self.running.remove(job)
        elif job in self.waiting:
            self.waiting.remove(job)
        self._admit()

    def advance(self, now: float) -> None:
        """Let time pass until `now`; a time in the past changes nothing."""
        while self.running and now > self.now:
            step = min(now - self.now, self._to_next_phase())
            self.now += step
            self.busy_s += step
            for job in tuple(self.running):
                self._work(job, step * self._pace(job))
            self._leave()
        self.now = max(self.now, now)

    def next_change(self) -> float | None:
        """Tell when a prompt ends, or a first or last token is due, if nothing else happens."""
        if not self.running:
            return None
        first = 1 / self.profile.output_rate
        due = (
            (job.prompt_left or max(0.0, job.output_left - self._after_first(job, first)))
            / self._pace(job)
            for job in self.running
        )
        return self.now + min(due)

    def _after_first(self, job: Job, first: float) -> float:
        whole = self.profile.output_s(job.output_tokens)
        return whole - first if job.emitted == 0 else 0.0

    def _pace(self, job: Job) -> float:
        busy, sharing = len(self.running), self.profile.sharing
        return 1 / busy if job.prompt_left > 0 else 1 / (1 - sharing + sharing * busy)

    def _to_next_phase(self) -> float:
        return min((job.prompt_left or job.output_left) / self._pace(job) for job in self.running)

    def _work(self, job: Job, done: float) -> None:
        if job.prompt_left > 0:
            job.prompt_left = _less(job.prompt_left, done)
            if job.prompt_left == 0:
                job.prompt_done = self.now
            return
        job.output_left = _less(job.output_left, done)
        made = self.profile.output_s(job.output_tokens) - job.output_left
        job.emitted = min(job.output_tokens, int(made * self.profile.output_rate + 1e-6))
        if job.output_left == 0:
            job.emitted = job.output_tokens

    def _leave(self) -> None:
        for job in tuple(self.running):
            if job.prompt_left == 0 and job.output_left == 0:
                job.finished = self.now
                self.running.remove(job)
                self.served += 1
        self._admit()

    def _admit(self) -> None:
        while self.open and self.waiting and len(self.running) < self.count:
            job = self.waiting.popleft()
            job.started = self.now
            self.running.append(job)


def _less(left: float, done: float) -> float:
    rest = left - done
    return rest if rest > _EPSILON_S else 0.0
