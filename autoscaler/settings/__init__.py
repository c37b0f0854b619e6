"""The configuration: what the file and the environment may say, checked once, and its policy."""

from autoscaler.settings.changes import changed_keys
from autoscaler.settings.sections import (
    HttpSettings,
    KubernetesSettings,
    LeadershipSettings,
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
    "LeadershipSettings",
    "LogSettings",
    "MetricSettings",
    "PrometheusSettings",
    "RecordsSettings",
    "Settings",
    "TargetSettings",
    "changed_keys",
    "find_file",
    "load",
    "to_policy",
    "to_queries",
]
