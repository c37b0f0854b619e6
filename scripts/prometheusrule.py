#!/usr/bin/env python3
"""Writes the rules once more, as the object that a cluster with the Prometheus operator reads.

python3 scripts/prometheusrule.py

The comments come along. Needs Python alone.
"""

from pathlib import Path

DEPLOY = Path(__file__).parents[1] / "deploy"
SOURCES = tuple(DEPLOY / "prometheus" / "rules" / name for name in ("recording.yml", "alerts.yml"))
WRITTEN = DEPLOY / "components" / "prometheus-operator" / "prometheusrule.yaml"
HEAD = """\
# Written by `make rules` from deploy/prometheus/rules: change those, then type it again.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: ollama-stack
  labels:
    app.kubernetes.io/name: ollama-stack
    app.kubernetes.io/component: monitoring
    app.kubernetes.io/part-of: ollama-stack
spec:
  groups:
"""


def render() -> str:
    """Return the object: the groups of all files, one behind the other."""
    return HEAD + "\n".join(_groups(path) for path in SOURCES)


def _groups(path: Path) -> str:
    """Take what follows `groups:`, indented once more."""
    _, found, rest = path.read_text().partition("\ngroups:\n")
    if not found:
        raise ValueError(f"{path}: must have a line `groups:`")
    return "".join(f"  {line}" if line.strip() else line for line in rest.splitlines(keepends=True))


if __name__ == "__main__":
    WRITTEN.write_text(render())
