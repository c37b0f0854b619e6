"""One page of a running daemon's port. Nothing is retried; whoever watches asks again anyway."""

from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import SplitResult, urlsplit

from autoscaler.errors import AutoscalerError, InputError

FORWARD = (
    "kubectl -n llm port-forward svc/autoscaler-metrics 8080:8080 "
    "(-n ollama-autoscaler where it was installed alone), then type it again"
)
"""What makes the daemon of the shipped manifests reachable, at the default address."""

_SECONDS = 10.0
_EXAMPLE = "http://127.0.0.1:8080"


class NoAnswerError(AutoscalerError):
    """The daemon could not be asked, or something else has answered."""


def get(url: str, page: str, *, query: str = "", most_bytes: int) -> bytes:
    """Return a page's body; the address may end in the page. Raises InputError, NoAnswerError."""
    parts = _parts(url)
    path = parts.path.rstrip("/").removesuffix(page) + page
    try:
        status, body = _ask(parts, f"{path}?{query}" if query else path, most_bytes + 1)
    except UnicodeError as error:  # a name that no name server could be asked for
        raise _no_address(url) from error
    except (OSError, HTTPException) as error:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        told = f"{url}: not reachable: {why}, must be where a daemon answers"
        raise NoAnswerError(told, next_step=FORWARD) from error
    if status != HTTPStatus.OK:
        rule = "must be the port of a daemon of this version"
        raise NoAnswerError(f"{url}: answers {path} with HTTP {status}, {rule}", next_step=FORWARD)
    if len(body) > most_bytes:
        rule = f"must not be larger than {most_bytes // 2**20} MiB"
        raise NoAnswerError(f"{url}: what {path} answers {rule}", next_step=FORWARD)
    return body


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        is_one = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1)
    except ValueError:
        is_one = False
    if not is_one or not url.isascii() or not url.isprintable() or " " in url:
        raise _no_address(url)
    return parts


def _no_address(url: str) -> InputError:
    return InputError(
        f"--url = {url!a}, must be an address such as {_EXAMPLE}",
        next_step=f"type it again with --url {_EXAMPLE}",
    )


def _ask(parts: SplitResult, path: str, most_bytes: int) -> tuple[int, bytes]:
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=_SECONDS)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read(most_bytes)
    finally:
        connection.close()
