"""What goes wrong on a real node while people chat: who is cut, what comes back, and who never shrinks.

The same people chat all the time, so that each fault meets streams. A number that stands there "before",
"during" or "after" is that of the replicas wanted.
"""

import base64
import csv
import json
import sys
import threading
import time
import zlib
from contextlib import suppress
from datetime import datetime

import pytest

from tests.cluster.kube.machine import MachineError
from tests.cluster.stack import OLLAMA, eventually
from tests.cluster.run import images
from tests.cluster.traffic import MODEL, NAMESPACE, SCRIPT, Told

PEOPLE = 3
AWAY_S = 60
WANTED = 4  # for so many people: ceil(3 / 0.8)
WORDS = 80
FORM = 'jsonpath={.metadata.generation} {.spec.replicas}{"\\n"}'
WATCH = ("-n", NAMESPACE, "get", "deployment", "ollama", "--watch", "-o", FORM)
AUTOSCALER = "app.kubernetes.io/name=autoscaler"
GATEWAY = "app.kubernetes.io/name=gateway"
PROMETHEUS = "app.kubernetes.io/name=prometheus"
STACK = "app.kubernetes.io/part-of=ollama-stack"


# --- looking on


class Watch:
    """The replicas that are wanted, at each time; goes on where the API server was away.

    A change that was made and unmade while nobody could look shows as a gap of the generation.
    """

    def __init__(self, cluster) -> None:
        """Begin to look."""
        self._cluster = cluster
        self._seen = []
        self._over = threading.Event()
        self._process = None
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        eventually("the Deployment is seen", lambda: self._seen)

    def _look(self) -> None:
        while not self._over.is_set():
            with self._cluster.follow(*WATCH) as self._process:
                for line in self._process.stdout:
                    self._seen.append((time.time(), *map(int, line.split())))
            self._over.wait(0.3)

    def stop(self) -> None:
        """Look no more."""
        self._over.set()
        self._process.kill()
        self._thread.join(10)

    def numbers(self, since) -> list[int]:
        """Return the numbers since a time, the one that stood then first."""
        before = [number for at, _, number in self._seen if at <= since][-1:]
        found = before + [number for at, _, number in self._seen if at > since]
        return [one for at, one in enumerate(found) if at == 0 or one != found[at - 1]]

    def unseen(self, since) -> int:
        """Return how many changes nobody saw."""
        before = [generation for at, generation, _ in self._seen if at <= since][-1:]
        found = before + [generation for at, generation, _ in self._seen if at > since]
        return sum(max(0, later - one - 1) for one, later in zip(found, found[1:], strict=False))


@pytest.fixture(scope="module")
def watch(cluster, stack):
    """The number of replicas over time."""
    found = Watch(cluster)
    yield found
    found.stop()


@pytest.fixture(scope="module")
def people(cluster, stack, traffic, watch):
    """A pod of people who chat all the time, and as many replicas as they need."""
    if not cluster.own:
        pytest.skip("its times are those of the test's own policy: make test-cluster")
    pod = traffic.start(PEOPLE, words=WORDS, name="faults")
    stack.wait_replicas(WANTED)
    yield pod
    traffic.stop(pod)
    stack.wait_replicas(2)


@pytest.fixture
def calm(stack, people):
    """Begin with as many replicas as the people need, and no others."""
    stack.wait_replicas(WANTED)
    return people


def serving(stack) -> dict[str, int]:
    """Return how many requests each ready replica has, as the gateway tells."""
    text = stack.service("gateway-metrics:metrics", "/stats;csv").removeprefix("# ")
    rows = [row for row in csv.DictReader(text.splitlines()) if row["pxname"] == "ollama"]
    requests = {row["addr"].rpartition(":")[0]: int(row["scur"]) for row in rows if row["addr"]}
    return {
        pod["metadata"]["name"]: requests.get(pod["status"].get("podIP"), 0)
        for pod in stack.pods()
        if ready(pod)
    }


def ready(pod) -> bool:
    """Tell whether a pod is ready and stays."""
    conditions = {one["type"]: one["status"] for one in pod["status"].get("conditions", [])}
    return conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]


def restarts(stack, selector) -> int:
    """Count the restarts of all containers."""
    pods = stack.pods(selector)
    return sum(one["restartCount"] for pod in pods for one in pod["status"]["containerStatuses"])


def whole_since(traffic, pod, at):
    """Return the first answer that began after a time and came whole."""
    return next((one for one in traffic.told(pod, since=at) if one.whole and one.at > at), None)


