"""How many contract cases ran against which API."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

_OUTCOMES = ("passed", "failed", "error", "skipped")


def counted(stats: Mapping[str, Iterable[Any]]) -> list[str]:
    """Say it in a line for each API; nothing where no case ran."""
    counts: dict[str, Counter] = {}
    for outcome in _OUTCOMES:
        for report in stats.get(outcome, ()):
            api = dict(getattr(report, "user_properties", ())).get("contract")
            if api is not None:
                counts.setdefault(api, Counter())[outcome] += 1
    return [
        f"contract, {api} API: " + ", ".join(f"{counts[api][each]} {each}" for each in counts[api])
        for api in sorted(counts)
    ]
