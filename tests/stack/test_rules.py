"""Recording rules and alerts: complete, explained, and judged by Prometheus' own tools."""

import json
import re
import runpy
import subprocess

import promql_parser
import pytest
import yaml

from autoscaler.adapters.promql import check_query
from tests.adapters.prometheus_server import binary
from tests.stack.builds import ROOT
from tests.stack.cases import CASES
from tests.stack.rules import FILES, PROMETHEUS, groups, rules

ALERTS, RECORDS = rules("alert"), rules("record")
RUNBOOK = "docs/runbook.md"
QUERIES = {"queue_depth": "stack:queue_depth:sum", "cpu_to_limit": "pod:cpu_to_limit:rate1m"}
"""The shipped queries, and the rules that keep them."""


def promtool(*args):
    """Run promtool, which must find nothing to complain about."""
    done = subprocess.run(
        [binary("promtool"), *map(str, args)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_prometheus_accepts_the_scrape_jobs(tmp_path):
    """Debian's Prometheus is built without the discovery of nodes, so that part is left out."""
    assert "2 rule files found" in promtool("check", "config", _without_nodes(tmp_path))


def test_prometheus_accepts_the_rules():
    """Every expression and every template can be read."""
    told = promtool("check", "rules", *FILES)
    assert sum(map(int, re.findall(r"(\d+) rules found", told))) == len(ALERTS) + len(RECORDS)


def test_no_name_is_used_twice():
    """Two rules of one name would be told apart by nobody."""
    names = [rule.get("alert", rule.get("record")) for group in groups() for rule in group["rules"]]
    assert len(names) == len(set(names)) == len(ALERTS) + len(RECORDS)
    assert len({group["name"] for group in groups()}) == len(groups())


@pytest.mark.parametrize("name", RECORDS)
def test_a_recording_rule_is_named_as_usual(name):
    """level:metric:operation, and the level is what the expression groups by."""
    level, _, operation = name.split(":")
    assert operation
    grouped = set(re.findall(r"by \((\w+)", RECORDS[name]["expr"]))
    assert grouped == (set() if level == "stack" else {level})


@pytest.mark.parametrize("query", QUERIES)
def test_a_shipped_query_is_recorded_as_it_is_asked(query):
    """What a dashboard shows is what the autoscaler saw: the same expression."""
    config = yaml.safe_load((ROOT / "config" / "autoscaler.yaml").read_text())
    metrics = {one["name"]: one for target in config["targets"] for one in target["metrics"]}
    assert metrics.keys() == QUERIES.keys()
    shipped, recorded = metrics[query]["query"], RECORDS[QUERIES[query]]["expr"]
    assert promql_parser.parse(recorded).prettify() == promql_parser.parse(shipped).prettify()


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_says_what_to_do(alert):
    """Severity, what one notices, what it means, and the place in the runbook."""
    rule = ALERTS[alert]
    assert rule["labels"] in ({"severity": "critical"}, {"severity": "warning"})
    notes = rule["annotations"]
    assert notes.keys() == {"summary", "description", "runbook_url"}
    assert notes["runbook_url"] == f"{RUNBOOK}#{alert.lower()}"
    for text in (notes["summary"], notes["description"]):
        assert text.endswith(".")
    assert check_query(rule["expr"]) is None


def test_the_runbook_has_a_section_for_each_alert_and_no_other():
    """A link that leads nowhere helps nobody, nor does a section that nothing leads to."""
    headings = re.findall(r"^### (\w+)$", (ROOT / RUNBOOK).read_text(), re.MULTILINE)
    assert sorted(headings) == sorted(ALERTS)


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_is_seen_to_fire_and_to_keep_silent(alert):
    """Each has cases of both kinds, told apart by what they say."""
    cases = [case for case in CASES if case.alert == alert]
    assert {case.fires is None for case in cases} == {True, False}
    assert len({case.when for case in cases}) == len(cases)


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_fires_and_keeps_silent_as_its_cases_say(alert, tmp_path):
    """In each case it fires with these labels, or not at all."""
    tests = [_unit_test(case) for case in CASES if case.alert == alert]
    promtool("test", "rules", _file(tmp_path, *tests))


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.fires is not None], ids=lambda case: case.alert
)
def test_what_an_alert_says_is_known_to_it(case):
    """A text that names a label which the alert does not have would show a gap."""
    texts = json.dumps(ALERTS[case.alert]["annotations"])
    assert set(re.findall(r"\$labels\.(\w+)", texts)) <= set(case.fires)