def cycles(stack, since) -> list[dict]:
    """Return what the daemon's cycles said after a time."""
    lines = [line for line in stack.log() if line.get("event") == "cycle"]
    return [line for line in lines if stamp(line["time"]) > since]


def seeing(lines) -> list[dict]:
    """Return those cycles in which every metric had something to say."""
    return [
        line
        for line in lines
        if line.get("metrics") and all("value" in one for one in line["metrics"].values())
    ]


def sees_again(stack, since) -> float:
    """Wait for a cycle after a time that sees every metric; returns the seconds until then."""
    line = eventually(
        "the autoscaler sees every metric", lambda: seeing(cycles(stack, since)), timeout_s=90
    )[0]
    return stamp(line["time"]) - since


def stamp(text) -> float:
    """Read a time of the daemon's log."""
    return datetime.fromisoformat(text).timestamp()


def kill(machine, pod, program) -> None:
    """Kill a program of a pod, from its node, as the kernel does when memory runs out."""
    look = """
        for process in /proc/[0-9]*; do
            grep -q "pod$1" $process/cgroup && [ "$(cat $process/comm)" = "$2" ] && echo ${process#/proc/}
        done 2>/dev/null | sort -n | head -1"""
    uid = pod["metadata"]["uid"]
    found = machine.inside(1, "sh", "-c", look, "sh", uid, program).strip()
    assert found, f"no {program} in {pod['metadata']['name']}"
    machine.inside(1, "kill", "-9", found)


def end(stack, pod) -> None:
    """Take a pod away without its preStop hook and its time, as a node's death would."""
    stack.kubectl("delete", "pod", pod, "--force", "--grace-period=0")


def busy(stack) -> str:
    """Wait for a replica with a request, and return its name."""
    serves = eventually("a replica is busy", lambda: [n for n, c in serving(stack).items() if c])
    return serves[0]


def broken(told) -> list:
    """Return what did not come whole."""
    return [one for one in told if not one.whole]


def seconds(number) -> str:
    """Write a time for the table."""
    return f"{number:.1f} s"


def remembered(stack) -> dict:
    """Return what the daemon keeps in its Lease about the target."""
    annotations = stack.get("lease", "autoscaler")["metadata"]["annotations"]
    text = zlib.decompress(base64.b64decode(annotations["ollama-autoscaler/state"]))
    return json.loads(text)["targets"]["llm/ollama"]["state"]


class Crowd:
    """People on the node itself, who need neither a pod nor an API server to come."""

    def __init__(self, machine, gateway, *, people, requests) -> None:
        """Let so many people ask the gateway's address so often each."""
        url = f"http://{gateway}:8080"
        self._command = [sys.executable, SCRIPT, url, MODEL, people, WORDS, requests]
        self._machine, self._told = machine, []
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()

    def _ask(self) -> None:
        lines = self._machine.inside(1, *map(str, self._command)).splitlines()
        self._told = [Told(**json.loads(line)) for line in lines]

    def told(self) -> list:
        """Wait for all to have been served, and return what they tell."""
        self._thread.join()
        return self._told


# --- pods


@pytest.mark.parametrize("how", ["its process is killed", "its pod is removed"])
def test_a_replica_that_dies_cuts_its_own_stream_and_no_other(
    request, stack, traffic, calm, watch, figures, how
):
    """Who is served by the replica that dies is cut; nobody else is, and another replica comes."""
    began, pods = time.time(), {pod["metadata"]["name"]: pod for pod in stack.pods()}
    for _ in range(3):  # until it did not end its answer between our look and our blow
        victim = busy(stack)
        before, killed = restarts(stack, OLLAMA), time.time()
        if how == "its pod is removed":
            end(stack, victim)
        else:
            kill(request.getfixturevalue("machine"), pods[victim], "ollama")

        def replaced():
            there = serving(stack)
            anew = (
                victim not in there
                if how == "its pod is removed"
                else restarts(stack, OLLAMA) > before
            )
            return anew and len(there) == WANTED

        eventually("another replica is ready", replaced, timeout_s=120)
        figures["another one ready after"] = seconds(time.time() - killed)
        told = traffic.told(calm, since=began)
        if broken(told):
            break
        pods = {pod["metadata"]["name"]: pod for pod in stack.pods()}
    figures["replicas"] = watch.numbers(began)
    figures.of_streams(told)
    assert len(broken(told)) == 1, broken(told)
    assert broken(told)[0].cut
    assert watch.numbers(began) == [WANTED]
    assert not watch.unseen(began)


