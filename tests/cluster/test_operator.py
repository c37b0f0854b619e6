"""The operator's path: the daemon alone beside Deployments that people and programs touch, too.

The stories run side by side, each at a Deployment of its own, from the first test on; each test
waits for its own story's end. What has to do with the daemons themselves comes last.
"""

import itertools
import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.cluster.figures import Figures
from tests.cluster.kube.machine import MachineError
from tests.cluster.operated import (
    CONFLICT_HOLD,
    DAEMON,
    LEADERSHIP,
    PENDING_LIMIT,
    SEAT,
    TARGETS,
    Operated,
    deployment,
    seconds_of,
)

STORIES = {}
NOBODY_HAS = "nobody.example/has-this:1"
CYCLE = 3
"""Within so many seconds the daemon has seen something: cycles are a second apart."""
TAKEN_OVER = LEADERSHIP * 1.2 + 2
"""Who stands by looks five times in the duration, and its look may be slow on two cores."""
TAKES = "b = b'x' * (96 << 20); open('/tmp/ready', 'w'); import signal; signal.pause()"


def beside_the_others(story):
    """Let a story begin with the others; the test waits for its end and has its figures."""

    def test(stories, figures):
        figures.update(stories[story.__name__].result(timeout=300))

    test.__name__, test.__doc__ = story.__name__, story.__doc__
    STORIES[story.__name__] = story
    return test


@pytest.fixture(scope="module")
def operated(cluster, tmp_path_factory):
    """The daemon alone, applied by its own overlay, and its targets."""
    operated = Operated(cluster, tmp_path_factory.mktemp("operator"))
    give_seats(cluster, 1)
    operated.start(*DEPLOYMENTS, by_server=[deployment("applied-by-server")])
    yield operated
    operated.close()
    give_seats(cluster, None)
    operated.remove(wait=not cluster.own)


@pytest.fixture(scope="module")
def stories(operated, request):
    """The stories whose tests are to run, under way."""
    wanted = {item.name for item in request.session.items}
    with ThreadPoolExecutor(len(STORIES)) as pool:

        def begin(story):
            figures = Figures()
            story(operated, figures)
            return figures

        yield {name: pool.submit(begin, story) for name, story in STORIES.items() if name in wanted}


def give_seats(cluster, number):
    """Let one node have so many seats, as if it had so many GPUs."""
    free = [node for node in cluster.get("nodes")["items"] if not node["spec"].get("taints")]
    node = free[0]["metadata"]["name"]
    patch = {"status": {"capacity": {SEAT: None if number is None else str(number)}}}
    cluster.kubectl(
        "patch", "node", node, "--subresource=status", "--type=merge", "-p", json.dumps(patch)
    )


SEATED = {"requests": {"cpu": "1m", "memory": "4Mi", SEAT: "1"}, "limits": {SEAT: "1"}}
HUNGRY = {
    "resources": {"requests": {"cpu": "1m", "memory": "32Mi"}, "limits": {"memory": "32Mi"}},
    "readinessProbe": {"exec": {"command": ["test", "-e", "/tmp/ready"]}, "periodSeconds": 1},
}
IN_PLACE = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}
DEPLOYMENTS = (
    deployment("reloaded"),
    deployment("by-hand"),
    deployment("beside-an-hpa"),
    deployment("applied"),
    deployment("without-room", container={"resources": SEATED}),
    deployment("without-image", image=NOBODY_HAS),
    deployment("rolled-out", strategy=IN_PLACE),
    deployment("without-memory", command=("python3", "-c", TAKES), container=HUNGRY),
    deployment("paused"),
    deployment("remembered"),
    deployment("pulse"),
)
HPA = {
    "apiVersion": "autoscaling/v2",
    "kind": "HorizontalPodAutoscaler",
    "metadata": {"name": "rival"},
    "spec": {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "beside-an-hpa"},
        "minReplicas": 3,
        "maxReplicas": 3,
        "metrics": [
            {
                "type": "Resource",
                "resource": {
                    "name": "cpu",
                    "target": {"type": "Utilization", "averageUtilization": 50},
                },
            }
        ],
    },
}
MEANT = (
    "no container has a preStop hook",
    "terminationGracePeriodSeconds is 1",
    "no container has a readinessProbe",
    "its manifest has replicas",
)
"""What `check` finds in Deployments of pods that do nothing, some of them applied with a number."""


def seconds(value) -> str:
    """Write a span of time."""
    return f"{value:.1f} s"


