"""What each pod used lately, as metrics-server tells it: the rate between its last two looks."""

from collections.abc import Mapping

from autoscaler.hpa.pods import Sample
from autoscaler.sandbox.exporters import Reading


class MetricsServer:
    """Remembers the last two readings of each pod."""

    def __init__(self) -> None:
        """Know nothing yet: a rate takes two readings."""
        self._pairs: dict[str, tuple[Reading, ...]] = {}

    def look(self, readings: Mapping[str, Reading]) -> None:
        """Take note of what the kubelet shows now; whoever is not in it is forgotten."""
        self._pairs = {
            pod: self._pair(self._pairs.get(pod, ()), reading) for pod, reading in readings.items()
        }

    def usage(self) -> Mapping[str, Sample]:
        """Return thousandths of a core of each pod read twice since its container began."""
        return {pod: _usage(*pair) for pod, pair in self._pairs.items() if len(pair) == 2}

    @staticmethod
    def _pair(before: tuple[Reading, ...], now: Reading) -> tuple[Reading, ...]:
        if not before or now.before != before[-1].before:  # new, or its container began anew
            return (now,)
        return before if now.at <= before[-1].at else (before[-1], now)


def _usage(first: Reading, last: Reading) -> Sample:
    window = last.at - first.at
    cores = max(0.0, last.cpu_seconds - first.cpu_seconds) / window
    return Sample(round(1000 * cores), at=last.at, window=window)
