"""One cycle for one target: observe, decide, act, remember, report."""

from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import PurePath

from autoscaler.decision.decide import decide, remember
from autoscaler.decision.model import Decision, Observation, Pod, Policy, ScalingState
from autoscaler.decision.record import Outcome, Record
from autoscaler.decision.shift import shifted
from autoscaler.decision.stabilize import resumed
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
"""Clocks that differ by no more have not been set, they are only not quite the same."""
_PATIENCE = timedelta(seconds=30)
"""What was seen longer ago is not acted on: the process was halted, or the API is too slow."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Moment:
    """One instant on both clocks."""

    now: datetime
    ticks: float
    """Seconds that never run backwards."""


class _TooLateError(AutoscalerError):
    """Nothing may be written any more in this cycle."""


class TargetLoop:
    """The cycles of one target, one at a time, and the state that they hand on."""

    def __init__(self, plan: Plan, ports: Ports) -> None:
        self._plan = plan
        self._ports = ports
        self._last: _Moment | None = None
        self._has_seen = False
        """Whether the last cycle came to a decision."""
        self._term: int | None = None
        self._state = ScalingState()
        self._writes = OwnWrites()

    def adopt(self, plan: Plan, ports: Ports | None = None) -> None:
        """Go on by another plan for the same target, and other ports; between two cycles."""
        self._plan = plan
        self._ports = ports or self._ports

    def run_once(self) -> CycleReport:
        """Run one cycle. Never raises: whatever goes wrong leaves the replicas as they are."""
        began = _Moment(now=self._ports.clock.now(), ticks=self._ports.clock.monotonic())
        try:
            ending = self._cycle(began)
        except Exception as error:  # noqa: BLE001 - the scheduler would swallow it without a word
            ending = _Ending(outcome=Outcome.FAILED, error=_told(error))
        return self._report(began, ending)

    def _cycle(self, began: _Moment) -> _Ending:
        has_seen, self._has_seen = self._has_seen, False
        self._follow_clock(began)
        if not self._lead():
            return _Ending(outcome=Outcome.SKIPPED, reason=Reason.NOT_LEADER)
        if unusable := self._refuse_clock(began.now):
            return unusable
        seen = self._tidied(self._ports.target.read(), began)
        observation = self._observe(seen, began.now)
        if not has_seen:
            self._state = resumed(self._plan.policy, self._state, began.now, seen.current)
        self._has_seen = True
        verdict = decide(self._plan.policy, self._state, observation)
        before, self._state = self._state, verdict.state
        self._writes.accept(seen)
        ending = self._act(verdict.decision, seen, began)
        self._save()
        record = Record(
            target=self._plan.name,
            policy=self._plan.policy,
            observation=replace(observation, write=_write_result(ending.outcome)),
            state=before,
            steps=verdict.steps,
            decision=verdict.decision,
            outcome=ending.outcome,
            mode=self._plan.mode,
            error=ending.error or None,
        )
        return replace(ending, record=record)

    # --- who leads, and what time it is -----------------------------------------------------------

    def _lead(self) -> bool:
        """Tell whether we lead; a new term goes on from what the leader before has left."""
        term = self._ports.leadership.term()
        if term is not None and term != self._term:
            memory = self._ports.store.load(self._plan.name) or self._memory()
            self._state, self._writes = memory.state, OwnWrites(memory.expected)
        self._term = term
        return term is not None

    def _still_leads(self) -> bool:
        return self._term is not None and self._ports.leadership.term() == self._term

    def _check_leave(self, began: _Moment) -> None:
        """Ask just before every write whether it may still be made. Raises _TooLateError."""
        if not self._still_leads():
            raise _TooLateError("the leadership has been lost")
        age = timedelta(seconds=self._ports.clock.monotonic() - began.ticks)
        if age > _PATIENCE:
            raise _TooLateError(f"what was seen is {age.total_seconds():.0f}s old")

    def _follow_clock(self, began: _Moment) -> None:
        """Move what we remember along with a clock that was set: no span grows or shrinks by it."""
        last, self._last = self._last, began
        if last is None:
            return
        jump = began.now - last.now - timedelta(seconds=began.ticks - last.ticks)
        if abs(jump) > _SKEW:
            self._state = shifted(self._state, jump)

    def _refuse_clock(self, now: datetime) -> _Ending | None:
        """Skip a cycle whose time is not later than the last one's: decisions need that."""
        last = self._state.last_cycle
        if last is None or now > last:
            return None
        if last - now > _SKEW:
            # The daemon before went by another clock. From the next cycle on we go by ours.
            self._state = shifted(self._state, now - last)
        error = f"the clock says {now.isoformat()}, the last cycle was at {last.isoformat()}"
        return _Ending(outcome=Outcome.SKIPPED, error=error)

    # --- observe ----------------------------------------------------------------------------------

    def _tidied(self, seen: TargetState, began: _Moment) -> TargetState:
        """Take back marks that no shrinking stands behind: one that failed or died half way.

        While there are more pods than replicas, marked ones are about to go. Marks that cannot be
        taken back stay in what was seen.
        """
        staying = sum(not pod.deleting and pod.phase in ALIVE for pod in seen.pods)
        if not seen.marked or staying > seen.current or self._plan.mode is Mode.SHADOW:
            return seen
        with suppress(ActError, _TooLateError):  # they do no harm before the next shrinking
            self._check_leave(began)
            self._ports.target.unmark(seen.marked)
            return replace(seen, marked=())
        return seen

    def _observe(self, seen: TargetState, now: datetime) -> Observation:
        if ours := self._writes.arrived(seen, now):
            at = min(max(ours.at, self._state.last_cycle or ours.at), now)
            self._state = remember(self._plan.policy, self._state, ours.change, at)
        zero_is_off = self._plan.policy.least_replicas > 0
        foreign = self._writes.foreign(seen, zero_is_off=zero_is_off)
        shadow = self._plan.mode is Mode.SHADOW
        return Observation(
            now=now,
            current=seen.current,
            ready=seen.ready,
            pods=self._with_requests(seen),
            metrics=self._ports.source.ask(self._plan.queries, now),
            paused=seen.paused,
            paused_direction=seen.paused_direction,
            # In shadow mode another writer is expected, and nobody is there to stand down.
            foreign_write=None if shadow else foreign,
            writer=seen.writer.manager if shadow and seen.writer else None,
        )

    def _with_requests(self, seen: TargetState) -> tuple[Pod, ...]:
        requests = self._ports.busy.in_flight() if self._ports.busy else None
        if requests is None:
            return seen.pods
        return tuple(
            replace(pod, in_flight=requests.get(seen.addresses.get(pod.name, "")))
            for pod in seen.pods
        )

    # --- act and remember -------------------------------------------------------------------------

    def _act(self, decision: Decision, seen: TargetState, began: _Moment) -> _Ending:
        if decision.direction is Direction.HOLD and decision.replace is None:
            return _Ending(outcome=Outcome.HELD)
        if self._plan.mode is Mode.SHADOW:
            return _Ending(outcome=Outcome.DRY_RUN)
        try:
            return self._write(decision, seen, began)
        except _TooLateError as error:
            return _Ending(outcome=Outcome.SKIPPED, error=_told(error))
        except ConflictError as error:
            return _Ending(outcome=Outcome.CONFLICTED, error=_told(error))
        except Exception as error:  # noqa: BLE001 - the cycle is to be remembered all the same
            return _Ending(outcome=Outcome.FAILED, error=_told(error))

    def _write(self, decision: Decision, seen: TargetState, began: _Moment) -> _Ending:
        self._check_leave(began)
        if decision.direction is Direction.HOLD:
            self._ports.target.replace(decision.replace or "")
            return _Ending(outcome=Outcome.REPLACED)
        self._scale(decision, _in_order(decision, seen.marked), began.now)
        return _Ending(outcome=Outcome.SCALED)

    def _scale(self, decision: Decision, victims: tuple[str, ...], now: datetime) -> None:
        """Write the number: what succeeded is stamped, what is in doubt is kept in mind."""
        try:
            self._ports.target.scale(decision.from_, decision.to, victims)
        except Exception as error:
            refused = isinstance(error, ActError) and not isinstance(error, UnknownWriteError)
            if not refused:
                self._writes.lost(decision.from_, decision.to, now)
            raise
        self._writes.wrote(decision.to)
        change = decision.to - decision.from_
        self._state = remember(self._plan.policy, self._state, change, now)

    def _memory(self) -> Memory:
        return Memory(state=self._state, expected=self._writes.expected)

    def _save(self) -> None:
        with suppress(Exception):  # what was written is written, and has to be reported
            if self._still_leads():
                self._ports.store.save(self._plan.name, self._memory())

    def _report(self, began: _Moment, ending: _Ending) -> CycleReport:
        report = CycleReport(
            target=self._plan.name,
            at=began.now,
            duration=timedelta(seconds=self._ports.clock.monotonic() - began.ticks),
            outcome=ending.outcome,
            record=ending.record,
            error=ending.error,
            reason=ending.reason,
        )
        for reporter in self._ports.reporters:
            with suppress(Exception):  # a full disk or a closed pipe must not stop the scaling
                reporter.report(report)
        return report


def _in_order(decision: Decision, marked: tuple[str, ...]) -> tuple[str, ...]:
    """Return whom to mark: the victims, and behind them those of an earlier shrinking.

    That one may still be under way. Its victims would go before the new ones, busy by now or not.
    """
    if decision.direction is not Direction.DOWN:
        return ()
    return (*decision.victims, *(pod for pod in marked if pod not in decision.victims))


def _write_result(outcome: Outcome) -> WriteResult:
    if outcome is Outcome.CONFLICTED:
        return WriteResult.CONFLICT
    failed = outcome in (Outcome.FAILED, Outcome.SKIPPED)
    return WriteResult.FAILED if failed else WriteResult.OK


def _told(error: Exception) -> str:
    """Return what an error of ours says; an unexpected one with its line, on one line."""
    if isinstance(error, AutoscalerError):
        return str(error)
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    file = PurePath(trace.tb_frame.f_code.co_filename).name if trace else "?"
    line = trace.tb_lineno if trace else 0
    return " ".join(f"{type(error).__name__}: {error} ({file}:{line})".split())
