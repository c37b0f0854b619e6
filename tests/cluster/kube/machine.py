"""A real Kubernetes on this machine, inside namespaces of its own.

A node is one process, `pause`, in a network, mount, host name and process namespace; everything of
the node runs inside. Whatever ends that process ends all of it, and with it go links, mounts and
packet filters. What would stay, a folder and control groups, is removed by `stop`, also after a
crash.

    python -m tests.cluster.kube.machine COMMAND
        start | add-node | stop [--keep] | load ARCHIVE | kubectl ... | inside ...
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from http import HTTPStatus
from pathlib import Path

from kubernetes.client import ApiClient
from kubernetes.client.exceptions import ApiException
from kubernetes.config import new_client_from_config
from urllib3.exceptions import HTTPError

from tests.cluster.images import mkimage

HERE = Path(__file__).parent
PAUSE = "localhost/pause:cluster"
CGROUPS = Path("/sys/fs/cgroup")


class MachineError(Exception):
    """Something of the cluster does not do what it should; the message has the end of its log."""


def cache() -> Path:
    """Tell where what was built is kept."""
    home = Path.home() / ".cache" / "ollama-autoscaler"
    return Path(os.environ.get("CLUSTER_CACHE") or home)


def programs() -> Path:
    """Build the programs, if they are not built yet, and tell where they are."""
    built = subprocess.run([HERE / "build.sh"], stdout=subprocess.PIPE, text=True, check=False)
    if built.returncode:
        raise MachineError("the programs of the cluster could not be built: see above")
    return Path(built.stdout.strip().splitlines()[-1])


class Existing:
    """A cluster of somebody's own, by KUBECONFIG: nothing of it is started or stopped here."""

    own = False

    def __init__(self, kubectl: str = "kubectl") -> None:
        """Use the `kubectl` and the KUBECONFIG of the environment."""
        self._kubectl = kubectl
        self._local = threading.local()
        self._environment = dict(os.environ)

    def kubectl(self, *args, stdin=None, check=True, timeout=60) -> str:
        """Run kubectl and return what it prints; MachineError has what it complains of."""
        done = subprocess.run(
            [self._kubectl, *map(str, args)],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            env=self._environment,
            check=False,
        )
        if check and done.returncode:
            raise MachineError(f"kubectl {' '.join(map(str, args))}: {done.stderr.strip()}")
        return done.stdout

    def follow(self, *args) -> subprocess.Popen:
        """Start a kubectl that goes on printing, such as `get -w`; whoever asked ends it."""
        return subprocess.Popen(
            [self._kubectl, *map(str, args)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=self._environment,
        )

    def get(self, *args) -> dict:
        """Return what `kubectl get` prints as JSON."""
        return json.loads(self.kubectl("get", *args, "-o", "json"))

    def raw(self, path) -> str:
        """Return what the API answers at a path: ten times as quick as a process of kubectl."""
        client = self._client()
        call = client.param_serialize("GET", path, auth_settings=["BearerToken"])
        try:
            answer = client.call_api(*call, _request_timeout=20)
            text = answer.read().decode()
        except (ApiException, HTTPError) as error:
            raise MachineError(f"GET {path}: {error}") from error
        if answer.status != HTTPStatus.OK:
            raise MachineError(f"GET {path}: {answer.status} {text[:300]}")
        return text

    def _client(self) -> ApiClient:
        """Return this thread's connection: the client is not meant for several threads at once."""
        if not hasattr(self._local, "client"):
            file = self._environment.get("KUBECONFIG")
            self._local.client = new_client_from_config(file)
            self._local.client.configuration.retries = False
        return self._local.client


class Machine(Existing):
    """A cluster of our own: one node, or two."""

    own = True

    def __init__(self, name=None, net=None) -> None:
        """Name the cluster and the first three numbers of its addresses."""
        self.name = name or os.environ.get("CLUSTER_NAME") or "oatest"
        self.net = net or os.environ.get("CLUSTER_NET") or "172.31.255"
        self.state = cache() / "run" / self.name
        self.kubeconfig = self.state / "admin.conf"
        self.programs = programs()
        super().__init__(str(self.programs / "kubectl"))
        self._environment |= {
            "KUBECONFIG": str(self.kubeconfig),
            "STATE": str(self.state),
            "PROGRAMS": str(self.programs),
            "NET": self.net,
        }

    # --- whole

    def start(self, *, mortal=True) -> None:
        """Start the cluster with its first node; `mortal`: it ends with this process.

        What an earlier run of the same name has left is removed first, unless it was stopped with
        `keep`.
        """
        if self._inits():
            self.stop()
        self.state.mkdir(parents=True, exist_ok=True)
        self._start_node(1, mortal=mortal)
        self._host(*f"ip link add {self._link} type veth peer uplink netns {self._init(1)}".split())
        self._host(*f"ip addr add {self.net}.254/24 dev {self._link}".split())
        self._host(*f"ip link set {self._link} up".split())
        self.inside(1, *["ip", "link", "set", "uplink", "master", "br0", "up"])
        self._make_pause_image()
        self.start_programs(1)

    def add_node(self, *, mortal=True) -> str:
        """Start the second node and return its name."""
        self._start_node(2, mortal=mortal)
        ends = f"node2 netns {self._init(1)} type veth peer uplink netns {self._init(2)}"
        self._host(*f"ip link add {ends}".split())
        self.inside(1, *["ip", "link", "set", "node2", "master", "br0", "up"])
        self.inside(2, *["ip", "link", "set", "uplink", "master", "br0", "up"])
        self.start_programs(2)
        return "node2"

    def stop(self, *, keep=False) -> None:
        """End everything and remove what is left; `keep`: the state stays, as on a disk."""
        for number, pid in self._inits().items():
            if keep:
                self.inside(number, "sh", "-c", "kill -TERM -1", check=False)
            self._end(pid)
        # The kernel would remove it too, a moment later.
        self._host("ip", "link", "delete", self._link, check=False)
        for number in (1, 2):
            self._remove_cgroup(self._cgroup(number))
        if not keep:
            shutil.rmtree(self.state, ignore_errors=True)

    def left_behind(self) -> list[str]:
        """List what still tells of the cluster: processes, links, mounts, control groups, files."""
        links = self._host("ip", "-o", "link").splitlines()
        mounts = Path("/proc/mounts").read_text().splitlines()
        found = [f"process {pid}" for pid in _processes_of(self.state)]
        found += [f"link {line}" for line in links if f" {self._link}@" in line]
        found += [f"mount {line}" for line in mounts if str(self.state) in line]
        found += [str(path) for n in (1, 2) for path in CGROUPS.glob(f"**/{self._cgroup(n)}")]
        return found + ([str(self.state)] if self.state.exists() else [])

    # --- parts

    def inside(self, number, *command, check=True, stdin=None) -> str:
        """Run a command inside a node and return what it prints."""
        entered = [
            "nsenter",
            "--target",
            self._init(number),
            "--net",
            "--mount",
            "--uts",
            "--pid",
            "--",
        ]
        return self._host(*entered, *command, check=check, stdin=stdin)

    def stop_program(self, name, number=1) -> None:
        """Stop one program of a node."""
        self._script(number, "lib.sh", f'stop "{name}"')

    def start_programs(self, number=1) -> None:
        """Start whatever does not run."""
        if number == 1:
            self._script(number, "control.sh")
        self._script(number, "node.sh")

    def kill_node(self, number) -> None:
        """End a node as if its power had failed."""
        if number == 2:  # whose last words would still end its connections
            self.inside(1, "ip", "link", "delete", "node2", check=False)
        self._end(self._inits()[number])
        self._remove_cgroup(self._cgroup(number))

    def load_image(self, archive, number=1) -> None:
        """Let a node have an image."""
        self._script(number, "lib.sh", f'ctr images import "{archive}" >/dev/null')

    def audit(self) -> list[dict]:
        """Return what the API server was asked for, oldest first."""
        lines = (self.state / "audit.log").read_text().splitlines()
        return [json.loads(line) for line in lines if line.endswith("}")]

    # --- namespaces

    def _start_node(self, number, *, mortal) -> None:
        self._make_cgroup(self._cgroup(number))
        command = [
            "unshare",
            "--net",
            "--mount",
            "--uts",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
        ]
        if mortal:
            command = ["setpriv", "--pdeathsig", "KILL", *command]
        folder = self.state / f"node{number}"
        folder.mkdir(exist_ok=True)
        for stale in folder.glob("*.pid"):
            stale.unlink()  # numbers of an earlier life, which mean others in this one
        parent = subprocess.Popen(
            [*command, "--propagation", "private", self.programs / "pause"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env=self._environment,
        )
        parent.returncode = 0  # nobody waits for its end, of which Python would complain
        children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
        for _ in range(100):
            found = children.read_text().split() if children.exists() else []
            if found and Path(f"/proc/{found[0]}/exe").resolve().name == "pause":
                break
            time.sleep(0.05)
        else:
            raise MachineError("no namespaces: needs root and unshare of util-linux")
        (folder / "init").write_text(found[0])
        self.inside(number, "ip", "link", "set", "lo", "up")
        self.inside(number, "ip", "link", "add", "br0", "type", "bridge")
        self.inside(number, "ip", "addr", "add", f"{self.net}.{number}/24", "dev", "br0")
        self.inside(number, "ip", "link", "set", "br0", "up")
        self.inside(number, "hostname", f"node{number}")

    def _inits(self) -> dict[int, str]:
        """Return the first process of each node that runs, by the node's number."""
        found = {}
        for number in (1, 2):
            file = self.state / f"node{number}" / "init"
            if file.exists() and _is(pid := file.read_text(), self.programs / "pause"):
                found[number] = pid
        return found

    def _init(self, number) -> str:
        if number not in (inits := self._inits()):
            raise MachineError(f"node {number} does not run")
        return inits[number]

    def _end(self, pid) -> None:
        os.kill(int(pid), signal.SIGKILL)
        for _ in range(200):
            if not Path(f"/proc/{pid}").exists() or _state(pid) == "Z":
                return
            time.sleep(0.05)
        raise MachineError(f"process {pid} does not end")

    @property
    def _link(self) -> str:
        return f"{self.name}0"

    def _make_pause_image(self) -> None:
        archive = self.state / "pause.tar"
        if archive.exists():
            return
        folder = self.state / "pause"
        folder.mkdir()
        shutil.copy(self.programs / "pause", folder / "pause")
        layer = mkimage.layer(folder, self.state / "pause.layer")
        mkimage.archive(archive, PAUSE, [layer], mkimage.config(Entrypoint=["/pause"]))

    # --- control groups

    def _cgroup(self, number) -> str:
        return f"{self.name}-node{number}"

    def _make_cgroup(self, name) -> None:
        for root in _cgroup_roots():
            (root / name).mkdir(exist_ok=True)

    def _remove_cgroup(self, name) -> None:
        for root in _cgroup_roots():
            for folder in sorted((root / name).rglob("*/"), key=lambda path: -len(path.parts)):
                _remove(folder)
            _remove(root / name)

    # --- running

    def _script(self, number, script, command="") -> None:
        text = f". '{HERE / script}'; {command}" if command else f"exec '{HERE / script}'"
        environment = {
            "NODE": f"node{number}",
            "NODE_NUMBER": str(number),
            "CGROUP": self._cgroup(number),
        }
        self.inside(
            number, "env", *(f"{k}={v}" for k, v in environment.items()), "bash", "-c", text
        )

    def _host(self, *command, check=True, stdin=None) -> str:
        done = subprocess.run(
            [str(part) for part in command],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=300,
            env=self._environment,
            check=False,
        )
        if check and done.returncode:
            raise MachineError(f"{' '.join(map(str, command))}: {done.stderr.strip()}")
        return done.stdout


# --- the machine that it runs on


def _cgroup_roots() -> list[Path]:
    """List the hierarchies: one with cgroup v2, one for each controller with v1."""
    if (CGROUPS / "cgroup.controllers").exists():
        return [CGROUPS]
    return [path for path in CGROUPS.iterdir() if path.is_dir() and not path.is_symlink()]


def _remove(folder: Path) -> None:
    """Remove a control group, whose last processes may still be about to end."""
    for _ in range(50):
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.05)
        else:
            return


def _is(pid: str, program: Path) -> bool:
    """Tell whether that process runs that program: its number may be a stranger's by now."""
    try:
        return Path(f"/proc/{pid}/exe").resolve() == program.resolve()
    except OSError:
        return False


def _processes_of(state: Path) -> list[str]:
    """List the processes that were started for the cluster of this folder."""
    mark = f"STATE={state}".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        if process.name == str(os.getpid()):
            continue
        try:
            if mark in (process / "environ").read_bytes().split(b"\0"):
                found.append(f"{process.name} {(process / 'comm').read_text().strip()}")
        except OSError:
            continue  # it has ended meanwhile
    return found


def _state(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def main(arguments: list[str]) -> int:
    """Start and stop a cluster by hand, and talk to it."""
    machine = Machine()
    match arguments:
        case ["start"]:
            machine.start(mortal=False)
            print(f"export KUBECONFIG={machine.kubeconfig} PATH={machine.programs}:$PATH")
        case ["add-node"]:
            print(machine.add_node(mortal=False))
        case ["stop"]:
            machine.stop()
        case ["stop", "--keep"]:
            machine.stop(keep=True)
        case ["load", archive]:
            machine.load_image(archive)
        case ["kubectl", *rest]:
            print(machine.kubectl(*rest), end="")
        case ["inside", *rest]:
            print(machine.inside(1, *rest), end="")
        case _:
            print(__doc__)
            return 2
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except MachineError as error:
        sys.exit(f"{error}")
