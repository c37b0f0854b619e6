"""Asking a daemon for its status. Nothing is retried; who watches asks again anyway."""

import json
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import SplitResult, quote, urlsplit

from autoscaler.errors import AutoscalerError, InputError

Json = dict[str, Any]

_SECONDS = 10.0
_MOST_BYTES = 1 << 26
_FORWARD = (
    "`kubectl -n llm port-forward svc/autoscaler-metrics 8080:8080` makes the daemon reachable "
    "(-n ollama-autoscaler where it was installed alone)"
)
"""What to do about the daemon of the shipped manifests, at the default address."""


class NoAnswerError(AutoscalerError):
    """The daemon could not be asked, or something else has answered."""


def read_url(url: str) -> SplitResult:
    """Return the parts of the daemon's address. Raises InputError."""
    try:
        parts = urlsplit(url)
        is_one = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1)
    except ValueError:
        is_one = False
    if not is_one or not url.isascii() or not url.isprintable() or " " in url:
        raise InputError(f"--url = {url!a}, must be an address such as http://127.0.0.1:8080")
    return parts


def ask(url: str, target: str | None = None) -> Json:
    """Return the status of one target, or of all. Raises NoAnswerError, InputError."""
    parts = read_url(url)
    path = parts.path.rstrip("/").removesuffix("/status") + "/status"
    query = f"?target={quote(target, safe='/')}" if target else ""
    try:
        code, body = _get(parts, path + query)
    except (OSError, HTTPException) as error:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise NoAnswerError(f"{url}: not reachable: {why}; {_FORWARD}") from error
    if code != HTTPStatus.OK:
        raise NoAnswerError(f"{url}: answers {path} with HTTP {code}; is it the daemon's port?")
    return read_status(url, body)


def read_status(url: str, body: bytes) -> Json:
    """Return a status that is one as far as anything depends on it. Raises NoAnswerError."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    targets = found.get("targets") if isinstance(found, dict) else None
    if not isinstance(targets, list) or not all(map(_is_target, targets)):
        raise NoAnswerError(f"{url}: what answers is no autoscaler's status; is it the right port?")
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


def _get(parts: SplitResult, path: str) -> tuple[int, bytes]:
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=_SECONDS)
    try:
        connection.request("GET", path, headers={"Accept": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read(_MOST_BYTES)
    finally:
        connection.close()
