"""What a line of a records file is: a cycle's record, or a cycle that came to no decision."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from autoscaler.decision.model import Policy
from autoscaler.decision.quick import plan
from autoscaler.decision.record import VERSION, Json, Record, from_json
from autoscaler.decision.refusal import require, require_zone


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A cycle that came to no decision; it stands for those after it that ended alike."""

    version: int = VERSION
    target: str
    now: datetime
    outcome: str
    reason: str = ""
    error: str = ""

    def __post_init__(self) -> None:
        require(self.version == VERSION, "version", self.version, f"must be {VERSION}")
        require_zone("now", self.now)


class Unfolder:
    """Reads lines one after the other; what a line has in common with the last is shared."""

    def __init__(self) -> None:
        self._policies: dict[str, tuple[Json, Policy]] = {}

    def unfold(self, data: Json) -> Record | Gap:
        """Return what a line stands for. Raises ValueError with path, value and rule."""
        if isinstance(data, dict) and "now" in data:
            return from_json(Gap, data)
        target = data.get("target") if isinstance(data, dict) else None
        known = self._policies.get(target) if isinstance(target, str) else None
        if known is not None and data.get("policy") == known[0]:
            with suppress(Exception):  # whatever it is, it is told of below
                return plan(Record)(data | {"policy": known[1]})  # type: ignore[no-any-return]
        record = from_json(Record, data)
        self._policies[record.target] = (data["policy"], record.policy)
        return record
