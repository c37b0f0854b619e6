"""docs/mistakes.md: each mistake is made in the stack as it is shipped, and found alone."""

import inspect
import json
import re
import socket
import sys
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from autoscaler import cli
from autoscaler.sandbox.kube.resources import AUTOSCALERS, SCALED_OBJECTS
from tests.checked import NAME, NAMESPACE, Checked

# A busy machine is no mistake.
PATIENT = {
    "AUTOSCALER_KUBERNETES__TIMEOUT": "5s",
    "AUTOSCALER_LEADERSHIP__DURATION": "15s",
    "AUTOSCALER_GATEWAY__TIMEOUT": "5s",
    "AUTOSCALER_PROMETHEUS__TIMEOUT": "5s",
}
DOCUMENT = Path(__file__).parents[1] / "docs" / "mistakes.md"
_ENTRY = re.compile(
    r"^### (?P<title>.+)\n\n```text\n(?P<lines>(?:.+\n)+?)```\n\n"
    r"(?P<text>(?:.+\n)*?.*)`(?P<test>test_\w+)`$",
    re.MULTILINE,
)
_PATIENCE_S = 40.0
pytestmark = pytest.mark.timeout(300)


def documented() -> dict[str, list[str]]:
    """Return what the document says that each test finds: the command's lines."""
    entries = _ENTRY.finditer(DOCUMENT.read_text())
    return {entry["test"]: entry["lines"].splitlines() for entry in entries}


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    """The stack as it is shipped."""
    with closing(Checked(tmp_path_factory.mktemp("checked"))) as stack:
        yield stack


@pytest.fixture
def check(stack, monkeypatch, capsys, tmp_path):
    """Return a function that runs `autoscaler check`: exit code and what is not in order."""

    def check(policy=None, *arguments, **environ):
        config = tmp_path / "autoscaler.yaml"
        config.write_text(json.dumps(policy or stack.policy()))
        for name, value in {**stack.plan.environment, **PATIENT, **environ}.items():
            monkeypatch.setenv(name, value)
        code = cli.run(["check", "--config", str(config), *arguments])
        out, err = capsys.readouterr()
        assert err == ""
        return code, [line for line in out.splitlines() if not line.startswith("ok ")]

    return check


@pytest.fixture
def finds(check, request):
    """Return a function that makes a check, which must find what the document says, and no more."""

    def finds(*arguments, **environ):
        expected = documented().get(request.node.name, [])
        until = time.monotonic() + _PATIENCE_S
        # On a busy machine a scrape or a health check comes too late now and then.
        while True:
            code, lines = check(*arguments, **environ)
            if told(lines, expected) or time.monotonic() > until:
                break
        assert code == 1
        assert told(lines, expected), f"found {lines}, documented {expected}"

    return finds


def told(lines, expected):
    """Tell whether these lines, and no others, are those of the document."""
    patterns = [".+".join(map(re.escape, each.split("…"))) for each in expected]
    return len(lines) == len(patterns) and all(map(re.fullmatch, patterns, lines))


@pytest.fixture
def policy(stack):
    """Return the configuration, to be changed."""
    return stack.policy()


@pytest.fixture
def target(policy):
    """Return its target."""
    return policy["targets"][0]


@pytest.fixture
def queue(target):
    """Return the metric of all replicas together."""
    return target["metrics"][0]


@pytest.fixture
def cpu(target):
    """Return the metric of each pod."""
    return target["metrics"][1]


# --- the document -------------------------------------------------------------------------------


def test_the_stack_as_it_is_shipped_has_none(check):
    """Exit code 0, and nothing to be done."""
    until = time.monotonic() + _PATIENCE_S
    while (found := check()) != (0, []) and time.monotonic() < until:
        time.sleep(0.5)
    assert found == (0, [])


def test_its_queries_and_files_have_none(check):
    """What is looked at offline."""
    assert check(None, "--offline") == (0, [])


def test_every_documented_mistake_is_made_by_a_test_and_every_test_is_documented():
    """Both ways; there are at least twenty."""
    module = sys.modules[__name__]
    tests = {
        name
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if name.startswith("test_") and "finds" in inspect.signature(function).parameters
    }
    assert set(documented()) == tests
    assert len(tests) >= 20


