"""Asks Prometheus what a query was over time. No cycle needs it; reports do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import isfinite
from pathlib import Path
from shlex import quote
from typing import Any

from autoscaler.adapters.prometheus import clean, describe, request_headers
from autoscaler.adapters.prometheus_http import RANGE_PATH, AnswerError, QuerySession
from autoscaler.errors import InputError, ObserveError


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeSeries:
    """One series; where it has no point, there was no sample."""

    labels: Mapping[str, str]
    points: Sequence[tuple[datetime, float]]


class PrometheusHistory:
    """Range queries, one at a time."""

    def __init__(
        self,
        url: str,
        timeout: timedelta,
        *,
        bearer_token_file: Path | None = None,
        ca_file: Path | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Take the server's base URL; `timeout` bounds each question. Raises InputError."""
        try:
            self._session = QuerySession(url, ca_file)
        except ValueError as error:
            raise InputError(
                f"--prometheus = {clean(url, [])}, must be the URL of a Prometheus such as"
                " http://localhost:9090",
                next_step="type it again with --prometheus http://localhost:9090",
            ) from error
        self._timeout = timeout
        self._token_file = bearer_token_file
        self._headers = dict(headers or {})

    def ask(
        self, query: str, begin: datetime, end: datetime, step: timedelta
    ) -> Sequence[RangeSeries]:
        """Return every series, a point for each step that has one. Raises ObserveError."""
        secrets = list(self._session.secrets)
        try:
            headers = request_headers(self._headers, self._token_file)
            secrets += headers.values()
            answer = self._session.request(
                "GET",
                f"{self._session.url}{RANGE_PATH}",
                params={
                    "query": query,
                    "start": f"{begin.timestamp():.3f}",
                    "end": f"{end.timestamp():.3f}",
                    "step": f"{step.total_seconds():.3f}",
                    "timeout": f"{self._timeout.total_seconds():.3f}",
                },
                headers=headers,
                timeout=self._timeout.total_seconds(),
            )
            return [_series(each) for each in answer.json()["data"]["result"]]
        except Exception as error:
            told = clean(describe(error, self._timeout), secrets)
            raise ObserveError(
                f"prometheus {self._session.url}: {told}, must be a Prometheus that answers",
                next_step=f"curl {quote(f'{self._session.url}/-/ready')}, or type it again without"
                " --prometheus: then the records' own numbers are taken",
            ) from error


def _series(answer: Mapping[str, Any]) -> RangeSeries:
    try:
        points = [(float(at), float(value)) for at, value in answer["values"]]
        return RangeSeries(
            labels={str(key): str(value) for key, value in dict(answer["metric"]).items()},
            points=[
                (datetime.fromtimestamp(at, UTC), value) for at, value in points if isfinite(value)
            ],
        )
    except (KeyError, TypeError, ValueError):
        raise AnswerError("answer is not a range of numbers") from None
