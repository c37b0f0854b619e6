"""A replica that is stuck is noticed and replaced.

A client that leaves at a bad moment takes Ollama's only slot for good: the handler of its request
is gone, and what reads from the model waits for ever to hand it a word (`ch <- res` in
server/routes.go) and keeps the slot. Whoever is sent there next gets no byte.
"""

import json
import time
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.cluster.stack import eventually, quick_overlay
from tests.cluster.traffic import MODEL, NAMESPACE
from tests.cluster.watch import Watch, sessions

SCRIPT = Path(__file__).with_name("leavers.py")
TRIES_S = 60
# What computes stands still. In the midst of an answer: at its beginning Ollama would notice.
STOP = """
for process in /proc/[0-9]*; do
    read -r name <$process/comm || continue
    if [ "$name" = llama-server ]; then kill -STOP ${process#/proc/} && stopped=yes; fi
done
[ "$stopped" = yes ]
"""
DELETED_BY_US = {"verb": "delete", "user": f"system:serviceaccount:{NAMESPACE}:autoscaler"}


def leave_until_one_hangs(stack, traffic, seconds):
    """Let people leave at the first word; returns their pod, and what its first line says."""
    name = f"leavers-{int(time.time())}"
    arguments = ["http://gateway:8080", MODEL, str(seconds)]
    traffic.run(name, ["python3", "-u", "-c", SCRIPT.read_text(), *arguments])
    lines = eventually(
        "people have left", lambda: traffic.lines(name), timeout_s=seconds + 60, every_s=1
    )
    return name, lines[0]


def when(line) -> float:
    """Return the time of a line of the daemon's log."""
    return datetime.fromisoformat(line["time"]).timestamp()


def deletions(machine) -> list[str]:
    """Return the pods that the daemon has asked to be deleted."""
    return [
        entry["objectRef"]["name"]
        for entry in machine.audit()
        if entry["verb"] == "delete"
        and entry["user"]["username"] == DELETED_BY_US["user"]
        and entry["objectRef"]["resource"] == "pods"
    ]


@pytest.fixture
def hurried(machine, stack):
    """The stack with a daemon that may replace what is stuck, after half a minute."""
    target = stack.config()["targets"][0]
    if (target["stuck_after"], target["restart_stuck"]) != ("30s", True):
        stack.apply(quick_overlay(machine.state / "quick"))
        stack.kubectl("rollout", "status", "deployment/autoscaler", "--timeout=90s", timeout=95)
    stack.wait_replicas(2, timeout_s=180)
    return stack


def make_one_stuck(machine, stack, traffic, figures):
    """Let a slot be lost; returns who hangs (a pod), since when, and the replica."""
    people, first = leave_until_one_hangs(stack, traffic, TRIES_S)
    figures["left at the first word"] = first["left"]
    if first["hangs"]:
        figures["stuck by"] = "Ollama itself: one who left took its slot"
        return people, first["hangs"], who_is_stuck(machine, stack)
    people = traffic.start(1, words=3000, requests=1)
    stuck = eventually("somebody is being answered", lambda: who_is_stuck(machine, stack))
    time.sleep(1)
    stack.kubectl("exec", stuck, "-c", "ollama", "--", "sh", "-c", STOP)
    figures["stuck by"] = "a stop from outside, since nobody who left did any harm"
    return people, time.time(), stuck


def who_is_stuck(machine, stack) -> str:
    """Return the one replica with a request, which by its API is well."""
    at = {address for address, requests in sessions(stack)[0].items() if requests}
    (stuck,) = [p["metadata"]["name"] for p in stack.pods() if p["status"].get("podIP") in at]
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/{stuck}:11434/proxy/api/version"
    assert "version" in json.loads(machine.raw(path))
    return stuck


def see_it_replaced(stack, traffic, people, stuck):
    """Wait for its end while somebody else is served; returns what was seen when."""
    others = traffic.start(1)
    try:
        with Watch(stack) as watch:

            def leaves():
                """Return when it was seen to be told to end."""
                return watch.first(lambda look: stuck in look.leaving)

            gone = eventually(f"{stuck} is told to end", leaves, timeout_s=180)
            serving = {pod["metadata"]["name"] for pod in stack.pods() if is_ready(pod)} - {stuck}
            ended = eventually(
                "who hung is told",
                lambda: [line for line in traffic.lines(people) if "end" in line],
                timeout_s=60,
                every_s=1,
            )[0]
        told = traffic.told(others)
    finally:
        traffic.stop(others)
        traffic.stop(people)
    return SimpleNamespace(watch=watch, gone=gone, serving=serving, ended=ended, told=told)


def test_a_replica_whose_slot_is_lost_is_replaced(machine, hurried, traffic, figures):
    """It is noticed by its requests and idle CPU, another one comes, and it alone is deleted."""
    stack, deleted_before = hurried, deletions(machine)
    before = {pod["metadata"]["name"] for pod in stack.pods()}
    people, since, stuck = make_one_stuck(machine, stack, traffic, figures)
    seen = see_it_replaced(stack, traffic, people, stuck)

    log = [line for line in stack.log() if line.get("stuck") and when(line) > since]
    (replaced,) = [line for line in log if line["outcome"] == "replaced"]
    noticed = when(log[0])
    figures["noticed"] = f"{noticed - since:.0f} s after somebody hung"
    figures["deleted"] = f"{when(replaced) - noticed:.0f} s after that"
    figures["replicas"] = seen.watch.curve()
    figures["serving at its deletion"] = len(seen.serving)
    figures["who hung was told"] = f"{seen.ended['end'] - seen.gone:.0f} s after the deletion"
    figures["by status"] = seen.ended["status"]
    figures["answers of others meanwhile"] = len(seen.told)
    figures["of them cut or refused"] = sum(one.cut or one.refused for one in seen.told)

    looks = seen.watch.looks
    # The one that hangs and no other, and always one that serves beside it.
    assert {name for line in log for name in line["stuck"]} == {stuck}
    assert deletions(machine)[len(deleted_before) :] == [stuck]
    assert min(look.ready for look in looks if look.at < seen.gone) >= 2
    assert min(look.ready for look in looks) >= 1
    # The one that was added on top: what the ReplicaSet makes after the deletion is one too many,
    # and goes again where windows last seconds.
    assert seen.serving - before, "no new one serves in its place"
    assert len(seen.told) > 3
    assert not [one for one in seen.told if one.cut or one.refused]
    # Who hung is told soon, and may ask again.
    assert seen.ended["end"] - seen.gone < 45
    # It is told of, too.
    events = [event["message"] for event in stack.events() if event["reason"] == "ReplicaStuck"]
    assert any(f"replaced: {stuck}" in message for message in events), events
    metrics = stack.service("autoscaler-metrics:http", "/metrics").splitlines()
    (counted,) = [m for m in metrics if m.startswith("autoscaler_replaced_replicas_total{")]
    assert float(counted.rpartition(" ")[2]) >= 1
    stack.wait_replicas(2, timeout_s=90)


def is_ready(pod) -> bool:
    """Tell whether a pod serves."""
    conditions = pod["status"].get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