def stood_down(operated, name, since, writer, figures, *, hold=CONFLICT_HOLD):
    """Let the daemon see another writer, stand down, and take over; returns the line that did."""
    seen = operated.line(name, since, reason="Conflict", timeout_s=40)
    assert f"{writer} changed replicas" in seen["sentence"], seen["sentence"]
    back = operated.line(name, seen["at"], outcome="scaled", timeout_s=hold + 20)
    held = back["at"] - seen["at"]
    figures["writer named"] = writer
    figures["stands down after"] = seconds(seen["at"] - since)
    figures["takes over after"] = f"{seconds(held)} (conflict_hold {hold} s)"
    assert hold - 0.1 <= held <= hold + CYCLE
    assert "Conflict" in operated.events(name)
    return back


# --- other writers


@beside_the_others
def test_replicas_changed_by_hand(operated, figures):
    """Who scales by hand is named, left alone for conflict_hold, and told of by an event."""
    operated.settled("by-hand", 2)
    began = time.time()
    operated.kubectl("scale", "deployment/by-hand", "--replicas=4")
    back = stood_down(operated, "by-hand", began, "kubectl", figures)
    assert (back["from"], back["to"]) == (4, 2)
    assert "kubectl changed replicas" in operated.event("by-hand", "Conflict")
    operated.settled("by-hand", 2, back["at"])


@beside_the_others
def test_an_hpa_at_the_same_deployment(operated, figures):
    """Beside an HPA it writes no more often than once in conflict_hold; `check` names the HPA."""
    name = "beside-an-hpa"
    operated.settled(name, 2)
    began = time.time()
    operated.apply(HPA)
    seen = operated.line(name, began, reason="Conflict")
    figures["writer named"] = seen["foreign_writer"]
    figures["stands down after"] = seconds(seen["at"] - began)
    code, said = operated.check()
    assert code == 1
    assert "HorizontalPodAutoscaler rival scales it, too" in said
    first = operated.line(name, seen["at"], outcome="scaled")
    assert (first["from"], first["to"]) == (3, 2)
    again = operated.line(name, first["at"], reason="Conflict")
    figures["HPA writes again after"] = seconds(again["at"] - first["at"])
    operated.kubectl("delete", "hpa", "rival")
    gone = time.time()
    last = operated.line(name, again["at"], outcome="scaled")
    figures["takes over after the HPA is gone"] = seconds(last["at"] - gone)
    writes = operated.lines(name, began, outcome="scaled")
    apart = [b["at"] - a["at"] for a, b in itertools.pairwise(writes)]
    figures["writes beside it"] = len(writes)
    assert all(one >= CONFLICT_HOLD - 0.1 for one in apart), apart
    operated.settled(name, 2, last["at"])


@beside_the_others
def test_a_manifest_applied_again(operated, figures):
    """A manifest without `replicas` moves nothing; one with a number counts as a hand."""
    name = "applied"
    without, with_one = deployment(name), deployment(name, replicas=1)
    operated.settled(name, 2)
    began = time.time()
    assert "unchanged" in operated.apply(without)
    without["spec"]["template"]["metadata"]["annotations"] = {"changed": "yes"}
    operated.apply(without)
    time.sleep(CYCLE + 1)
    assert {line["from"] for line in operated.lines(name, began)} == {2}
    assert not operated.lines(name, began, reason="Conflict")
    with pytest.raises(MachineError, match='conflict with "ollama-autoscaler"'):
        operated.apply(with_one, "--server-side")
    figures["a number by server-side apply"] = "refused by the API, which names ollama-autoscaler"
    began = time.time()
    operated.apply(with_one)
    back = stood_down(operated, name, began, "kubectl-client-side-apply", figures, hold=8)
    assert (back["from"], back["to"]) == (1, 2)


@beside_the_others
def test_a_manifest_applied_by_the_server(operated, figures):
    """Server-side apply without `replicas` moves nothing; with a number it counts as a hand."""
    name = "applied-by-server"
    operated.settled(name, 2)
    began = time.time()
    operated.apply(deployment(name), "--server-side")
    time.sleep(CYCLE)
    assert {line["from"] for line in operated.lines(name, began)} == {2}
    began = time.time()
    operated.apply(deployment(name, replicas=1), "--server-side")
    back = stood_down(operated, name, began, "kubectl", figures, hold=8)
    assert (back["from"], back["to"]) == (1, 2)


# --- replicas that cannot run


