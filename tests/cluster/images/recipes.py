"""How each part is made: two Debian trees, an archive for each image, and a store of models.

A recipe gets an empty folder, and the folders of the parts that it needs. What it returns goes into
the table: the program, the version that the program itself tells, where it comes from, and what
kind of thing it is where that is not simply the real one.
"""

import os
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path

from tests.cluster.images import debian, mkimage, model
from tests.cluster.images.debian import inside, run

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
SID = "Debian sid"


def trixie(out: Path) -> dict:
    """The tree under the Python programs: Debian 13 has Python 3.13."""
    root = out / "root"
    debian.tree("trixie", root, "python3", "python3-venv", "ca-certificates")
    # Layers carry no times, by which Python would tell whether a compiled file is still good.
    compiled(root, "/usr/lib/python3", "/usr/lib/python3.13")
    mkimage.layer(root, out / "layer.tar")
    mkimage.archive(
        out / "image.tar", "localhost/trixie:base", [out / "layer.tar"], mkimage.config()
    )
    return {}


def sid(out: Path) -> dict:
    """The tree under HAProxy, Prometheus and llama.cpp, of which only sid has recent versions."""
    debian.tree("sid", out / "root")
    mkimage.layer(out / "root", out / "layer.tar")
    return {}


def compiled(root: Path, *folders: str) -> None:
    """Compile Python files in a way that does not ask for the source's time."""
    how = ["-q", "-f", "-j", "2", "--invalidation-mode", "unchecked-hash"]
    places = {each: root / each.lstrip("/") for each in folders}
    inside([root], "python3", "-m", "compileall", *how, *folders, writable=places)


def image(out: Path, name: str, root: Path, base: Path | None = None, **settings: object) -> None:
    """Write the archive: the base's layer, if there is one, and what is in `root` on top."""
    capabilities = settings.pop("capabilities", None)
    own = mkimage.layer(root, out / "layer.tar", capabilities)
    layers = [base / "layer.tar", own] if base else [own]
    mkimage.archive(out / "image.tar", name, layers, mkimage.config(**settings))
    own.unlink()


def version(text: str) -> str:
    """The first thing in a program's words that looks like a version."""
    return re.search(r"\bv?(\d+\.\d+[.\d]*)", text)[1]


def go_module(folder: str, out: Path, *options: str, **environment: str) -> str:
    """Build the program that a module's go.mod names as its tool; its pinned version."""
    source = HERE / folder
    tool = re.search(r"^tool (\S+)", (source / "go.mod").read_text(), re.MULTILINE)[1]
    pinned = re.search(
        rf"^\s*{re.escape(tool)} (\S+)", (source / "go.mod").read_text(), re.MULTILINE
    )[1]
    options = [each.replace("VERSION", pinned.lstrip("v")) for each in options]
    out.mkdir(parents=True, exist_ok=True)
    environment = {
        "GOBIN": str(out),
        "GOFLAGS": "-mod=readonly",
        "GOTOOLCHAIN": "local",
    } | environment
    install = ["nice", "go", "install", "-p", "2", "-trimpath", "-buildvcs=false"]
    run(*install, *options, tool, cwd=source, env=os.environ | environment)
    return pinned


SHARED = (compiled, image, version, go_module)
"""What several recipes use: it counts as a part of each."""


def ollama_program(out: Path) -> dict:
    """Ollama, for the CPU, as one static program, so that it runs on any tree."""
    static = "-s -w -linkmode=external -extldflags=-static"
    told = "-X=github.com/ollama/ollama/version.Version=VERSION"
    # Without cgo one of its packages does not compile.
    go_module("ollama", out, "-tags=netgo,osusergo", f"-ldflags={static} {told}", CGO_ENABLED="1")
    return {}


