"""The types of single values: what each may be, and the rule that its refusal states."""

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, SecretStr, Strict

from autoscaler.decision import cron, zones
from autoscaler.duration import format_duration, parse_duration


def _span(value: object) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if isinstance(value, str):
        return parse_duration(value)
    if value == 0 and not isinstance(value, bool):
        return timedelta(0)
    raise ValueError("must be a duration such as 500ms, 15s, 5m or 1h30m")


def within(least: str, most: str) -> AfterValidator:
    """Bound a duration, edges included."""

    def check(span: timedelta) -> timedelta:
        if not parse_duration(least) <= span <= parse_duration(most):
            raise ValueError(f"must lie within {least}..{most}")
        return span

    return AfterValidator(check)


def _matching(pattern: str, rule: str) -> AfterValidator:
    compiled = re.compile(pattern)

    def check(text: str) -> str:
        if compiled.fullmatch(text) is None:
            raise ValueError(rule)
        return text

    return AfterValidator(check)


def _accepted_by(check: Callable[[str], object]) -> AfterValidator:
    """Refuse what a check refuses with its rule."""

    def accept(text: str) -> str:
        check(text)
        return text

    return AfterValidator(accept)


def _url(text: str) -> str:
    rule = "must be an http:// or https:// address: host, port, path and nothing else"
    try:
        url = urlsplit(text)
        fine = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        fine = False
    if not fine or "@" in url.netloc or url.query or url.fragment or re.search(r"\s", text):
        raise ValueError(rule)
    return text


def _gateway_url(text: str) -> str:
    """Check a page of HAProxy's: asked at each address of its host, which no certificate names."""
    if not text.startswith("http://"):
        raise ValueError("must be an http:// address, or empty")
    return _url(text)


def _header(text: SecretStr) -> SecretStr:
    if re.search(r"[^\t\x20-\x7e]", text.get_secret_value()):
        raise ValueError("must be printable ASCII on one line")
    return text


def is_header_name(text: str) -> bool:
    """Tell whether HTTP allows this as a header's name."""
    return re.fullmatch(_HEADER_NAME, text) is not None


def _none_if_empty(value: object) -> object:
    return None if value == "" else value


_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}


def _bytes(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    found = (
        re.fullmatch(r"([0-9]{1,15})(k|M|G|Ki|Mi|Gi|)B?", value) if isinstance(value, str) else None
    )
    if found is None:
        raise ValueError("must be a size such as 500k, 16Mi or 1Gi, or a number of bytes")
    return int(found[1]) * _UNITS[found[2]]


def sized(least: str, most: str) -> AfterValidator:
    """Bound a size, edges included."""

    def check(size: int) -> int:
        if not _bytes(least) <= size <= _bytes(most):
            raise ValueError(f"must lie within {least}..{most}")
        return size

    return AfterValidator(check)


Size = Annotated[int, BeforeValidator(_bytes)]
"""In bytes, with the units of Kubernetes' quantities."""
Duration = Annotated[
    timedelta, BeforeValidator(_span), PlainSerializer(format_duration, when_used="json")
]
"""Prometheus notation; `0` is the only number that needs no unit."""
Span = Annotated[Duration, within("0s", "1d")]
Period = Annotated[Duration, within("1ms", "1d")]
Whole = Annotated[int, Strict()]
Number = Annotated[float, Strict(), Field(allow_inf_nan=False)]
Replicas = Annotated[Whole, Field(ge=0, le=1000)]
OptionalPath = Annotated[Path | None, BeforeValidator(_none_if_empty)]
OptionalText = Annotated[str | None, BeforeValidator(_none_if_empty)]
_LABEL = "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
Namespace = Annotated[str, _matching(_LABEL, "must be a DNS label (a-z, 0-9, -; at most 63)")]
OptionalNamespace = Annotated[Namespace | None, BeforeValidator(_none_if_empty)]
ObjectName = Annotated[
    str,
    _matching(rf"(?=.{{1,253}}\Z){_LABEL}(\.{_LABEL})*", "must be a DNS name (a-z, 0-9, -, .)"),
]
MetricName = Annotated[
    str, _matching("[a-zA-Z_][a-zA-Z0-9_-]{0,62}", "must be letters, digits, _ and - (at most 63)")
]
ScheduleName = MetricName
CronExpression = Annotated[str, Field(max_length=200), _accepted_by(cron.parse)]
TimeZone = Annotated[str, Field(max_length=100), _accepted_by(zones.zone)]
Query = Annotated[
    str, Field(max_length=10_000), _matching(r"(?s).*\S.*", "must be a PromQL expression")
]
_HEADER_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
HeaderName = Annotated[str, _matching(_HEADER_NAME, "must be a header's name")]
Url = Annotated[str, AfterValidator(_url)]
GatewayUrl = Annotated[str, AfterValidator(lambda text: text and _gateway_url(text))]
BackendName = Annotated[
    str, _matching("[a-zA-Z0-9_.:-]+", "must be a name in HAProxy (letters, digits, -, _, . and :)")
]
HeaderValue = Annotated[SecretStr, AfterValidator(_header)]
