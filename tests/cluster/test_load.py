"""Load comes and goes, replicas follow, and nobody's answer is cut."""

import statistics
import threading
import time
from dataclasses import dataclass, field

import pytest

from tests.cluster.kube.machine import MachineError
from tests.cluster.stack import eventually
from tests.cluster.watch import Watch, addresses, sessions

CYCLES = 10
PEOPLE = 6
MINIMUM = 2
WORDS = 160  # long enough for some to wait until new replicas are ready
# A pod of this name is none of the Deployment's, but the shipped query means it as well.
HALF_BUSY = "ollama-1halfbusy-pod00"
HALF_LIMIT = 0.3
READINGS = 4
SAMPLES = (
    'container_cpu_usage_seconds_total{namespace="llm", container="", image="",'
    f' pod="{HALF_BUSY}"}}[1m]'
)
HALF = """
import json, time
begun, told = time.monotonic(), 0
due = begun
while True:
    now, used = time.monotonic(), time.process_time()
    if now - begun > told:
        print(json.dumps({"at": time.time(), "used": used}), flush=True)
        told += 1
    while time.process_time() < used + 0.005:
        pass
    # Half of its limit. What it did not get more than half a second ago it does not make up for.
    due = max(due + 0.005 / 0.15, now - 0.5)
    time.sleep(max(0.0, due - time.monotonic()))
"""


@pytest.fixture(scope="module")
def background(traffic):
    """Somebody who chats from before the first test to after the last one."""
    pod = traffic.start(1, name="streams")
    eventually("the first answer came", lambda: traffic.told(pod))
    yield pod
    traffic.stop(pod)


@pytest.fixture(scope="module")
def crowd(traffic):
    """A pod in which people gather."""
    pod = "crowd"
    traffic.run(pod, ["python3", "-u", "-c", "import signal; print('{}'); signal.pause()"])
    eventually("they have a place", lambda: traffic.lines(pod))
    yield pod
    traffic.stop(pod)


@dataclass
class HalfBusy:
    """A pod that uses half of its limit, and what is read of it meanwhile by the shipped query."""

    read: list[float] = field(default_factory=list)
    used: list[float] = field(default_factory=list)
    "What it has measured itself over the same time."

    def look(self, stack, traffic) -> None:
        """Read once, where rate() has samples for the whole of its minute."""
        query = next(
            metric["query"]
            for target in stack.config()["targets"]
            for metric in target["metrics"]
            if metric["name"] == "cpu_to_limit"
        )
        (reading,) = [r for r in stack.query(query) if r["metric"]["pod"] == HALF_BUSY]
        (samples,) = stack.query(SAMPLES)
        times = [at for at, _ in samples["values"]]
        if _covers_a_minute(times, reading["value"][0]):
            used = _used(traffic.lines(HALF_BUSY), times[0], times[-1])
            self.read.append(float(reading["value"][1]))
            self.used.append(used / HALF_LIMIT)


@pytest.fixture(scope="module")
def half_busy(stack, traffic):
    """Such a pod, from before the first test on; it is looked at while the bursts come and go."""
    limit = {"cpu": f"{HALF_LIMIT:g}", "memory": "64Mi"}
    traffic.run(HALF_BUSY, ["python3", "-c", HALF], resources={"requests": limit, "limits": limit})
    found, over = HalfBusy(), threading.Event()

    def watch():
        over.wait(90)
        while not over.wait(5) and len(found.read) < READINGS:
            try:
                found.look(stack, traffic)
            except (MachineError, ValueError):
                continue

    thread = threading.Thread(target=watch)
    thread.start()
    yield found
    over.set()
    thread.join()
    traffic.stop(HALF_BUSY)


def test_bursts_bring_replicas_and_replicas_go_without_harm(
    stack, traffic, background, crowd, half_busy, figures
):
    """Ten times: a queue, more replicas, which take work, and the minimum again; none is cut."""
    began, told = time.time(), []
    asked_s, ready_s, worked_s, drained_s, back_s, queues = [], [], [], [], [], []
    with Watch(stack) as watch:
        for _ in range(CYCLES):
            old = addresses(stack.pods())
            start = time.time()
            told += traffic.burst(crowd, PEOPLE, WORDS)
            end = time.time()
            asked_s.append(_after(start, watch.first(lambda look: look.wanted > MINIMUM, start)))
            ready_s.append(_after(start, watch.first(lambda look: look.ready > MINIMUM, start)))
            at_work = watch.first(lambda look, old=old: _new_work(look, old), start)
            worked_s.append(_after(start, at_work))
            queues.append(max(look.queued for look in watch.looks if look.at >= start))
            drained_s.append(max(one.end for one in told) - start)
            eventually("the minimum", lambda: stack.replicas() == (MINIMUM,) * 2, timeout_s=150)
            back_s.append(time.time() - end)
        stack.wait_replicas(MINIMUM)
    left, busy = watch.left_busy(began)
    all_told = told + traffic.told(background, since=began)
    figures.of_streams(all_told)
    figures["bursts"] = CYCLES
    figures["longest queue"] = max(queues)
    figures["replicas"] = watch.curve(began)
    figures["patched after"] = _spread(asked_s)
    figures["first new one ready after"] = _spread(ready_s)
    figures["it works after"] = _spread(worked_s)
    figures["burst answered after"] = _spread(drained_s)
    figures["at the minimum after"] = _spread(back_s)
    figures["replicas that went"] = len(left)
    figures["busy ones among them"] = len(busy)
    assert min(queues) > 0, "a burst without a queue shows nothing"
    assert None not in (*asked_s, *ready_s, *worked_s)
    assert not [one for one in all_told if one.cut or one.refused]
    assert len(left) >= CYCLES
    assert len(busy) <= len(left) // 10, busy
    last = watch.looks[-1]
    assert not last.marked - last.leaving.keys()


