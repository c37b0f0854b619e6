"""Asks Prometheus. Every answer carries the age of its data; every failure is a `Missing`."""

import re
import socket
import ssl
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import suppress
from datetime import datetime, timedelta
from http.client import HTTPException, IncompleteRead
from math import inf, isfinite
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from prometheus_api_client import PrometheusConnect
from prometheus_api_client import exceptions as client
from urllib3 import exceptions as http

from autoscaler.adapters.clock import SystemClock
from autoscaler.adapters.freshness import (
    FreshnessQuery,
    first_query,
    freshness_query,
    names_found,
    split_ages,
)
from autoscaler.adapters.prometheus_http import AnswerError, QuerySession
from autoscaler.adapters.promql import QueryError
from autoscaler.adapters.spacing import LOOK_BACK, spacing_of
from autoscaler.adapters.watchdog import WATCHDOG
from autoscaler.decision.model import Missing, Sample, Samples
from autoscaler.decision.words import MissingKind
from autoscaler.errors import causes
from autoscaler.ports import MetricQuery

_CLOCK = SystemClock()
_SLOW = 0.1
"""Seconds after which helpers join in."""
_HELPERS = 3
_MAX_DETAIL = 300
_LEAST_SECRET = 6
_OLDEST = timedelta(days=36_500)

Answer = Samples | Missing
Series = tuple[Mapping[str, str], float]

_TIMEOUT = "timeout"
_CUT_SHORT = "answer is cut short"
_NOT_USABLE = "url is not usable"
_WRONG_HEADER = "a header or the bearer token has characters that HTTP forbids"
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\xa0-\xff]*")

MEANINGS: Mapping[type[BaseException], str] = {
    http.HTTPError: "request failed",
    http.PoolError: "connection failed",
    http.RequestError: "connection failed",
    http.EmptyPoolError: "connection failed",
    http.FullPoolError: "connection failed",
    http.ClosedPoolError: "connection failed",
    http.HostChangedError: "connection failed",
    http.NewConnectionError: "connection failed",
    http.NameResolutionError: "host name cannot be resolved",
    http.ProtocolError: "connection failed",
    http.ResponseError: "connection failed",
    http.InvalidHeader: "connection failed",
    http.HeaderParsingError: "connection failed",
    http.BodyNotHttplibCompatible: "connection failed",
    http.MaxRetryError: "retries are used up",
    http.ProxyError: "proxy failed",
    http.ProxySchemeUnknown: "proxy url is not usable",
    http.ProxySchemeUnsupported: "proxy url is not usable",
    http.SSLError: "TLS failed",
    http.TimeoutError: _TIMEOUT,
    http.TimeoutStateError: _TIMEOUT,
    http.ConnectTimeoutError: _TIMEOUT,
    http.ReadTimeoutError: _TIMEOUT,
    http.LocationValueError: _NOT_USABLE,
    http.LocationParseError: _NOT_USABLE,
    http.URLSchemeUnknown: _NOT_USABLE,
    http.IncompleteRead: _CUT_SHORT,
    http.InvalidChunkLength: _CUT_SHORT,
    http.ResponseNotChunked: _CUT_SHORT,
    http.DecodeError: "answer's compression is damaged",
    http.UnrewindableBodyError: "request cannot be sent again",
    client.PrometheusApiClientException: "request was refused",
    client.MetricValueConversionError: "answer has a value that is not a number",
    HTTPException: "connection failed",
    ssl.SSLError: "TLS failed",
    OSError: "connection failed",
}
"""What each exception of the libraries below means, in our words."""

_CAUSES: Mapping[type[BaseException], str] = {
    ConnectionRefusedError: "connection refused",
    ssl.SSLCertVerificationError: "TLS certificate is not trusted",
    socket.gaierror: "host name cannot be resolved",
    TimeoutError: _TIMEOUT,
    IncompleteRead: _CUT_SHORT,
    ConnectionResetError: "connection closed without an answer",
    BrokenPipeError: "connection closed without an answer",
}
"""What says more, where it is at the root of one of the above."""


