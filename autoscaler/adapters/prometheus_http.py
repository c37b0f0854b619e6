"""HTTP as we want it under the Prometheus client: bounded in time and in size.

`QuerySession` stands in for the client's own session. It follows no redirect, retries nothing,
heeds no proxy or .netrc of the environment, and judges the answer before the client sees it.
"""

import json
from collections.abc import Mapping
from typing import Any

from requests import Response, Session
from requests.adapters import HTTPAdapter

from autoscaler.adapters.cutter import Cutter, make_cuttable

MAX_ANSWER_BYTES = 8 * 2**20
_LONGEST_GET = 2000
_REFUSED_QUERY = {"bad_data", "execution"}


class AnswerError(Exception):
    """The server answered, and the answer cannot be used; the message says why."""


class CuttableAdapter(HTTPAdapter):
    """Shows every connection to a `Cutter`. No retries."""

    def __init__(self, cutter: Cutter) -> None:
        super().__init__(max_retries=0)
        self._cutter = cutter

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        """Return the pool, its connections made cuttable."""
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        make_cuttable(pool, self._cutter)
        return pool


class QuerySession(Session):
    """The session for one round of queries."""

    def __init__(self, ca_file: str | None) -> None:
        super().__init__()
        self.trust_env = False
        self.verify = ca_file or True
        self.headers["Accept-Encoding"] = "identity"

    def request(
        self,
        method: str | bytes,
        url: str | bytes,
        *args: Any,  # noqa: ANN401
        **kwargs: Any,  # noqa: ANN401
    ) -> Response:
        """Send a query; the response's `json()` is a success. Raises AnswerError otherwise."""
        # To read, no proxy asks for more rights than GET; a long query is too much for an URL.
        if sum(map(len, kwargs["params"].values())) > _LONGEST_GET:
            method, kwargs["data"] = "POST", kwargs.pop("params")
        kwargs |= {"allow_redirects": False, "stream": True}
        with super().request(method, url, *args, **kwargs) as response:
            return _Judged(_judge(response.status_code, _bounded(response)))


class _Judged(Response):
    """An answer that was found good, for the client to unpack."""

    def __init__(self, payload: Mapping[str, Any]) -> None:
        super().__init__()
        self.status_code = 200
        self._payload = payload

    def json(self, **_: Any) -> Any:  # noqa: ANN401
        return self._payload


def _bounded(response: Response) -> bytes:
    body = bytearray()
    for chunk in response.iter_content(2**16):
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise AnswerError(f"answer is larger than {MAX_ANSWER_BYTES // 2**20} MiB")
    return bytes(body)


def _judge(status: int, body: bytes) -> Mapping[str, Any]:
    """Return the payload of a success; AnswerError for anything else."""
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError):
        payload = None
    fields = payload if isinstance(payload, dict) else {}
    error, kind = fields.get("error", ""), str(fields.get("errorType", ""))
    if status // 100 == 3:
        raise AnswerError(f"HTTP {status}: redirects are not followed, url must be the final one")
    if error and kind in _REFUSED_QUERY:
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
    if not isinstance(data, dict) or data.get("resultType") != "vector":
        raise AnswerError("answer is not an instant vector")
    return fields
