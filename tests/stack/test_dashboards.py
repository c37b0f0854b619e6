"""The dashboards: what Grafana's published types allow, and what a reader may rely on."""

import json
import re
import subprocess
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from datetime import timedelta
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from autoscaler.adapters.cycle_view import STAGES
from autoscaler.adapters.gauges import QUALITIES
from autoscaler.adapters.telemetry import Metrics
from autoscaler.decision.model import Schedule
from autoscaler.decision.words import Reason, Stage
from tests.adapters.views import pods, seen
from tests.cycles import POLICY
from tests.stack.boards import BOARDS, FILES, Json, expressions, panels, queried, targets
from tests.stack.builds import TOOLS, tool

TYPES = Path(__file__).with_name("dashboards.ts")
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
COLUMNS = 24

each_board = pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)


def named(panel: Json) -> str:
    """Return what a failed assertion calls a panel."""
    return f"{panel['id']} {panel['title']}"


def in_panel(board: Json, title: str) -> Json:
    """Return the one panel with that title."""
    (panel,) = [panel for panel in panels(board) if panel["title"] == title]
    return panel


# --- Grafana's types ------------------------------------------------------------------------------


def first(kind: str) -> Callable[[Json], Json]:
    """Return a function that finds a board's first panel of a kind."""
    return lambda board: next(panel for panel in board["panels"] if panel["type"] == kind)


def change(path: str, value: object) -> Callable[[Json], None]:
    """Return a function that sets one value deep inside."""

    def apply(inside: Any) -> None:
        *way, last = (int(key) if key.isdigit() else key for key in path.split("/"))
        for key in way:
            inside = inside[key]
        inside[last] = value

    return apply


SERIES, STAT, TABLE, ROW = first("timeseries"), first("stat"), first("table"), first("row")
WRONG: dict[str, tuple[Callable[[Json], Json], Callable[[Json], None]]] = {
    "key of the dashboard": (lambda board: board, change("timeZone", "browser")),
    "value of the dashboard": (lambda board: board, change("graphTooltip", 3)),
    "key of a link": (lambda board: board["links"][0], change("uid", "chat")),
    "key of a variable": (lambda board: board["templating"]["list"][1], change("definition", "")),
    "type of a variable": (lambda board: board["templating"]["list"][1], change("type", "label")),
    "key of a panel": (SERIES, change("descripton", "")),
    "type of a panel": (SERIES, change("type", "graph")),
    "position": (SERIES, change("gridPos/h", "8")),
    "option": (SERIES, change("options/legend/showLegends", True)),
    "option of another panel's type": (STAT, change("options/legend", {})),
    "value of an option": (STAT, change("options/colorMode", "colour")),
    "key of a field": (SERIES, change("fieldConfig/defaults/units", "s")),
    "value of a field": (SERIES, change("fieldConfig/defaults/color/mode", "threshold")),
    "threshold": (SERIES, change("fieldConfig/defaults/thresholds/steps/0/colour", "red")),
    "custom key": (SERIES, change("fieldConfig/defaults/custom/lineWidht", 1)),
    "custom key of another panel's type": (
        STAT,
        change("fieldConfig/defaults/custom", {"lineWidth": 1}),
    ),
    "key of an override": (
        SERIES,
        change("fieldConfig/overrides/0/properties/0/id", "custom.lineStile"),
    ),
    "value of an override": (
        TABLE,
        change("fieldConfig/overrides/0/properties/0", {"id": "custom.width", "value": "9"}),
    ),
    "cell of a table": (TABLE, change("fieldConfig/defaults/custom/cellOptions/type", "colour")),
    "key of a query": (SERIES, change("targets/0/legend", "")),
    "key of a heading": (ROW, change("description", "")),
}


def as_typescript(board: Json) -> str:
    """Write the board and each of its panels as a constant of Grafana's type for it."""
    whole = {key: value for key, value in board.items() if key != "panels"}
    constants = [f"export const board: DashboardWithoutPanels = {json.dumps(whole)};"]
    constants += [
        f"export const panel{number}: PanelOf<{json.dumps(panel['type'])}> = {json.dumps(panel)};"
        for number, panel in enumerate(board["panels"])
    ]
    types = 'import type { DashboardWithoutPanels, PanelOf } from "./dashboards";'
    return "\n".join([types, *constants, ""])


