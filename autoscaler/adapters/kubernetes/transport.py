"""The official client's transport, bounded: in time for a call as a whole, in size for its answer.

Each call has a thread and a connection of its own. The caller waits for the thread for as long as
the call may take, and then the connection is cut, which ends the thread as well. One that has no
connection yet ends by itself, when name lookup, connection and handshake run into their own
timeouts, and sends nothing any more. (Only a proxy that dribbles before its tunnel stands keeps
the thread for as long as it does so; the caller goes on in time all the same.)
"""

import threading
from concurrent.futures import Future
from typing import Any
from urllib.parse import urlsplit

from kubernetes.client.rest import RESTClientObject, RESTResponse
from urllib3 import HTTPResponse
from urllib3.exceptions import NewConnectionError
from urllib3.exceptions import TimeoutError as HTTPTimeoutError

from autoscaler.adapters.cutter import Cutter, make_cuttable

MAX_ANSWER_BYTES = 32 * 2**20
_CHUNK_BYTES = 2**16


class AnswerError(Exception):
    """No answer, or one that cannot be used; the message says why."""


class NotSentError(Exception):
    """No connection came about, so the request had no effect. The cause says why."""


class BoundedRest(RESTClientObject):
    """Stands in for the client's own transport."""

    # The client names all arguments but the first two.
    def request(  # type: ignore[override]
        self,
        method: str,
        url: str,
        *,
        _request_timeout: float | None = None,
        **options: Any,  # noqa: ANN401
    ) -> RESTResponse:
        """Send a request and read all of its answer within `_request_timeout` seconds.

        Raises NotSentError, AnswerError, or what the client's own transport raises.
        """
        rest: Any = RESTClientObject(self.configuration)
        cutter = Cutter()
        make_cuttable(rest.pool_manager.connection_from_url(url), cutter)
        answer: Future[RESTResponse] = Future()

        def work() -> None:
            try:
                limit = {"_request_timeout": _request_timeout}
                answer.set_result(_read(rest.request(method, url, **options, **limit)))
            except Exception as error:  # noqa: BLE001 - the caller's to judge
                answer.set_exception(error)
            finally:
                rest.close()

        threading.Thread(target=work, name="kubernetes", daemon=True).start()
        try:
            return answer.result(_request_timeout)
        except Exception as error:
            cutter.cut()  # from here on nothing more is sent
            is_late = _is_timeout(error)
            told = AnswerError(f"no answer within {_request_timeout:g}s") if is_late else error
            if not cutter.has_watched:
                raise NotSentError(f"no connection to {_host(url)}") from told
            if is_late:
                raise told from error
            raise
        finally:
            cutter.cut()


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
