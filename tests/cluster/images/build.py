"""Make what is not there yet, and print the table and the folder that holds everything.

Each part has a folder in the cache, named by a hash over all that goes into it: its recipe, the
files that it reads, the parts that it needs. It is made under another name and renamed when it is
whole. What the manifests pin is read from them; which recipe makes it stands below.
"""

import argparse
import fcntl
import hashlib
import inspect
import json
import os
import re
import shutil
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from tests.cluster.images import model, recipes
from tests.cluster.images.recipes import HERE, ROOT

CACHE = Path(os.environ.get("CLUSTER_CACHE") or Path.home() / ".cache/ollama-autoscaler")
OVERLAY = ROOT / "deploy/overlays/minikube"
LEFT_OUT = {"grafana/grafana": "neither Debian nor a registry of modules has it"}
HASH = "[0-9a-f]" * 12
KEPT = 5
"""So many makings of each part stay in the cache, those used last: for branches side by side."""


@dataclass(eq=False)
class Part:
    """Something to make once: a tree, a program, an archive, a store of models."""

    name: str
    make: Callable[..., dict]
    seconds: int
    "About how long it takes on two cores that have little else to do."
    reads: list[Path] = field(default_factory=list)
    needs: list["Part"] = field(default_factory=list)
    given: dict[str, object] = field(default_factory=dict)
    "Further arguments; a path counts by what is in the file."

    @cached_property
    def folder(self) -> Path:
        """Where it is, or will be: named by all that decides what comes out."""
        told = [inspect.getsource(each) for each in (self.make, *recipes.SHARED)]
        files = [*self.reads, *(each for each in self.given.values() if isinstance(each, Path))]
        for path in [HERE / "mkimage.py", HERE / "debian.py", *files]:
            for file in _files(path):
                with file.open("rb") as content:
                    digest = hashlib.file_digest(content, "sha256").hexdigest()
                told.append(f"{file.relative_to(path)} {digest}")
        told += [
            f"{name} {each}" for name, each in self.given.items() if not isinstance(each, Path)
        ]
        told += [each.folder.name for each in self.needs]
        return CACHE / "images-parts" / f"{self.name}-{_hash(told)}"

    def made(self) -> float:
        """Make it; the seconds that took."""
        began = time.monotonic()
        unfinished = self.folder.with_suffix(".unfinished")
        unfinished.mkdir()
        folders = {each.name.replace("-", "_"): each.folder for each in self.needs}
        about = self.make(unfinished, **folders, **self.given)
        if "name" in self.given:
            # It is in the archive; the trees below stay, for others to be put on top.
            shutil.rmtree(unfinished / "root", ignore_errors=True)
        (unfinished / "about.json").write_text(json.dumps(about))
        unfinished.rename(self.folder)
        return time.monotonic() - began


def main() -> int:
    """Make all parts; 0, or 1 where one cannot be made."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--kube", type=Path, help="folder with the cluster's programs: coredns")
    arguments.add_argument("--model", default="small", choices=model.SIZES)
    chosen = arguments.parse_args()
    (CACHE / "images-parts").mkdir(parents=True, exist_ok=True)
    with (CACHE / "images-parts/.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another one is making images here; waiting for its end")
            fcntl.flock(lock, fcntl.LOCK_EX)
        images, others, left_out = parts(chosen.kube or _programs(), chosen.model)
        if not ensure([*others, *images.values()]):
            return 1
        folder = gathered(images, others[-1], left_out)
    printed(folder)
    return 0


def pinned() -> dict[str, str]:
    """The images of the overlay and their tags."""
    texts = [(OVERLAY / "kustomization.yaml").read_text()]
    for folder in re.findall(r"^  - (\S+)", texts[0], re.MULTILINE):
        texts.insert(0, (OVERLAY / folder / "kustomization.yaml").read_text())
    found = re.findall(r"^  - name: (\S+)\n    newTag: (\S+)", "\n".join(texts), re.MULTILINE)
    return dict(found)


def full(name: str, tag: str) -> str:
    """An image's name as containerd knows it."""
    registry, slash, _ = name.partition("/")
    if not slash:
        name = "library/" + name
    if not slash or not re.search(r"[.:]", registry):
        name = "docker.io/" + name
    return f"{name}:{tag}"


def parts(programs: Path | None, size: str) -> tuple[dict[str, Part], list[Part], dict[str, str]]:
    """The images by name, what else there is to make, and which images are not made, and why."""
    trixie = Part("trixie", recipes.trixie, 70)
    sid = Part("sid", recipes.sid, 50)
    program = Part("ollama-program", recipes.ollama_program, 180, [HERE / "ollama"])
    listed = [ROOT / "deploy/ollama/models.txt", HERE / "model.py"]
    models = Part("models", recipes.models, 3, listed, [program], {"size": size})
    webui = [ROOT / "tests/webui/requirements.lock", HERE / "open-webui"]
    own = [
        ROOT / each for each in ("Dockerfile", ".dockerignore", "requirements.lock", "autoscaler")
    ]
    # By the name that the manifests use.
    known = {
        "ollama/ollama": (recipes.ollama, 10, [], [sid, program]),
        "haproxy": (recipes.haproxy, 10, [], [sid]),
        "prom/prometheus": (recipes.prometheus, 15, [], [sid]),
        "registry.k8s.io/kube-state-metrics/kube-state-metrics": (
            recipes.kube_state_metrics,
            90,
            [HERE / "kube-state-metrics"],
            [],
        ),
        "ghcr.io/open-webui/open-webui": (recipes.open_webui, 90, webui, [trixie]),
        "ollama-autoscaler": (recipes.autoscaler, 45, own, [trixie]),
    }
    given, left_out = {}, dict(LEFT_OUT)
    if programs:
        known["coredns/coredns"] = (recipes.coredns, 2, [], [])
        given["coredns/coredns"] = {"program": programs / "coredns"}
    else:
        left_out["coredns/coredns"] = "it is built with the cluster's programs: --kube FOLDER"
    images = {}
    for name, tag in pinned().items():
        if name in left_out:
            continue
        if name not in known:
            raise SystemExit(
                f"{name}: the manifests name it, and recipes.py does not say how to make it"
            )
        make, seconds, reads, needs = known[name]
        further = {"name": full(name, tag)} | given.get(name, {})
        images[name] = Part(name.rsplit("/")[-1], make, seconds, reads, needs, further)
    return images, [trixie, sid, program, models], left_out


