"""What goes wrong on a real node while people chat: who is cut, what comes back, what stays.

The same people chat all the time, so that each fault meets streams. What stops parts of the cluster
is left out on a cluster of somebody's own.
"""

import json
import time
from contextlib import suppress

import pytest

from tests.cluster.kube.machine import MachineError
from tests.cluster.run import images
from tests.cluster.scene import (
    WORDS,
    Crowd,
    Scene,
    Watch,
    broken,
    kill,
    on,
    ready,
    seconds,
    sees_all,
)
from tests.cluster.stack import OLLAMA, eventually, stamp
from tests.cluster.traffic import MODEL

PEOPLE = 3
WANTED = 4  # for so many people: ceil(3 / 0.8)
AWAY_S = 60
AUTOSCALER = "app.kubernetes.io/name=autoscaler"
GATEWAY = "app.kubernetes.io/name=gateway"
PROMETHEUS = "app.kubernetes.io/name=prometheus"
STACK = "app.kubernetes.io/part-of=ollama-stack"


@pytest.fixture(scope="module")
def patience(cluster):
    """How long the replicas may take to follow the load: elsewhere by the policy that ships."""
    return 120 if cluster.own else 1200


@pytest.fixture(scope="module")
def whole_scene(cluster, stack, traffic, patience):
    """People who chat from the first test to the last."""
    watch = Watch(cluster)
    people = traffic.start(PEOPLE, words=WORDS, name="faults")
    yield Scene(stack, traffic, watch, people)
    traffic.stop(people)
    stack.wait_replicas(2, timeout_s=patience)
    watch.stop()


@pytest.fixture
def scene(stack, whole_scene, patience):
    """Begin with as many replicas as the people need, and no others."""
    stack.wait_replicas(WANTED, timeout_s=patience)
    return whole_scene


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


# --- the API server


def test_without_the_api_server_streams_go_on(machine, scene, figures):
    """While it is away for a minute nobody is cut; the daemon lives, and acts afterwards."""
    stack = scene.stack
    daemon, gateway = (stack.pods(name)[0]["status"]["podIP"] for name in (AUTOSCALER, GATEWAY))
    before, began = scene.restarts(STACK), time.time()
    machine.stop_program("kube-apiserver")
    try:
        with pytest.raises(MachineError):
            stack.replicas()
        time.sleep(max(0.0, began + AWAY_S - time.time()))
        alive = machine.inside(1, "curl", "-s", "-m", "5", f"http://{daemon}:8080/healthz").strip()
    finally:
        machine.start_programs()
    crowd = Crowd(machine, gateway, people=2, requests=2)
    figures["away for"] = seconds(time.time() - began)
    figures["the daemon's health meanwhile"] = alive
    figures["asks for more after"] = seconds(scene.asks_for_more(WANTED))
    told = scene.told(began) + crowd.told()
    figures["restarts"] = scene.restarts(STACK) - before
    figures["replicas"] = scene.numbers(began)
    figures.of_streams(told)
    assert not broken(told)
    assert alive == "ok"
    assert not figures["restarts"]
    assert min(scene.numbers(began)) == WANTED


# --- the node

CHAT = """
import json, urllib.error, urllib.request

def call(path, body=None, token=None):
    data = json.dumps(body).encode() if body else None
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    request = urllib.request.Request("http://127.0.0.1:8080" + path, data, headers)
    return json.load(urllib.request.urlopen(request, timeout=60))

person = {"name": "Ada Example", "email": "ada@example.org", "password": "a good password"}
"""
WRITE_A_CHAT = """
try:
    token = call("/api/v1/auths/signup", person)["token"]
except urllib.error.HTTPError:
    token = call("/api/v1/auths/signin", person)["token"]
question = {"role": "user", "content": "tell me of the river"}
asked = {"model": MODEL, "stream": False, "max_tokens": 20, "messages": [question]}
said = call("/api/chat/completions", asked, token)["choices"][0]["message"]["content"]
answer = {"role": "assistant", "content": said}
kept = {"title": "the river", "models": [MODEL], "messages": [question, answer]}
chat = call("/api/v1/chats/new", {"chat": kept}, token)
print(json.dumps({"token": token, "chat": chat["id"], "said": said}))
"""
READ_THE_CHAT = """
tokens = [call("/api/v1/auths/signin", person)["token"], KNOWN["token"]]
chats = [call("/api/v1/chats/" + KNOWN["chat"], token=token) for token in tokens]
print(json.dumps([[chat["title"], chat["chat"]["messages"][1]["content"]] for chat in chats]))
"""


