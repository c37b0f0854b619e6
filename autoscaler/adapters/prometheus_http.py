"""HTTP as we want it under the Prometheus client: kept alive, bounded in time and in size.

`QuerySession` stands in for the client's own session. It follows no redirect, retries nothing,
heeds no proxy or .netrc of the environment, and judges the answer before the client sees it.
"""

import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlencode, urlsplit

from urllib3 import BaseHTTPResponse
from urllib3.connection import HTTPConnection, HTTPSConnection

from autoscaler.adapters.channels import Channel, Channels
from autoscaler.adapters.cutter import Cutter, cuttable
from autoscaler.adapters.turns import NoTurnError

RANGE_PATH = "/api/v1/query_range"
_INSTANT, _RANGE = "vector", "matrix"
_KINDS = {_INSTANT: "an instant vector", _RANGE: "a range of values"}
MAX_ANSWER_BYTES = 8 * 2**20
_CHUNK_BYTES = 2**16
_LONGEST_GET = 2000
_MAX_REMEMBERED = 8192
_REFUSED_QUERY = {"bad_data", "execution"}
_THREADS = "prometheus"
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class AnswerError(Exception):
    """The server answered, and the answer cannot be used; the message says why."""


class QuerySession:
    """The session for all queries of all targets, from as many threads as there are."""

    verify = cert = None
    """The client reads them and hands them back."""

    def __init__(self, url: str, ca_file: Path | None) -> None:
        """Talk to the server of this URL. Raises ValueError where it is none."""
        parts = urlsplit(url.rstrip("/"))
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("no URL of a server")
        self._is_secure = parts.scheme == "https"
        self._server = (parts.hostname, parts.port)  # raises, where the port is none
        self._origin = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        self.url = f"{self._origin}{parts.path}"
        """Without credentials."""
        self._headers = {"User-Agent": "ollama-autoscaler"}
        self.secrets: Sequence[str] = ()
        """What must not be shown."""
        if parts.username is not None:
            user, password = unquote(parts.username), unquote(parts.password or "")
            basic = b64encode(f"{user}:{password}".encode()).decode()
            self._headers["Authorization"] = f"Basic {basic}"
            self.secrets = (parts.password or "", password, basic)
        self._ca_file = ca_file
        self._channels = Channels(self._open)

    def mount(self, *_: object) -> None:
        """Leave out the client's own adapter, which retries."""

    def request(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, str],
        headers: Mapping[str, str],
        timeout: float,
        **more: object,
    ) -> "_Judged":
        """Send a query; the response's `json()` is a success. Raises AnswerError otherwise.

        With `expected` the answer may be something else than an instant vector: a `matrix`.
        """
        sent = _encoded(tuple(params.items()))
        target = url.removeprefix(self._origin)
        options: dict[str, Any] = {"headers": {**headers, **self._headers}}
        # To read, no proxy asks for more rights than GET; a long query is too much for an URL.
        if sum(map(len, params.values())) > _LONGEST_GET:
            method, options["body"] = "POST", sent
            options["headers"] |= _FORM
        else:
            target = f"{target}?{sent}"

        def work(channel: Channel[HTTPConnection], left: float) -> tuple[int, bytes]:
            try:
                return _exchange(channel, left, method, target, options)
            except Exception as error:
                if channel.is_cut:
                    raise TimeoutError from error
                raise

        key, usual = params["query"], _RANGE if url.endswith(RANGE_PATH) else _INSTANT
        kind = str(more.get("expected", usual))
        try:
            return _Judged(_judge(*self._channels.call(key, timeout, work, repeatable=True), kind))
        except NoTurnError as error:
            raise AnswerError(str(error)) from None

    def _open(self, cutter: Cutter) -> HTTPConnection:
        host, port = self._server
        if not self._is_secure:
            return cuttable(HTTPConnection, cutter, _THREADS)(host, port)
        if self._ca_file is not None and not self._ca_file.is_file():
            raise AnswerError(f"ca_file {self._ca_file}: no such file")
        trusted = str(self._ca_file) if self._ca_file else None
        secure = cuttable(HTTPSConnection, cutter, _THREADS)
        return secure(host, port, cert_reqs="CERT_REQUIRED", ca_certs=trusted)


@lru_cache(_MAX_REMEMBERED)
def _encoded(params: tuple[tuple[str, str], ...]) -> str:
    return urlencode(params)


class _Judged:
    """An answer that was found good, for the client to unpack."""

    status_code = 200

    def __init__(self, payload: Mapping[str, Any]) -> None:
        self._payload = payload

    def json(self) -> Mapping[str, Any]:
        """Return the payload."""
        return self._payload


def _exchange(
    channel: Channel[HTTPConnection],
    left: float,
    method: str,
    target: str,
    options: Mapping[str, Any],
) -> tuple[int, bytes]:
    """Send one request and return the answer's status and body."""
    connection = channel.client
    connection.timeout = left
    connection.request(method, target, preload_content=False, **options)
    if connection.sock is not None:
        connection.sock.settimeout(left)
    answer = connection.getresponse()
    channel.has_heard = True
    body = _bounded(answer)
    channel.insist()
    return answer.status, body


def _bounded(response: BaseHTTPResponse) -> bytes:
    body = bytearray()
    try:
        for chunk in response.stream(_CHUNK_BYTES):
            body += chunk
            if len(body) > MAX_ANSWER_BYTES:
                raise AnswerError(f"answer is larger than {MAX_ANSWER_BYTES // 2**20} MiB")
    finally:
        response.close()
    return bytes(body)


def _judge(status: int, body: bytes, kind: str) -> Mapping[str, Any]:
    """Return the payload of a success; AnswerError for anything else."""
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError):
        payload = None
    fields = payload if isinstance(payload, dict) else {}
    error, refusal = fields.get("error", ""), str(fields.get("errorType", ""))
    if status // 100 == 3:
        raise AnswerError(f"HTTP {status}: redirects are not followed, url must be the final one")
    if error and refusal in _REFUSED_QUERY:
        raise AnswerError(f"bad query: {error}")
    if status != 200:
        raise AnswerError(f"HTTP {status}: {error}" if error else f"HTTP {status}")
    if payload is None:
        raise AnswerError("answer is not JSON")
    if fields.get("status") != "success":
        raise AnswerError(f"answer says {fields.get('status')!r}: {error or 'no cause given'}")
    # Annotations of the query itself are harmless; anything else means that data is missing.
    warnings = fields.get("warnings")
    for warning in warnings if isinstance(warnings, list) else ():
        if not str(warning).startswith("PromQL "):
            raise AnswerError(f"answer is partial: {warning}")
    data = fields.get("data")
    if not isinstance(data, dict) or data.get("resultType") != kind:
        raise AnswerError(f"answer is not {_KINDS[kind]}")
    return fields