def given_back(operated, name, wanted, left, figures):
    """Let replicas be asked for in vain and given back; returns the line that did."""
    asked = operated.line(name, outcome="scaled", to=wanted)
    back = operated.line(name, asked["at"], reason="GivenBack", outcome="scaled", to=left)
    figures["given back after"] = (
        f"{seconds(back['at'] - asked['at'])} (pending_limit {PENDING_LIMIT} s)"
    )
    assert back["at"] - asked["at"] >= PENDING_LIMIT - 1
    # Each is given back at its own time, so it may take two cycles.
    moves = operated.moves(name, asked["at"])
    assert moves[0][0] == wanted
    assert all(move[1] < move[0] for move in moves)
    assert "could not be started" in operated.event(name, "GivenBack")
    figures["told"] = back["sentence"].partition(": ")[2]
    return back


@beside_the_others
def test_replicas_without_room(operated, figures):
    """Replicas without a node are given back, asked for again later, and then find one."""
    name = "without-room"
    back = given_back(operated, name, 3, 1, figures)
    assert back["unschedulable"]
    assert "found no node" in figures["told"]
    waiting = operated.line(name, back["at"], reason="PodsPending")
    assert "more than 1 could not be started, asked for again at" in waiting["sentence"]
    give_seats(operated.cluster, 3)
    again = operated.line(name, back["at"], outcome="scaled")
    figures["asked again after"] = seconds(again["at"] - back["at"])
    assert again["to"] == 3
    assert again["at"] - back["at"] >= PENDING_LIMIT - 1
    ready = operated.settled(name, 3, again["at"])
    figures["ready after"] = seconds(ready["at"] - again["at"])


@beside_the_others
def test_replicas_without_an_image(operated, figures):
    """Replicas whose image nobody has are given back, and come once it can be had."""
    name = "without-image"
    back = given_back(operated, name, 3, 1, figures)
    assert back["failing"]
    assert "failed to come up" in figures["told"]
    operated.kubectl("set", "image", f"deployment/{name}", "idle=ollama-autoscaler:dev")
    began = time.time()
    ready = operated.settled(name, 3, began)
    figures["all ready after the image is mended"] = seconds(ready["at"] - began)


@beside_the_others
def test_a_rollout_that_does_not_come_up(operated, figures):
    """A rollout that fails takes no replica away that runs; undone, all are back."""
    name = "rolled-out"
    operated.settled(name, 3)
    began = time.time()
    operated.kubectl("set", "image", f"deployment/{name}", f"idle={NOBODY_HAS}")
    operated.line(name, began, ready=2)
    time.sleep(PENDING_LIMIT + 15)
    lines = operated.lines(name, began)
    figures["least ready"] = min(line["ready"] for line in lines)
    figures["moves"] = operated.moves(name, began)
    figures["pods that fail"] = len(lines[-1]["failing"])
    assert figures["least ready"] == 2
    assert not figures["moves"]
    operated.kubectl("rollout", "undo", f"deployment/{name}")
    began = time.time()
    ready = operated.settled(name, 3, began)
    figures["all ready after the rollout is undone"] = seconds(ready["at"] - began)


@beside_the_others
def test_replicas_without_memory(operated, figures):
    """Replicas that are killed for their memory are given back, and come with a higher limit."""
    name = "without-memory"
    back = given_back(operated, name, 2, 1, figures)
    assert back["failing"]
    pods = operated.get("pods", "-l", f"app={name}")["items"]
    died = {
        status.get("lastState", {}).get("terminated", {}).get("reason")
        for pod in pods
        for status in pod["status"].get("containerStatuses", [])
    }
    figures["the kubelet says"] = ", ".join(sorted(filter(None, died)))
    assert "OOMKilled" in died
    operated.kubectl("set", "resources", f"deployment/{name}", "--limits=memory=256Mi")
    began = time.time()
    ready = operated.settled(name, 2, began)
    figures["both ready after the limit is raised"] = seconds(ready["at"] - began)


# --- switches


@beside_the_others
def test_a_pause(operated, figures):
    """While the annotation pauses it, it lets everything be; it goes on once that is gone."""
    name = "paused"
    operated.settled(name, 2)
    began = time.time()
    operated.kubectl("annotate", "deployment", name, "ollama-autoscaler/paused=true")
    paused = operated.line(name, began, reason="Paused")
    figures["paused after"] = seconds(paused["at"] - began)
    operated.kubectl("scale", f"deployment/{name}", "--replicas=1")
    time.sleep(8)  # much longer than this target's conflict_hold
    assert operated.replicas(name) == 1
    assert not operated.moves(name, began)
    assert "paused" in operated.event(name, "Paused")
    began = time.time()
    operated.kubectl("annotate", "deployment", name, "ollama-autoscaler/paused-")
    back = operated.line(name, began, outcome="scaled")
    figures["goes on after"] = seconds(back["at"] - began)
    assert (back["from"], back["to"]) == (1, 2)