QUEUE, SESSIONS, REQUESTS = (
    f'haproxy_backend_{name}{{proxy="ollama"}}'
    for name in ("current_queue", "current_sessions", "http_requests_total")
)
FULL = 'haproxy_server_current_sessions{proxy="ollama", server="full"}'


@pytest.mark.parametrize("known", ["1m", "2m", "5m", "30m"])
@pytest.mark.parametrize(
    ("record", "given", "expected"),
    [
        pytest.param(
            "stack:wait_seconds:mean5m",
            {QUEUE: "3x900", REQUESTS: "0+0.2x900"},
            30,
            id="three wait, one is served each ten seconds",
        ),
        pytest.param(
            "stack:answer_seconds:mean5m",
            {SESSIONS: "5x900", FULL: "0x900", QUEUE: "3x900", REQUESTS: "0+0.2x900"},
            20,
            id="two are answered, one each ten seconds",
        ),
        pytest.param(
            "stack:answer_seconds:mean5m",
            {SESSIONS: "6x900", FULL: "1x900", QUEUE: "3x900", REQUESTS: "0+0.2x900"},
            20,
            id="two are answered, and one of them was held before",
        ),
    ],
)
def test_how_long_one_waits_follows_from_how_many_do(record, given, expected, known, tmp_path):
    """Little's law, where HAProxy's own averages are of no use; also soon after the start."""
    # Rounded: older versions count a sample on either edge of a range.
    sample = {"labels": "{}", "value": expected}
    test = _test(given, f"round({record}, 5)", [sample], interval="2s", at=known)
    promtool("test", "rules", _file(tmp_path, test))


def test_the_operators_object_has_the_same_rules():
    """It is written from the two files by a command, and is up to date."""
    command = runpy.run_path(str(ROOT / "scripts" / "prometheusrule.py"))
    written = command["WRITTEN"].read_text()
    assert written == command["render"](), "not up to date; type: make rules"
    assert yaml.safe_load(written)["spec"]["groups"] == groups()


def _unit_test(case):
    labels = {"alertname": case.alert, "alertstate": "firing"}
    expected = []
    if case.fires is not None:
        told = labels | ALERTS[case.alert]["labels"] | case.fires
        expected = [{"labels": f"ALERTS{_labels(told)}", "value": 1}]
    test = _test(case.given, f"ALERTS{_labels(labels)}", expected, case.interval, case.at)
    return {"name": f"{case.alert}: {case.when}", **test}


def _test(given, query, expected, interval, at):
    return {
        "interval": interval,
        "input_series": [{"series": key, "values": values} for key, values in given.items()],
        "promql_expr_test": [{"expr": query, "eval_time": at, "exp_samples": expected}],
    }


def _file(folder, *tests):
    path = folder / "test.json"
    whole = {
        "rule_files": [str(file) for file in FILES],
        "evaluation_interval": "1m",
        "tests": tests,
    }
    path.write_text(json.dumps(whole))
    return path


def _labels(labels):
    return "{" + ",".join(f'{key}="{value}"' for key, value in labels.items()) + "}"


def _without_nodes(folder):
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    config["rule_files"] = [str(PROMETHEUS / name) for name in config["rule_files"]]
    for job in config["scrape_configs"]:
        if job.pop("kubernetes_sd_configs", None):
            job["static_configs"] = [{"targets": ["node:10250"]}]
            # Files of the pod, which promtool would look for here.
            job.pop("authorization")
            job["tls_config"] = {}
    path = folder / "prometheus.json"
    path.write_text(json.dumps(config))
    return path
