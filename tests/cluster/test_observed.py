"""What Prometheus, rules, dashboards and the API server's audit log know at the end of a run.

The sandbox has no kubelet, and lists what it cannot show (tests/stack/test_expressions.py). Here
all of it is there. Three pods in trouble are made first: some series exist only for such.
"""

import json
import time
import urllib.parse
from datetime import datetime
from types import SimpleNamespace

import pytest
import yaml

from autoscaler.sandbox.kube.calls import Access
from tests.cluster.stack import eventually, quick_overlay
from tests.cluster.traffic import NAMESPACE, pod_spec
from tests.stack.builds import ROOT
from tests.stack.rules import rules
from tests.stack.test_expressions import EXPRESSIONS, ONLY_IN_A_CLUSTER, excuses
from tests.stack.test_rights import granted

NOWHERE = {
    "autoscaler_schedule_active": "the shipped configuration has no schedules",
}
"""What has no data here either, and why."""
NOT_EVERYWHERE = (
    # Volumes that are folders of the node without being `local`, such as minikube's.
    "kubelet_volume_stats_available_bytes",
    "kubelet_volume_stats_capacity_bytes",
)
"""What a cluster of somebody's own may lack."""

MAY_FIRE = {
    # They look back over the last quarter of an hour to an hour, in which tests have made it so.
    "PodRestarting": "containers that tests have ended",
    "PodOutOfMemory": "a pod of this file's",
    "ModelsNotFetched": "a Job of this file's",
    "AutoscalerChoosesBlindly": "shrinking while the gateway was away",
    "AutoscalerGivesBack": "replicas for which tests had left no room",
    "RequestsFail": "answers that tests have cut",
}
OTHERS = ("gateway", "kube-state-metrics", "prometheus")
"""ServiceAccounts that ask the API server, besides the autoscaler; a watch counts when it ends."""

JOBS = [
    job["job_name"]
    for job in yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())[
        "scrape_configs"
    ]
]


# --- trouble ------------------------------------------------------------------------------------

EATS = "held = []\nwhile True: held.append(bytearray(b'x' * 1_000_000))"


def python(code, *, policy, **resources):
    """Return the spec of a pod that runs a program."""
    return pod_spec(["python3", "-c", code], policy=policy, resources=resources)


def troubles():
    """Return a pod without room, a pod that takes too much memory, and a Job that has given up."""
    huge = python("", policy="Never", requests={"cpu": "1000"})
    eater = python(EATS, policy="Always", limits={"memory": "48Mi"}, requests={"cpu": "10m"})
    failing = python("raise SystemExit(1)", policy="Never", requests={"cpu": "10m"})
    for name, spec in (("trouble-huge", huge), ("trouble-eater", eater)):
        yield {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
    yield {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "ollama-models-trouble"},
        "spec": {"backoffLimit": 0, "template": {"spec": failing}},
    }


@pytest.fixture(scope="module", autouse=True)
def trouble(stack, traffic):
    """Make trouble, and some load for a stack that has seen none; take it away at the end."""
    began = time.time()
    fresh = not any(line.get("reason") == "BelowTarget" for line in stack.log())
    people = traffic.start(4, words=40, requests=2) if fresh else None
    for thing in troubles():
        stack.kubectl("apply", "-f", "-", stdin=json.dumps(thing))
    yield SimpleNamespace(began=began)
    names = ["pod/trouble-huge", "pod/trouble-eater", "job/ollama-models-trouble"]
    stack.kubectl("delete", *names, "--now", "--ignore-not-found")
    if people:
        traffic.stop(people)


# --- metrics ------------------------------------------------------------------------------------


def test_every_scrape_job_is_up(stack, figures):
    """All that prometheus.yml names is found and answers: two kubelets' paths, DNS, Services."""

    def down():
        """Return the jobs that lack a target, and the targets that do not answer."""
        seen = stack.query("up")
        missing = set(JOBS) - {one["metric"]["job"] for one in seen}
        return missing | {one["metric"]["job"] for one in seen if one["value"][1] != "1"}

    eventually("all scrape jobs are up", lambda: not down(), timeout_s=45)
    figures["jobs"] = ", ".join(JOBS)
    figures["targets"] = len(stack.query("up"))
    figures["series"] = stack.query('count({__name__!=""})')[0]["value"][1]


