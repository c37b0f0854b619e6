"""A run's records in simulated time: as if it had run at the speed of life.

Every time moves away from the first cycle by the speed, and every span grows by it, those of the
policy included: so deciding again gives the same.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from autoscaler.decision.record import Record


def as_lived(records: Sequence[Record], speed: float) -> Iterator[Record]:
    """Yield the records with all their times."""
    for record in records:
        yield _lived(record, records[0].observation.now, speed)


def _lived(value: Any, origin: datetime, speed: float) -> Any:  # noqa: ANN401 - any value of a record
    if isinstance(value, datetime):
        return origin + (value - origin) * speed
    if isinstance(value, timedelta):
        return value * speed
    if isinstance(value, tuple):
        return tuple(_lived(each, origin, speed) for each in value)
    if isinstance(value, Mapping):
        moved = {key: _lived(each, origin, speed) for key, each in value.items()}
        return MappingProxyType(moved)
    if is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in fields(value)]
        return replace(
            value, **{name: _lived(getattr(value, name), origin, speed) for name in names}
        )
    return value