def test_every_documented_mistake_says_what_to_do():
    """In the line itself, and in a sentence or two below it."""
    entries = list(_ENTRY.finditer(DOCUMENT.read_text()))
    assert len(entries) == DOCUMENT.read_text().count("\n### ")
    for entry in entries:
        assert all("; next: " in line for line in entry["lines"].splitlines())
        assert len(entry["text"].split()) >= 8, entry["title"]


# --- the queries --------------------------------------------------------------------------------


def test_no_promql(finds, policy, queue):
    """A parenthesis is missing."""
    queue["query"] = 'sum(haproxy_backend_current_sessions{proxy="ollama"}'
    finds(policy)


def test_no_answer(finds, policy, queue):
    """The metric's name is misspelt."""
    queue["query"] = 'sum(haproxy_backend_current_session{proxy="ollama"})'
    finds(policy)


def test_several_series(finds, policy, queue):
    """One for each server, where one number is wanted."""
    queue["query"] = 'haproxy_server_status{proxy="ollama", state="UP"}'
    finds(policy)


def test_no_label_pod(finds, policy, cpu):
    """Without `by (pod)` nobody knows whose sample it is."""
    cpu["query"] = cpu["query"].replace("by (pod)", "").replace("by (pod, container)", "")
    finds(policy)


def test_a_pod_without_a_sample(finds, policy, cpu):
    """The query leaves one out."""
    cpu["query"] = f"topk(1, {cpu['query']})"
    finds(policy)


def test_limits_of_memory_too(finds, policy, cpu):
    """The label `resource` is left out."""
    cpu["query"] = cpu["query"].replace(', resource="cpu"', "")
    finds(policy)


def test_a_target_in_percent(finds, policy, cpu):
    """As HPA has it."""
    cpu["target"] = 70
    finds(policy)


def test_another_namespace(finds, policy, cpu):
    """The target was copied, and its query was not changed."""
    cpu["query"] = cpu["query"].replace('namespace="llm"', 'namespace="chat"')
    finds(policy)


def test_another_backend(finds, policy, queue):
    """Likewise."""
    queue["query"] = 'sum(haproxy_backend_current_sessions{proxy="metadata"})'
    finds(policy)


def test_only_the_queue(finds, policy, queue):
    """Who is being served is not counted."""
    queue["query"] = 'sum(haproxy_backend_current_queue{proxy="ollama"})'
    finds(policy)


def test_empty_taken_for_zero(finds, policy, queue):
    """As KEDA does."""
    queue["on_empty"] = "zero"
    finds(policy)


def test_a_division_by_zero(finds, policy, queue):
    """The ratio of two counters that stand still."""
    queue["query"] = '0 * sum(haproxy_backend_current_sessions{proxy="ollama"}) / 0'
    finds(policy)


# --- times --------------------------------------------------------------------------------------


def test_a_rate_window_too_short(finds, policy, cpu):
    """There are not two samples in it."""
    cpu["query"] = re.sub(r"\[\w+\]", "[500ms]", cpu["query"])
    finds(policy)


def test_max_age_too_short(finds, policy, queue):
    """Between two scrapes it is over."""
    queue["max_age"] = "100ms"
    finds(policy)


def test_an_exporter_that_died(finds, stack, policy, queue):
    """Its last value is repeated."""
    queue |= {"query": "last_over_time(gone[10m])", "max_age": "4s"}
    stack.wait_gone(6)
    finds(policy)


def test_an_interval_too_short(finds, policy):
    """Nothing is scraped so often."""
    policy["interval"] = "100ms"
    finds(policy)


def test_a_window_of_one_cycle(finds, policy, target):
    """It never holds anything back."""
    target["scale_down"]["stabilization_window"] = policy["interval"]
    finds(policy)


# --- Prometheus ---------------------------------------------------------------------------------


def test_no_prometheus(finds):
    """Nobody listens there."""
    finds(AUTOSCALER_PROMETHEUS__URL="http://127.0.0.1:9")