def ollama(out: Path, name: str, sid: Path, ollama_program: Path) -> dict:
    """Ollama and, where it looks for it, Debian's llama-server."""
    root, base = out / "root", sid / "root"
    debian.unpack("sid", base, root, "llama.cpp-tools")
    shutil.copy2(ollama_program / "ollama", root / "usr/bin/ollama")
    (root / "usr/lib/ollama").mkdir()
    (root / "usr/lib/ollama/llama-server").symlink_to("../../bin/llama-server")
    start = {"Entrypoint": ["/bin/ollama"], "Cmd": ["serve"]}
    image(out, name, root, sid, env={"OLLAMA_HOST": "0.0.0.0:11434"}, **start)
    engine = inside([base, root], "llama-server", "--version")
    told = inside([base, root], "ollama", "--version")
    return {
        "program": "ollama",
        "version": version(told),
        "source": f"Go module; llama-server {re.search(r'version: *(.*)', engine)[1]}, {SID}",
    }


def haproxy(out: Path, name: str, sid: Path) -> dict:
    """The gateway."""
    root, base = out / "root", sid / "root"
    debian.unpack("sid", base, root, "haproxy")
    image(out, name, root, sid, Cmd=["haproxy"], User="99:99", StopSignal="SIGUSR1")
    told = inside([base, root], "haproxy", "-v")
    return {"program": "haproxy", "version": version(told), "source": SID}


def prometheus(out: Path, name: str, sid: Path) -> dict:
    """Prometheus, without promtool, which no manifest uses and which is as large."""
    root, base = out / "root", sid / "root"
    debian.unpack("sid", base, root, "prometheus")
    (root / "usr/bin/promtool").unlink()
    image(out, name, root, sid, Entrypoint=["/bin/prometheus"], User="65534:65534")
    told = inside([base, root], "prometheus", "--version")
    return {"program": "prometheus", "version": version(told), "source": SID}


def coredns(out: Path, name: str, program: Path) -> dict:
    """The gateway's name server, which is built with the cluster's programs."""
    root = out / "root"
    root.mkdir()
    shutil.copy2(program, root / "coredns")
    image(
        out,
        name,
        root,
        Entrypoint=["/coredns"],
        User="65532:65532",
        # The real image's program has it too, and with it the manifest's `capabilities` are needed.
        capabilities={"coredns": mkimage.NET_BIND_SERVICE},
    )
    return {
        "program": "coredns",
        "version": version(run(program, "-version")),
        "source": "Go module",
    }


def kube_state_metrics(out: Path, name: str) -> dict:
    """What Prometheus asks about deployments, jobs and pods."""
    told = "-X=github.com/prometheus/common/version.Version=vVERSION"
    go_module("kube-state-metrics", out / "root", f"-ldflags=-s -w {told}", CGO_ENABLED="0")
    image(out, name, out / "root", Entrypoint=["/kube-state-metrics"], User="65534:65534")
    told = run(out / "root/kube-state-metrics", "version")
    return {"program": "kube-state-metrics", "version": version(told), "source": "Go module"}