# --- the gateway


def test_the_gateway_is_replaced_without_a_cut(stack, traffic, calm, watch, figures):
    """After `rollout restart` the old gateway ends its streams, and the new one takes what comes."""
    began = time.time()
    stack.kubectl("rollout", "restart", "deployment/gateway")
    stack.kubectl("rollout", "status", "deployment/gateway", "--timeout=120s", timeout=125)
    figures["new one ready after"] = seconds(time.time() - began)
    eventually("the old gateway is gone", lambda: len(stack.pods(GATEWAY)) == 1, timeout_s=120)
    figures["old one gone after"] = seconds(time.time() - began)
    gone = time.time()
    eventually("somebody is served", lambda: whole_since(traffic, calm, gone))
    told = traffic.told(calm, since=began)
    figures["replicas"] = watch.numbers(began)
    figures.of_streams(told)
    assert not broken(told)
    assert min(watch.numbers(began)) == WANTED


def test_a_gateway_that_is_killed_serves_again_within_seconds(stack, traffic, calm, watch, figures):
    """The streams of a gateway that dies are cut; the next one serves, and nothing shrinks meanwhile."""
    (gateway,) = stack.pods(GATEWAY)
    killed = time.time()
    end(stack, gateway["metadata"]["name"])
    first = eventually(
        "somebody is served", lambda: whole_since(traffic, calm, killed), timeout_s=120
    )
    figures["first word again after"] = seconds(first.first - killed)
    figures["sees again after"] = seconds(sees_again(stack, first.end))
    told = traffic.told(calm, since=killed)
    figures["replicas"] = watch.numbers(killed)
    figures["held as"] = sorted({line.get("reason", "") for line in cycles(stack, killed)})
    figures.of_streams(told)
    assert sum(one.cut for one in told) <= PEOPLE
    assert first.first - killed < 30
    assert min(watch.numbers(killed)) == WANTED


# --- Prometheus


def test_without_prometheus_nothing_shrinks_and_afterwards_it_acts(
    stack, traffic, calm, watch, figures
):
    """While Prometheus is away the number stays, whoever comes; once it is back, more replicas come."""
    (old,) = stack.pods(PROMETHEUS)
    gone = time.time()
    end(stack, old["metadata"]["name"])
    crowd = traffic.start(2, words=WORDS)
    try:
        eventually("it is back", lambda: all(map(ready, stack.pods(PROMETHEUS))), timeout_s=120)
        back = time.time()
        figures["away for"] = seconds(back - gone)
        eventually("more are asked for", lambda: stack.replicas()[0] > WANTED, timeout_s=60)
        figures["asks for more after"] = seconds(time.time() - back)
    finally:
        traffic.stop(crowd)
    lines = cycles(stack, gone)
    figures["cycles without metrics"] = sum(
        "value" not in str(line.get("metrics")) for line in lines
    )
    figures["replicas"] = watch.numbers(gone)
    told = traffic.told(calm, since=gone)
    figures.of_streams(told)
    assert figures["cycles without metrics"]
    assert min(watch.numbers(gone)) == WANTED
    assert not broken(told)


# --- the daemon


def test_a_daemon_that_is_killed_goes_on_from_what_it_knew(
    machine, stack, traffic, calm, watch, figures
):
    """Killed while it stands down for a person's number, the next one still does so, and then acts."""
    (pod,) = stack.pods(AUTOSCALER)
    began = time.time()
    stack.kubectl("scale", "deployment/ollama", f"--replicas={WANTED + 1}")
    since = eventually(
        "the other writer is remembered", lambda: remembered(stack)["conflict_since"]
    )
    killed = time.time()
    kill(machine, pod, "python")
    leads = eventually("a cycle", lambda: seeing(cycles(stack, killed)), timeout_s=60)[0]
    figures["leads again after"] = seconds(stamp(leads["time"]) - killed)
    figures["holds as"] = leads["reason"]
    assert leads["to"] == WANTED + 1
    assert leads["foreign_writer"] if leads["reason"] == "ForeignWriter" else True
    assert remembered(stack)["conflict_since"] == since
    stack.wait_replicas(WANTED)
    figures["back at the load's number after"] = seconds(time.time() - began)
    told = traffic.told(calm, since=began)
    figures["replicas"] = watch.numbers(began)
    figures.of_streams(told)
    assert watch.numbers(began) == [WANTED, WANTED + 1, WANTED]
    assert not broken(told)