def test_those_who_went_were_named_and_marked(stack, figures):
    """Each write that shrank names its victims, known to be idle, and they went."""
    shrinks = [line for line in stack.log() if line.get("victims") and line["outcome"] == "scaled"]
    named = {name for line in shrinks for name in line["victims"]}
    there = {pod["metadata"]["name"] for pod in stack.pods()}
    figures["scale-ins"] = len(shrinks)
    figures["blind"] = sum(line.get("blind", False) for line in shrinks)
    assert len(shrinks) >= CYCLES
    assert not any(line.get("blind") for line in shrinks)
    assert all(len(line["victims"]) == line["from"] - line["to"] for line in shrinks)
    assert not named & there


def test_a_busy_replica_ends_its_streams_when_its_pod_is_deleted(
    stack, traffic, background, figures
):
    """`kubectl delete pod` of a replica in the midst of an answer: the answer ends well."""
    began = time.time()
    asking = traffic.start(2, words=160, requests=1)
    victim = eventually("somebody is busy", lambda: _busy(stack))
    deleted = time.time()
    stack.kubectl("delete", "pod", victim, "--wait=false")
    told = traffic.wait(asking)
    gone = eventually("it is gone", lambda: _gone(stack, victim), timeout_s=90) - deleted
    stack.wait_replicas(MINIMUM, timeout_s=150)
    all_told = told + traffic.told(background, since=began)
    figures.of_streams(all_told)
    figures["the pod lived on for"] = f"{gone:.1f} s"
    longest = max(one.end - deleted for one in told)
    figures["its longest answer ended after"] = f"{longest:.1f} s"
    assert longest > 1.0, "every answer had ended before the pod was deleted"
    assert not [one for one in all_told if one.cut or one.refused]


def test_the_gateway_ends_its_streams_when_it_is_replaced(stack, traffic, background, figures):
    """`kubectl rollout restart` of the gateway under streams: nobody notices."""
    began = time.time()
    asking = traffic.start(2, words=160, requests=1)
    eventually("somebody is busy", lambda: _busy(stack))
    before = {pod["metadata"]["name"] for pod in stack.pods("app.kubernetes.io/name=gateway")}
    stack.kubectl("rollout", "restart", "deployment/gateway")
    stack.kubectl("rollout", "status", "deployment/gateway", "--timeout=90s", timeout=95)
    ready = time.time() - began
    told = traffic.wait(asking)
    (old,) = before
    eventually("the old one is gone", lambda: _gone(stack, old), timeout_s=120)
    figures["the old one is gone after"] = f"{time.time() - began:.1f} s"
    all_told = told + traffic.told(background, since=began)
    figures.of_streams(all_told)
    figures["the new one is ready after"] = f"{ready:.1f} s"
    assert not [one for one in all_told if one.cut or one.refused]


def test_half_the_limit_reads_as_a_half(half_busy, figures):
    """A pod that is kept at half its CPU limit reads 0.5 by the shipped query."""
    eventually("it is read", lambda: len(half_busy.read) == READINGS, timeout_s=180, every_s=1)
    figures["wanted"] = "what the pod has measured itself, within 0.05"
    figures["read"] = ", ".join(f"{value:.3f}" for value in half_busy.read)
    figures["used"] = ", ".join(f"{value:.3f}" for value in half_busy.used)
    assert half_busy.read == [pytest.approx(used, abs=0.05) for used in half_busy.used]
    # On a machine that has nothing to spare it gets less than it wants, never more.
    assert max(half_busy.used) == pytest.approx(0.5, abs=0.1)


def _covers_a_minute(times, now) -> bool:
    """Tell whether rate() takes the samples for the whole of its minute.

    It does where neither end is further away than samples are from each other; otherwise, as on a
    machine where the kubelet comes too late, it reads low.
    """
    if len(times) < 2:
        return False
    apart = (times[-1] - times[0]) / (len(times) - 1)
    return times[0] - (now - 60) < apart and now - times[-1] < apart


def _used(lines, first, last) -> float:
    """CPUs that the pod has used between two times, by its own account."""
    told = [line for line in lines if first <= line["at"] <= last]
    return (told[-1]["used"] - told[0]["used"]) / (told[-1]["at"] - told[0]["at"])


def _after(start, at):
    return None if at is None else at - start


def _spread(seconds) -> str:
    known = [each for each in seconds if each is not None]
    return f"{statistics.median(known):.1f} s ({min(known):.1f}-{max(known):.1f})"


def _new_work(look, old) -> bool:
    return any(busy for address, busy in look.serving.items() if address not in old)


def _busy(stack) -> str | None:
    serving, _ = sessions(stack)
    for pod in stack.pods():
        if serving.get(pod["status"].get("podIP")) and "deletionTimestamp" not in pod["metadata"]:
            return pod["metadata"]["name"]
    return None


def _gone(stack, name) -> float | None:
    selector = "app.kubernetes.io/part-of=ollama-stack"
    there = {pod["metadata"]["name"] for pod in stack.pods(selector)}
    return None if name in there else time.time()
