"""Asks Prometheus. Every answer carries the age of its data; every failure is a `Missing`."""

import socket
import ssl
import threading
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from datetime import datetime, timedelta
from math import inf, isfinite
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any
from urllib.parse import unquote, urlsplit

from prometheus_api_client import PrometheusConnect
from prometheus_api_client import exceptions as client
from requests import exceptions as http

from autoscaler.adapters.cutter import Cutter
from autoscaler.adapters.freshness import FreshnessQuery, freshness_query, names_found, split_ages
from autoscaler.adapters.prometheus_http import AnswerError, CuttableAdapter, QuerySession
from autoscaler.adapters.promql import QueryError
from autoscaler.decision.model import Missing, Sample, Samples
from autoscaler.decision.words import MissingKind
from autoscaler.ports import MetricQuery

_WORKERS = 4
_MOST_LEFT_BEHIND = 16
_MAX_DETAIL = 300
_LEAST_SECRET = 6
_OLDEST = timedelta(days=36_500)

Answer = Samples | Missing
Series = tuple[Mapping[str, str], float]

_TIMEOUT = "timeout"
_CUT_SHORT = "answer is cut short"
_NOT_JSON = "answer is not JSON"
_NOT_USABLE = "url is not usable"

MEANINGS: Mapping[type[BaseException], str] = {
    http.RequestException: "request failed",
    http.InvalidJSONError: _NOT_JSON,
    http.JSONDecodeError: _NOT_JSON,
    http.HTTPError: "HTTP error",
    http.ConnectionError: "connection failed",
    http.ProxyError: "proxy failed",
    http.SSLError: "TLS failed",
    http.Timeout: _TIMEOUT,
    http.ConnectTimeout: _TIMEOUT,
    http.ReadTimeout: _TIMEOUT,
    http.URLRequired: _NOT_USABLE,
    http.TooManyRedirects: "too many redirects",
    http.MissingSchema: _NOT_USABLE,
    http.InvalidSchema: _NOT_USABLE,
    http.InvalidURL: _NOT_USABLE,
    http.InvalidHeader: "a header or the bearer token has characters that HTTP forbids",
    http.InvalidProxyURL: "proxy url is not usable",
    http.ChunkedEncodingError: _CUT_SHORT,
    http.ContentDecodingError: "answer's compression is damaged",
    http.StreamConsumedError: "answer was read twice",
    http.RetryError: "retries are used up",
    http.UnrewindableBodyError: "request cannot be sent again",
    client.PrometheusApiClientException: "request was refused",
    client.MetricValueConversionError: "answer has a value that is not a number",
    OSError: "connection failed",
}
"""What each exception of the libraries below means, in our words."""

