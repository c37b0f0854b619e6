"""What happens to the replicas, looked at a few times a second from outside."""

import csv
import io
import threading
import time
from dataclasses import dataclass, field
from typing import Self

from tests.cluster.kube.machine import MachineError

EVERY_S = 0.4
MARK = "controller.kubernetes.io/pod-deletion-cost"


@dataclass(frozen=True)
class Look:
    """One look."""

    at: float
    wanted: int
    ready: int
    leaving: dict[str, str] = field(default_factory=dict)
    "Pods that are told to end, and their addresses."
    marked: frozenset[str] = frozenset()
    "Pods that carry a deletion cost."
    serving: dict[str, int] = field(default_factory=dict)
    "Requests at each replica, by its address, as the gateway has it."
    queued: int = 0


class Watch:
    """Looks until it is told to stop; a look that fails is left out."""

    def __init__(self, stack) -> None:
        """Watch a stack."""
        self._stack = stack
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.looks: list[Look] = []

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        """End."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(EVERY_S):
            try:
                self.looks.append(self._look())
            except (MachineError, ValueError, KeyError):
                continue

    def _look(self) -> Look:
        wanted, ready = self._stack.replicas()
        serving, queued = sessions(self._stack)
        pods = self._stack.pods()
        names = {pod["metadata"]["name"]: pod for pod in pods}
        return Look(
            at=time.time(),
            wanted=wanted,
            ready=ready,
            leaving={
                name: pod["status"].get("podIP", "")
                for name, pod in names.items()
                if "deletionTimestamp" in pod["metadata"]
            },
            marked=frozenset(
                name
                for name, pod in names.items()
                if MARK in pod["metadata"].get("annotations", {})
            ),
            serving=serving,
            queued=queued,
        )

    def first(self, condition, since=0.0) -> float | None:
        """Return when something was seen first."""
        return next((look.at for look in self.looks if look.at >= since and condition(look)), None)

    def left_busy(self, since=0.0) -> tuple[list[str], list[str]]:
        """Return who was told to end, and who of them had a request when last seen before."""
        left, busy = [], []
        for before, look in zip(self.looks, self.looks[1:], strict=False):
            for name, address in look.leaving.items():
                if look.at >= since and name not in before.leaving:
                    left.append(name)
                    if before.serving.get(address, 0):
                        busy.append(name)
        return left, busy

    def curve(self, since=0.0) -> str:
        """Return the wanted replicas as they followed each other: 2-6-4-2."""
        numbers = [look.wanted for look in self.looks if look.at >= since]
        return "-".join(str(n) for i, n in enumerate(numbers) if not i or numbers[i - 1] != n)


def sessions(stack) -> tuple[dict[str, int], int]:
    """Ask the gateway how many requests each address has, and how many wait."""
    text = stack.service("gateway-metrics:metrics", "/stats;csv").lstrip("# ")
    serving, queued = {}, 0
    for row in csv.DictReader(io.StringIO(text)):
        if row["pxname"] != "ollama":
            continue
        if row["svname"] == "BACKEND":
            queued = int(row["qcur"] or 0)
        elif address := row["addr"].rpartition(":")[0]:
            serving[address] = serving.get(address, 0) + int(row["scur"] or 0)
    return serving, queued


def addresses(pods) -> set[str]:
    """Return the addresses of pods."""
    return {pod["status"].get("podIP", "") for pod in pods} - {""}
