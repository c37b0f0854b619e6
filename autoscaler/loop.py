"""One cycle for one target: observe, decide, act, remember, report."""

from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import PurePath

from autoscaler.decision.decide import Verdict, decide, remember
from autoscaler.decision.model import Decision, Observation, Pod, Policy, ScalingState
from autoscaler.decision.record import Outcome, Record
from autoscaler.decision.words import ALIVE, Direction, Mode, Reason, WriteResult
from autoscaler.errors import ActError, AutoscalerError, ConflictError, UnknownWriteError
from autoscaler.ports import (
    BusySource,
    Clock,
    CycleReport,
    Leadership,
    Memory,
    MetricQuery,
    MetricSource,
    Reporter,
    ScaleTarget,
    StateStore,
    TargetState,
)
from autoscaler.writes import OwnWrites

_SKEW = timedelta(seconds=10)
"""By so much the clock of the daemon that led before may have been ahead of ours."""


class SoleLeader:
    """The leadership of a daemon that shares its targets with no other."""

    def term(self) -> int | None:
        """Lead, always."""
        return 1


class NoStore:
    """Forgets everything: each start of the process begins afresh."""

    def load(self, target: str) -> Memory | None:  # noqa: ARG002
        """Know nothing."""
        return None

    def save(self, target: str, memory: Memory) -> None:
        """Keep nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """What a loop asks and tells."""

    source: MetricSource
    target: ScaleTarget
    clock: Clock
    reporters: tuple[Reporter, ...]
    busy: BusySource | None = None
    """None: nobody can be asked."""
    leadership: Leadership = field(default_factory=SoleLeader)
    store: StateStore = field(default_factory=NoStore)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a loop is to do."""

    name: str
    """namespace/name of the target."""
    policy: Policy
    queries: tuple[MetricQuery, ...]
    dry_run: bool = False
    """True: never write, whatever the policy's mode."""

    @property
    def mode(self) -> Mode:
        """Return the mode that is in force."""
        return Mode.SHADOW if self.dry_run else self.policy.mode


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ending:
    """How a cycle ended."""

    outcome: Outcome
    record: Record | None = None
    error: str = ""
    reason: str = ""