@beside_the_others
def test_a_changed_configuration(operated, figures):
    """Running daemons take over another bound; a bad one is refused, and the old one stays."""
    name = "reloaded"
    operated.settled(name, 1)
    before = {pod["metadata"]["uid"] for pod in operated.daemons()}
    began = time.time()
    change_policy(operated, max_replicas=2)
    for pod in operated.daemons():
        taken = reloaded(operated, pod, began, "reloaded")
        assert taken["changes"] == [f"{TARGETS}/{name}.max_replicas"]
    moved = operated.line(name, began, outcome="scaled")
    figures["in force after"] = seconds(moved["at"] - began)
    assert (moved["from"], moved["to"]) == (1, 2)
    with operated.policy_is_good:
        began = time.time()
        change_policy(operated, max_replicas=0)
        for pod in operated.daemons():
            refused = reloaded(operated, pod, began, "reload refused")
            assert "max_replicas" in refused["message"]
        figures["a bad one is refused after"] = seconds(refused["at"] - began)
        figures["told"] = operated.event(name, "ConfigRefused")
        assert "the old configuration stays in force" in figures["told"]
        operated.settled(name, 2, refused["at"])
        began = time.time()
        change_policy(operated, max_replicas=2)
        for pod in operated.daemons():
            reloaded(operated, pod, began, "reloaded")
    assert {pod["metadata"]["uid"] for pod in operated.daemons()} == before


def change_policy(operated, **changed):
    """Change the first target as `kubectl edit` does, and have the kubelet look at once."""
    name = operated.daemons()[0]["spec"]["volumes"][0]["configMap"]["name"]
    operated.policy["targets"][0] |= changed
    patch = {"data": {"autoscaler.yaml": json.dumps(operated.policy, indent=2)}}
    operated.cluster.kubectl(
        "-n", DAEMON, "patch", "configmap", name, "--type=merge", "-p", json.dumps(patch)
    )
    for pod in operated.daemons():
        note = f"looked-at={time.time()}"
        operated.cluster.kubectl(
            "-n", DAEMON, "annotate", "pod", pod["metadata"]["name"], note, "--overwrite"
        )


def reloaded(operated, pod, since, event):
    """Wait for one daemon to tell of a changed configuration; returns its line."""
    return operated.line(None, since, pod=pod["metadata"]["name"], event=event, timeout_s=120)


# --- the daemons themselves


def test_check_beside_the_daemon(operated, stories, figures):
    """`autoscaler check` in the daemon's pod finds what these Deployments lack, and no more."""
    for name in ("by-hand", "beside-an-hpa"):
        operated.settled(name, 2)
    began = time.time()
    _, said = operated.check()
    figures["findings"] = len(said.splitlines())
    figures["took"] = seconds(time.time() - began)
    found = [line for line in said.splitlines() if not line.startswith("ok")]
    assert [line for line in found if not any(known in line for known in MEANT)] == []
    assert all(line.startswith("warning") for line in found)


def leader(operated):
    """Return the pod that leads."""
    holder = operated.cluster.get("-n", DAEMON, "lease", "autoscaler")["spec"]["holderIdentity"]
    (found,) = (
        pod for pod in operated.daemons() if pod["metadata"]["name"] == holder.rpartition("_")[0]
    )
    return found["metadata"]


def test_the_leader_is_killed(operated, figures):
    """When the leader dies, the other one takes over and goes on from what was remembered."""
    operated.settled("remembered", 2)
    began = time.time()
    operated.kubectl("scale", "deployment/remembered", "--replicas=4")
    seen = operated.line("remembered", began, reason="Conflict")
    time.sleep(2)  # what is remembered is written within a second or so
    old = leader(operated)
    killed = time.time()
    if operated.cluster.own:
        signal_daemon(operated, old, "KILL")
        figures["dies by"] = "SIGKILL"
    else:
        operated.cluster.kubectl(
            "-n", DAEMON, "delete", "pod", old["name"], "--force", "--grace-period=0"
        )
        figures["dies by"] = "delete --force"
    leads = operated.line(None, killed, event="leads")
    figures["the other leads after"] = f"{seconds(leads['at'] - killed)} (duration {LEADERSHIP} s)"
    assert leads["pod"] != old["name"]
    assert leads["at"] - killed <= TAKEN_OVER
    held = operated.line("remembered", leads["at"])
    assert held["reason"] == "Conflict"
    back = operated.line("remembered", leads["at"], outcome="scaled")
    figures["takes over"] = (
        f"{seconds(back['at'] - seen['at'])} after the scaling by hand (conflict_hold 30 s)"
    )
    assert 29.9 <= back["at"] - seen["at"] <= 30 + CYCLE
    operated.wait_daemons()


