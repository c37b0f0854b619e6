"""What is remembered, once the clock that it goes by was set to another time."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from autoscaler.decision.model import ScalingState


def shifted(state: ScalingState, by: timedelta) -> ScalingState:
    """Return the state with all its times moved, so that they lie as far back as before."""
    moved: ScalingState = _shifted(state, by)
    return moved


def _shifted(value: Any, by: timedelta) -> Any:  # noqa: ANN401 - whatever a state is made of
    if isinstance(value, datetime):
        return value + by
    if isinstance(value, tuple):
        return tuple(_shifted(item, by) for item in value)
    if isinstance(value, Mapping):
        return MappingProxyType({key: _shifted(item, by) for key, item in value.items()})
    if is_dataclass(value) and not isinstance(value, type):
        held = {field.name: getattr(value, field.name) for field in fields(value)}
        return replace(value, **{name: _shifted(item, by) for name, item in held.items()})
    return value
