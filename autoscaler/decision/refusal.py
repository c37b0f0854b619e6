"""How a value that cannot be is refused: field, value, rule, on one line."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

LARGEST = 2**31 - 1
"""Kubernetes' replica counts are 32-bit."""


_JSON_WORDS = {"None": "null", "True": "true", "False": "false"}


def shown(value: object, limit: int = 60) -> str:
    """Write a value for a message, as JSON has it: on one line, and cut where it is endless."""
    if isinstance(value, dict | list) and value:
        text = f"{'object' if isinstance(value, dict) else 'list'} of {len(value)}"
    elif isinstance(value, int) and abs(value) > LARGEST * LARGEST:
        text = "a number of more than 18 digits"  # Python refuses to write endless ones
    else:
        text = _JSON_WORDS.get(
            repr(value), _quoted(value) if isinstance(value, str) else repr(value)
        )
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _quoted(text: str) -> str:
    """Write a string as JSON does, with everything that is not printable escaped."""
    known = json.dumps(text, ensure_ascii=False)
    return "".join(each if each.isprintable() else f"\\u{ord(each):04x}" for each in known)


def require(ok: object, key: str, value: object, rule: str) -> None:
    """Refuse a value in the one form that every message has."""
    if not ok:
        raise ValueError(f"{key} = {shown(value)}, {rule}")


def require_by(check: Callable[[str], object], key: str, text: str) -> None:
    """Refuse text that a check refuses; it raises ValueError with the rule."""
    try:
        check(text)
    except ValueError as refusal:
        require(False, key, text, str(refusal))  # noqa: FBT003


def require_distinct(key: str, names: Sequence[str]) -> None:
    """Refuse a name that stands twice."""
    if len(set(names)) == len(names):
        return
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    require(twice is None, key, twice, "stands twice, names must be distinct")


def require_count(key: str, value: int | None) -> None:
    """Refuse what is no count of replicas or requests."""
    require(value is None or value >= 0, key, value, "must not be negative")
    require(value is None or value <= LARGEST, key, value, f"must be at most {LARGEST}")


def require_zone(key: str, at: datetime | None) -> None:
    """Refuse a time without a zone."""
    if at is not None and at.utcoffset() is None:
        require(False, key, at.isoformat(), "must have a zone")  # noqa: FBT003


def require_span(key: str, span: timedelta) -> None:
    """Refuse a span that runs backwards."""
    require(span >= timedelta(0), key, str(span), "must not be negative")
