"""What `check` says of each thing that it has looked at."""

from dataclasses import dataclass
from enum import StrEnum

QUERY_ADVICE = "mend the query; Prometheus' own page shows where it breaks off"
BEARER_ADVICE = "put the token there, or correct prometheus.bearer_token_file"


class Severity(StrEnum):
    """What a finding means for the daemon."""

    OK = "ok"
    WARNING = "warning"
    """It works, but not as one might think."""
    ERROR = "error"
    """It cannot do its work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    severity: Severity
    where: str
    what: str
    next_step: str = ""


def ok(where: str, what: str) -> Finding:
    """Make a finding that nothing is to be done about."""
    return Finding(severity=Severity.OK, where=where, what=what)


def warning(where: str, what: str, next_step: str) -> Finding:
    """Make a finding with what to look at next."""
    return Finding(severity=Severity.WARNING, where=where, what=what, next_step=next_step)


def error(where: str, what: str, next_step: str) -> Finding:
    """Make a finding with what to mend."""
    return Finding(severity=Severity.ERROR, where=where, what=what, next_step=next_step)
