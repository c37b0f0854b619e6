"""Records edited by hand, one leaf of their JSON at a time; and what `--verify` makes of each."""

import copy
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from autoscaler.decision.record import Record, from_json, to_json
from autoscaler.explain.proof import Prover
from autoscaler.explain.source import Found

_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T")
_PLACE = re.compile(r"\[\d+\]")


class Noticed(StrEnum):
    """How an edit comes out."""

    REFUSED = "refused"
    """It is no record any more: exit code 2."""
    DIFFERENT = "different"
    """A difference: exit code 1."""
    NOTED = "noted"
    """A note that says what it would take."""
    SILENT = "silent"


def edits(records: Sequence[Record], nth: int) -> Iterator[tuple[str, Noticed]]:
    """Edit each leaf of one record; tell its place, and how that came out.

    The lines around it stay as they are.
    """
    around = records[max(0, nth - 1) : nth + 2]
    at = min(nth, 1)
    whole = to_json(records[nth])
    honest = _notes(around)
    for path in _leaves(whole):
        for other in _others(_get(whole, path)):
            edited = copy.deepcopy(whole)
            _set(edited, path, other)
            yield _place(path), _noticed([*around], at, edited, honest)


def edited(whole: Any, others: Sequence[Any]) -> Iterator[Any]:
    """Yield a value with each of its leaves replaced by each of these."""
    for path in _leaves(whole):
        for other in others:
            changed = copy.deepcopy(whole)
            _set(changed, path, other)
            yield changed


def _noticed(around: list[Record], at: int, edited: Any, honest: int) -> Noticed:
    try:
        around[at] = from_json(Record, edited)
    except ValueError:
        return Noticed.REFUSED
    proofs = list(_proofs(around))
    if any(not proof.holds for proof in proofs):
        return Noticed.DIFFERENT
    return Noticed.NOTED if sum(len(p.notes) for p in proofs) != honest else Noticed.SILENT


def _notes(records: Sequence[Record]) -> int:
    return sum(len(proof.notes) for proof in _proofs(records))


def _proofs(records: Sequence[Record]):
    prover = Prover(UTC)
    for number, record in enumerate(records, start=1):
        proof = prover.prove(Found(file="", line=number, record=record, gap=None))
        assert proof is not None
        yield proof


# --- leaves ---------------------------------------------------------------------------------------


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, dict) and value:
        for key, each in value.items():
            yield from _leaves(each, (*path, key))
    elif isinstance(value, list) and value:
        for index, each in enumerate(value):
            yield from _leaves(each, (*path, index))
    else:
        yield path


def _others(value: Any) -> Iterator[Any]:
    """Return what somebody might write instead: a little more, a little less, the opposite."""
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int | float):
        yield from (value + 1, value * 1.01 if isinstance(value, float) else value + 7)
    elif isinstance(value, str) and _TIME.match(value):
        at = datetime.fromisoformat(value)
        yield from ((at + timedelta(seconds=s)).isoformat() for s in (-3, 1, 3600))
    elif isinstance(value, str):
        yield f"{value}x"
        yield from {other for words in _WORDS if value in words for other in words - {value}}


_WORDS = (
    {"up", "down", "hold"},
    {"held", "scaled", "failed", "dry-run"},
    {"ok", "failed", "conflict"},
    {"act", "shadow"},
)


def _get(value: Any, path: tuple[Any, ...]) -> Any:
    for part in path:
        value = value[part]
    return value


def _set(value: Any, path: tuple[Any, ...], other: Any) -> None:
    _get(value, path[:-1])[path[-1]] = other


def _place(path: tuple[Any, ...]) -> str:
    """Return where a leaf stands, alike for all entries of a list and all pods and metrics."""
    text = ""
    for before, part in zip(("", *path), path, strict=False):
        named = before in ("metrics", "labels", "holds", "failing", "stuck")
        text += "[]" if isinstance(part, int) else ".*" if named else f".{part}"
    return _PLACE.sub("[]", text.removeprefix("."))