def in_the_chat_page(stack, script, **values):
    """Run a script beside the chat page, where its port can be reached; returns what it prints."""
    text = CHAT + "".join(f"{name} = {value!r}\n" for name, value in values.items()) + script
    told = stack.kubectl("exec", "-i", "deploy/open-webui", "--", "python3", "-", stdin=text)
    return json.loads(told.splitlines()[-1])


def models(stack) -> list[str]:
    """List the models as a replica does: their names and what identifies them."""
    lines = stack.kubectl("exec", "deploy/ollama", "--", "ollama", "list").splitlines()[1:]
    return sorted(" ".join(line.split()[:2]) for line in lines)


def test_a_node_that_is_switched_off_and_on_keeps_everything(machine, scene, figures):
    """After a reboot all serves again by itself: models, accounts, chats, and the scaling."""
    stack = scene.stack
    chat, known = in_the_chat_page(stack, WRITE_A_CHAT, MODEL=MODEL), models(stack)
    stack.wait_replicas(WANTED)  # the chat was load, too
    began = time.time()
    machine.stop(keep=True)
    machine.start()
    figures["control plane and node up after"] = seconds(time.time() - began)
    figures["first word again after"] = seconds(scene.served(began, timeout_s=180).first - began)
    pods = f"{STACK},app.kubernetes.io/name!=ollama-models"
    eventually("all are ready", lambda: all(map(ready, stack.pods(pods))), timeout_s=180)
    figures["all pods ready after"] = seconds(time.time() - began)
    figures["every metric seen after"] = seconds(stamp(scene.sees(began)) - began)
    crowd = scene.traffic.start(2, words=WORDS)
    try:
        figures["asks for more after"] = seconds(scene.asks_for_more(WANTED, timeout_s=90))
        by_password, by_token = in_the_chat_page(stack, READ_THE_CHAT, KNOWN=chat)
    finally:
        scene.traffic.stop(crowd)
    figures["models"] = ", ".join(models(stack))
    figures["chats"] = f"{by_password[0]!r} with its answer"
    figures["replicas"] = scene.numbers(began)
    figures.of_streams(scene.told(began))
    assert by_password == by_token == ["the river", chat["said"]]
    assert models(stack) == known
    assert min(scene.numbers(began)) == WANTED


@pytest.fixture
def second_node(machine, scene):
    """A second node with the models' folder of the first one; it is forgotten at the end."""
    try:
        node = machine.add_node()
        machine.load_image(images("--kube", machine.programs) / "ollama.tar", 2)
        yield node
    finally:
        with suppress(KeyError):
            machine.kill_node(2)
        machine.kubectl("delete", "node", "node2", "--wait=false", "--ignore-not-found")
        for pod in on("node2", scene.stack.pods()):
            scene.end(pod)


def test_a_node_that_dies_takes_its_own_streams_and_no_other(machine, scene, second_node, figures):
    """The other node's streams go on, nothing shrinks, and what is asked for comes there."""
    stack = scene.stack
    for name in sorted(on("node1", stack.pods()))[: WANTED // 2]:
        stack.kubectl("delete", "pod", name, "--wait=false")

    def busy_there():
        there, serving = on(second_node, stack.pods()), scene.serving()
        all_serve = len(there) == WANTED // 2 and there <= set(serving)
        return there if all_serve and any(map(serving.get, there)) else None

    there = eventually("the second node serves somebody", busy_there, timeout_s=120)
    died = time.time()
    machine.kill_node(2)
    eventually("it is known to be dead", lambda: not there & set(scene.serving()), timeout_s=90)
    figures["not ready after"] = seconds(time.time() - died)
    cut = eventually("its streams end", lambda: broken(scene.told(died)), timeout_s=60)
    crowd = scene.traffic.start(2, words=WORDS)
    try:
        figures["asks for more after"] = seconds(scene.asks_for_more(WANTED))
        more = lambda: len(on("node1", stack.pods()) & set(scene.serving())) > WANTED // 2  # noqa: E731
        eventually("more serve on the first node", more, timeout_s=90)
        figures["more serve after"] = seconds(time.time() - died)
    finally:
        scene.traffic.stop(crowd)
    told = scene.told(died)
    cut = broken(told)
    figures["its streams end after"] = seconds(max(one.end for one in cut) - died)
    figures["replicas"] = scene.numbers(died)
    figures.of_streams(told)
    assert len(cut) <= len(there)
    assert all(one.at < died for one in cut)
    assert min(scene.numbers(died)) == WANTED