_CAUSES: Mapping[type[BaseException], str] = {
    ConnectionRefusedError: "connection refused",
    ssl.SSLCertVerificationError: "TLS certificate is not trusted",
    socket.gaierror: "host name cannot be resolved",
    TimeoutError: _TIMEOUT,
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
        self._url = url.rstrip("/")
        self._timeout = timeout
        self._token_file = bearer_token_file
        self._ca_file = str(ca_file) if ca_file else None
        self._headers = dict(headers or {})
        # One for all targets, which ask at the same time from threads of their own.
        self._left_behind: list[threading.Thread] = []
        self._left_behind_lock = threading.Lock()

    def ask(self, queries: Sequence[MetricQuery], now: datetime) -> Mapping[str, Answer]:
        """Answer every query by its name within the timeout; a failed one is Missing(Failed)."""
        with self._left_behind_lock:
            self._left_behind = [thread for thread in self._left_behind if thread.is_alive()]
            hanging = len(self._left_behind)
        if hanging > _MOST_LEFT_BEHIND:
            return _all_failed(queries, f"{hanging} earlier requests still hang")
        try:
            headers = self._current_headers()
        except (OSError, ValueError) as error:
            cause = getattr(error, "strerror", None) or "must be text"
            return _all_failed(queries, f"bearer_token_file {self._token_file}: {cause}")
        try:
            asking = _Round(self._url, self._ca_file, headers, self._timeout)
        except ValueError:  # nothing that an URL could be
            return _all_failed(queries, _NOT_USABLE)
        answers, threads = asking.start(queries, now)
        finished = wait(answers.values(), timeout=self._timeout.total_seconds())
        asking.stop()
        with self._left_behind_lock:
            self._left_behind += threads
        late = _failed(f"timeout after {self._timeout.total_seconds():g}s")
        return {
            name: answer.result() if answer in finished.done else late
            for name, answer in answers.items()
        }

    def _current_headers(self) -> dict[str, str]:
        headers = dict(self._headers)
        if self._token_file:
            token = self._token_file.read_text(encoding="utf-8").strip()
            headers["Authorization"] = f"Bearer {token}"
        return headers


class _Round:
    """One `ask`. Its connections are its own, so that nothing that hangs outlives it."""

    def __init__(
        self, url: str, ca_file: str | None, headers: Mapping[str, str], timeout: timedelta
    ) -> None:
        self._timeout = timeout
        self._secrets = _words([*headers.values(), *_credentials(url)])
        self._cutter = Cutter()
        self._session = QuerySession(ca_file)
        self._client = PrometheusConnect(
            url=url, headers=headers, session=self._session, timeout=timeout.total_seconds()
        )
        self._session.mount(url, CuttableAdapter(self._cutter))  # for the client's, which retries

    def start(
        self, queries: Sequence[MetricQuery], now: datetime
    ) -> tuple[Mapping[str, Future[Answer]], Sequence[threading.Thread]]:
        """Begin to answer, in a few threads."""
        answers: dict[str, Future[Answer]] = {query.name: Future() for query in queries}
        waiting: SimpleQueue[MetricQuery] = SimpleQueue()
        for query in queries:
            waiting.put(query)

        def work() -> None:
            while True:
                try:
                    query = waiting.get_nowait()
                except Empty:
                    return
                answers[query.name].set_result(self._answer(query, now))

        threads = [
            threading.Thread(target=work, name="prometheus", daemon=True)
            for _ in range(min(_WORKERS, len(queries)))
        ]
        for thread in threads:
            thread.start()
        return answers, threads

    def stop(self) -> None:
        """End every connection; a thread that still waits on one ends with it."""
        self._cutter.cut()
        self._session.close()

    def _answer(self, query: MetricQuery, now: datetime) -> Answer:
        try:
            plan = freshness_query(query.query, per_pod=query.per_pod)
            if plan.names_query:
                names = names_found([labels for labels, _ in self._send(plan.names_query)])
                plan = freshness_query(query.query, per_pod=query.per_pod, names=names)
            return _read(plan, self._send(plan.text), now)
        except Exception as error:  # noqa: BLE001 - whatever it is, this metric is missing
            return _failed(self._clean(_describe(error, self._timeout)))

    def _send(self, text: str) -> list[Series]:
        limit = {"timeout": f"{self._timeout.total_seconds():.3f}"}
        result: Any = self._client.custom_query(text, params=limit)
        try:
            if any("histogram" in series for series in result):
                raise AnswerError("the query gives a native histogram, must give a number")
            return [(dict(series["metric"]), float(series["value"][1])) for series in result]
        except (KeyError, IndexError, TypeError, ValueError):
            raise AnswerError("answer is not a vector of numbers") from None

    def _clean(self, text: str) -> str:
        """Make a text that may be the server's fit for a log: no secrets, one line, not long."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        line = " ".join(text.split())
        return line if len(line) <= _MAX_DETAIL else line[: _MAX_DETAIL - 3] + "..."


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


def _describe(error: BaseException, timeout: timedelta) -> str:
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
    chain = list(_chain(error))
    for cause, meaning in _CAUSES.items():
        if any(isinstance(each, cause) for each in chain):
            return meaning
    known = (MEANINGS[kind] for kind in type(error).__mro__ if kind in MEANINGS)
    return next(known, f"unexpected {type(error).__name__}")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _credentials(url: str) -> Sequence[str]:
    parts = urlsplit(url)
    basic = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    return parts.password or "", unquote(parts.password or ""), b64encode(basic.encode()).decode()


def _words(secrets: Sequence[str]) -> Sequence[str]:
    """List what must not be shown, the longest first; shorter ones would garble texts."""
    words = {word for secret in secrets for word in (secret, *secret.split())}
    return sorted((word for word in words if len(word) >= _LEAST_SECRET), key=len, reverse=True)


def _failed(detail: str) -> Missing:
    return Missing(missing=MissingKind.FAILED, detail=detail)


def _all_failed(queries: Sequence[MetricQuery], detail: str) -> Mapping[str, Answer]:
    return {query.name: _failed(detail) for query in queries}