class TargetLoop:
    """The cycles of one target, one at a time, and the state that they hand on."""

    def __init__(self, plan: Plan, ports: Ports) -> None:
        self._plan = plan
        self._ports = ports
        self._term: int | None = None
        self._state = ScalingState()
        self._writes = OwnWrites()

    def adopt(self, plan: Plan, ports: Ports | None = None) -> None:
        """Go on by another plan for the same target, and other ports; between two cycles."""
        self._plan = plan
        self._ports = ports or self._ports

    def run_once(self) -> CycleReport:
        """Run one cycle. Never raises: whatever goes wrong leaves the replicas as they are."""
        began = self._ports.clock.monotonic()
        now = self._ports.clock.now()
        try:
            ending = self._cycle(now)
        except AutoscalerError as error:
            ending = _Ending(outcome=Outcome.FAILED, error=str(error))
        except Exception as error:  # noqa: BLE001 - the scheduler would swallow it without a word
            ending = _Ending(outcome=Outcome.FAILED, error=_bug(error))
        return self._report(now, self._ports.clock.monotonic() - began, ending)

    def _cycle(self, now: datetime) -> _Ending:
        if not self._lead():
            return _Ending(outcome=Outcome.SKIPPED, reason=Reason.NOT_LEADER)
        if unusable := self._refuse_clock(now):
            return unusable
        seen = self._ports.target.read()
        self._tidy(seen)
        observation = self._observe(seen, now)
        verdict = decide(self._plan.policy, self._state, observation)
        write = self._act(verdict.decision, now)
        return self._remember(observation, verdict, write)

    def _lead(self) -> bool:
        """Tell whether we lead; a new term goes on from what the leader before has left."""
        term = self._ports.leadership.term()
        if term is not None and term != self._term:
            memory = self._ports.store.load(self._plan.name)
            self._state = memory.state if memory else ScalingState()
            self._writes = OwnWrites(memory.expected if memory else None)
        self._term = term
        return term is not None

    def _still_leads(self) -> bool:
        return self._term is not None and self._ports.leadership.term() == self._term

    def _tidy(self, seen: TargetState) -> None:
        """Take back marks that no shrinking stands behind: one that failed or died half way.

        While there are more pods than replicas, marked ones are about to go.
        """
        staying = sum(not pod.deleting and pod.phase in ALIVE for pod in seen.pods)
        if not seen.marked or staying > seen.current or self._plan.mode is Mode.SHADOW:
            return
        if self._still_leads():
            self._ports.target.unmark(seen.marked)

    def _observe(self, seen: TargetState, now: datetime) -> Observation:
        if lost := self._writes.arrived(seen):
            self._state = remember(self._plan.policy, self._state, lost.change, lost.at)
        foreign = self._writes.foreign(seen)
        return Observation(
            now=now,
            current=seen.current,
            ready=seen.ready,
            pods=self._with_requests(seen),
            metrics=self._ports.source.ask(self._plan.queries, now),
            paused=seen.paused,
            paused_direction=seen.paused_direction,
            # In shadow mode another writer is expected, and nobody is there to stand down.
            foreign_write=None if self._plan.mode is Mode.SHADOW else foreign,
        )

    def _with_requests(self, seen: TargetState) -> tuple[Pod, ...]:
        requests = self._ports.busy.in_flight() if self._ports.busy else None
        if requests is None:
            return seen.pods
        return tuple(
            replace(pod, in_flight=requests.get(seen.addresses.get(pod.name, "")))
            for pod in seen.pods
        )

    def _act(self, decision: Decision, now: datetime) -> _Ending:
        if decision.direction is Direction.HOLD and decision.replace is None:
            return _Ending(outcome=Outcome.HELD)
        if self._plan.mode is Mode.SHADOW:
            return _Ending(outcome=Outcome.DRY_RUN)
        if not self._still_leads():
            return _Ending(outcome=Outcome.SKIPPED, error="the leadership has been lost")
        try:
            return self._write(decision)
        except ConflictError as error:
            return _Ending(outcome=Outcome.CONFLICTED, error=str(error))
        except ActError as error:
            if isinstance(error, UnknownWriteError):
                self._writes.lost(decision.from_, decision.to, now)
            return _Ending(outcome=Outcome.FAILED, error=str(error))

    def _write(self, decision: Decision) -> _Ending:
        target = self._ports.target
        if decision.direction is Direction.HOLD:
            target.replace(decision.replace or "")
            return _Ending(outcome=Outcome.REPLACED)
        target.scale(decision.from_, decision.to, decision.victims)
        self._writes.wrote(decision.to)
        return _Ending(outcome=Outcome.SCALED)

    def _remember(self, observation: Observation, verdict: Verdict, write: _Ending) -> _Ending:
        before, self._state = self._state, verdict.state
        decision = verdict.decision
        if write.outcome is Outcome.SCALED:
            self._state = remember(
                self._plan.policy, verdict.state, decision.to - decision.from_, observation.now
            )
        if self._still_leads():
            memory = Memory(state=self._state, expected=self._writes.expected)
            self._ports.store.save(self._plan.name, memory)
        record = Record(
            target=self._plan.name,
            policy=self._plan.policy,
            observation=replace(observation, write=_write_result(write.outcome)),
            state=before,
            steps=verdict.steps,
            decision=decision,
            outcome=write.outcome,
            mode=self._plan.mode,
        )
        return replace(write, record=record)

    def _report(self, now: datetime, seconds: float, ending: _Ending) -> CycleReport:
        report = CycleReport(
            target=self._plan.name,
            at=now,
            duration=timedelta(seconds=seconds),
            outcome=ending.outcome,
            record=ending.record,
            error=ending.error,
            reason=ending.reason,
        )
        for reporter in self._ports.reporters:
            with suppress(Exception):  # a full disk or a closed pipe must not stop the scaling
                reporter.report(report)
        return report

    def _refuse_clock(self, now: datetime) -> _Ending | None:
        """Skip a cycle whose time is not later than the last one's: decisions need that."""
        last = self._state.last_cycle
        if last is None or now > last:
            return None
        error = f"the clock says {now.isoformat()}, the last cycle was at {last.isoformat()}"
        if last - now > _SKEW:
            # Times that lie ahead mean nothing any more; begin as after a restart, which moves
            # nothing by itself, rather than wait until the clock has caught up.
            self._state = ScalingState()
            error += "; starting afresh"
        return _Ending(outcome=Outcome.SKIPPED, error=error)


def _write_result(outcome: Outcome) -> WriteResult:
    if outcome is Outcome.CONFLICTED:
        return WriteResult.CONFLICT
    return WriteResult.FAILED if outcome is Outcome.FAILED else WriteResult.OK


def _bug(error: Exception) -> str:
    """Name an unexpected error and the line that raised it, on one line."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    file = PurePath(trace.tb_frame.f_code.co_filename).name if trace else "?"
    line = trace.tb_lineno if trace else 0
    return " ".join(f"{type(error).__name__}: {error} ({file}:{line})".split())
