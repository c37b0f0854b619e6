"""What goes wrong while people chat: who is cut, what comes back, what stays.

The same people chat all the time, so that each fault meets streams. Processes of a pod are killed
from its node, which is left out on a cluster of somebody's own.
"""

import time

import pytest

from tests.cluster.scene import PEOPLE, WANTED, WORDS, broken, kill, ready, seconds, sees_all
from tests.cluster.stack import OLLAMA, eventually, stamp

AUTOSCALER = "app.kubernetes.io/name=autoscaler"
GATEWAY = "app.kubernetes.io/name=gateway"
PROMETHEUS = "app.kubernetes.io/name=prometheus"


# --- pods


@pytest.mark.parametrize("how", ["its process is killed", "its pod is removed"])
def test_a_replica_that_dies_cuts_its_own_stream_and_no_other(request, scene, figures, how):
    """Who is served by the replica that dies is cut; nobody else, and another one comes."""

    def blow(victim):
        before = scene.restarts(OLLAMA)
        if how == "its pod is removed":
            scene.end(victim["metadata"]["name"])
            return lambda: victim["metadata"]["name"] not in scene.serving()
        kill(request.getfixturevalue("machine"), victim, "ollama")
        return lambda: scene.restarts(OLLAMA) > before

    for _ in range(3):  # until it has not ended its answer between our look and our blow
        busy = eventually("one is busy", lambda: [n for n, c in scene.serving().items() if c])[0]
        began = time.time()
        gone = blow(scene.stack.get("pod", busy))
        eventually(
            "another replica is ready",
            lambda gone=gone: gone() and len(scene.serving()) == WANTED,
            timeout_s=120,
        )
        figures["another one ready after"] = seconds(time.time() - began)
        if broken(told := scene.told(began)):
            break
    figures["replicas"] = scene.numbers(began)
    figures.of_streams(told)
    # A process that ends closes its streams before its door: whoever is handed to it in between has
    # knocked in vain, and is not handed on, since a prompt may be what kills.
    assert sorted(one.cut for one in broken(told)) in ([True], [False, True])
    assert scene.numbers(began) == [WANTED]


# --- the gateway


def test_the_gateway_is_replaced_without_a_cut(scene, figures):
    """After `rollout restart` the old gateway ends its streams; the new one takes what comes."""
    stack, began = scene.stack, time.time()
    stack.kubectl("rollout", "restart", "deployment/gateway")
    stack.kubectl("rollout", "status", "deployment/gateway", "--timeout=120s", timeout=125)
    figures["new one ready after"] = seconds(time.time() - began)
    eventually("the old one is gone", lambda: len(stack.pods(GATEWAY)) == 1, timeout_s=330)
    figures["old one gone after"] = seconds(time.time() - began)
    scene.served(time.time())
    told = scene.told(began)
    figures["replicas"] = scene.numbers(began)
    figures.of_streams(told)
    assert not broken(told)
    assert min(scene.numbers(began)) == WANTED


def test_a_gateway_that_is_killed_serves_again_within_seconds(cluster, scene, figures):
    """Its streams are cut; the next one serves, and nothing shrinks while its series are away."""
    (gateway,) = scene.stack.pods(GATEWAY)
    killed = time.time()
    if cluster.own:
        kill(cluster, gateway, "haproxy")  # else it may still end a stream in its last second
    scene.end(gateway["metadata"]["name"])
    first = scene.served(killed, timeout_s=120)
    figures["first word again after"] = seconds(first.first - killed)
    figures["queue seen again after"] = seconds(stamp(scene.sees(first.end)) - killed)
    told = scene.told(killed)
    figures["replicas"] = scene.numbers(killed)
    figures["meanwhile"] = ", ".join(sorted({line["reason"] for line in scene.cycles(killed)}))
    figures.of_streams(told)
    assert sum(one.cut for one in told) <= PEOPLE
    assert first.first - killed < 30
    # What it sees again may be less than before: who was refused has paused for a moment.
    shrinks = [line for line in scene.cycles(killed) if line["to"] < line["from"]]
    assert all(sees_all(line) for line in shrinks), shrinks


# --- Prometheus


def test_without_prometheus_nothing_shrinks_and_afterwards_it_acts(scene, figures):
    """While Prometheus is away the number stays, whoever comes; once it is back, more come."""
    (old,) = scene.stack.pods(PROMETHEUS)
    gone = time.time()
    scene.end(old["metadata"]["name"])
    crowd = scene.traffic.start(2, words=WORDS)
    try:
        there = lambda: all(map(ready, scene.stack.pods(PROMETHEUS)))  # noqa: E731
        eventually("it is back", there, timeout_s=120)
        figures["away for"] = seconds(time.time() - gone)
        figures["asks for more after"] = seconds(scene.asks_for_more(WANTED))
    finally:
        scene.traffic.stop(crowd)
    blind = [line for line in scene.cycles(gone) if not sees_all(line)]
    told = scene.told(gone)
    figures["cycles that missed a metric"] = len(blind)
    figures["replicas"] = scene.numbers(gone)
    figures.of_streams(told)
    assert blind
    assert min(scene.numbers(gone)) == WANTED
    assert not broken(told)


# --- the daemon


def test_a_daemon_that_is_killed_goes_on_from_what_it_knew(machine, scene, figures):
    """Killed while it stands down for a person's number, it still knows of it, and then acts."""
    stack, began = scene.stack, time.time()
    (daemon,) = stack.pods(AUTOSCALER)
    stack.kubectl("scale", "deployment/ollama", f"--replicas={WANTED + 1}")
    since = eventually("it is remembered", lambda: scene.remembered()["conflict_since"])
    killed = time.time()
    kill(machine, daemon, "python")
    leads = scene.sees(killed)
    figures["leads again after"] = seconds(stamp(leads) - killed)
    assert leads["from"] == WANTED + 1
    assert scene.remembered()["conflict_since"] == since
    eventually("it acts", lambda: stack.replicas()[0] == WANTED, timeout_s=60)
    figures["its own number after"] = seconds(time.time() - began)
    told = scene.told(began)
    figures["replicas"] = scene.numbers(began)
    figures.of_streams(told)
    assert scene.numbers(began) == [WANTED, WANTED + 1, WANTED]
    assert not broken(told)


def test_a_daemon_whose_pod_is_removed_goes_on_from_what_it_knew(scene, figures):
    """The next pod waits for the Lease to run out, then leads with the windows of the last one."""
    (daemon,) = scene.stack.pods(AUTOSCALER)
    before, began = scene.remembered(), time.time()
    scene.end(daemon["metadata"]["name"])
    figures["leads again after"] = seconds(stamp(scene.sees(began)) - began)
    after = scene.remembered()
    told = scene.told(began)
    figures["replicas"] = scene.numbers(began)
    figures.of_streams(told)
    assert before["last_up"]
    assert (after["last_up"], after["last_down"]) == (before["last_up"], before["last_down"])
    assert scene.numbers(began) == [WANTED]
    assert not broken(told)
