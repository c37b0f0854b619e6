"""What stands in two files of the stack and must be the same, or fit."""

import json
import os
import re
import subprocess
import sys
from pathlib import PurePath

import pytest
import yaml

from autoscaler.duration import parse_duration
from autoscaler.sandbox.gateway import CONFIG, PROGRAM, defaults
from autoscaler.sandbox.monitoring import LOOK_BACK
from autoscaler.settings.sections import RecordsSettings
from tests.stack import builds

STACKS = [
    whole
    for whole in builds.wholes()
    if whole.partition(",")[0].rpartition("/")[2] != "autoscaler-only"
]
"""Everything but the daemon alone."""


@pytest.fixture(params=STACKS)
def stack(request):
    """Build one whole stack."""
    return builds.built(request.param)


def container_of(objects, deployment, name):
    """Return one container."""
    return next(c for c in builds.pods_of(objects, deployment).containers if c["name"] == name)


def environment(container) -> dict[str, str]:
    """Return the variables whose value is written down."""
    return {e["name"]: e["value"] for e in container.get("env", ()) if "value" in e}


def text(objects, config_map, key) -> str:
    """Return one file of a ConfigMap."""
    return builds.one(objects, "ConfigMap", config_map)["data"][key]


def policy(objects):
    """Return what the daemon reads."""
    return yaml.safe_load(text(objects, "autoscaler-config", "autoscaler.yaml"))


def gateway(objects) -> dict[str, str]:
    """Return the gateway's settings: the defaults of its file, and what the Deployment says."""
    return {**defaults(), **environment(container_of(objects, "gateway", "haproxy"))}