def test_a_daemon_whose_pod_is_removed_goes_on_from_what_it_knew(
    stack, traffic, calm, watch, figures
):
    """The next pod waits for the Lease to run out, then leads with the windows of the last one."""
    (pod,) = stack.pods(AUTOSCALER)
    before, began = remembered(stack), time.time()
    end(stack, pod["metadata"]["name"])
    leads = eventually("a cycle", lambda: seeing(cycles(stack, began)), timeout_s=60)[0]
    after = remembered(stack)
    figures["leads again after"] = seconds(stamp(leads["time"]) - began)
    kept = [
        name for name in ("last_up", "last_down") if before[name] and after[name] == before[name]
    ]
    figures["remembers"] = ", ".join(kept)
    told = traffic.told(calm, since=began)
    figures["replicas"] = watch.numbers(began)
    figures.of_streams(told)
    assert kept
    assert watch.numbers(began) == [WANTED]
    assert not broken(told)


# --- the node


def test_without_the_api_server_streams_go_on(machine, stack, traffic, calm, watch, figures):
    """While the API server is away for a minute nobody is cut, and the daemon lives and then acts."""
    (daemon,) = stack.pods(AUTOSCALER)
    address = daemon["status"]["podIP"]
    (gateway,) = (pod["status"]["podIP"] for pod in stack.pods(GATEWAY))
    before, began = restarts(stack, STACK), time.time()
    machine.stop_program("kube-apiserver")
    try:
        with pytest.raises(MachineError):
            stack.replicas()
        time.sleep(max(0.0, began + AWAY_S - time.time()))
        answer = machine.inside(1, "curl", "-s", "-m", "5", f"http://{address}:8080/healthz")
        crowd = Crowd(machine, gateway, people=2, requests=5)
    finally:
        machine.start_programs()
    back = time.time()
    figures["away for"] = seconds(back - began)
    figures["daemon meanwhile"] = answer.strip()
    eventually("more are asked for", lambda: stack.replicas()[0] > WANTED, timeout_s=60)
    figures["asks for more after"] = seconds(time.time() - back)
    told = crowd.told() + traffic.told(calm, since=began)
    figures["restarts"] = restarts(stack, STACK) - before
    figures["replicas"] = watch.numbers(began)
    figures.of_streams(told)
    assert not broken(told)
    assert answer.strip() == "ok"
    assert not figures["restarts"]
    assert min(watch.numbers(began)) == WANTED
    assert watch.unseen(began) == 0


CHAT = """
import json, sys, urllib.request
def call(path, body=None, token=""):
    request = urllib.request.Request("http://127.0.0.1:8080" + path, json.dumps(body).encode() if body else None)
    request.add_header("Content-Type", "application/json")
    if token:
        request.add_header("Authorization", "Bearer " + token)
    return json.load(urllib.request.urlopen(request, timeout=60))
person = {"name": "Ada Example", "email": "ada@example.org", "password": "a good password"}
"""
WRITE_A_CHAT = """
try:
    token = call("/api/v1/auths/signup", person)["token"]
except urllib.error.HTTPError:
    token = call("/api/v1/auths/signin", person)["token"]
said = call("/api/chat/completions", {"model": MODEL, "stream": False, "max_tokens": 20,
    "messages": [{"role": "user", "content": "tell me of the river"}]}, token)
answer = said["choices"][0]["message"]["content"]
chat = call("/api/v1/chats/new", {"chat": {"title": "the river", "models": [MODEL],
    "messages": [{"id": "2", "role": "assistant", "content": answer}]}}, token)
print(json.dumps({"token": token, "chat": chat["id"], "answer": answer}))
"""
READ_THE_CHAT = """
token = call("/api/v1/auths/signin", person)["token"]
chats = [call("/api/v1/chats/" + KNOWN["chat"], token=token) for token in (token, KNOWN["token"])]
print(json.dumps([[chat["title"], chat["chat"]["messages"][0]["content"]] for chat in chats]))
"""


def in_the_chat_page(stack, script, **values):
    """Run a script beside the chat page, where its port can be reached, and return what it prints."""
    text = CHAT + "".join(f"{name} = {value!r}\n" for name, value in values.items()) + script
    told = stack.kubectl("exec", "-i", "deploy/open-webui", "--", "python3", "-", stdin=text)
    return json.loads(told.splitlines()[-1])


