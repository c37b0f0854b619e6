"""The replayable record, and how every value of this package goes to JSON and back.

Nothing is lost: a field named `from_` is written as "from", a time as ISO 8601 with its zone, a
span in seconds, a number that is none as "NaN", "+Inf" or "-Inf". Reading is strict: an unknown
key, a wrong type or an impossible value is a ValueError with path, value and rule.
"""

import types
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum, StrEnum
from functools import cache
from math import isinf, isnan
from types import MappingProxyType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from autoscaler.decision.model import (
    WRITTEN_IF_KNOWN,
    Decision,
    Observation,
    Policy,
    ScalingState,
    Step,
)
from autoscaler.decision.quick import plan
from autoscaler.decision.refusal import require, shown
from autoscaler.decision.words import Mode

VERSION = 1
_LONGEST_KEY = 60

Json = Any
T = TypeVar("T")


class Outcome(StrEnum):
    """What a cycle came to."""

    SCALED = "scaled"
    REPLACED = "replaced"
    """A stuck pod was deleted; the number stayed."""
    HELD = "held"
    DRY_RUN = "dry-run"
    SKIPPED = "skipped"
    CONFLICTED = "conflicted"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One cycle of one target: whatever is needed to decide again and get the same answer."""

    version: int = VERSION
    target: str
    policy: Policy
    observation: Observation
    state: ScalingState
    """Before the decision."""
    steps: tuple[Step, ...]
    decision: Decision
    outcome: Outcome
    mode: Mode
    error: str | None = field(default=None, metadata=WRITTEN_IF_KNOWN)
    """What kept the decision from being carried out; None where nothing did."""

    def __post_init__(self) -> None:
        require(self.version == VERSION, "version", self.version, f"must be {VERSION}")


def to_json(value: object) -> Json:
    """Return a JSON-able form of a value of this package."""
    if is_dataclass(value) and not isinstance(value, type):
        return {
            _key(each.name): to_json(item)
            for each in fields(value)
            if (item := getattr(value, each.name)) is not None or each.metadata != WRITTEN_IF_KNOWN
        }
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [to_json(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return _time_text(value)
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
        return int(seconds) if seconds.is_integer() else seconds
    if isinstance(value, float) and (isnan(value) or isinf(value)):
        return "NaN" if isnan(value) else "+Inf" if value > 0 else "-Inf"
    return value


def from_json(cls: type[T], data: Json, path: str = "") -> T:
    """Return the value of class `cls` that `to_json` made `data` from."""
    try:
        return _quickly(cls, data)  # type: ignore[no-any-return]
    except Exception:  # noqa: BLE001 - whatever it is: read once more, it is told where and why
        return _read(cls, data, path)  # type: ignore[no-any-return]


def _quickly(kind: Any, data: Json) -> Any:
    return plan(kind)(data)


def observation_from_json(data: Json) -> Observation:
    """Return an observation; a foreign write may be given by its manager's name alone."""
    if isinstance(data, dict) and isinstance(data.get("foreign_write"), str):
        data = {**data, "foreign_write": {"manager": data["foreign_write"]}}
    return from_json(Observation, data)


def _key(name: str) -> str:
    return name.removesuffix("_")


def _time_text(at: datetime) -> str:
    text = at.isoformat()
    return text.removesuffix("+00:00") + "Z" if at.tzinfo is UTC else text


def _read(kind: Any, data: Json, path: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _read_union(arguments, data, path)
    if origin is tuple:
        items = _expect(data, list, path, "a list")
        return tuple(_read(arguments[0], item, f"{path}[{i}]") for i, item in enumerate(items))
    if origin is Mapping:
        table = _expect(data, dict, path, "an object")
        read = {key: _read(arguments[1], item, _join(path, key)) for key, item in table.items()}
        return MappingProxyType(read)
    if is_dataclass(kind):
        return _read_dataclass(kind, data, path)
    return _read_plain(kind, data, path)


def _read_union(options: tuple[Any, ...], data: Json, path: str) -> Any:
    if type(None) in options and data is None:
        return None
    classes = [option for option in options if option is not type(None)]
    if len(classes) == 1:
        return _read(classes[0], data, path)
    table = _expect(data, dict, path, "an object")
    for option in classes:  # told apart by the one field that each must have
        if fields(option)[0].name in table:
            return _read(option, data, path)
    names = " or ".join(f"`{fields(option)[0].name}`" for option in classes)
    raise _refusal(path, data, f"must have {names}")


def _read_dataclass(kind: Any, data: Json, path: str) -> Any:
    table = _expect(data, dict, path, "an object")
    hints = _hints(kind)
    known = {_key(each.name): each for each in fields(kind)}
    for key in table:
        if key not in known:
            raise _refusal(
                _join(path, key), table[key], f"unknown key, must be one of {', '.join(known)}"
            )
    values = {}
    for key, each in known.items():
        if key in table:
            values[each.name] = _read(hints[each.name], table[key], _join(path, key))
        elif each.default is MISSING and each.default_factory is MISSING:
            raise ValueError(f"{_join(path, key)} is missing, must be given")
    try:
        return kind(**values)
    except ValueError as refusal:
        raise ValueError(f"{path}.{refusal}" if path else str(refusal)) from refusal


def _read_plain(kind: Any, data: Json, path: str) -> Any:
    if kind is datetime:
        return _read_time(data, path)
    if kind is timedelta:
        return _read_span(data, path)
    if kind is float:
        return _read_number(data, path)
    if isinstance(kind, type) and issubclass(kind, Enum):
        allowed = [member.value for member in kind]
        if data not in allowed:
            raise _refusal(path, data, f"must be one of {', '.join(allowed)}")
        return kind(data)
    word = {int: "a whole number", bool: "true or false", str: "a string"}[kind]
    return _expect(data, kind, path, word)


def _read_number(data: Json, path: str) -> float:
    special = {
        "NaN": float("nan"),
        "+Inf": float("inf"),
        "Inf": float("inf"),
        "-Inf": -float("inf"),
    }
    if isinstance(data, str) and data in special:
        return special[data]
    if isinstance(data, bool) or not isinstance(data, int | float):
        raise _refusal(path, data, "must be a number")
    try:
        return float(data)
    except OverflowError:
        raise _refusal(path, data, "must be a number below 1.8e308") from None


def _read_span(data: Json, path: str) -> timedelta:
    try:
        return timedelta(seconds=_read_number(data, path))
    except (OverflowError, ValueError):
        raise _refusal(path, data, "must be a number of seconds") from None


def _read_time(data: Json, path: str) -> datetime:
    try:
        at = datetime.fromisoformat(_expect(data, str, path, "a time"))
    except ValueError:
        raise _refusal(path, data, "must be a time such as 2026-11-23T10:00:00Z") from None
    return at.replace(tzinfo=UTC) if at.utcoffset() == timedelta(0) else at


def _expect(data: Json, kind: type, path: str, word: str) -> Any:
    if isinstance(data, kind) and not (kind is int and isinstance(data, bool)):
        return data
    raise _refusal(path, data, f"must be {word}")


def _refusal(path: str, data: Json, rule: str) -> ValueError:
    return ValueError(f"{path or 'the value'} = {shown(data)}, {rule}")


def _join(path: str, key: str) -> str:
    plain = key if key.isprintable() and len(key) <= _LONGEST_KEY else shown(key)
    return f"{path}.{plain}" if path else plain


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)
