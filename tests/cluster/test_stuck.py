"""A replica that is stuck is noticed and replaced.

A client that leaves at a bad moment takes Ollama's only slot for good: the handler of its request
is gone, and what reads from the model waits for ever to hand it a word (`ch <- res` in
server/routes.go) and keeps the slot. Whoever is sent there next gets no byte.
"""

import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.cluster.stack import OVERLAY, SHIPPED, eventually, quick_overlay, stamp
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


def leave_until_one_hangs(stack, traffic, seconds):
    """Let people leave at the first word; returns their pod, and what its first line says."""
    name = f"leavers-{int(time.time())}"
    arguments = ["http://gateway:8080", MODEL, str(seconds)]
    traffic.run(name, ["python3", "-u", "-c", SCRIPT.read_text(), *arguments])
    lines = eventually(
        "people have left", lambda: traffic.lines(name), timeout_s=seconds + 60, every_s=1
    )
    return name, lines[0]


def deletions(cluster) -> list[str]:
    """Return the pods that the daemon has asked to be deleted, by the API server's account."""
    who = f"system:serviceaccount:{NAMESPACE}:autoscaler"
    return [
        entry["objectRef"]["name"]
        for entry in (cluster.audit() if cluster.own else ())
        if (entry["verb"], entry["user"]["username"]) == ("delete", who)
        if entry["objectRef"]["resource"] == "pods"
    ]


@pytest.fixture
def hurried(cluster, stack, tmp_path):
    """The stack with a daemon that may replace what is stuck, after half a minute."""
    target = stack.config()["targets"][0]
    if (target["stuck_after"], target["restart_stuck"]) != ("30s", True):
        stack.apply(quick_overlay(tmp_path, OVERLAY if cluster.own else SHIPPED))
        stack.kubectl("rollout", "status", "deployment/autoscaler", "--timeout=90s", timeout=95)
    stack.wait_replicas(2, timeout_s=180)
    return stack


def lose_a_slot(stack, traffic, figures):
    """Let a slot be lost, or two; returns who hangs (a pod), since when, and the replicas."""
    people, first = leave_until_one_hangs(stack, traffic, TRIES_S)
    figures["left at the first word"] = first["left"]
    figures["slots lost"] = max(1, first["slots"])
    if first["hangs"]:
        figures["by"] = "Ollama itself: who left took it along"
        return people, first["hangs"], who_is_stuck(stack)
    people = traffic.start(1, words=3000, requests=1)
    stuck = eventually("somebody is being answered", lambda: who_is_stuck(stack))
    time.sleep(1)
    for name in stuck:
        stack.kubectl("exec", name, "-c", "ollama", "--", "sh", "-c", STOP)
    figures["by"] = "a stop from outside, since nobody who left did any harm"
    return people, time.time(), stuck


def who_is_stuck(stack) -> set[str]:
    """Return the replicas that have a request, which by their API are well."""
    at = {address for address, requests in sessions(stack)[0].items() if requests}
    stuck = {p["metadata"]["name"] for p in stack.pods() if p["status"].get("podIP") in at}
    for name in stuck:
        assert MODEL in stack.kubectl("exec", name, "-c", "ollama", "--", "ollama", "list")
    return stuck


def see_them_replaced(stack, traffic, people, stuck):
    """Wait for their end while somebody else is served; returns what was seen when."""
    others = traffic.start(1)
    try:
        with Watch(stack) as watch:

            def gone():
                """Return when each was seen to be told to end, once all are."""
                found = [
                    watch.first(lambda look, name=name: name in look.leaving) for name in stuck
                ]
                return None not in found and sorted(found)

            def ended():
                """Return how it ended for all who hung."""
                found = [line for line in traffic.lines(people) if "end" in line]
                return len(found) == len(stuck) and found

            times = eventually(f"{stuck} are told to end", gone, timeout_s=240)
            serving = {pod["metadata"]["name"] for pod in stack.pods() if is_ready(pod)} - stuck
            ends = eventually("who hung is told", ended, timeout_s=60, every_s=1)
        told = traffic.told(others)
    finally:
        traffic.stop(others)
        traffic.stop(people)
    return SimpleNamespace(
        looks=watch.looks,
        curve=watch.curve(),
        gone=times,
        serving=serving,
        waited=max(end["end"] - at for end, at in zip(ends, times, strict=True)),
        statuses={end["status"] for end in ends},
        told=told,
    )


def test_a_replica_whose_slot_is_lost_is_replaced(cluster, hurried, traffic, figures):
    """It is noticed by its requests and idle CPU, another one comes, and it alone is deleted."""
    stack, deleted_before = hurried, deletions(cluster)
    before = {pod["metadata"]["name"] for pod in stack.pods()}
    people, since, stuck = lose_a_slot(stack, traffic, figures)
    seen = see_them_replaced(stack, traffic, people, stuck)

    log = [line for line in stack.log() if line.get("stuck") and stamp(line) > since]
    replaced = [line for line in log if line["outcome"] == "replaced"]
    figures["noticed"] = f"{stamp(log[0]) - since:.0f} s after somebody hung"
    figures["deleted"] = f"{stamp(replaced[0]) - stamp(log[0]):.0f} s after that"
    figures["replicas"] = seen.curve
    figures["serving at the deletion"] = len(seen.serving)
    figures["who hung was told"] = f"{seen.waited:.0f} s after the deletion"
    figures["by status"] = ", ".join(map(str, sorted(seen.statuses)))
    figures["answers of others meanwhile"] = len(seen.told)
    figures["of them cut or refused"] = sum(one.cut or one.refused for one in seen.told)

    # Those that hang and no other, one at a time, and always one that serves beside them.
    assert len(replaced) == len(stuck)
    assert {name for line in log for name in line["stuck"]} == stuck
    if cluster.own:
        deleted = deletions(cluster)[len(deleted_before) :]
        assert (set(deleted), len(deleted)) == (stuck, len(stuck))
    assert min(look.ready for look in seen.looks) >= 1
    # What was added on top: what the ReplicaSet makes after the deletion is one too many, and goes
    # again where windows last seconds.
    assert seen.serving - before, "no new one serves in its place"
    assert len(seen.told) > 3
    assert not [one for one in seen.told if one.cut or one.refused]
    # Who hung is told soon, and may ask again.
    assert seen.waited < 45
    # It is told of, too.
    events = [event["message"] for event in stack.events() if event["reason"] == "ReplicaStuck"]
    assert all(any(f"replaced: {name}" in told for told in events) for name in stuck), events
    metrics = stack.service("autoscaler-metrics:http", "/metrics").splitlines()
    (counted,) = [m for m in metrics if m.startswith("autoscaler_replaced_replicas_total{")]
    assert float(counted.rpartition(" ")[2]) >= len(stuck)
    stack.wait_replicas(2, timeout_s=90)


def is_ready(pod) -> bool:
    """Tell whether a pod serves."""
    conditions = pod["status"].get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
