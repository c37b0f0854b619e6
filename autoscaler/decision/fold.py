"""Records as lines that leave out what the line before of the same target implies, and back.

A line is one of three:

full    a whole record
folded  a record without `policy`: that, and of `state`, `steps`, `decision` and the observation's
        `pods` whatever is missing, is as in the line before
gap     a cycle that came to no decision; of a stretch of the same kind the 1st, 2nd, 4th, 8th, ...
        and the last, so that a reader knows how long it lasted, also where it ended in a crash

What a state is, once it has been decided by, is said here and not by the rules: the last cycle is
that of the line before, and the newest recommendation was made once more then. A folded line holds
the fields in which the state differs from that. So no change of the rules changes what a line says.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime

from autoscaler.decision.model import Decision, Observation, Recommendation, ScalingState, Step
from autoscaler.decision.record import VERSION, Json, Outcome, Record, from_json, to_json
from autoscaler.decision.refusal import require, require_zone, shown
from autoscaler.decision.words import Mode

_KEYS = tuple(field.name for field in fields(Record))
_WINDOW = "recommendations"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A cycle that came to no decision."""

    version: int = VERSION
    target: str
    now: datetime
    outcome: Outcome
    reason: str
    """Why, where a `Reason` says it."""
    error: str
    cycles: int = 1
    """How many there have been in a row by now, all of the same kind."""

    def __post_init__(self) -> None:
        require(self.version == VERSION, "version", self.version, f"must be {VERSION}")
        require_zone("now", self.now)
        require(self.cycles >= 1, "cycles", self.cycles, "must be at least 1")

    @property
    def kind(self) -> tuple[Outcome, str, str]:
        """Return what those of one stretch have in common."""
        return self.outcome, self.reason, self.error


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stretch:
    last: Gap
    is_told: bool
    """Whether there is a line of the last one."""


class Folder:
    """Makes lines of cycles; knows the last of each target."""

    def __init__(self, *, folds: bool = True) -> None:
        """Without folding, each record is a line that stands alone."""
        self._folds = folds
        self._records: dict[str, Record] = {}
        self._stretches: dict[str, _Stretch] = {}

    def begin_anew(self) -> None:
        """Let the next line of each target stand alone."""
        self._records.clear()
        self._stretches.clear()

    def forget(self, target: str) -> None:
        """Know nothing of this target any more."""
        self._records.pop(target, None)
        self._stretches.pop(target, None)

    def lines(self, cycle: Record | Gap) -> tuple[Json, ...]:
        """Return the lines that a cycle adds: one; in a stretch of gaps none, two at its end."""
        stretch = self._stretches.pop(cycle.target, None)
        if isinstance(cycle, Record):
            return (*_end_of(stretch), self.fold(cycle))
        if stretch is not None and stretch.last.kind == cycle.kind:
            cycle = replace(cycle, cycles=stretch.last.cycles + cycle.cycles)
            is_told, ended = cycle.cycles.bit_count() == 1, ()
        else:
            is_told, ended = True, _end_of(stretch)
        self._stretches[cycle.target] = _Stretch(last=cycle, is_told=is_told)
        return (*ended, to_json(cycle)) if is_told else ended

    def rest(self) -> tuple[Json, ...]:
        """Return the lines that are still to come where no cycle follows."""
        ended = [line for stretch in self._stretches.values() for line in _end_of(stretch)]
        self._stretches.clear()
        return tuple(ended)

    def fold(self, record: Record) -> Json:
        """Return the record as a line, folded if the line before allows it."""
        before = self._records.get(record.target)
        if self._folds:
            self._records[record.target] = record
        if before is None or before.policy != record.policy:
            return to_json(record)
        line = {
            "version": record.version,
            "target": record.target,
            "observation": _fold_observation(before.observation, record.observation),
            "state": _fold_state(before, record.state),
            "steps": None if record.steps == before.steps else to_json(record.steps),
            "decision": None if record.decision == before.decision else to_json(record.decision),
            "outcome": record.outcome.value,
            "mode": record.mode.value,
        }
        return {key: value for key, value in line.items() if value is not None}