def test_trouble_is_what_alerts_ask_for(stack, trouble, figures):
    """Alerts find the pod that takes too much memory and the Job that has given up."""
    wanted = {"PodOutOfMemory", "ModelsNotFetched"}

    def found():
        """Tell whether the expressions of all have data; the rules are evaluated 15 s later."""
        return all(stack.query(rules("alert")[name]["expr"]) for name in wanted)

    eventually(f"{wanted} are true", found, timeout_s=75)
    figures["true"] = ", ".join(sorted(wanted))
    figures["after"] = f"{time.time() - trouble.began:.0f} s"


def test_everything_that_is_asked_has_data(stack, cluster, figures):
    """Every panel, rule, alert's selector and shipped query had data at some time of this run."""
    began = start_of(stack)
    excused = {*NOWHERE, *(() if cluster.own else NOT_EVERYWHERE)}

    def lacking():
        """Return what has no data, without what says why."""
        return [
            f"{where}: {text}"
            for where, text in EXPRESSIONS
            if not excuses(text) & excused and not has_data(stack, text, began)
        ]

    end = time.time() + 45
    while (lack := lacking()) and time.time() < end:
        time.sleep(3)
    assert lack == []
    figures["expressions"] = len(EXPRESSIONS)
    figures["in the sandbox without data, here with"] = len(ONLY_IN_A_CLUSTER) - len(NOWHERE)
    figures["without data here"] = ", ".join(f"{name}: {why}" for name, why in NOWHERE.items())


def test_the_list_of_what_has_no_data_is_true(stack):
    """An entry that has data, or that nothing asks for, would hide mistakes."""
    began = start_of(stack)
    assert NOWHERE.keys() <= set(ONLY_IN_A_CLUSTER)
    assert [name for name in NOWHERE if has_data(stack, name, began)] == []


def test_every_rule_is_evaluated(stack, figures):
    """No rule fails on the series of a real cluster, such as two that it cannot tell apart."""
    told = asked(stack, "rules")["groups"]
    health = {rule["name"]: rule["health"] for group in told for rule in group["rules"]}
    failing = {
        rule["name"]: rule.get("lastError")
        for group in told
        for rule in group["rules"]
        if rule["health"] != "ok"
    }
    assert failing == {}
    assert health.keys() == {*rules("alert"), *rules("record")}
    figures["rules"] = len(health)
    figures["slowest group"] = f"{max(group['evaluationTime'] for group in told) * 1000:.0f} ms"


def test_no_alert_fires_without_a_reason(stack, cluster, figures):
    """What fires at the end looks back at what tests have done; nothing says that it goes on."""
    seen = {"firing": set(), "pending": set()}
    for one in alerts(stack):
        seen[one["state"]].add(one["labels"]["alertname"])
    figures["firing"] = ", ".join(sorted(found := seen["firing"]))
    figures["pending"] = ", ".join(sorted(seen["pending"]))
    if cluster.own:
        assert found - MAY_FIRE.keys() == set()


# --- rights -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def checked(machine):
    """What `autoscaler check` says in the daemon's pod, by the daemon's own rights."""
    script = "autoscaler check 2>&1; true"
    told = machine.kubectl(
        "-n", NAMESPACE, "exec", "deployment/autoscaler", "--", "sh", "-c", script
    )
    return told.splitlines()


def test_check_finds_no_mistake_in_the_stack(checked):
    """Whatever it has looked at is in order, but for what these tests have made quicker."""
    assert checked
    found = [line for line in checked if not line.startswith("ok")]
    assert [
        line for line in found if "interval 1s, and no metric has a new sample" not in line
    ] == []


@pytest.fixture(scope="module")
def audited(machine, checked):
    """What the stack's ServiceAccounts have asked the API server, as (account, access, answer).

    `check` has looked once, which has rights of its own. What one may do oneself everybody may ask.
    """
    found = []
    for entry in machine.audit():
        name = entry["user"]["username"]
        reviewed = "accessreviews" in entry.get("objectRef", {}).get("resource", "")
        if name.startswith(f"system:serviceaccount:{NAMESPACE}:") and not reviewed:
            found.append((name.rpartition(":")[2], access(entry), entry["responseStatus"]["code"]))
    return found