def test_not_prometheus(finds, stack):
    """Something else does: the gateway."""
    finds(AUTOSCALER_PROMETHEUS__URL=stack.lane.gateway.url)


def test_no_token(finds):
    """The secret is not mounted."""
    finds(AUTOSCALER_PROMETHEUS__BEARER_TOKEN_FILE="/nowhere/token")


def test_no_certificates(finds):
    """A file that holds something else."""
    finds(AUTOSCALER_PROMETHEUS__CA_FILE=str(DOCUMENT))


# --- the target ---------------------------------------------------------------------------------


def test_no_such_deployment(finds, policy, target):
    """Misspelt."""
    target["deployment"] = "olama"
    finds(policy)


def test_switched_off(finds, policy, target):
    """Somebody has scaled it to zero."""
    target["deployment"] = "asleep"
    finds(policy)


def test_outside_the_bounds(finds, policy, target):
    """Two replicas, where three are the least."""
    target["min_replicas"] = 3
    finds(policy)


def test_outside_the_bounds_of_the_schedule(finds, policy, target):
    """The bounds that are in force count, not those of the rest of the day."""
    now = datetime.now(UTC)
    start, end = (f"{(now + timedelta(hours=each)):%M %H} * * *" for each in (-2, 2))
    target["schedules"] = [{"name": "now", "start": start, "end": end, "min_replicas": 4}]
    finds(policy)


def test_a_forgotten_pause(finds, stack):
    """By its annotation."""
    with stack.edited(lambda held: annotate(held, {"ollama-autoscaler/paused": "true"})):
        finds()


def test_an_unknown_annotation(finds, stack):
    """Nobody reads it."""
    with stack.edited(lambda held: annotate(held, {"ollama-autoscaler/pause": "true"})):
        finds()


def annotate(held, annotations):
    """Write annotations to a Deployment."""
    held["metadata"]["annotations"] = annotations


# --- rights and rivals --------------------------------------------------------------------------


@pytest.fixture
def denied(stack):
    """Return a function that takes a right away; it is given back."""
    taken = []

    def deny(*right):
        taken.append(right)
        stack.call(lambda: stack.lane.cluster.deny(*right))

    yield deny
    for right in taken:
        stack.call(lambda right=right: stack.lane.cluster.allow(*right))


def test_no_right_to_scale(finds, denied):
    """The Role names another Deployment, say."""
    denied("patch", "deployments", "scale")
    finds()


def test_no_right_to_look(finds, denied):
    """Told once, and not by everything that cannot be looked at."""
    denied("get", "deployments")
    finds()


def test_no_right_to_replace(finds, denied, policy, target):
    """`restart_stuck` without its component."""
    denied("delete", "pods")
    target["restart_stuck"] = True
    finds(policy)


def test_no_right_to_lead(finds, denied):
    """The Lease is in another namespace, say."""
    denied("update", "leases")
    finds()


def test_no_right_to_look_for_others(finds, denied):
    """An older Role: not knowing is not the same as nobody being there."""
    denied("list", "horizontalpodautoscalers")
    finds()


def aimed(kind, stack, served, spec):
    """Create another scaler of our Deployment; returns how to remove it."""
    store = stack.lane.cluster.store
    body = {"metadata": {"name": "ollama"}, "spec": spec}
    stack.call(lambda: store.create(served, NAMESPACE, body))
    return lambda: stack.call(lambda: store.remove(served, NAMESPACE, "ollama"))


def test_an_hpa_on_the_same_deployment(finds, stack, request):
    """Two writers."""
    aim = {"apiVersion": "apps/v1", "kind": "Deployment", "name": NAME}
    spec = {"scaleTargetRef": aim, "minReplicas": 1, "maxReplicas": 9}
    request.addfinalizer(aimed("HorizontalPodAutoscaler", stack, AUTOSCALERS, spec))
    finds()


