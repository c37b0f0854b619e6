"""The configuration: what the file and the environment may say, checked once, and its policy."""

from autoscaler.settings.changes import changed_keys
from autoscaler.settings.sections import KubernetesSettings, PrometheusSettings, Settings
from autoscaler.settings.sources import DEFAULT_PATHS, find_file, load
from autoscaler.settings.target import TargetSettings, to_policy, to_queries
from autoscaler.settings.variant import vary

__all__ = [
    "DEFAULT_PATHS",
    "KubernetesSettings",
    "PrometheusSettings",
    "Settings",
    "TargetSettings",
    "changed_keys",
    "find_file",
    "load",
    "to_policy",
    "to_queries",
    "vary",
]
