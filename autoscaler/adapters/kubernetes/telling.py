"""What a failure of the official client was, in one short line that is the same each time.

The texts of the libraries below have addresses of objects, remaining milliseconds and links in
them, and for a header that is not allowed its value, which may be the token.
"""

import json
import re
import ssl
from collections.abc import Mapping
from http.client import IncompleteRead
from typing import Any

from kubernetes.client.exceptions import ApiException
from kubernetes.config import ConfigException
from urllib3.exceptions import IncompleteRead as BodyIncompleteRead

from autoscaler.adapters.kubernetes.transport import AnswerError, NotSentError
from autoscaler.adapters.lines import printable
from autoscaler.errors import causes

_SHOWN_CHARACTERS = 300
_TOKEN = re.compile(r"(?i)\b(bearer)\s+[\w.~+/=-]{8,}")
"""What a server that repeats our request would repeat of the token."""
_MEANINGS: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str], ...] = (
    ((ConnectionResetError, BrokenPipeError), "connection closed without an answer"),
    ((IncompleteRead, BodyIncompleteRead), "answer is cut short"),
    ((json.JSONDecodeError, RecursionError), "answer is not JSON"),
    (UnicodeDecodeError, "answer is not text"),
)


def tell(error: Exception) -> str:
    """Say why a call failed."""
    if isinstance(error, NotSentError):
        cause = error.__cause__
        return f"{error}: {tell(cause)}" if isinstance(cause, Exception) else str(error)
    if isinstance(error, AnswerError):
        return str(error)
    if isinstance(error, ApiException) and error.status:
        said = _status_of(error).get("message") or error.reason
        return f"HTTP {error.status}: {_one_line(said)}"
    known = (said for each in causes(error) if (said := _meaning(each)))
    return next(known, _named(error))


def tell_config(error: Exception) -> str:
    """Say why no client can be made of a kubeconfig."""
    if isinstance(error, ConfigException):
        return _one_line(error).rstrip(".")
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    # Whatever else the loader meets on its way through a file that has another shape.
    return "is not a kubeconfig"


def has_causes(error: Exception) -> bool:
    """Tell whether a refusal names the fields that it is about."""
    details = _status_of(error).get("details")
    return isinstance(details, Mapping) and bool(details.get("causes"))


def _status_of(error: Exception) -> Mapping[str, Any]:
    """Return the Status object that came with a refusal; empty where it is none."""
    try:
        status = json.loads(getattr(error, "body", None) or "")
    except (TypeError, ValueError, RecursionError):
        return {}
    return status if isinstance(status, Mapping) else {}


def _meaning(error: BaseException) -> str:
    """Return what one error of a chain means; empty where another one may know better."""
    for kinds, meaning in _MEANINGS:
        if isinstance(error, kinds):
            return meaning
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"TLS certificate is not trusted: {_one_line(getattr(error, 'verify_message', ''))}"
    if isinstance(error, ssl.SSLError):
        reason = getattr(error, "reason", None) or type(error).__name__
        return f"TLS failed: {reason.replace('_', ' ').lower()}"
    if isinstance(error, OSError):
        return error.strerror or ""
    if isinstance(error, ValueError):
        return _wrong_value(error)
    return ""


def _wrong_value(error: ValueError) -> str:
    if str(error).startswith("Invalid header value"):
        return "the token or a header has characters that HTTP forbids"
    # The models' validation error, which is of a library that is no business of ours.
    found = getattr(error, "errors", None)
    if not callable(found):
        return ""
    first = found()[0]
    wrong = ": ".join(_one_line(each) for each in (*first["loc"], first["msg"]))
    return f"answer is not a {getattr(error, 'title', 'valid object')}: {wrong}"


def _named(error: Exception) -> str:
    told = _one_line(error)
    return f"{type(error).__name__}: {told}" if told else type(error).__name__


def _one_line(told: object) -> str:
    line = _TOKEN.sub(r"\1 ***", " ".join(str(told).split()))
    return printable(line[:_SHOWN_CHARACTERS])
