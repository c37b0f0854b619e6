"""Kubernetes' autoscaler against the figures of its own tests."""

import pytest

from autoscaler.backtest.peers.hpa import Controller
from autoscaler.hpa.counts import (
    Proposal,
    Tolerance,
    by_average,
    by_total,
    by_utilization,
    by_value,
)
from autoscaler.hpa.pods import LONG_AGO, Patience, Pod, Sample, group
from autoscaler.hpa.rules import (
    DOWN,
    UP,
    Ask,
    Behavior,
    Bounds,
    Memory,
    Rate,
    Rules,
    between_windows,
    changed_within,
    furthest_down,
    furthest_up,
    highest_recent,
    old_limit,
    rate_limit,
    record_change,
)
from tests.backtest.peers.tables import cases, table

RULES, COUNTS, SYNC = "hpa_rules.yaml", "hpa_counts.yaml", "hpa_sync.yaml"
UPSTREAM = Patience(initialization=120, first_readiness=10)
UP_LIMIT = "TestCalculateScaleUpLimitWithScalingRules"
DOWN_LIMIT = "TestCalculateScaleDownLimitWithBehaviors"


@pytest.mark.parametrize("case", cases(RULES, "TestScalingWithRules", "derived_rates"))
def test_rate_policies_limit_a_change(case):
    """Each direction's policies, over the changes of their periods."""
    behavior = Behavior(UP.changed(rules(case.get("up"))), DOWN.changed(rules(case.get("down"))))
    memory = Memory(added=log(case.get("added", ())), removed=log(case.get("removed", ())))
    ask = Ask(0, case["current"], case["wanted"])
    assert rate_limit(memory, ask, bounds(case), behavior) == case["expect"]


@pytest.mark.parametrize(
    "case", cases(RULES, "TestNormalizeDesiredReplicasWithBehavior", "derived_windows")
)
def test_each_direction_has_its_window(case):
    """The number, and what is kept in which place."""
    kept = log(case["log"])
    ask = Ask(0, case["current"], case["wanted"])
    assert between_windows(kept, ask, case["up"], case["down"]) == case["expect"]
    if "kept" in case:
        assert [number for _, number in kept] == case["kept"]


@pytest.mark.parametrize(
    "case", cases(RULES, "TestNormalizeDesiredReplicas", "derived_without_behavior")
)
def test_without_behavior_the_highest_of_the_window_counts(case):
    """The number, and how many entries are kept."""
    kept = log(case["log"])
    assert highest_recent(kept, 0, case["wanted"], 300) == case["expect"]
    assert len(kept) == case["entries"]


@pytest.mark.parametrize("case", cases(RULES, "TestConvertDesiredReplicasWithRules"))
def test_without_behavior_the_old_limit_holds(case):
    """Twice as many or four, and the bounds."""
    assert old_limit(case["current"], case["wanted"], bounds(case)) == case["expect"]


@pytest.mark.parametrize(
    ("case", "furthest"),
    [
        *((*case.values, furthest_up) for case in cases(RULES, UP_LIMIT)),
        *((*case.values, furthest_down) for case in cases(RULES, DOWN_LIMIT)),
    ],
)
def test_the_smallest_change_can_be_selected(case, furthest):
    """How far one may go with `selectPolicy: Min`."""
    direction = UP.changed(rules(case))
    assert furthest(Memory(), 0, case["current"], direction) == case["expect"]


@pytest.mark.parametrize("growing", [True, False])
@pytest.mark.parametrize("case", cases(RULES, "TestStoreScaleEvents"))
def test_changes_are_remembered_as_long_as_a_policy_looks_back(case, growing):
    """What counts of the last minute, and what is kept in which place."""
    memory = Memory(added=log(case["log"]), removed=log(case["log"]))
    kept = memory.added if growing else memory.removed
    assert changed_within(kept, 0, 60) == case["within_60"]
    if "rates" in case:
        behavior = Behavior(UP.changed(rules(case)), DOWN.changed(rules(case)))
        after = 10 + case["change"] if growing else 10 - case["change"]
        record_change(memory, Ask(0, 10, after), behavior)
    assert [number for _, number in kept] == case["kept"]


@pytest.mark.parametrize(
    "case",
    cases(
        COUNTS,
        "TestReplicaCalcResourceScale",
        "TestReplicaCalcResourceTolerance",
        "TestReplicaCalcResourceMissingMetrics",
        "TestReplicaCalcComputedToleranceAlgImplementation",
        "derived_percent",
    ),
)
def test_use_in_percent_of_what_was_requested(case):
    """CPU use over requests: new, missing, failed and leaving pods among them."""
    seen = look(case, cpu=True)
    proposal = by_utilization(case["current"], case["percent"], seen, tolerance(case))
    assert proposal == expected(case)
    if proposal is not None:
        requests = {pod.name: pod.request for pod in seen.pods}
        counted = {
            name: sample.value
            for name, sample in seen.samples.items()
            if name in requests and name not in seen.groups.unready | seen.groups.ignored
        }
        asked = sum(requests[name] for name in counted)
        assert sum(counted.values()) * 100 // asked == case["utilization"]