# --- the autoscaler -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "whole", [*builds.overlays(), "cluster, prometheus-operator", "minikube, scale-to-zero"]
)
def test_the_daemon_takes_its_configuration(whole, tmp_path):
    """`autoscaler check` finds nothing in the built file, in the environment of the built pod."""
    objects = builds.built(whole)
    file = tmp_path / "autoscaler.yaml"
    file.write_text(text(objects, "autoscaler-config", file.name))
    told = environment(container_of(objects, "autoscaler", "autoscaler"))
    told["AUTOSCALER_RECORDS__PATH"] = str(tmp_path / "records.jsonl")  # the volume's place
    done = subprocess.run(
        [sys.executable, "-m", "autoscaler", "check", "--offline", "--config", file],
        env={"PATH": os.environ["PATH"], **told},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("whole", builds.overlays())
def test_the_volume_holds_all_records_that_are_kept(whole):
    """On the pod's own volume, within its limit; and within what the pod may take of the node."""
    objects = builds.built(whole)
    container = container_of(objects, "autoscaler", "autoscaler")
    path = PurePath(environment(container)["AUTOSCALER_RECORDS__PATH"])
    places = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    volumes = {v["name"]: v for v in builds.pods_of(objects, "autoscaler").spec["volumes"]}
    limit = size(volumes[places[str(path.parent)]]["emptyDir"]["sizeLimit"])
    records = policy(objects)["records"]
    slack = size("1Mi")  # the line that reaches the size may be a long one
    assert (size(records["max_size"]) + slack) * (records["files"] + 1) <= limit
    resources = container["resources"]
    assert limit + size("8Mi") <= size(resources["requests"]["ephemeral-storage"])
    assert limit + size("64Mi") <= size(resources["limits"]["ephemeral-storage"])


def size(text) -> int:
    """Return a size in bytes."""
    return RecordsSettings(max_size=text).max_size


def test_the_target_is_there(stack):
    """The daemon scales the Deployment that the stack brings, in its namespace."""
    pods = builds.pods_of(stack, "ollama")
    (target,) = policy(stack)["targets"]
    assert (target["namespace"], target["deployment"]) == (pods.namespace, "ollama")


def test_the_number_of_replicas_is_the_autoscalers(stack):
    """A count in the manifest would undo the autoscaler's work at every apply."""
    assert "replicas" not in builds.one(stack, "Deployment", "ollama")["spec"]


def test_zero_replicas_are_another_lower_bound_and_nothing_else():
    """The component changes one number of the policy, whatever else stands there."""
    zero = policy(builds.built("minikube, scale-to-zero"))
    shipped = policy(builds.built("deploy/overlays/minikube"))
    assert zero["targets"][0].pop("min_replicas") == 0
    assert shipped["targets"][0].pop("min_replicas") > 0
    assert zero == shipped


def test_two_autoscalers_agree_on_who_acts(stack):
    """Only one runs at a time, or all of them contend for a Lease; then one survives a drain."""
    spec = builds.one(stack, "Deployment", "autoscaler")["spec"]
    alone = (spec["replicas"], spec["strategy"]["type"]) == (1, "Recreate")
    assert alone or policy(stack)["leadership"]["enabled"]
    budgets = [budget["metadata"]["name"] for budget in builds.of(stack, "PodDisruptionBudget")]
    assert alone == ("autoscaler" not in budgets)


# --- the gateway and the replicas ---------------------------------------------------------------


def test_the_gateway_is_the_one_that_the_sandbox_runs(stack):
    """The built file is the sandbox's, byte for byte; addresses come from the environment."""
    built = text(stack, "gateway-config", "haproxy.cfg")
    assert built.encode() == CONFIG.read_bytes()
    told = environment(container_of(stack, "gateway", "haproxy"))
    assert set(told) <= {"GATEWAY_DNS", "GATEWAY_REPLICAS_NAME", "GATEWAY_LISTS_WAKE"}


def test_haproxy_takes_the_built_configuration(stack, tmp_path):
    """In the environment of the built pod it is valid and free of warnings."""
    file = tmp_path / "haproxy.cfg"
    file.write_text(text(stack, "gateway-config", file.name))
    checked = subprocess.run(
        [PROGRAM, "-c", "-f", file],
        env={**os.environ, **environment(container_of(stack, "gateway", "haproxy"))},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr
    assert "WARNING" not in checked.stderr


def test_the_gateway_sends_as_many_requests_as_a_replica_takes(stack):
    """More would wait inside of a replica, where no other can take them."""
    slots = environment(container_of(stack, "ollama", "ollama"))["OLLAMA_NUM_PARALLEL"]
    assert gateway(stack)["GATEWAY_SLOTS"] == slots
    (queue,) = (m for m in policy(stack)["targets"][0]["metrics"] if m["type"] == "total")
    assert 0 < queue["target"] <= int(slots)


def test_the_gateway_has_room_for_every_replica(stack):
    """As many as there may be, and once as many that still drain: others would be ignored."""
    configuration = text(stack, "gateway-config", "haproxy.cfg")
    (target,) = policy(stack)["targets"]
    room = {
        int(count)
        for count in re.findall(r"^ *server-template \S+ (\d+) ", configuration, re.MULTILINE)
    }
    assert len(room) == 1
    assert 2 * target["max_replicas"] <= min(room)


def test_the_gateway_asks_for_a_port_that_the_replicas_service_has(stack):
    """SRV records bear the name of a Service's port."""
    configuration = text(stack, "gateway-config", "haproxy.cfg")
    ports = {port["name"] for port in builds.one(stack, "Service", "ollama")["spec"]["ports"]}
    assert set(re.findall(r"\"_(\w+)\._tcp\.", configuration)) == ports


def test_the_gateways_name_server_is_where_it_is_asked(stack):
    """It listens where the gateway looks, and tells of the replicas' Service."""
    corefile = text(stack, "gateway-config", "Corefile")
    ((zone, port),) = re.findall(r"^(\S+):(\d+) {$", corefile, re.MULTILINE)
    (address,) = re.findall(r"^ *bind (\S+)$", corefile, re.MULTILINE)
    assert gateway(stack)["GATEWAY_DNS"] == f"{address}:{port}"
    assert gateway(stack)["GATEWAY_REPLICAS_NAME"].endswith(f".svc.{zone}")
    (label,) = re.findall(r"^ *labels (\S+)=(\S+)$", corefile, re.MULTILINE)
    assert label in builds.one(stack, "Service", "ollama")["metadata"]["labels"].items()


def test_the_hook_counts_connections_to_ollamas_port(stack):
    """It knows the port as the kernel writes it."""
    (port,) = {p["containerPort"] for p in container_of(stack, "ollama", "ollama")["ports"]}
    assert f"*:{port:04X},01)" in text(stack, "ollama-scripts", "drain.sh")


def test_a_replica_may_drain_to_the_end(stack):
    """The hook's own cap comes before Kubernetes' patience is at its end."""
    script = text(stack, "ollama-scripts", "drain.sh")
    (default,) = set(re.findall(r"DRAIN_CAP:-(\d+)", script))
    cap = int(environment(container_of(stack, "ollama", "ollama")).get("DRAIN_CAP", default))
    assert builds.pods_of(stack, "ollama").spec["terminationGracePeriodSeconds"] >= cap + 10


def test_the_gateway_may_end_its_streams(stack):
    """Its own limit, after the pause before it, comes before Kubernetes' patience is at its end."""
    (stop,) = re.findall(
        r"^ *hard-stop-after (\d+)s$", text(stack, "gateway-config", "haproxy.cfg"), re.MULTILINE
    )
    pause = container_of(stack, "gateway", "haproxy")["lifecycle"]["preStop"]["sleep"]["seconds"]
    grace = builds.pods_of(stack, "gateway").spec["terminationGracePeriodSeconds"]
    assert grace >= int(stop) + pause + 10


def test_the_chat_page_says_what_the_gateway_reads(stack):
    """The gateway knows chats and their background tasks by the headers that it looks at."""
    settings = environment(container_of(stack, "open-webui", "open-webui"))
    (server,) = json.loads(settings["OLLAMA_API_CONFIGS"]).values()
    configuration = text(stack, "gateway-config", "haproxy.cfg")
    read = set(re.findall(r"req\.hdr\((X-[\w-]+)\)", configuration))
    assert set(server["headers"]) == read


def test_a_replica_has_whole_cpus(stack):
    """Their number is the number of its threads, which Kubernetes would round up."""
    container = container_of(stack, "ollama", "ollama")
    (threads,) = (e for e in container["env"] if e["name"] == "LLAMA_ARG_THREADS")
    assert threads["valueFrom"]["resourceFieldRef"]["resource"] == "limits.cpu"
    assert re.fullmatch(r"[1-9]\d*", container["resources"]["limits"]["cpu"])


# --- monitoring ---------------------------------------------------------------------------------

WITH_PROMETHEUS = [whole for whole in STACKS if "prometheus-operator" not in whole]


@pytest.fixture(params=WITH_PROMETHEUS)
def monitored(request):
    """Build one stack that brings its own Prometheus."""
    return builds.built(request.param)


def test_prometheus_scrapes_ports_that_are_there(monitored):
    """What it finds by DNS or knows by name is a Service with that port."""
    jobs = yaml.safe_load(text(monitored, "prometheus-config", "prometheus.yml"))["scrape_configs"]
    asked = {
        (name.partition(".")[0], found["port"])
        for job in jobs
        for found in job.get("dns_sd_configs", ())
        for name in found["names"]
    }
    asked |= {
        (host, int(port))
        for job in jobs
        for found in job.get("static_configs", ())
        for host, _, port in (target.partition(":") for target in found["targets"])
        if host != "localhost"
    }
    ports = {
        (service["metadata"]["name"], port["port"])
        for service in builds.of(monitored, "Service")
        for port in service["spec"]["ports"]
    }
    assert asked
    assert asked <= ports


def test_prometheus_looks_back_as_far_as_in_the_sandbox(monitored):
    """A series that nobody has ended is believed for so long: four scrapes of every job."""
    (prometheus,) = builds.pods_of(monitored, "prometheus").containers
    assert f"--query.lookback-delta={LOOK_BACK}" in prometheus["args"]
    config = yaml.safe_load(text(monitored, "prometheus-config", "prometheus.yml"))
    intervals = [job.get("scrape_interval", "15s") for job in config["scrape_configs"]]
    assert config["global"]["scrape_interval"] == "15s"
    assert max(map(parse_duration, intervals)) * 4 <= parse_duration(LOOK_BACK)


def test_prometheus_reads_its_rules(monitored):
    """Every file of rules in its ConfigMap is named in its configuration."""
    named = yaml.safe_load(text(monitored, "prometheus-config", "prometheus.yml"))["rule_files"]
    (config,) = (
        v for v in builds.pods_of(monitored, "prometheus").spec["volumes"] if v["name"] == "config"
    )
    files = {item["path"] for item in config["configMap"]["items"]}
    assert set(named) == files - {"prometheus.yml"}


def test_kube_state_metrics_may_read_what_it_is_told_to(monitored):
    """Its arguments and its Role name the same kinds, in the same namespace."""
    arguments = container_of(monitored, "kube-state-metrics", "kube-state-metrics")["args"]
    told = dict(argument.removeprefix("--").split("=") for argument in arguments)
    role = builds.one(monitored, "Role", "kube-state-metrics")
    allowed = {resource for rule in role["rules"] for resource in rule["resources"]}
    assert set(told["resources"].split(",")) == allowed
    assert told["namespaces"] == role["metadata"]["namespace"]


# --- documents ----------------------------------------------------------------------------------


def test_documents_forward_ports_that_there_are():
    """A command that a newcomer copies leads to a Service's port."""
    told = {
        (name, int(port))
        for pattern in ("*.md", "docs/*.md", "deploy/*.md", "scripts/*.py")
        for path in builds.ROOT.glob(pattern)
        for name, port in re.findall(r"svc/([\w-]+) (?:\d+:)?(\d+)", path.read_text())
    }
    assert {name for name, _ in told} >= {"gateway", "grafana", "open-webui", "prometheus"}
    services = builds.of(builds.built("deploy/overlays/minikube"), "Service")
    assert told <= {
        (s["metadata"]["name"], p["port"]) for s in services for p in s["spec"]["ports"]
    }
