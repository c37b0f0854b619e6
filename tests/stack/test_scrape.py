"""What the scrape jobs keep of what a node and its pods tell."""

import re

import pytest
import yaml

from tests.stack.rules import PROMETHEUS

CPU, MEMORY = "container_cpu_usage_seconds_total", "container_memory_working_set_bytes"
POD = {"namespace": "llm", "pod": "ollama-7d4b9c6f5d-x7k2p", "image": "", "name": ""}
PAUSE = "registry.k8s.io/pause:3.10"
CONTAINER = "/kubepods/pod1/c1"


def keeps(job, name, /, **labels):
    """Tell whether the job's rules keep a series, as Prometheus applies them: whole matches."""
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    (shipped,) = [one for one in config["scrape_configs"] if one["job_name"] == job]
    series = {"__name__": name, **labels}
    for rule in shipped["metric_relabel_configs"]:
        value = ";".join(series.get(label, "") for label in rule["source_labels"])
        matches = re.fullmatch(rule["regex"], value) is not None
        if matches != {"keep": True, "drop": False}[rule["action"]]:
            return False
    return True


@pytest.mark.parametrize(
    ("labels", "kept"),
    [
        pytest.param({**POD, "container": "", "id": "/kubepods/pod1"}, True, id="a pod"),
        pytest.param(
            {**POD, "container": "ollama", "image": "ollama/ollama", "id": CONTAINER},
            False,
            id="its container",
        ),
        pytest.param(
            {**POD, "container": "", "image": PAUSE, "id": CONTAINER}, False, id="its sandbox"
        ),
        pytest.param(
            {**POD, "namespace": "other", "container": "", "id": "/kubepods/pod2"},
            False,
            id="somebody else's pod",
        ),
        pytest.param({"id": "/"}, True, id="the machine"),
        pytest.param({"id": "/kubepods"}, False, id="all pods together"),
        pytest.param({"id": "/system.slice/ssh.service"}, False, id="a service of the machine"),
    ],
)
def test_of_cgroups_those_of_our_pods_and_of_the_machine_are_kept(labels, kept):
    """A node tells three rows per pod, and one for everything else that runs on it."""
    assert keeps("cadvisor", CPU, **labels) is kept
    assert keeps("cadvisor", MEMORY, **labels) is kept


def test_of_a_machine_its_size_and_its_disks_are_kept():
    """How full it is; what a pod's cgroup says of disks would be told twice."""
    assert keeps("cadvisor", "machine_cpu_cores", machine_id="a", boot_id="b")
    assert keeps("cadvisor", "container_fs_usage_bytes", id="/", device="/dev/sda1")
    pod = {**POD, "container": "", "id": "/kubepods/pod1", "device": "/dev/sda1"}
    assert not keeps("cadvisor", "container_fs_usage_bytes", **pod)
    assert not keeps("cadvisor", "container_network_receive_bytes_total", id="/", interface="eth0")


def test_of_volumes_ours_are_kept():
    """And nothing else of the thousand series of a kubelet."""
    free = "kubelet_volume_stats_available_bytes"
    assert keeps("kubelet", free, namespace="llm", persistentvolumeclaim="ollama-models")
    assert not keeps("kubelet", free, namespace="other", persistentvolumeclaim="data")
    assert not keeps("kubelet", "kubelet_runtime_operations_total", operation_type="version")


def test_a_slot_is_up_or_not():
    """One series of five."""
    slot = {"proxy": "ollama", "server": "ollama1"}
    assert keeps("gateway", "haproxy_server_status", **slot, state="UP")
    assert not keeps("gateway", "haproxy_server_status", **slot, state="DOWN")
    assert not keeps("gateway", "haproxy_server_sessions_total", **slot)
    assert keeps("gateway", "haproxy_server_current_sessions", **slot)