class Unfolder:
    """Makes the very same cycles of the lines; knows the last record of each target."""

    def __init__(self) -> None:
        self._records: dict[str, Record] = {}

    def begin_anew(self) -> None:
        """Expect the next line of each target to stand alone."""
        self._records.clear()

    def unfold(self, data: Json) -> Record | Gap:
        """Return what a line says. Raises ValueError with path, value and rule."""
        if not isinstance(data, dict):
            raise ValueError(  # noqa: TRY004 - as every other refusal
                f"the line = {shown(data)}, must be an object"
            )
        if "now" in data and "observation" not in data:
            return from_json(Gap, data)
        record = from_json(Record, data) if "policy" in data else self._unfolded(data)
        self._records[record.target] = record
        return record

    def _unfolded(self, data: Mapping[str, Json]) -> Record:
        target = from_json(str, _given(data, "target"), "target")
        before = self._records.get(target)
        if before is None:
            raise ValueError(
                f"policy is missing, must be given: no whole record of {target} stands before"
            )
        for key in data:
            require(key in _KEYS, key, data[key], f"unknown key, must be one of {', '.join(_KEYS)}")
        steps, decision = data.get("steps"), data.get("decision")
        return Record(
            version=from_json(int, data.get("version", VERSION), "version"),
            target=target,
            policy=before.policy,
            observation=_unfold_observation(before.observation, _given(data, "observation")),
            state=_unfold_state(before, data.get("state", {})),
            steps=before.steps if steps is None else from_json(tuple[Step, ...], steps, "steps"),
            decision=before.decision
            if decision is None
            else from_json(Decision, decision, "decision"),
            outcome=from_json(Outcome, _given(data, "outcome"), "outcome"),
            mode=from_json(Mode, _given(data, "mode"), "mode"),
        )


def _end_of(stretch: _Stretch | None) -> tuple[Json, ...]:
    return () if stretch is None or stretch.is_told else (to_json(stretch.last),)


def _given(data: Mapping[str, Json], key: str) -> Json:
    if key not in data:
        raise ValueError(f"{key} is missing, must be given")
    return data[key]


# --- the observation ----------------------------------------------------------------------------


def _fold_observation(before: Observation, now: Observation) -> Json:
    if now.pods != before.pods:
        return to_json(now)
    line = to_json(replace(now, pods=None))
    del line["pods"]
    return line


def _unfold_observation(before: Observation, data: Json) -> Observation:
    seen = from_json(Observation, data, "observation")
    return seen if "pods" in data else replace(seen, pods=before.pods)


# --- the state ----------------------------------------------------------------------------------


def _left_by(record: Record) -> ScalingState:
    """Return the state that a next cycle begins with where nothing has changed."""
    now, window = record.observation.now, record.state.recommendations
    renewed = tuple(replace(newest, at=now) for newest in window[-1:])
    return replace(record.state, last_cycle=now, recommendations=(*window[:-1], *renewed))


def _fold_state(before: Record, state: ScalingState) -> Json:
    left = _left_by(before)
    if state == left:
        return None
    changed = [
        field.name
        for field in fields(ScalingState)
        if getattr(state, field.name) != getattr(left, field.name)
    ]
    line = {name: to_json(getattr(state, name)) for name in changed}
    if _WINDOW in line:
        known = {entry: place for place, entry in enumerate(before.state.recommendations)}
        line[_WINDOW] = [known.get(one, to_json(one)) for one in state.recommendations]
    return line


def _unfold_state(before: Record, data: Json) -> ScalingState:
    window = data.get(_WINDOW) if isinstance(data, dict) else None
    plain = data if window is None else {**data, _WINDOW: []}
    given = from_json(ScalingState, plain, "state")
    changes = {name: getattr(given, name) for name in plain}
    if window is not None:
        changes[_WINDOW] = _unfold_window(before.state.recommendations, window)
    return replace(_left_by(before), **changes)


def _unfold_window(before: tuple[Recommendation, ...], data: Json) -> tuple[Recommendation, ...]:
    """Return a window's entries; a whole number is the place that one had before, from 0."""
    path = f"state.{_WINDOW}"
    require(isinstance(data, list), path, data, "must be a list")
    found = []
    for index, entry in enumerate(data):
        here = f"{path}[{index}]"
        if isinstance(entry, int) and not isinstance(entry, bool):
            require(0 <= entry < len(before), here, entry, f"must be 0..{len(before) - 1}")
            found.append(before[entry])
        else:
            found.append(from_json(Recommendation, entry, here))
    return tuple(found)