def open_webui(out: Path, name: str, trixie: Path) -> dict:
    """The chat page: the wheel from PyPI, started as its image starts it."""
    root, base = out / "root", trixie / "root"
    home = root / "opt/open-webui"
    home.mkdir(parents=True)
    tests_only = {"dnslib", "playwright", "pytest", "pytest-asyncio", "pytest-timeout"}
    lock = (ROOT / "tests/webui/requirements.lock").read_text()
    wanted = [
        each for each in re.split(r"(?m)^(?=\S)", lock) if each.split("==")[0] not in tests_only
    ]
    (home / "requirements.lock").write_text("".join(wanted))
    machine = {
        "environment": debian.pip_settings(),
        "writable": {"/opt/open-webui": home} | debian.NETWORK,
    }
    inside([base, root], "python3", "-m", "venv", "/opt/open-webui", **machine)
    python = "/opt/open-webui/bin/python3"
    pip = [python, "-m", "pip"]
    install = ["install", "--quiet", "--no-cache-dir", "--no-compile"]
    install += ["--no-deps", "--require-hashes"]
    # The wheel names no Python that Debian 13 has, but runs there.
    install += ["--ignore-requires-python", "-r", "/opt/open-webui/requirements.lock"]
    inside([base, root], *pip, *install, **machine)
    inside([base, root], *pip, "uninstall", "--quiet", "--yes", "pip", **machine)
    (home / "requirements.lock").unlink()
    packages = home / "lib/python3.13/site-packages"
    # Half of what is left would be for browsers that debug the page or run Python.
    browser = [packages / "open_webui/frontend/pyodide", packages / "open_webui/frontend/wasm"]
    for each in [*packages.glob("**/tests"), *browser]:
        shutil.rmtree(each, ignore_errors=True)  # one may be within another
    for each in packages.glob("open_webui/frontend/_app/**/*.map"):
        each.unlink()
    how = ["-q", "-j", "2", "--invalidation-mode", "unchecked-hash"]
    inside([base, root], python, "-m", "compileall", *how, "/opt/open-webui", **machine)
    backend = root / "app/backend"
    (backend / "data").mkdir(parents=True)
    shutil.copy2(HERE / "open-webui/start.sh", backend)
    env = {
        "PATH": "/opt/open-webui/bin:" + mkimage.PATH,
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "USE_SLIM_DOCKER": "true",
    }
    start = {"Cmd": ["bash", "start.sh"], "WorkingDir": "/app/backend"}
    image(out, name, root, trixie, env=env, **start)
    # As `open-webui serve`, which start.sh runs, and the manifest set them.
    needed = {"DATA_DIR": "/tmp", "WEBUI_SECRET_KEY": "-", "FROM_INIT_PY": "true"}
    program = "/opt/open-webui/bin/open-webui"
    told = inside([base, root], program, "main", "--version", environment=needed)
    return {
        "program": "open-webui",
        "version": version(told.splitlines()[-1]),
        "source": "PyPI",
        "kind": "real, but for start.sh",
    }


def autoscaler(out: Path, name: str, trixie: Path) -> dict:
    """The daemon, from the repository's own Dockerfile by `make image`."""
    with debian.builder(out / "builder") as environment:
        made = run("buildah", "pull", f"oci-archive:{trixie}/image.tar", env=environment)
        base, short = "localhost/trixie:base", name.rsplit("/", 1)[1]
        run("buildah", "tag", made.split()[-1], base, env=environment)
        make = ["make", "image", "BUILDER=buildah", f"IMAGE={short}", f"BASE_IMAGE={base}"]
        run(*make, cwd=ROOT, env=environment)
        container = run("buildah", "from", short, env=environment).strip()
        told = run("buildah", "run", container, "autoscaler", "--version", env=environment)
        run("buildah", "push", short, f"docker-archive:{out}/saved.tar", env=environment)
    mkimage.repack(out / "saved.tar", out / "image.tar", name)
    (out / "saved.tar").unlink()
    return {
        "program": "autoscaler",
        "version": version(told),
        "source": "this repository's Dockerfile",
        "kind": "real",
    }


def models(out: Path, ollama_program: Path, size: str) -> dict:
    """What OLLAMA_MODELS points to: one small model under the name that the list gives first."""
    lines = (ROOT / "deploy/ollama/models.txt").read_text().splitlines()
    name = next(line.split()[0] for line in lines if line.strip() and line[0] not in "#-")
    work = out / "work"
    work.mkdir()
    model.write(work / "model.gguf", size)
    (work / "Modelfile").write_text(f"FROM {work}/model.gguf\n")
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(work),
        "OLLAMA_HOST": address,
        "OLLAMA_MODELS": str(out / "models"),
        "OLLAMA_NO_CLOUD": "1",
    }
    program = ollama_program / "ollama"
    with (
        (work / "log").open("wb") as log,
        subprocess.Popen([program, "serve"], env=environment, stdout=log, stderr=log) as server,
    ):
        try:
            _listens(address)
            run(program, "create", name, "-f", work / "Modelfile", env=environment)
        finally:
            server.terminate()
    shutil.rmtree(work)
    run("chmod", "-R", "a+rX", out / "models")
    return {"program": name, "version": size, "source": "model.py", "kind": "random weights"}


def _listens(address: str) -> None:
    host, port = address.split(":")
    for _ in range(100):
        try:
            socket.create_connection((host, int(port))).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError("the server that makes the models does not start")
