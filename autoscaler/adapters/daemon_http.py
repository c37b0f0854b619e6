"""One page of a running daemon's port."""

from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

from autoscaler.errors import AutoscalerError, InputError

_SECONDS = 10.0


def get(url: str, page: str, most_bytes: int) -> bytes:
    """Return a page's body. Raises InputError for what is no address, AutoscalerError else."""
    connection, place = _connection(url)
    try:
        connection.request("GET", place + page)
        answer = connection.getresponse()
        body = answer.read(most_bytes + 1)
    except (OSError, HTTPException) as error:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        then = "`kubectl port-forward deployment/autoscaler 8080` brings it near"
        raise AutoscalerError(f"{url}{page}: {why}; {then}") from error
    finally:
        connection.close()
    if answer.status == 404:
        raise AutoscalerError(f"{url}: has no page {page}: no daemon of this version answers there")
    if answer.status != 200:
        raise AutoscalerError(f"{url}{page}: HTTP {answer.status}")
    if len(body) > most_bytes:
        raise AutoscalerError(f"{url}{page}: larger than {most_bytes // 2**20} MiB")
    return body


def _connection(url: str) -> tuple[HTTPConnection, str]:
    try:
        parts = urlsplit(url.rstrip("/"))
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or parts.scheme not in {"http", "https"}:
        rule = "must be an address such as http://localhost:8080"
        raise InputError(f"--url = {url}, {rule}")
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    return kind(host, port, timeout=_SECONDS), parts.path
