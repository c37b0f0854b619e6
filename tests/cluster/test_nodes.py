"""What happens to people who chat when their node goes, or the API server, on a second cluster.

It is one of our own, beside the one of the other tests, and has the stack with the same short
times: what is stopped here would stop them, too.
"""

import json
import os
import time
from contextlib import suppress

import pytest

from tests.cluster.kube.machine import Machine, MachineError
from tests.cluster.run import equip, images
from tests.cluster.scene import WANTED, WORDS, Crowd, broken, on, ready, seconds
from tests.cluster.stack import Stack, eventually, quick_overlay, stamp
from tests.cluster.traffic import MODEL, Traffic

AWAY_S = 60
AUTOSCALER = "app.kubernetes.io/name=autoscaler"
GATEWAY = "app.kubernetes.io/name=gateway"
STACK = "app.kubernetes.io/part-of=ollama-stack"


@pytest.fixture(scope="module")
def cluster():
    """A cluster that ends with this file."""
    if os.environ.get("CLUSTER") == "existing":
        pytest.skip("stops parts of the cluster, which is somebody's own: make test-cluster")
    found = Machine("oanodes", "172.31.253")
    found.stop()
    try:
        equip(found, images("--kube", found.programs))
        yield found
    finally:
        found.stop()
    assert not found.left_behind()


@pytest.fixture(scope="module")
def machine(cluster):
    """The same, by the name that says what is done to it."""
    return cluster


@pytest.fixture(scope="module")
def stack(cluster, tmp_path_factory):
    """The stack with short times, as it is once all of it has come up."""
    found = Stack(cluster)
    found.apply(quick_overlay(tmp_path_factory.mktemp("quick")))
    found.wait_ready()
    found.wait_replicas(2)
    return found


@pytest.fixture(scope="module")
def traffic(cluster):
    """People who ask the gateway of that cluster."""
    return Traffic(cluster)


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
    # They stay for half a minute: so long it may take until Services lead to the API server again.
    crowd = Crowd(machine, gateway, people=2, requests=15)
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
