"""The configuration: what the file and the environment may say, checked once, and its policy."""

from autoscaler.settings.sections import (
    HttpSettings,
    KubernetesSettings,
    LogSettings,
    MetricSettings,
    PrometheusSettings,
    RecordsSettings,
    Settings,
    TargetSettings,
    to_policy,
    to_queries,
)
from autoscaler.settings.sources import DEFAULT_PATHS, find_file, load

__all__ = [
    "DEFAULT_PATHS",
    "HttpSettings",
    "KubernetesSettings",
    "LogSettings",
    "MetricSettings",
    "PrometheusSettings",
    "RecordsSettings",
    "Settings",
    "TargetSettings",
    "find_file",
    "load",
    "to_policy",
    "to_queries",
]
