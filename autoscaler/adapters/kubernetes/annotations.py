"""The annotations that we read and write: those of a Deployment, and the marks of victims.

A Deployment's are the pause, which a person writes, and the last decision, which we do.

A victim is marked by two: the cost by which Kubernetes chooses whom it deletes first, and a mark of
our own that tells this cost from one that somebody else has set. The mark keeps what was there
before, so that it can be put back.
"""

import re
from collections.abc import Mapping
from typing import Any

from autoscaler.decision.words import Direction

PREFIX = "ollama-autoscaler/"
PAUSED = f"{PREFIX}paused"
LAST_DECISION = f"{PREFIX}last-decision"
"""Ours to write, and never read."""
MARK = f"{PREFIX}victim"
COST = "controller.kubernetes.io/pod-deletion-cost"

_COST_OF_FIRST_VICTIM = -1000
_NO_COST_BEFORE = "true"
_IS_COST = re.compile(r"0|[1-9]\d{0,9}|-\d{1,10}")
_BOTH = "true"
_NEITHER = ("false", "")
_ONE = {"scale-up": Direction.UP, "scale-down": Direction.DOWN}


def pause_of(annotations: Mapping[str, str]) -> tuple[bool, Direction | None]:
    """Tell whether both directions are paused, or else which one is.

    A value that means nothing to us pauses both: somebody wanted it to stop.
    """
    value = _pause(annotations)
    return value not in (*_NEITHER, *_ONE), _ONE.get(value)


def unknown_in(annotations: Mapping[str, str]) -> dict[str, str]:
    """Return those of our annotations on a Deployment that mean nothing to us, with their value."""
    is_known = _pause(annotations) in (_BOTH, *_NEITHER, *_ONE)
    known = {LAST_DECISION, PAUSED} if is_known else {LAST_DECISION}
    ours = {key: value for key, value in annotations.items() if key.startswith(PREFIX)}
    return {key: value for key, value in ours.items() if key not in known}


def _pause(annotations: Mapping[str, str]) -> str:
    return annotations.get(PAUSED, "").strip().lower()


def is_marked(annotations: Mapping[str, str]) -> bool:
    """Tell whether a pod carries our mark."""
    return MARK in annotations


def cost_before(annotations: Mapping[str, str]) -> str | None:
    """Return the cost that somebody else gave a pod, also where our mark stands in its place.

    The API takes no cost but whole numbers: what is none was not a cost, and is not put back.
    """
    value = annotations.get(MARK, annotations.get(COST, ""))
    return value if _IS_COST.fullmatch(value) else None


def is_victim(annotations: Mapping[str, str], rank: int) -> bool:
    """Tell whether a pod carries our mark and the cost of the victim of that rank."""
    return is_marked(annotations) and annotations.get(COST) == _cost_of_victim(rank)


def marking(before: str | None, rank: int) -> dict[str, Any]:
    """Write the merge patch that makes a pod a victim; that of rank 0 goes first."""
    return _patch({COST: _cost_of_victim(rank), MARK: before or _NO_COST_BEFORE})


def unmarking(before: str | None) -> dict[str, Any]:
    """Write the merge patch that leaves a pod as it was before."""
    return _patch({COST: before, MARK: None})


def _cost_of_victim(rank: int) -> str:
    """Return a lower cost for each that goes earlier: fewer may have to go than are marked."""
    return str(min(_COST_OF_FIRST_VICTIM + rank, -1))


def _patch(annotations: Mapping[str, str | None]) -> dict[str, Any]:
    return {"metadata": {"annotations": annotations}}
