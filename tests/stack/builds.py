"""Everything that kustomize makes of this repository: single folders, overlays, combinations."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

Object = dict[str, Any]

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / ".tools"


class Combination(NamedTuple):
    """An overlay as a person would have edited it."""

    overlay: str
    components: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    """Folders of deploy/ that one of the components stands in for."""


COMBINATIONS = {
    "minikube, openai": Combination("minikube", ("openai",)),
    "minikube, ingress": Combination("minikube", ("ingress",)),
    "minikube, scale-to-zero": Combination("minikube", ("scale-to-zero",)),
    "minikube, models-on-host": Combination("minikube", ("models-on-host",)),
    "minikube, restart-stuck": Combination("minikube", ("restart-stuck",)),
    "minikube, all": Combination(
        "minikube",
        (
            "openai",
            "gpu-nvidia",
            "ingress",
            "gateway-api",
            "api-key",
            "models-on-host",
            "scale-to-zero",
            "restart-stuck",
        ),
    ),
    "cluster, gateway-api": Combination("cluster", ("gateway-api",)),
    "cluster, gpu-nvidia, api-key": Combination("cluster", ("gpu-nvidia", "api-key")),
    "cluster, prometheus-operator": Combination(
        "cluster", ("prometheus-operator",), ("prometheus", "kube-state-metrics")
    ),
}


@dataclass(frozen=True, slots=True)
class Template:
    """The pods of one workload: what a selector meets and the kubelet runs."""

    owner: Object
    namespace: str
    labels: Mapping[str, str]
    spec: Object

    @property
    def name(self) -> str:
        """`Deployment/gateway`."""
        return name_of(self.owner)

    @property
    def containers(self) -> list[Object]:
        """All containers, those of the initialization too."""
        return [*self.spec.get("initContainers", ()), *self.spec["containers"]]

    @property
    def served(self) -> list[Object]:
        """The containers that run as long as the pod: its own, and the sidecars among the rest."""
        return [
            container
            for container in self.containers
            if container in self.spec["containers"] or container.get("restartPolicy") == "Always"
        ]

    def matches(self, selector: Object) -> bool:
        """Tell whether a label selector meets these pods; an empty one meets all."""
        return all(
            self.labels.get(key) == value
            for key, value in (selector.get("matchLabels") or {}).items()
        ) and all(_holds(self.labels, rule) for rule in selector.get("matchExpressions") or ())


def _holds(labels: Mapping[str, str], rule: Object) -> bool:
    value = labels.get(rule["key"])
    return {
        "In": lambda: value in rule["values"],
        "NotIn": lambda: value not in rule["values"],
        "Exists": lambda: value is not None,
        "DoesNotExist": lambda: value is None,
    }[rule["operator"]]()


def name_of(obj: Object) -> str:
    """`Kind/name`."""
    return f"{obj['kind']}/{obj['metadata']['name']}"


def of(objects: Sequence[Object], *kinds: str) -> list[Object]:
    """Return the objects of these kinds."""
    return [obj for obj in objects if obj["kind"] in kinds]


def one(objects: Sequence[Object], kind: str, name: str) -> Object:
    """Return the only object of this kind whose name is this, but for a hash at its end."""
    (found,) = (
        obj
        for obj in of(objects, kind)
        if obj["metadata"]["name"] == name
        or (kind in {"ConfigMap", "Secret"} and obj["metadata"]["name"].rpartition("-")[0] == name)
    )
    return found


def templates(objects: Sequence[Object]) -> Iterator[Template]:
    """Yield the pods that the objects would start."""
    for obj in objects:
        spec = obj.get("spec") or {}
        template = spec.get("jobTemplate", {}).get("spec", spec).get("template")
        if template and "spec" in template:
            yield Template(
                owner=obj,
                namespace=obj["metadata"].get("namespace", ""),
                labels=template["metadata"].get("labels", {}),
                spec=template["spec"],
            )


def pods_of(objects: Sequence[Object], deployment: str) -> Template:
    """Return the pods of a Deployment."""
    return next(p for p in templates(objects) if p.name == f"Deployment/{deployment}")


# --- building -----------------------------------------------------------------------------------


def tool(name: str) -> Path:
    """Return a program that `make tools` installs; AssertionError where it did not."""
    path = TOOLS / "bin" / name
    assert path.exists(), f"{path} is not there; type: make tools"
    return path


def folders(kind: str = "Kustomization") -> list[str]:
    """List the folders that have a kustomization of this kind, as paths from the root."""
    found = sorted(
        path
        for top in ("config", "deploy")
        for path in (ROOT / top).rglob("kustomization.yaml")
        if yaml.safe_load(path.read_text())["kind"] == kind
    )
    return [str(path.parent.relative_to(ROOT)) for path in found]


def overlays() -> list[str]:
    """List the overlays: what a person applies."""
    return [folder for folder in folders() if Path(folder).parent == Path("deploy/overlays")]


def wholes() -> list[str]:
    """List all that may be applied: overlays, and combinations with components."""
    return [*overlays(), *COMBINATIONS]


@cache
def build(name: str) -> str:
    """Build a folder or a combination, with kustomize's own load restrictor; return its YAML."""
    if name not in COMBINATIONS:
        return kustomize(ROOT / name)
    overlay, components, left_out = COMBINATIONS[name]
    # In a copy, since kustomize reads nothing outside of it.
    with tempfile.TemporaryDirectory() as folder:
        for top in ("config", "deploy"):
            shutil.copytree(ROOT / top, Path(folder, top))
        here = Path(folder, "deploy", "overlays", overlay)
        file = here / "kustomization.yaml"
        edited = yaml.safe_load(file.read_text())
        for each in left_out:
            edited["resources"].remove(f"../../{each}")
        edited["components"] = [f"../../components/{component}" for component in components]
        file.write_text(yaml.safe_dump(edited))
        return kustomize(here)


def kustomize(folder: Path) -> str:
    """Build one folder; AssertionError with kustomize's words where that fails or warns."""
    done = subprocess.run(
        [tool("kustomize"), "build", folder],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def built(name: str) -> list[Object]:
    """Return what a folder or a combination builds, as objects that the caller may change."""
    objects: list[Object] = json.loads(_parsed(name))
    return objects


@cache
def _parsed(name: str) -> str:
    # Kept as JSON, which is read much faster than YAML.
    return json.dumps(list(yaml.load_all(build(name), Loader=yaml.CSafeLoader)))
