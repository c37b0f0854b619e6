"""HTTP as we want it under the Prometheus client: kept alive, bounded in time and in size.

`QuerySession` stands in for the client's own session. It follows no redirect, retries nothing,
heeds no proxy or .netrc of the environment, and judges the answer before the client sees it.
"""

import json
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlencode, urlsplit, urlunsplit

from urllib3 import BaseHTTPResponse, PoolManager

from autoscaler.adapters.channels import Channel, Channels
from autoscaler.adapters.cutter import Cutter, make_cuttable

MAX_ANSWER_BYTES = 8 * 2**20
_CHUNK_BYTES = 2**16
_LONGEST_GET = 2000
_REFUSED_QUERY = {"bad_data", "execution"}
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class AnswerError(Exception):
    """The server answered, and the answer cannot be used; the message says why."""


class QuerySession:
    """The session for all queries of all targets; for many threads at a time."""

    verify = cert = None
    """Of no use here; the client reads them."""

    def __init__(self, url: str, ca_file: str | None) -> None:
        """Talk to the server of this URL. Raises ValueError where it is none."""
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("no URL of a server")
        self._port = parts.port  # raises, where it is none
        self._headers = {"User-Agent": "ollama-autoscaler"}
        self.secrets: tuple[str, ...] = ()
        if parts.username is not None:
            basic = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            encoded = b64encode(basic.encode()).decode()
            self._headers["Authorization"] = f"Basic {encoded}"
            self.secrets = (parts.password or "", unquote(parts.password or ""), encoded)
        self.url = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
        self._ca_file = ca_file
        self._channels = Channels(self._open)

    def mount(self, *_: object) -> None:
        """Ignore the adapter that the client brings, which retries."""

    def close(self) -> None:
        """Keep the connections; they are for the next queries."""

    def request(
        self, method: str, url: str, *, params: Mapping[str, str], timeout: float, **options: Any  # noqa: ANN401
    ) -> "_Judged":
        """Send a query; the response's `json()` is a success. Raises AnswerError otherwise."""
        encoded = urlencode(params)
        headers = {**(options["headers"] or {}), **self._headers}
        body = None
        # To read, no proxy asks for more rights than GET; a long query is too much for an URL.
        if sum(map(len, params.values())) > _LONGEST_GET:
            method, body, headers = "POST", encoded, headers | _FORM
        else:
            url = f"{url}?{encoded}"

        def work(channel: Channel[_Http], left: float) -> bytes:
            answer = channel.client.send(method, url, body=body, headers=headers, timeout=left)
            channel.has_heard = True
        
        return _Judged(_judge(*self._channels.call(timeout, work, repeatable=True)))