def ensure(wanted: list[Part]) -> bool:
    """Make what is not there, three at a time, and tell how that goes; whether all is there."""
    missing = [each for each in wanted if not each.folder.exists()]
    for each in CACHE.glob("images-parts/*.unfinished"):
        shutil.rmtree(each)
    if not missing:
        return True
    say(f"making {', '.join(each.name for each in missing)}")
    say(f"about {sum(each.seconds for each in missing) // 60 + 1} min on two cores, once")
    few, futures, began = threading.Semaphore(3), {}, time.monotonic()

    def work(part: Part) -> None:
        for each in part.needs:
            if each in futures:
                futures[each].result()
        with few:
            say(f"{part.name}: about {part.seconds} s")
            took = part.made()
        say(f"{part.name}: made in {took:.0f} s, {_size(part.folder) >> 20} MB")

    with ThreadPoolExecutor(len(missing)) as pool:
        for each in missing:
            futures[each] = pool.submit(work, each)
    failed = {each.name: error for each, future in futures.items() if (error := future.exception())}
    for error in dict.fromkeys(failed.values()):
        say(f"cannot make {', '.join(name for name in failed if failed[name] is error)}: {error}")
    say(f"{time.monotonic() - began:.0f} s altogether")
    return not failed


def gathered(images: dict[str, Part], models: Part, left_out: dict[str, str]) -> Path:
    """One folder with every archive, the models and the table; an older making of a part may go."""
    used = [*images.values(), models]
    for each in {need for part in used for need in [part, *part.needs]}:
        os.utime(each.folder)
        _forget(f"images-parts/{each.name}-")
    out = CACHE / f"images-{_hash([each.folder.name for each in used])}"
    if not out.exists():
        unfinished = out.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        shutil.copytree(models.folder / "models", unfinished / "models", copy_function=os.link)
        rows = [_row("models/", models)]
        for part in images.values():
            os.link(part.folder / "image.tar", unfinished / f"{part.name}.tar")
            rows.append(_row(part.given["name"], part))
        nothing = dict.fromkeys(rows[0], "")
        rows += [
            nothing | {"image": name, "kind": "left out", "source": reason}
            for name, reason in left_out.items()
        ]
        table = json.dumps(sorted(rows, key=lambda row: row["image"]), indent=2)
        (unfinished / "table.json").write_text(table + "\n")
        unfinished.rename(out)
    os.utime(out)
    _forget("images-")
    return out


def printed(folder: Path) -> None:
    """The table for a reader, and the folder for a script."""
    rows = json.loads((folder / "table.json").read_text())
    rows = [list(rows[0]), *(list(map(str, row.values())) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = zip(row, widths, strict=True)
        say("  ".join(f"{cell:{width}}" for cell, width in cells).rstrip())
    print(folder)  # noqa: T201


def say(words: str) -> None:
    """Tell how it goes, beside what a script reads."""
    print(words, file=sys.stderr, flush=True)  # noqa: T201


def _forget(name: str) -> None:
    """Remove what was not used lately."""
    makings = CACHE.glob(name + HASH)
    for old in sorted(makings, key=lambda path: path.stat().st_mtime)[:-KEPT]:
        shutil.rmtree(old)


def _row(image: str, part: Part) -> dict[str, object]:
    about = json.loads((part.folder / "about.json").read_text())
    pinned = about["version"] == image.rpartition(":")[2].lstrip("v").split("-")[0]
    return {
        "image": image,
        "program": about["program"],
        "inside": about["version"],
        "kind": about.get("kind", "real" if pinned else "real, another version"),
        "MB": _size(part.folder) // 1_000_000,
        "source": about["source"],
    }


def _programs() -> Path | None:
    """The newest build of the cluster's programs in the cache."""
    found = [each.parent for each in CACHE.glob(f"kube-{HASH}/**/coredns") if each.is_file()]
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def _files(path: Path) -> list[Path]:
    """What a path holds, without what running the programs leaves there."""
    if path.is_file():
        return [path]
    found = (each for each in path.rglob("*") if each.is_file())
    return sorted(each for each in found if "__pycache__" not in each.parts)


def _size(folder: Path) -> int:
    return sum(each.lstat().st_size for each in folder.rglob("*"))


def _hash(told: list[str]) -> str:
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:12]


if __name__ == "__main__":
    sys.exit(main())
