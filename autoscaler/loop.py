"""One cycle for one target: observe, decide, act, remember, report."""

from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import PurePath

from autoscaler.decision.decide import Verdict, decide, remember
from autoscaler.decision.model import Decision, Observation, Policy, ScalingState
from autoscaler.decision.record import Outcome, Record
from autoscaler.decision.words import Direction, Mode, WriteResult
from autoscaler.errors import ActError, AutoscalerError, ConflictError, UnknownWriteError
from autoscaler.ports import Clock, CycleReport, MetricQuery, MetricSource, Reporter, ScaleTarget
from autoscaler.writes import OwnWrites


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """What a loop asks and tells."""

    source: MetricSource
    target: ScaleTarget
    clock: Clock
    reporters: tuple[Reporter, ...]


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


class TargetLoop:
    """The cycles of one target, one at a time, and the state that they hand on."""

    def __init__(self, plan: Plan, ports: Ports) -> None:
        self._plan = plan
        self._ports = ports
        self._state = ScalingState()
        self._writes = OwnWrites()

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
        if unusable := self._refuse_clock(now):
            return unusable
        observation = self._observe(now)
        verdict = decide(self._plan.policy, self._state, observation)
        write = self._act(verdict.decision, now)
        return self._remember(observation, verdict, write)

    def _observe(self, now: datetime) -> Observation:
        seen = self._ports.target.read()
        if lost := self._writes.arrived(seen.current):
            self._state = remember(self._plan.policy, self._state, lost.decision, lost.at)
        foreign = self._writes.foreign(seen.current)
        return Observation(
            now=now,
            current=seen.current,
            ready=seen.ready,
            pods=seen.pods,
            metrics=self._ports.source.ask(self._plan.queries, now),
            # In shadow mode another writer is expected, and nobody is there to stand down.
            foreign_write=None if self._plan.mode is Mode.SHADOW else foreign,
        )

    def _act(self, decision: Decision, now: datetime) -> _Ending:
        if decision.direction is Direction.HOLD:
            return _Ending(outcome=Outcome.HELD)
        if self._plan.mode is Mode.SHADOW:
            return _Ending(outcome=Outcome.DRY_RUN)
        try:
            self._ports.target.scale(decision.from_, decision.to)
        except ConflictError as error:
            return _Ending(outcome=Outcome.CONFLICTED, error=str(error))
        except ActError as error:
            if isinstance(error, UnknownWriteError):
                self._writes.lost(decision, now)
            return _Ending(outcome=Outcome.FAILED, error=str(error))
        self._writes.wrote(decision)
        return _Ending(outcome=Outcome.SCALED)

    def _remember(self, observation: Observation, verdict: Verdict, write: _Ending) -> _Ending:
        before, self._state = self._state, verdict.state
        if write.outcome is Outcome.SCALED:
            self._state = remember(
                self._plan.policy, verdict.state, verdict.decision, observation.now
            )
        record = Record(
            target=self._plan.name,
            policy=self._plan.policy,
            observation=replace(observation, write=_write_result(write.outcome)),
            state=before,
            steps=verdict.steps,
            decision=verdict.decision,
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
        if now < last:
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
