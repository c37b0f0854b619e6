"""One line out of what a validator found: key, value, rule; never a secret."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any, Self

_LONGEST_VALUE = 60
_MOST_FAULTS = 6
_SECRET = re.compile(r"head|token|secret|passw|pwd|auth|cred|api_?key|bearer|cookie", re.IGNORECASE)
_CREDENTIALS = re.compile(r"//[^/@\s]*@")
"""Name and password inside an address."""

_RULES = {
    "missing": "must be given",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "string_type": "must be text",
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
        text += f"[{part}]" if isinstance(part, int) else f".{_one_line(part)}"
    return text.removeprefix(".")


def show(value: object) -> str:
    """Write a value as it may have stood in the file, on one line, cut where it is long."""
    try:
        text = json.dumps(value, default=str)
    except (ValueError, RecursionError, TypeError):
        text = f"a {type(value).__name__}"
    text = _CREDENTIALS.sub("//(hidden)@", text)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."


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
    shown = "(hidden)" if any(is_secret(str(part)) for part in fault.path) else show(fault.value)
    if fault.kind == "extra_forbidden":
        hint = nearest(str(fault.path[-1]), fault.siblings)
        return f"{key} = {shown}, unknown key{hint}"
    if fault.kind == "across":  # the message brings the value as people write it
        return f"{key} = {fault.message}"
    rule = _RULES.get(fault.kind)
    if rule is None:
        return f"{key} = {shown}, {_one_line(fault.message)}"
    return f"{key} = {shown}, {rule.format(**fault.context)}"


def _one_line(text: str) -> str:
    return " ".join(text.split())
