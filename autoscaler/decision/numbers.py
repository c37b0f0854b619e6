"""Whole numbers from measured ones: what is within 1e-9 of a whole number or an edge is on it."""

from math import ceil, floor

from autoscaler.decision.refusal import LARGEST

EPSILON = 1e-9


def at_most(value: float, edge: float) -> bool:
    """Tell whether `value` is below `edge` or on it."""
    return value <= edge + EPSILON


def round_up(value: float) -> int:
    """Return the smallest whole number not below `value`, which must not be negative."""
    return ceil(min(value, LARGEST) - EPSILON)


def truncate(value: float) -> int:
    """Return the largest whole number not above `value`, which must not be negative."""
    return floor(min(value, LARGEST) + EPSILON)


def replicas_for(load: float, target: float) -> int:
    """Return how many replicas carry `load` at `target` each."""
    return round_up(load / target)
