"""Asking a daemon for its status, and whether it is one."""

import json
from typing import Any
from urllib.parse import quote

from autoscaler.adapters.daemon_http import FORWARD, NoAnswerError, get

Json = dict[str, Any]

_MOST_BYTES = 1 << 26


def ask(url: str, target: str | None = None) -> Json:
    """Return the status of one target, or of all. Raises NoAnswerError, InputError."""
    query = f"target={quote(target, safe='/')}" if target else ""
    return read_status(url, get(url, "/status", query=query, most_bytes=_MOST_BYTES))


def read_status(url: str, body: bytes) -> Json:
    """Return a status that is one as far as anything depends on it. Raises NoAnswerError."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    targets = found.get("targets") if isinstance(found, dict) else None
    if not isinstance(targets, list) or not all(map(_is_target, targets)):
        told = f"{url}: what answers is no autoscaler's status, must be the port of a daemon"
        raise NoAnswerError(told, next_step=FORWARD)
    return dict(found)


def _is_target(each: object) -> bool:
    """Tell whether something is what a status says of a target."""
    if not isinstance(each, dict) or not isinstance(each.get("metrics", {}), dict):
        return False
    texts = (each.get(key, "") for key in ("target", "sentence", "time", "outcome"))
    tables = (each.get("bounds", {}), each.get("outlook", {}), *each.get("metrics", {}).values())
    return (
        "target" in each
        and all(isinstance(text, str) for text in texts)
        and all(isinstance(table, dict) for table in tables)
    )
