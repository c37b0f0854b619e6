"""An answer of the API, taken apart by hand: only what is needed, each part of its one shape.

The client's models build and check every part of every object. For a list of pods that costs more
than all the rest of a cycle.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeVar

from autoscaler.adapters.kubernetes.transport import AnswerError

Object = dict[str, Any]

_WORDS = {dict: "an object", list: "a list", str: "a text", int: "a whole number"}
_T = TypeVar("_T")


def decode(body: bytes | None) -> Object:
    """Decode a body that must be one JSON object. Raises AnswerError, ValueError."""
    return _checked("answer", json.loads(str(body or b"", "utf-8")), dict)


def part(obj: Mapping[str, Any], key: str, kind: type[_T]) -> _T | None:
    """Return a part of an object; None where it has none. Raises AnswerError for another kind."""
    value = obj.get(key)
    return None if value is None else _checked(key, value, kind)


def needed(obj: Mapping[str, Any], key: str, kind: type[_T]) -> _T:
    """Return a part that every such object has. Raises AnswerError."""
    found = part(obj, key, kind)
    if found is None:
        raise AnswerError(f"answer lacks {key}")
    return found


def objects(obj: Mapping[str, Any], key: str) -> list[Object]:
    """Return a list of objects, empty where there is none. Raises AnswerError."""
    return [_checked(key, item, dict) for item in part(obj, key, list) or ()]


def texts(obj: Mapping[str, Any], key: str) -> dict[str, str]:
    """Return a map of texts, empty where there is none. Raises AnswerError."""
    found: dict[str, Any] = part(obj, key, dict) or {}
    return {name: _checked(key, value, str) for name, value in found.items()}


def time(obj: Mapping[str, Any], key: str) -> datetime | None:
    """Return a time with its zone; None where there is none. Raises AnswerError."""
    told = part(obj, key, str)
    if told is None:
        return None
    try:
        found: datetime | None = datetime.fromisoformat(told)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise AnswerError(f"answer has no time with a zone as {key}")
    return found


def _checked(key: str, value: object, kind: type[_T]) -> _T:
    # Not isinstance: true is no number.
    if type(value) is kind:
        return value
    wrong = "null" if value is None else _WORDS.get(type(value), type(value).__name__)
    raise AnswerError(f"{_where(key)}{wrong}, must be {_WORDS[kind]}")


def _where(key: str) -> str:
    return "answer is " if key == "answer" else f"answer has {key} that is "
