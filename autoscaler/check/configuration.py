"""What the configuration names on this machine, and times that do not fit together."""

import ssl
from collections.abc import Iterator
from datetime import timedelta

from autoscaler.adapters import health, records
from autoscaler.check import findings
from autoscaler.check.findings import Finding
from autoscaler.duration import format_duration
from autoscaler.settings import Settings, TargetSettings


def look_at_files(settings: Settings) -> Iterator[Finding]:
    """Look at the files that are named: records, token, certificates."""
    path = settings.records.path
    if path is not None and not settings.records.to_output and (wrong := records.why_not(path)):
        what = f"no record will be kept: {path}: {wrong}"
        yield findings.warning(
            "records.path", what, "name a file in a folder that can be written to"
        )
    path = settings.prometheus.bearer_token_file
    if path is not None:
        try:
            path.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            what = f"{path}: {getattr(error, 'strerror', None) or 'must be text'}"
            yield findings.error("prometheus.bearer_token_file", what, findings.BEARER_ADVICE)
    path = settings.prometheus.ca_file
    if path is not None:
        try:
            ssl.create_default_context(cafile=path)
        except (OSError, ValueError) as error:
            none = "holds no certificates" if isinstance(error, ssl.SSLError) else ""
            what = f"{path}: {none or getattr(error, 'strerror', None) or error}"
            yield findings.error(
                "prometheus.ca_file", what, "name a file with certificates in PEM form"
            )


def look_at_port(settings: Settings) -> Iterator[Finding]:
    """Look whether the daemon's own port can be opened."""
    http = settings.http
    if wrong := health.why_not(http.host, http.port):
        what = f"cannot listen at {http.host}, port {http.port}: {wrong}"
        yield findings.error("http.port", what, "choose another, or end what holds it")


def tell_policy(target: TargetSettings) -> Finding:
    """Tell what a target is scaled by."""
    names = ", ".join(metric.name for metric in target.metrics)
    bounds = f"{target.min_replicas}..{target.max_replicas} replicas"
    return findings.ok(target.name, f"{bounds} by {names}; mode {target.mode}")


def look_at_windows(settings: Settings, target: TargetSettings) -> Iterator[Finding]:
    """Look for windows in which there is never more than one cycle."""
    for key in ("scale_up", "scale_down"):
        window: timedelta = getattr(target, key).stabilization_window
        if timedelta(0) < window <= settings.interval:
            what = (
                f"{key}.stabilization_window {format_duration(window)} is not longer than the "
                f"interval {format_duration(settings.interval)}: it holds nothing back"
            )
            step = f"make it several times the interval, or {key}.stabilization_window: 0s"
            yield findings.warning(target.name, what, step)