def models(stack) -> list[str]:
    """List the models as a replica does."""
    lines = stack.kubectl("exec", "deploy/ollama", "--", "ollama", "list").splitlines()[1:]
    return sorted(" ".join(line.split()[:2]) for line in lines)  # its name and what identifies it


def test_a_node_that_is_switched_off_and_on_keeps_everything(
    machine, stack, traffic, calm, watch, figures
):
    """After a reboot everything serves again by itself: models, accounts and chats, and the scaling."""
    chat = in_the_chat_page(stack, WRITE_A_CHAT, MODEL=MODEL)
    known = models(stack)
    began = time.time()
    machine.stop(keep=True)
    machine.start(mortal=False)
    figures["the node is up after"] = seconds(time.time() - began)
    first = eventually(
        "somebody is served", lambda: whole_since(traffic, calm, began), timeout_s=180
    )
    figures["first word again after"] = seconds(first.first - began)
    stack.wait_ready()
    eventually(
        "all pods are ready",
        lambda: all(map(ready, stack.pods(f"{STACK},app.kubernetes.io/name!=ollama-models"))),
        timeout_s=180,
    )
    figures["all pods ready after"] = seconds(time.time() - began)
    figures["sees every metric after"] = seconds(sees_again(stack, began))
    asked, now = time.time(), stack.replicas()[0]
    crowd = traffic.start(2, words=WORDS)
    try:
        eventually("more are asked for", lambda: stack.replicas()[0] > now, timeout_s=90)
        figures["asks for more after"] = seconds(time.time() - asked)
        (by_password, by_token) = in_the_chat_page(stack, READ_THE_CHAT, KNOWN=chat)
    finally:
        traffic.stop(crowd)
    figures["models"] = ", ".join(known)
    figures["replicas"] = watch.numbers(began)
    figures.of_streams(traffic.told(calm, since=began))
    assert by_password == by_token == ["the river", chat["answer"]]
    assert models(stack) == known
    assert min(watch.numbers(began)) == WANTED
    assert watch.unseen(began) == 0


@pytest.fixture
def second_node(machine, stack):
    """A second node, which shares the models' folder with the first, and is forgotten at the end."""
    node = machine.add_node(mortal=False)
    machine.load_image(images() / "ollama.tar", 2)
    yield node
    with suppress(KeyError):
        machine.kill_node(2)
    stack.cluster.kubectl("delete", "node", node, "--wait=false")
    for pod in stack.pods():
        if pod["spec"].get("nodeName") == node:
            end(stack, pod["metadata"]["name"])


def on(node, pods) -> set[str]:
    """Return the names of those pods that are on a node."""
    return {pod["metadata"]["name"] for pod in pods if pod["spec"].get("nodeName") == node}


def test_a_node_that_dies_takes_its_own_streams_and_no_other(
    machine, stack, traffic, calm, watch, second_node, figures
):
    """The other node's streams go on, nothing shrinks, and what is asked for comes on the other node."""
    for name in sorted(on("node1", stack.pods()))[: WANTED // 2]:
        stack.kubectl("delete", "pod", name, "--wait=false")
    there = eventually(
        "the replicas are on both nodes, and those of the second one are busy",
        lambda: (
            len(found := on(second_node, stack.pods())) == WANTED // 2
            and all(serving(stack).get(name) for name in found)
            and found
        ),
        timeout_s=120,
    )
    lost, died = sum(serving(stack)[name] for name in there), time.time()
    machine.kill_node(2)
    eventually("it is known to be dead", lambda: not there & set(serving(stack)), timeout_s=90)
    figures["replicas not ready after"] = seconds(time.time() - died)
    eventually(
        "the streams of the dead node end",
        lambda: broken(traffic.told(calm, since=died)),
        timeout_s=60,
    )
    asked = time.time()
    crowd = traffic.start(2, words=WORDS)
    try:
        stack_has = lambda: len(on("node1", stack.pods()) & set(serving(stack)))  # noqa: E731
        eventually(
            "more replicas on the first node", lambda: stack_has() > WANTED // 2, timeout_s=90
        )
        figures["another one ready after"] = seconds(time.time() - asked)
    finally:
        traffic.stop(crowd)
    told = traffic.told(calm, since=died)
    figures["streams of the dead node end after"] = seconds(
        max(one.end for one in broken(told)) - died
    )
    figures["replicas"] = watch.numbers(died)
    figures.of_streams(told)
    assert len(broken(told)) <= lost
    assert all(one.at < died for one in broken(told))
    assert min(watch.numbers(died)) == WANTED
