"""The official client's transport, bounded: in time for a call as a whole, in size for its answer.

Reads go over connections that are kept. A write gets a connection of its own, so that a failure
tells whether anything can have been written: where no connection came about, nothing was.
"""

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from kubernetes.client.rest import RESTClientObject, RESTResponse
from urllib3 import HTTPResponse
from urllib3.exceptions import NewConnectionError
from urllib3.exceptions import TimeoutError as HTTPTimeoutError

from autoscaler.adapters.channels import Channel, Channels
from autoscaler.adapters.cutter import Cutter, cuttable
from autoscaler.adapters.turns import NoTurnError

MAX_ANSWER_BYTES = 32 * 2**20
_CHUNK_BYTES = 2**16
_REPEATABLE = {"GET", "HEAD"}
_LONGEST_SECONDS = 60.0


class AnswerError(Exception):
    """No answer, or one that cannot be used; the message says why."""


class NotSentError(Exception):
    """The request did not leave, so it had no effect. The message or the cause says why."""


class BoundedRest(RESTClientObject):
    """Stands in for the client's own transport. All calls share its places, and wait for one."""

    def __init__(self, configuration: Any) -> None:  # noqa: ANN401 - the client's has loose types
        super().__init__(configuration)
        self._channels = Channels(self._open)

    # The client names all arguments but the first two.
    def request(  # type: ignore[override]
        self,
        method: str,
        url: str,
        *,
        _request_timeout: float | None = None,
        _before_sending: Callable[[], object] | None = None,
        **options: Any,  # noqa: ANN401
    ) -> RESTResponse:
        """Send a request and read all of its answer within `_request_timeout` seconds.

        `_before_sending` is called right before bytes leave, and may raise NotSentError. Raises
        that, AnswerError, or what the client's own transport raises.
        """
        seconds = _request_timeout or _LONGEST_SECONDS

        def work(channel: Channel[_Line], left: float) -> RESTResponse:
            channel.cutter.before_sending = _before_sending
            try:
                answer = channel.client.send(method, url, options, left)
                channel.has_heard = True
                whole = _read(answer)
                channel.insist()
            except NotSentError:
                raise
            except Exception as error:
                is_late = channel.is_cut or _is_timeout(error)
                told = AnswerError(f"no answer within {seconds:g}s") if is_late else error
                if not channel.has_connected:
                    raise NotSentError(f"no connection to {_host(url)}") from told
                if is_late:
                    raise told from error
                raise
            return whole

        try:
            key = f"{method} {url}"
            return self._channels.call(key, seconds, work, repeatable=method in _REPEATABLE)
        except NoTurnError as error:
            raise NotSentError(f"nothing sent to {_host(url)}") from AnswerError(str(error))

    def _open(self, cutter: Cutter) -> "_Line":
        return _Line(self.configuration, cutter)


class _Line:
    """One connection with the configuration's certificates, by its proxy, if it has one."""

    def __init__(self, configuration: Any, cutter: Cutter) -> None:  # noqa: ANN401
        self._rest = RESTClientObject(configuration)
        pool = self._rest.pool_manager.connection_from_url(configuration.host)
        pool.ConnectionCls = cuttable(pool.ConnectionCls, cutter, "kubernetes")
        self._pool = pool
        self._server = f"{pool.scheme}://{urlsplit(configuration.host).netloc}"

    def send(self, method: str, url: str, options: Mapping[str, Any], left: float) -> RESTResponse:
        """Send a request and return its answer, of which only the head was read."""
        is_plain = method == "GET" and not options.get("body") and not options.get("post_params")
        if is_plain and self._pool.proxy is None:  # what the client does then, less its detours
            return RESTResponse(
                self._pool.urlopen(
                    "GET",
                    url.removeprefix(self._server),
                    headers=options.get("headers"),
                    retries=False,
                    redirect=False,
                    timeout=left,
                    preload_content=False,
                )
            )
        answer: RESTResponse = self._rest.request(  # type: ignore[no-untyped-call]
            method, url, **options, _request_timeout=left
        )
        return answer

    def close(self) -> None:
        """Close the connection."""
        self._rest.close()


def _read(response: Any) -> RESTResponse:  # noqa: ANN401 - the client's class has loose types
    """Read all of an answer, and let both forms of it have that: the client's and the raw one."""
    body = bytearray()
    try:
        for chunk in response.response.stream(_CHUNK_BYTES):
            body += chunk
            if len(body) > MAX_ANSWER_BYTES:
                body.clear()  # the error holds this frame
                raise AnswerError(f"answer is larger than {MAX_ANSWER_BYTES // 2**20} MiB")
    finally:
        response.response.close()
    raw = response.response
    whole = HTTPResponse(bytes(body), raw.headers, raw.status, reason=raw.reason)
    answered: Any = RESTResponse(whole)
    answered.data = bytes(body)  # which the client would take for unread where it is empty
    read: RESTResponse = answered
    return read


def _is_timeout(error: Exception) -> bool:
    # A refused connection is one of its timeouts for this library.
    is_one = isinstance(error, (TimeoutError, HTTPTimeoutError))
    return is_one and not isinstance(error, NewConnectionError)


def _host(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
