"""What can be wrong with a command, told without running it."""

import re
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path

import yaml

from tests.docs.pages import ROOT
from tests.docs.program import wrong_use

_FREE = frozenset({"cd", "docker", "echo", "git", "grep", "mkdir", "minikube", "nproc", "tee"})
"""Programs that are nobody's here; their words are only looked through for paths."""
_MAKEFILE = (ROOT / "Makefile").read_text()
_KUBECTL = frozenset(
    {"annotate", "apply", "cp", "create", "delete", "describe", "diff", "edit", "exec", "get"}
    | {"kustomize", "label", "logs", "patch", "port-forward", "rollout", "scale", "set", "top"}
    | {"wait"}
)
_KINDS = {
    "deploy": "Deployment",
    "deployment": "Deployment",
    "service": "Service",
    "svc": "Service",
    "lease": "Lease",
}
_LABEL = "app.kubernetes.io/name="


def wrong(words: list[str]) -> list[str]:
    """Return what is wrong with a command: whose program it is decides what is looked at."""
    program = Path(words[0]).name
    check = _CHECKS.get(program)
    if check is None and program not in _FREE:
        return [f"{program}: nothing here knows that program"]
    found = check(words[1:]) if check else []
    paths = [] if check is _kubectl else words  # its deploy/NAME is no folder
    return [*found, *(told for word in paths if (told := no_path(word)))]


def no_path(word: str) -> str:
    """Return what is wrong with a word that names a path of this repository."""
    path = word.partition("::")[0].removeprefix("./")
    first, slash, _ = path.partition("/")
    ours = slash and first[:1] not in ("", ".") and (ROOT / first).is_dir() and first != "demo"
    if not ours or re.search(r"[*{}<>$]|\.\.\.", path):
        return ""
    return "" if (ROOT / path).exists() else f"{word}: no such path"


# --- make -----------------------------------------------------------------------------------------


def _make(words: list[str]) -> list[str]:
    targets = [word for word in words if "=" not in word and not word.startswith("-")]
    names = {word.partition("=")[0] for word in words if "=" in word}
    known = set(re.findall(r"^([a-z-]+):", _MAKEFILE, re.MULTILINE))
    used = set(re.findall(r"\$\((\w+)\)", _MAKEFILE))
    return [
        *(f"make {target}: no such target" for target in targets if target not in known),
        *(f"make {name}=: no such variable" for name in names if name not in used),
    ]


# --- kubectl --------------------------------------------------------------------------------------


def _kubectl(words: list[str]) -> list[str]:
    before, _, inside = " ".join(words).partition(" -- ")
    words = before.split()
    plain = [word for word in words if not word.startswith("-") and word not in _values(words)]
    found = [f"kubectl {plain[0]}: not known here"] if plain[0] not in _KUBECTL else []
    for option, value in pairwise(words):
        kind, slash, name = value.partition("/")
        if option == "-k":
            there = value == "..." or (ROOT / value / "kustomization.yaml").is_file()
            found += [] if there else [f"kubectl -k {value}: no kustomization there"]
        elif option == "-l" and value.startswith(_LABEL):
            found += _unknown("label", value.removeprefix(_LABEL), _labels())
        elif slash and kind in _KINDS:
            found += _unknown(_KINDS[kind], name, _named(_KINDS[kind]))
    return [*found, *(wrong(inside.split()) if inside.startswith("autoscaler") else [])]


def _values(words: list[str]) -> set[str]:
    """Return the words that are values of options in front of the command."""
    return {value for option, value in pairwise(words) if option in {"-n", "-l"}}


def _unknown(kind: str, name: str, known: frozenset[str]) -> list[str]:
    placeholder = not re.search("[a-z]", name)
    return [] if placeholder or name in known else [f"{kind} {name}: not in the manifests"]


@cache
def _objects():
    files = [*(ROOT / "deploy").rglob("*.yaml")]
    read = [yaml.safe_load_all(path.read_text()) for path in files]
    return [one for each in read for one in each if isinstance(one, dict) and "kind" in one]


@cache
def _named(kind: str) -> frozenset[str]:
    named = [one["metadata"]["name"] for one in _objects() if one["kind"] == kind]
    return frozenset(named)


@cache
def _labels() -> frozenset[str]:
    texts = [path.read_text() for path in (ROOT / "deploy").rglob("*.yaml")]
    return frozenset(
        name for text in texts for name in re.findall(r"kubernetes.io/name: (\S+)", text)
    )


# --- scripts --------------------------------------------------------------------------------------


def _python(words: list[str]) -> list[str]:
    """A script of ours knows its options; a module is there."""
    if words and words[0] == "-m":
        module = ROOT / words[1].replace(".", "/")
        there = module.is_dir() or module.with_suffix(".py").is_file()
        return [] if there or words[1] == "pytest" else [f"python -m {words[1]}: no such module"]
    path = ROOT / words[0]
    if not path.is_file():
        return [] if words[0].startswith("/scripts/") else [f"python {words[0]}: no such script"]
    options = [word.partition("=")[0] for word in words[1:] if word.startswith("--")]
    text = path.read_text()
    return [f"{words[0]} {option}: not in it" for option in options if f'"{option}"' not in text]


def _pytest(words: list[str]) -> list[str]:
    return [] if all(word.startswith("-") or "/" in word for word in words) else ["pytest: what?"]


_CHECKS: dict[str, Callable[[list[str]], list[str]]] = {
    "make": _make,
    "autoscaler": wrong_use,
    "kubectl": _kubectl,
    "python": _python,
    "python3": _python,
    "pytest": _pytest,
}