class PrometheusSource:
    """A `MetricSource` over Prometheus' instant queries.

    One request per metric (two where a selector has no exact metric name), each at the server's
    present: `Sample.at` is `now` less the age that the server's own clock gives the data, so
    neither a difference between the clocks nor the time that an answer takes makes data look
    younger than it is. The module `freshness` tells what counts as age.
    """

    def __init__(
        self,
        url: str,
        timeout: timedelta,
        *,
        bearer_token_file: Path | None = None,
        ca_file: Path | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Take the server's base URL; `timeout` bounds each `ask` as a whole.

        The token's file is read for every `ask`, since tokens are renewed in place. Headers and
        token never appear in an answer's detail.
        """
        self._timeout = timeout
        self._token_file = bearer_token_file
        self._headers = dict(headers or {})
        self._session: QuerySession | None = None
        with suppress(ValueError):  # nothing that an URL could be
            self._session = QuerySession(url, ca_file)

    def ask(self, queries: Sequence[MetricQuery], now: datetime) -> Mapping[str, Answer]:
        """Answer every query by its name within the timeout; a failed one is Missing(Failed)."""
        if self._session is None:
            return _all_failed(queries, _NOT_USABLE)
        try:
            headers = request_headers(self._headers, self._token_file)
        except (OSError, ValueError) as error:
            cause = getattr(error, "strerror", None) or "must be text"
            return _all_failed(queries, f"bearer_token_file {self._token_file}: {cause}")
        if not all(map(_HEADER_VALUE.fullmatch, headers.values())):
            return _all_failed(queries, _WRONG_HEADER)
        return _Round(self._session, headers, self._timeout, now).ask(queries)

    def spacing(self, selector: str) -> timedelta | None:
        """Return how far apart the samples of a plain selector's series are; None: unknown."""
        if self._session is None:
            return None
        asked = {
            "query": f"{selector}[{LOOK_BACK.total_seconds():.0f}s]",
            "timeout": f"{self._timeout.total_seconds():.3f}",
        }
        try:
            answer = self._session.request(
                "GET",
                f"{self._session.url}/api/v1/query",
                params=asked,
                headers=request_headers(self._headers, self._token_file),
                timeout=self._timeout.total_seconds(),
                expected="matrix",
            )
            return spacing_of(answer.json()["data"]["result"])
        except Exception:  # noqa: BLE001 - whatever it is, it is not known
            return None


def request_headers(headers: Mapping[str, str], token_file: Path | None) -> dict[str, str]:
    """Return the headers of a request, with the token that the file holds now.

    Raises OSError, ValueError where it cannot be read.
    """
    if token_file is None:
        return dict(headers)
    token = token_file.read_text(encoding="utf-8").strip()
    return {**headers, "Authorization": f"Bearer {token}"}


class _Round:
    """One `ask`.

    The thread that asks sends the queries itself, one after the other. Only where that takes long
    do helpers join in, so that a slow query does not take the others with it.
    """

    def __init__(
        self, session: QuerySession, headers: Mapping[str, str], timeout: timedelta, now: datetime
    ) -> None:
        self._session = session
        self._headers = headers
        self._timeout = timeout
        self._now = now
        self._began = _CLOCK.monotonic()
        self._client = PrometheusConnect(url=session.url, headers=dict(headers), session=session)
        self._waiting: SimpleQueue[MetricQuery] = SimpleQueue()
        self._answers: dict[str, Future[Answer]] = {}

    def ask(self, queries: Sequence[MetricQuery]) -> Mapping[str, Answer]:
        """Answer the queries by their names, each in time or not at all."""
        for query in queries:
            self._answers[query.name] = Future()
            self._waiting.put(query)
        with WATCHDOG.alarm(self._began + _SLOW, self._hurry):
            self._work()
        finished = wait(self._answers.values(), timeout=self._left())
        late = _failed(f"timeout after {self._timeout.total_seconds():g}s")
        return {
            name: answer.result() if answer in finished.done else late
            for name, answer in self._answers.items()
        }

    def _hurry(self) -> None:
        """Let helpers take what is still waiting."""
        for _ in range(min(_HELPERS, self._waiting.qsize())):
            threading.Thread(target=self._work, name="prometheus", daemon=True).start()

    def _work(self) -> None:
        while self._left() > 0:
            try:
                query = self._waiting.get_nowait()
            except Empty:
                return
            self._answers[query.name].set_result(self._answer(query))

    def _left(self) -> float:
        return max(0.0, self._began + self._timeout.total_seconds() - _CLOCK.monotonic())

    def _answer(self, query: MetricQuery) -> Answer:
        try:
            plan = first_query(query.query, per_pod=query.per_pod)
            if plan.names_query:
                names = names_found([labels for labels, _ in self._send(plan.names_query)])
                plan = freshness_query(query.query, per_pod=query.per_pod, names=names)
            return _read(plan, self._send(plan.text), self._now)
        except Exception as error:  # noqa: BLE001 - whatever it is, this metric is missing
            return _failed(self._clean(describe(error, self._timeout)))

    def _send(self, text: str) -> list[Series]:
        limit = {"timeout": f"{self._timeout.total_seconds():.3f}"}
        result: Any = self._client.custom_query(text, params=limit, timeout=self._left())
        try:
            if any("histogram" in series for series in result):
                raise AnswerError("the query gives a native histogram, must give a number")
            return [(dict(series["metric"]), float(series["value"][1])) for series in result]
        except (KeyError, IndexError, TypeError, ValueError):
            raise AnswerError("answer is not a vector of numbers") from None

    def _clean(self, text: str) -> str:
        return clean(text, [*self._headers.values(), *self._session.secrets])


def _read(plan: FreshnessQuery, series: Sequence[Series], now: datetime) -> Answer:
    own, ages = split_ages(plan.marker, [_with_age(plan.marker, each) for each in series])
    if own and plan.has_selectors and not ages:
        return Missing(missing=MissingKind.EMPTY, detail="no series behind the query's value")
    return Samples(
        samples=tuple(
            Sample(
                labels=labels,
                value=value,
                at=now - _span(ages.of(labels.get("pod", "")) if ages else 0.0),
            )
            for labels, value in own
        )
    )


def _with_age(marker: str, series: Series) -> Series:
    """Make an age that is no number the highest of all: what it stands for must not be used.

    To be done before ages are compared, since NaN is neither higher nor lower than another.
    """
    labels, value = series
    return (labels, inf) if marker in labels and not isfinite(value) else series


def _span(seconds: float) -> timedelta:
    """Turn an age into a span that can be taken off any date that we meet."""
    return timedelta(seconds=max(0.0, min(seconds, _OLDEST.total_seconds())))


def clean(text: str, secrets: Sequence[str]) -> str:
    """Make a text that may be the server's fit for a log: no secrets, one line, not long."""
    for secret in _words(secrets):
        text = text.replace(secret, "***")
    line = " ".join(text.split())
    return line if len(line) <= _MAX_DETAIL else line[: _MAX_DETAIL - 3] + "..."


def describe(error: BaseException, timeout: timedelta) -> str:
    """Say what a failure means. Never quotes the libraries: their texts hold URLs and headers."""
    if isinstance(error, QueryError):
        return f"bad query: {error}"
    if isinstance(error, AnswerError):
        return str(error)
    if type(error) is OSError:
        return str(error)  # a CA file that is not there
    meaning = _meaning(error)
    return f"timeout after {timeout.total_seconds():g}s" if meaning == _TIMEOUT else meaning


def _meaning(error: BaseException) -> str:
    chain = list(causes(error))
    for cause, meaning in _CAUSES.items():
        if any(isinstance(each, cause) for each in chain):
            return meaning
    known = (MEANINGS[kind] for kind in type(error).__mro__ if kind in MEANINGS)
    return next(known, f"unexpected {type(error).__name__}")


def _words(secrets: Sequence[str]) -> Sequence[str]:
    """List what must not be shown, the longest first; shorter ones would garble texts."""
    words = {word for secret in secrets for word in (secret, *secret.split())}
    return sorted((word for word in words if len(word) >= _LEAST_SECRET), key=len, reverse=True)


def _failed(detail: str) -> Missing:
    return Missing(missing=MissingKind.FAILED, detail=detail)


def _all_failed(queries: Sequence[MetricQuery], detail: str) -> Mapping[str, Answer]:
    return {query.name: _failed(detail) for query in queries}