@pytest.mark.parametrize("case", cases(COUNTS, "TestReplicaCalcPodMetric"))
def test_a_mean_over_the_pods(case):
    """A figure of each pod, to be brought to a target; readiness plays no part."""
    proposal = by_average(case["current"], case["target"], look(case, cpu=False), tolerance(case))
    assert proposal == expected(case)


@pytest.mark.parametrize(
    "case", cases(COUNTS, "TestReplicaCalcObjectMetric", "TestReplicaCalcExternalMetric")
)
def test_a_figure_of_the_whole(case):
    """One figure for all, brought to a target by as many ready pods."""
    pods = look(case, cpu=False).pods
    total = min(sum(case["used"]), 2**63 - 1)
    proposal = by_value(case["current"], total, case["target"], pods, tolerance(case))
    assert proposal == expected(case)


@pytest.mark.parametrize(
    "case",
    cases(COUNTS, "TestReplicaCalcObjectPerPodMetric", "TestReplicaCalcExternalPerPodMetric"),
)
def test_a_share_of_the_whole_for_each_pod(case):
    """One figure for all, of which each pod is to have so much."""
    total = sum(case["used"])
    proposal = by_total(case["current"], total, case["target"], tolerance(case))
    assert proposal == expected(case)


@pytest.mark.parametrize("case", cases(COUNTS, "TestGroupPods"))
def test_who_counts(case):
    """Ready, unready, missing and ignored pods."""
    pods = [
        Pod(name, phase, deleted, ready, ago(since), None if start is None else ago(start))
        for name, (phase, ready, since, start, deleted) in case["pods"].items()
    ]
    samples = {name: Sample(1, ago(at), window) for name, (at, window) in case["samples"].items()}
    groups = group(pods, samples, now=0, cpu=case["cpu"], patience=UPSTREAM).groups
    assert groups.ready == case["ready"]
    assert groups.unready == set(case["unready"])
    assert groups.missing == set(case["missing"])
    assert groups.ignored == set(case["ignored"])


@pytest.mark.parametrize("case", cases(SYNC, *table(SYNC)))
def test_whole_syncs(case):
    """From the metrics to the number that is set."""
    behavior = Behavior(UP.changed(rules(case["up"]))) if "up" in case else None
    controller = Controller(bounds(case), behavior, zeroed=case.get("zeroed", False))
    if "log" in case:
        controller.memory.recommendations = log(case["log"])
        controller.seeded = True
    proposals = [asked(metric, case) for metric in case["metrics"]]
    assert controller.sync(0, case["current"], proposals) == case["expect"]


def asked(metric, case):
    """Reckon what one metric asks for."""
    (kind, *target), current, used = metric, case["current"], case["used"]
    pods = [
        Pod(f"pod-{place}", phase, deleted, ready, ago(start), ago(start), request)
        for place, (phase, ready, start, deleted, request) in enumerate(
            case["pods"]
            if "pods" in case
            else [["Running", True, "long", False, request] for request in case["requests"]]
        )
    ]
    samples = {f"pod-{place}": Sample(use, at=0) for place, use in enumerate(used)}
    seen = group(pods, samples, now=0, cpu=kind == "cpu", patience=UPSTREAM)
    match kind:
        case "cpu":
            return by_utilization(current, *target, seen, tolerance(case))
        case "pods":
            return by_average(current, *target, seen, tolerance(case))
        case "value":
            return by_value(current, sum(used), *target, pods, tolerance(case))
        case "total":
            return by_total(case["there"], sum(used), *target, tolerance(case))
    return None


def rules(case):
    """Read one direction of `behavior`."""
    if case is None:
        return None
    rates = case.get("rates")
    return Rules(
        rates=None if rates is None else tuple(Rate(*rate) for rate in rates),
        window=case.get("window"),
        select=case.get("select"),
    )


def log(entries):
    """Read a list of [time, number]."""
    return [tuple(entry) for entry in entries]


def bounds(case):
    """Read the bounds."""
    return Bounds(case["low"], case["high"])


def tolerance(case):
    """Read the tolerance, if it is not the usual one."""
    return Tolerance(*case.get("tolerance", ()))


def ago(seconds):
    """Read a time in the past."""
    return LONG_AGO if seconds == "long" else -seconds


def expected(case):
    """Read what has to come out."""
    return None if case["expect"] is None else Proposal(case["expect"], case["use"])


def look(case, *, cpu):
    """Read the pods and their samples."""
    pods = [
        Pod(f"pod-{place}", phase, deleted, ready, LONG_AGO, ago(start), *request)
        for place, (phase, ready, start, deleted, *request) in enumerate(case["pods"])
    ]
    names = case.get("names") or [f"pod-{place}" for place in range(len(case["used"]))]
    samples = {
        name: Sample(use) for name, use in zip(names, case["used"], strict=True) if use != "-"
    }
    return group(pods, samples, now=0, cpu=cpu, patience=UPSTREAM)
