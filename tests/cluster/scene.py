"""People who chat while something goes wrong, and what is seen of it from outside."""

import base64
import json
import sys
import threading
import time
import zlib
from dataclasses import dataclass
from itertools import pairwise

from tests.cluster.stack import Stack, eventually, stamp
from tests.cluster.traffic import MODEL, NAMESPACE, SCRIPT, Told, Traffic
from tests.cluster.watch import sessions

WORDS = 80
PEOPLE = 3
WANTED = 4  # for so many people: ceil(3 / 0.8)
FORM = 'jsonpath={.metadata.generation} {.spec.replicas}{"\\n"}'
WATCH = ("-n", NAMESPACE, "get", "deployment", "ollama", "--watch", "-o", FORM)
# The first of a program's processes in a pod, told by the pod's control group.
LOOK = """
for process in /proc/[0-9]*; do
    grep -q "pod$1" $process/cgroup && [ "$(cat $process/comm)" = "$2" ] && echo "${process#/proc/}"
done 2>/dev/null | sort -n | head -1
"""


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
        numbers = [number for _, number in self._since(since)]
        return numbers[:1] + [later for one, later in pairwise(numbers) if later != one]

    def unseen(self, since) -> int:
        """Return how many changes nobody saw."""
        generations = [generation for generation, _ in self._since(since)]
        return sum(max(0, later - one - 1) for one, later in pairwise(generations))

    def _since(self, since) -> list[tuple[int, int]]:
        before = [seen for at, *seen in self._seen if at <= since][-1:]
        return before + [seen for at, *seen in self._seen if at > since]


@dataclass(frozen=True)
class Scene:
    """The stack, with people who chat all the time and as many replicas as they need."""

    stack: Stack
    traffic: Traffic
    watch: Watch
    people: str
    """The name of their pod."""

    def told(self, since) -> list[Told]:
        """Return the people's answers that ended after a time."""
        return self.traffic.told(self.people, since=since)

    def served(self, since, *, timeout_s=60) -> Told:
        """Wait for an answer that began after a time and came whole."""
        return eventually(
            "somebody is served",
            lambda: next((one for one in self.told(since) if one.whole and one.at > since), None),
            timeout_s=timeout_s,
        )

    def numbers(self, since) -> list[int]:
        """Return the replicas wanted since a time; nobody may have changed them unseen."""
        assert not self.watch.unseen(since), "somebody changed the replicas while nobody looked"
        return self.watch.numbers(since)

    def asks_for_more(self, than, *, timeout_s=60) -> float:
        """Wait for more replicas to be wanted; returns the seconds it took."""
        began = time.time()
        eventually(
            "more are asked for", lambda: self.stack.replicas()[0] > than, timeout_s=timeout_s
        )
        return time.time() - began

    def serving(self) -> dict[str, int]:
        """Return how many requests each ready replica has, as the gateway tells."""
        requests, _ = sessions(self.stack)
        pods = filter(ready, self.stack.pods())
        return {pod["metadata"]["name"]: requests.get(pod["status"]["podIP"], 0) for pod in pods}

    def restarts(self, selector) -> int:
        """Count the restarts of all containers."""
        pods = self.stack.pods(selector)
        return sum(
            one["restartCount"] for pod in pods for one in pod["status"]["containerStatuses"]
        )

    def cycles(self, since) -> list[dict]:
        """Return what the daemon's cycles said after a time."""
        lines = [line for line in self.stack.log() if line.get("event") == "cycle"]
        return [line for line in lines if stamp(line) > since]

    def sees(self, since, *, timeout_s=90) -> dict:
        """Wait for a cycle after a time in which every metric has something to say."""
        return eventually(
            "the autoscaler sees every metric",
            lambda: next(filter(sees_all, self.cycles(since)), None),
            timeout_s=timeout_s,
        )

    def remembered(self) -> dict:
        """Return what the daemon keeps in its Lease about the target."""
        annotations = self.stack.get("lease", "autoscaler")["metadata"]["annotations"]
        text = zlib.decompress(base64.b64decode(annotations["ollama-autoscaler/state"]))
        return json.loads(text)["targets"]["llm/ollama"]["state"]

    def end(self, pod) -> None:
        """Take a pod away without its preStop hook and its time."""
        self.stack.kubectl("delete", "pod", pod, "--force", "--grace-period=0")


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

    def told(self) -> list[Told]:
        """Wait for all to have been served, and return what they tell."""
        self._thread.join()
        return self._told


def kill(machine, pod, program) -> None:
    """Kill a program of a pod, from its node, as the kernel does when memory runs out."""
    uid = pod["metadata"]["uid"]
    found = machine.inside(1, "sh", "-c", LOOK, "sh", uid, program).strip()
    assert found, f"no {program} in {pod['metadata']['name']}"
    machine.inside(1, "kill", "-9", found)


def ready(pod) -> bool:
    """Tell whether a pod is ready and stays."""
    conditions = {one["type"]: one["status"] for one in pod["status"].get("conditions", [])}
    return conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]


def on(node, pods) -> set[str]:
    """Return the names of those pods that are on a node."""
    return {pod["metadata"]["name"] for pod in pods if pod["spec"].get("nodeName") == node}


def broken(told) -> list[Told]:
    """Return what did not come whole."""
    return [one for one in told if not one.whole]


def sees_all(cycle) -> bool:
    """Tell whether every metric had something to say in a cycle."""
    metrics = cycle.get("metrics") or {}
    return bool(metrics) and all("value" in metric for metric in metrics.values())


def seconds(number) -> str:
    """Write a time for the table."""
    return f"{number:.1f} s"
