"""One line out of what a validator found: key, value, rule; never a secret."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from difflib import get_close_matches
from typing import Any, Self

from autoscaler.decision.refusal import shown

_LONGEST_VALUE = 60
_MOST_FAULTS = 6
_SECRET = re.compile(r"head|token|secret|passw|pwd|auth|cred|api_?key|bearer|cookie", re.IGNORECASE)
_CREDENTIALS = re.compile(r"^(.*?//)?.*@", re.DOTALL)
"""Name and password at the head of an address."""
_ASKED = re.compile(r"([?#]).+", re.DOTALL)
"""What an address asks for: often a token."""

_RULES = {
    "missing": "must be given",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "string_type": "must be text",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "string_unicode": "must be UTF-8",
    "path_type": "must be a path",
    "tuple_type": "must be a list",
    "model_type": "must be a mapping",
    "model_attributes_type": "must be a mapping",
    "dict_type": "must be a mapping",
    "greater_than": "must be above {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than": "must be below {lt:g}",
    "less_than_equal": "must be at most {le:g}",
    "too_short": "must name at least {min_length}",
    "too_long": "must name at most {max_length}",
    "enum": "must be one of {expected}",
    "literal_error": "must be one of {expected}",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One refused place, as pydantic tells of it."""

    kind: str
    path: tuple[str | int, ...]
    value: Any
    context: Mapping[str, Any]
    message: str
    siblings: Sequence[str] = ()
    """Keys that would have been right at an unknown key's place."""

    def moved(self, path: tuple[str | int, ...]) -> Self:
        """Return the same fault at another place."""
        return replace(self, path=path)


def tell(faults: Iterable[Fault]) -> str:
    """Join the faults into one line."""
    faults = list(faults)
    told = [_tell_one(fault) for fault in faults if not _is_echo(fault, faults)]
    more = len(told) - _MOST_FAULTS
    return "; ".join(told[:_MOST_FAULTS]) + (f"; and {more} more" if more > 0 else "")


def key_of(path: Sequence[str | int]) -> str:
    """Write a place as people do: `targets[0].metrics[1].target`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{printable(part)}"
    return text.removeprefix(".")


def show(value: object, key: str = "") -> str:
    """Write a value as it may have stood in the file, on one line, cut where it is long.

    Of a list or a mapping only the size is told, of an address neither credentials nor what it
    asks for: both may hold secrets.
    """
    if isinstance(value, int | dict | list):
        return shown(value)
    if isinstance(value, str):
        text = json.dumps(_public(value, key))
    elif value is None or isinstance(value, float | date):
        text = json.dumps(value, default=str)
    else:
        text = f"a {type(value).__name__}"
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."


def printable(text: str) -> str:
    """Write text on one line, and what would steer a terminal as an escape."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode()
        for char in " ".join(text.split())
    )


def is_secret(name: str) -> bool:
    """Tell whether a key may hold a secret, misspelt ones included."""
    return _SECRET.search(name) is not None


def nearest(name: str, known: Iterable[str]) -> str:
    """Name the known word that was probably meant, as the end of a sentence; empty if none."""
    close = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]}" if close else ""


def _is_echo(fault: Fault, faults: Sequence[Fault]) -> bool:
    """Tell whether a list is only too short because its entries were refused."""
    size = len(fault.path)
    return fault.kind == "too_short" and any(
        len(other.path) > size and other.path[:size] == fault.path for other in faults
    )


def _tell_one(fault: Fault) -> str:
    key = key_of(fault.path)
    if fault.kind == "missing":
        return f"{key}: {_RULES['missing']}"
    value = (
        "(hidden)" if any(is_secret(str(part)) for part in fault.path) else show(fault.value, key)
    )
    if fault.kind == "extra_forbidden":
        hint = nearest(str(fault.path[-1]), fault.siblings)
        return f"{key} = {value}, unknown key{hint}"
    if fault.kind == "across":  # the message brings the value as people write it
        return f"{key} = {fault.message}"
    if fault.kind == "value_error":  # a rule of ours
        return f"{key} = {value}, {printable(fault.message)}"
    rule = _RULES.get(fault.kind, "cannot be used")
    return f"{key} = {value}, {rule.format(**fault.context)}"


def _public(text: str, key: str) -> str:
    """Leave out of an address what may be secret."""
    if "//" not in text and "@" not in text and "url" not in key.lower():
        return text
    return _ASKED.sub(r"\1(hidden)", _CREDENTIALS.sub(r"\1(hidden)@", text))