@pytest.fixture(scope="module")
def complaints(tmp_path_factory):
    """Compile every dashboard, and every one made wrong, at once; return the errors by file."""
    folder = tmp_path_factory.mktemp("dashboards")
    (folder / "node_modules").symlink_to(TOOLS / "node_modules")
    (folder / TYPES.name).write_text(TYPES.read_text())
    for name, board in BOARDS.items():
        (folder / f"{name}.ts").write_text(as_typescript(board))
    for number, (find, spoil) in enumerate(WRONG.values()):
        board = deepcopy(BOARDS["autoscaler"])
        spoil(find(board))
        (folder / f"wrong{number}.ts").write_text(as_typescript(board))
    options = "--noEmit --strict --skipLibCheck --module esnext --moduleResolution bundler"
    done = subprocess.run(
        [
            *(tool("node"), "node_modules/typescript/bin/tsc", *options.split()),
            *(path.name for path in folder.glob("*.ts")),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stderr == ""
    found: dict[str, list[str]] = {path.stem: [] for path in folder.glob("*.ts")}
    for line in filter(None, done.stdout.splitlines()):
        file = re.match(r"(\w+)\.ts\(", line)
        assert file or line.startswith(" "), line
        if file:
            found[file[1]].append(line)
    return found


def test_the_types_themselves_compile(complaints):
    """Grafana's schema has every type that the check names."""
    assert complaints["dashboards"] == []


@pytest.mark.parametrize("name", BOARDS)
def test_grafanas_types_accept_the_dashboard(complaints, name):
    """No property is missing, misspelt, out of place or of a wrong type."""
    assert complaints[name] == []


@pytest.mark.parametrize("number", range(len(WRONG)), ids=WRONG)
def test_grafanas_types_find_what_is_wrong(complaints, number):
    """One wrong property anywhere in a dashboard is one complaint."""
    assert len(complaints[f"wrong{number}"]) == 1


def test_the_schema_version_is_the_newest():
    """Grafana need not migrate what it loads."""
    newest = subprocess.run(
        [tool("node"), "-p", "require('@grafana/schema').defaultDashboard.schemaVersion"],
        cwd=TOOLS,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert {board["schemaVersion"] for board in BOARDS.values()} == {int(newest.stdout)}


# --- the file -------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_json_is_in_one_form(path):
    """Keys are sorted and two spaces indent, so that an export differs only where it differs."""
    text = path.read_text()
    assert text == json.dumps(json.loads(text), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def test_the_uids_are_what_links_and_bookmarks_know():
    """Three dashboards, each with its file's name as its uid and without a database id."""
    assert set(BOARDS) == {"chat", "autoscaler", "gateway"}
    assert {name: board["uid"] for name, board in BOARDS.items()} == {name: name for name in BOARDS}
    assert all(board["id"] is None for board in BOARDS.values())


@each_board
def test_a_dashboard_is_live_and_in_the_readers_time(board):
    """It refreshes itself at an offered pace, up to now, in the browser's time zone."""
    assert board["refresh"] in board["timepicker"]["refresh_intervals"]
    assert re.fullmatch(r"now-\d+[mh]", board["time"]["from"])
    assert board["time"]["to"] == "now"
    assert board["timezone"] == "browser"
    assert "ollama-stack" in board["tags"]


# --- the grid -------------------------------------------------------------------------------------


@each_board
def test_panels_lie_side_by_side(board):
    """None leaves the grid of 24 columns, and no two overlap."""
    places = {named(panel): panel["gridPos"] for panel in board["panels"]}
    for name, place in places.items():
        assert min(place.values()) >= 0, name
        assert place["w"] > 0, name
        assert place["h"] > 0, name
        assert place["x"] + place["w"] <= COLUMNS, name
    for (one, a), (other, b) in combinations(places.items(), 2):
        beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        below = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert beside or below, (one, other)


@each_board
def test_panels_are_told_apart(board):
    """Ids and titles are unique."""
    for key in ("id", "title"):
        values = [panel[key] for panel in board["panels"]]
        assert len(set(values)) == len(values), key


# --- what a panel tells ---------------------------------------------------------------------------


@each_board
def test_each_panel_says_what_it_shows(board):
    """It has a unit, and one to three sentences on what one sees and what would be bad."""
    for panel in panels(board):
        assert panel["fieldConfig"]["defaults"]["unit"], named(panel)
        sentences = re.findall(r"\.(?:\s|$)", panel["description"])
        assert 1 <= len(sentences) <= 3, named(panel)
        assert panel["description"].endswith("."), named(panel)


@each_board
def test_each_line_has_a_name(board):
    """A legend is a word or a label, never a raw series; lines of one panel do not share it."""
    for panel in panels(board):
        names = [target["legendFormat"] for target in panel["targets"]]
        if panel["type"] == "table":
            continue
        assert all(name and name != "__auto" for name in names), named(panel)
        assert len(set(names)) == len(names), named(panel)


@each_board
def test_absence_is_not_shown_as_zero(board):
    """No expression fills in a number, no line bridges a gap, and "No data" stays "No data"."""
    for panel in panels(board):
        defaults = panel["fieldConfig"]["defaults"]
        assert "noValue" not in defaults, named(panel)
        assert defaults.get("custom", {}).get("spanNulls", False) is False, named(panel)
        for target in panel["targets"]:
            assert not re.search(r"\b(vector|absent\w*)\s*\(", target["expr"]), named(panel)


@each_board
def test_what_is_told_as_now_is_now(board):
    """Single numbers and bars ask for this moment, else they would show the last that there was."""
    for panel in panels(board):
        if panel["type"] in ("stat", "bargauge", "table"):
            assert all(target["instant"] for target in panel["targets"]), named(panel)
            assert not any(target["range"] for target in panel["targets"]), named(panel)


@each_board
def test_thresholds_rise(board):
    """The first step has no value and the others come in order, as Grafana demands."""
    for panel in panels(board):
        base, *steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        values = [step["value"] for step in steps]
        assert base["value"] is None, named(panel)
        assert values == sorted(set(values)), named(panel)


# --- variables and links --------------------------------------------------------------------------


@each_board
def test_the_data_source_is_a_choice(board):
    """Each panel, query and variable asks the Prometheus that the reader picked."""
    (choice,) = [item for item in board["templating"]["list"] if item["type"] == "datasource"]
    assert (choice["name"], choice["query"]) == ("datasource", "prometheus")
    asking = [*panels(board), *targets(board), *queried(board)]
    assert [item["datasource"] for item in asking] == [SOURCE] * len(asking)


@each_board
def test_namespaces_and_targets_come_from_labels(board):
    """None is written down: a variable offers those that Prometheus knows."""
    for expression in expressions(board):
        values = re.findall(r'\b(?:namespace|deployment|target|pod)\s*=~?\s*"([^"]*)"', expression)
        assert all(value.startswith("$") for value in values), expression
    names = {variable["name"] for variable in queried(board)}
    assert "namespace" in names
    assert names & {"target", "deployment"}
    for variable in queried(board):
        assert variable["query"]["query"].startswith("label_values("), variable["name"]
        assert variable["name"] == "deployment" or "current" not in variable, variable["name"]


@each_board
def test_variables_are_defined_and_used(board):
    """An expression names only variables that there are, and no variable is idle."""
    given = {"__range", "__rate_interval"}
    defined = {variable["name"] for variable in queried(board)}
    used = {name for text in expressions(board) for name in re.findall(r"\$\{?(\w+)", text)}
    assert used - given == defined


@each_board
def test_each_dashboard_leads_to_the_others(board):
    """Links at the top go to both others by uid and take the time range and the variables along."""
    links = board["links"]
    assert {link["url"] for link in links} == {f"/d/{uid}" for uid in BOARDS if uid != board["uid"]}
    for link in links:
        assert (link["keepTime"], link["includeVars"], link["type"]) == (True, True, "link")
        assert link["title"] == BOARDS[link["url"].removeprefix("/d/")]["title"]


@each_board
def test_links_of_panels_resolve(board):
    """A panel's link goes to a dashboard that there is."""
    for panel in panels(board):
        for link in panel["fieldConfig"]["defaults"].get("links", ()):
            uid = re.fullmatch(r"/d/(\w+)\?.*", link["url"])
            assert uid, link["url"]
            assert uid[1] in BOARDS


# --- the daemon's words ---------------------------------------------------------------------------


POLICY_WITH_ALL = replace(
    POLICY,
    min_replicas=0,
    stuck_after=timedelta(minutes=5),
    schedules=(Schedule(name="night", start="0 22 * * *", end="0 6 * * *", max_replicas=1),),
)


@pytest.fixture(scope="module")
def page():
    """Return the names of all samples on a real /metrics page, after one cycle."""
    metrics = Metrics("1")
    metrics.expect("llm/ollama")
    metrics.leading(True)
    # Nothing to do, though a replica is there: so it is idle.
    metrics.show(seen(0.0, policy=POLICY_WITH_ALL, current=1, ready=1, pods=pods(0)))
    _, text = metrics.page()
    families = text_string_to_metric_families(text.decode())
    return {sample.name for family in families for sample in family.samples}


@each_board
def test_the_daemon_has_every_number_that_is_asked_for(board, page):
    """Each autoscaler_ name in a dashboard is on the daemon's page."""
    asked = set(re.findall(r"\bautoscaler_\w+", " ".join(expressions(board))))
    assert asked <= page


def test_each_rule_has_its_bar():
    """The rules stand in the order in which they change the number, quality after the metrics."""
    panel = in_panel(BOARDS["autoscaler"], "What each rule wanted")
    shown = [
        stage[1]
        for target in panel["targets"]
        if (stage := re.search(r'stage="(\w+)"', target["expr"]))
    ]
    assert shown == list(STAGES)
    only_told = {Stage.STUCK, Stage.VICTIMS}
    assert set(Stage) - set(STAGES) == only_told


def test_each_quality_has_its_colour():
    """The table knows every state that a metric can be in."""
    overrides = in_panel(BOARDS["autoscaler"], "Each metric against its target")["fieldConfig"][
        "overrides"
    ]
    (mapping,) = [
        item["value"][0]["options"]
        for override in overrides
        for item in override["properties"]
        if item["id"] == "mappings"
    ]
    assert set(mapping) == set(QUALITIES)


@pytest.mark.parametrize("title", ["Last reason", "Reasons"])
def test_reasons_that_call_for_a_look_are_coloured(title):
    """Each pattern of an override matches some reason, and no reason has two colours."""
    overrides = in_panel(BOARDS["autoscaler"], title)["fieldConfig"]["overrides"]
    patterns = [override["matcher"]["options"].strip("/") for override in overrides]
    matched = [[str(r) for r in Reason if re.search(pattern, r)] for pattern in patterns]
    assert all(matched)
    together = [reason for reasons in matched for reason in reasons]
    assert len(set(together)) == len(together)