def access(entry) -> Access:
    """Tell what a request did, in the words of a Role's rule.

    Rules cannot know the names of pods, nor a name that is only being made.
    """
    of = entry.get("objectRef", {})
    resource = "/".join(filter(None, [of.get("resource", ""), of.get("subresource", "")]))
    named = resource not in ("", "pods") and entry["verb"] != "create"
    return Access(
        verb=entry["verb"],
        group=of.get("apiGroup", ""),
        resource=resource or entry["requestURI"].partition("?")[0],
        namespace=of.get("namespace", ""),
        name=of.get("name", "") if named else "",
    )


def words(accesses) -> list[str]:
    """Say what is allowed, shortly."""
    return sorted(f"{one.verb} {one.resource} {one.name}".strip() for one in accesses)


def test_nothing_is_forbidden_to_anybody(audited, figures):
    """No request of any ServiceAccount of the stack was refused for want of a right."""
    figures["requests"] = ", ".join(
        f"{who} {sum(one[0] == who for one in audited)}" for who in ("autoscaler", *OTHERS)
    )
    assert len(audited) > 10
    assert [one for one in audited if one[2] in (401, 403)] == []


def test_the_autoscaler_has_the_rights_that_it_uses_and_no_more(machine, audited, figures):
    """Each verb on each resource and name of its Roles was used, and nothing else was."""
    built = machine.kubectl("kustomize", quick_overlay(machine.state / "quick"))
    rights = granted(list(yaml.safe_load_all(built)))
    used = {one for who, one, _ in audited if who == "autoscaler"}
    figures["rights used"] = ", ".join(words(used))
    assert used - rights == set(), words(used - rights)
    unused = words(rights - used)
    assert not unused, (
        f"not used since this cluster was started: {unused}. Pods are patched at the first "
        "shrinking and deleted where one is stuck: test_load.py and test_stuck.py let that happen"
    )


# --- the decision -------------------------------------------------------------------------------


def test_a_decision_can_be_seen_in_each_place(stack, figures):
    """Events at the Deployment, /status, the log and a metric tell of the same replicas."""
    replicas = stack.replicas()[0]
    (target,) = stack.status()["targets"]
    events = stack.events()
    figures["events"] = ", ".join(sorted({event["reason"] for event in events}))
    figures["/status"] = target["sentence"]
    assert target["target"] == f"{NAMESPACE}/ollama"
    assert target["to"] == replicas
    assert events, "no event at the Deployment: it was never scaled"
    assert all(event["source"].get("component") or event["reportingComponent"] for event in events)
    last = [line for line in stack.log() if line["event"] == "cycle"][-1]
    assert last["to"] == replicas
    assert float(stack.query("autoscaler_desired_replicas")[0]["value"][1]) >= 1


# --- asking -------------------------------------------------------------------------------------


def asked(stack, path, **parameters):
    """Ask Prometheus' API."""
    text = urllib.parse.urlencode(parameters)
    answer = json.loads(stack.service("prometheus:http", f"/api/v1/{path}?{text}"))
    assert answer["status"] == "success", answer
    return answer["data"]


def alerts(stack):
    """Return what is pending and firing."""
    return asked(stack, "alerts")["alerts"]


def start_of(stack) -> float:
    """Return when the stack was applied, of those times of which Prometheus answers in one go."""
    made = stack.get("deployment", "prometheus")["metadata"]["creationTimestamp"]
    return max(datetime.fromisoformat(made).timestamp(), time.time() - 24 * 3600)


def has_data(stack, query, began) -> bool:
    """Tell whether it had any at a time of the run; Prometheus refuses what it cannot evaluate."""
    span = {"start": began, "end": time.time(), "step": 15}
    found = asked(stack, "query_range", query=query, **span)["result"]
    return any(value != "NaN" for series in found for _, value in series["values"])
