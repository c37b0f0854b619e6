"""The dashboards that ship, and what they ask of Prometheus."""

import json
from collections.abc import Iterator
from typing import Any

from tests.stack.builds import ROOT

Json = dict[str, Any]

FILES = sorted((ROOT / "deploy" / "grafana" / "dashboards").glob("*.json"))
BOARDS: dict[str, Json] = {path.stem: json.loads(path.read_text()) for path in FILES}


def panels(board: Json) -> list[Json]:
    """Return the panels that show something: all but the headings."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def targets(board: Json) -> Iterator[Json]:
    """Yield every query of every panel."""
    for panel in panels(board):
        yield from panel["targets"]


def queried(board: Json) -> list[Json]:
    """Return the variables whose values Prometheus gives."""
    return [item for item in board["templating"]["list"] if item["type"] == "query"]


def expressions(board: Json) -> list[str]:
    """Return all PromQL: that of panels and that of variables."""
    return [target["expr"] for target in targets(board)] + [
        variable["query"]["query"] for variable in queried(board)
    ]