def test_a_leader_that_was_halted(operated, machine, figures):
    """A leader that stood still for longer than its Lease writes nothing when it goes on."""
    old = leader(operated)
    halted = time.time()
    signal_daemon(operated, old, "STOP")
    try:
        leads = operated.line(None, halted, event="leads")
        operated.line("pulse", leads["at"], outcome="scaled")
    finally:
        woken = time.time()
        operated.woken = (old["name"], woken)
        signal_daemon(operated, old, "CONT")
    figures["the other leads after"] = f"{seconds(leads['at'] - halted)} (duration {LEADERSHIP} s)"
    lost = operated.line(None, woken, event="lost the leadership", pod=old["name"])
    figures["the old one knows after"] = seconds(lost["at"] - woken)
    operated.line("pulse", woken, outcome="scaled", timeout_s=20)
    assert not [
        line for line in operated.lines(None, woken, outcome="scaled") if line["pod"] == old["name"]
    ]
    assert LEADERSHIP * 0.8 - 1 <= leads["at"] - halted <= TAKEN_OVER


def test_the_leader_is_deleted(operated, figures):
    """A leader that is deleted gives its Lease back, so that the other one leads at once."""
    old = leader(operated)
    began = time.time()
    operated.cluster.kubectl("-n", DAEMON, "delete", "pod", old["name"], "--wait=false")
    leads = operated.line(None, began, event="leads")
    figures["the other leads after"] = seconds(leads["at"] - began)
    assert leads["pod"] != old["name"]
    assert leads["at"] - began < LEADERSHIP / 2
    operated.line("pulse", leads["at"], outcome="scaled", timeout_s=20)


def test_who_wrote_held_the_lease(operated, machine, figures):
    """By the API's audit log each write came from the daemon that held the Lease then."""
    holder, at, writes, holders = None, 0.0, 0, []
    for entry in by_the_daemons(machine, operated.began):
        resource, when = entry["objectRef"]["resource"], seconds_of(entry["stageTimestamp"])
        pod = entry["user"]["extra"]["authentication.kubernetes.io/pod-name"][0]
        if resource == "leases":
            holder, at = pod, when
            holders += [pod] if holders[-1:] != [pod] else []
            continue
        writes += 1
        assert pod == holder, entry
        assert seconds_of(entry["requestReceivedTimestamp"]) - at < LEADERSHIP, entry
    figures["writes"] = writes
    figures["holders in turn"] = len(holders)
    assert writes > 20
    assert len(holders) >= 2


def by_the_daemons(machine, since):
    """Return what the daemons of this file have written, in its order: Lease, scale, pods."""
    user = f"system:serviceaccount:{DAEMON}:autoscaler"
    return sorted(
        (
            entry
            for entry in machine.audit()
            if entry["user"]["username"] == user
            and entry["verb"] in ("create", "update", "patch", "delete")
            and entry["objectRef"]["resource"] in ("leases", "deployments", "pods")
            and entry["responseStatus"]["code"] < 300
            and seconds_of(entry["stageTimestamp"]) > since
        ),
        key=lambda entry: entry["stageTimestamp"],
    )


def signal_daemon(operated, pod, name):
    """Send a signal to the daemon in a pod, from the node that it runs on."""
    script = (
        f"for p in $(grep -l {pod['uid']} /proc/[0-9]*/cgroup | cut -d/ -f3); do "
        f"tr '\\0' ' ' < /proc/$p/cmdline | grep -q 'autoscaler run' && kill -{name} $p && "
        "echo $p; done"
    )
    hit = operated.cluster.inside(1, "sh", "-c", script, check=False).split()
    assert hit, f"no daemon runs in {pod['name']}"


def test_nothing_was_told_wrongly(operated, figures):
    """No daemon told of an error but the refused configuration, and of calls that took too long."""
    woken, woken_at = operated.woken
    errors = [
        f"{line['pod']} at {line['time']}: {line['event']} {line.get('error')}"
        for line in operated.lines()
        if line["level"] == "error"
        and line["event"] != "reload refused"
        # Whoever was halted may say, of the cycles that it was in, that it must not write any more.
        and not (line["pod"] == woken and woken_at <= line["at"] <= woken_at + 3)
    ]
    # True on a machine whose cores are wanted by all: the cycle fails, and the next one asks again.
    late = [error for error in errors if "no answer within" in error]
    figures["calls without an answer in time"] = len(late)
    cycles = operated.lines(event="cycle")
    figures["cycles"] = len(cycles)
    figures["targets"] = len({line["target"] for line in cycles})
    assert errors == late, "\n".join(errors[:3])
    assert len(late) < len(cycles) / 100
