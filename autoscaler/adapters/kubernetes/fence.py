"""A client whose writes are made by a leader, and by nobody else."""

from collections.abc import Callable
from copy import copy
from typing import Any

from kubernetes.client import ApiClient
from kubernetes.client.rest import RESTResponse

from autoscaler.adapters.kubernetes.transport import NotSentError


def fenced(client: ApiClient, leads: Callable[[], bool]) -> ApiClient:
    """Return a client for the same cluster that asks before every write whether we lead.

    One act of the loop may be several requests, each of which takes its time: so the question is
    asked where each of them leaves, and again right before its bytes do: a process may be frozen
    between any two steps. What is no business of the leader must not be written through it.
    """
    guarded = copy(client)
    guarded.rest_client = _Fence(client.rest_client, leads)  # type: ignore[assignment]
    return guarded


class _Fence:
    """Stands between the client and its transport."""

    def __init__(self, rest: Any, leads: Callable[[], bool]) -> None:  # noqa: ANN401
        self._rest = rest
        self._leads = leads

    def request(self, method: str, url: str, **options: Any) -> RESTResponse:  # noqa: ANN401
        """Send a request; a write only while we lead. Raises NotSentError."""
        if method != "GET":
            self._insist()
            options["_before_sending"] = self._insist
        answer: RESTResponse = self._rest.request(method, url, **options)
        return answer

    def _insist(self) -> None:
        if not self._leads():
            raise NotSentError("the leadership has been lost")

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._rest, name)