def test_a_scaled_object_on_the_same_deployment(finds, stack, request):
    """KEDA's."""
    stack.call(lambda: stack.lane.cluster.serve(SCALED_OBJECTS))
    spec = {"scaleTargetRef": {"name": NAME}}
    request.addfinalizer(aimed("ScaledObject", stack, SCALED_OBJECTS, spec))
    finds()


# --- the Deployment -----------------------------------------------------------------------------


def container(held):
    """Return the one container of a Deployment's pods."""
    return held["spec"]["template"]["spec"]["containers"][0]


def test_no_cpu_limit(finds, stack):
    """A query divides by it."""
    with stack.edited(lambda held: container(held)["resources"]["limits"].pop("cpu")):
        finds()


def test_no_pre_stop_hook(finds, stack):
    """Answers are cut."""
    with stack.edited(lambda held: container(held).pop("lifecycle")):
        finds()


def test_a_short_grace_period(finds, stack):
    """The default."""

    def edit(held):
        held["spec"]["template"]["spec"].pop("terminationGracePeriodSeconds")

    with stack.edited(edit):
        finds()


def test_no_readiness_probe(finds, stack):
    """It counts before it can answer."""
    with stack.edited(lambda held: container(held).pop("readinessProbe")):
        finds()


def test_all_at_once(finds, stack):
    """Each rollout is an outage."""
    with stack.edited(lambda held: held["spec"].update(strategy={"type": "Recreate"})):
        finds()


def test_replicas_in_the_manifest(finds, stack):
    """Every apply takes the autoscaler's work back."""
    key = "kubectl.kubernetes.io/last-applied-configuration"
    with stack.edited(lambda held: annotate(held, {key: '{"spec": {"replicas": 2}}'})):
        finds()


def test_other_slots_than_the_gateway(finds, stack):
    """Four requests at a time, of which the gateway sends one."""

    def edit(held):
        for each in container(held)["env"]:
            if each["name"] == "OLLAMA_NUM_PARALLEL":
                each["value"] = "4"

    with stack.edited(edit):
        finds()


# --- the gateway --------------------------------------------------------------------------------


def test_no_gateway(finds):
    """Nobody listens there."""
    finds(AUTOSCALER_GATEWAY__STATS_URL="http://127.0.0.1:9/stats;csv")


def test_no_csv(finds, stack):
    """The page for people."""
    finds(AUTOSCALER_GATEWAY__STATS_URL=f"http://{stack.lane.gateway.stats_address}/stats")


def test_no_such_backend(finds, policy, target):
    """Misspelt."""
    target["gateway_backend"] = "olama"
    target["metrics"][0]["query"] = "vector(1)"
    finds(policy)


def test_replicas_of_another_service(finds, stack):
    """The gateway asks DNS for another name."""
    finds(AUTOSCALER_GATEWAY__STATS_URL=stack.gateways["other-service"].statistics_url)


def test_no_addresses(finds, stack):
    """`stats show-legends` is left out."""
    finds(AUTOSCALER_GATEWAY__STATS_URL=stack.gateways["no-legends"].statistics_url)


def test_too_few_places(finds, stack):
    """Four servers for six replicas."""
    finds(AUTOSCALER_GATEWAY__STATS_URL=stack.gateways["few-places"].statistics_url)


def test_no_maxconn(finds, stack):
    """The queue is in the replicas."""
    finds(AUTOSCALER_GATEWAY__STATS_URL=stack.gateways["no-maxconn"].statistics_url)


def test_a_check_that_always_fails(finds, stack):
    """It asks for a page that is not there."""
    finds(AUTOSCALER_GATEWAY__STATS_URL=stack.gateways["dead-check"].statistics_url)


def test_a_target_above_the_slots(finds, policy, queue):
    """Four requests per replica, of which each serves one."""
    queue["target"] = 4
    finds(policy)


# --- this machine -------------------------------------------------------------------------------


def test_records_that_cannot_be_kept(finds):
    """The volume is not mounted."""
    finds(AUTOSCALER_RECORDS__PATH="/nowhere/records.jsonl")


def test_a_port_that_is_taken(finds):
    """By another daemon, say."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        finds(AUTOSCALER_HTTP__PORT=str(taken.getsockname()[1]))
