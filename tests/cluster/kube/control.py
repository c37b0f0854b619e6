"""A real control plane on loopback: etcd, kube-apiserver, kube-controller-manager, and no node.

It needs neither root nor a fixed port, writes nothing outside its own folder, and the kernel ends
it with the process that started it. Tokens stand in for client certificates: what a contract is
about comes after the question of who is calling.
"""

import base64
import json
import os
import secrets
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

from autoscaler.sandbox.processes import die_with_parent, free_port

PROGRAMS = "KUBE_PROGRAMS"
"""Names the folder of the programs, where it is not the newest one in the cache."""
_NO_NODE = "192.0.2.1"
"""An address that is nobody's: the API is told of under it, and nobody asks there."""
_SERVICES = "10.97.0.0/16"
_CONTROLLERS = "deployment-controller,replicaset-controller,serviceaccount-controller"
_START_SECONDS = 60.0
_TAIL_LINES = 15
_AUDIT = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived", "ResponseStarted"],
    # What the daemon may and what it did is of interest; who plays the world is not.
    "rules": [
        {"level": "Metadata", "userGroups": ["system:serviceaccounts"]},
        {"level": "None"},
    ],
}


class StartError(Exception):
    """The control plane does not come up; the message has the end of the log that says why."""


def programs() -> Path:
    """Find the folder with the programs. Raises StartError."""
    cache = Path(os.environ.get("CLUSTER_CACHE") or Path.home() / ".cache/ollama-autoscaler")
    built = cache.glob("kube-????????????/kube-apiserver")
    newest = max(built, key=lambda program: program.lstat().st_mtime, default=None)
    named = os.environ.get(PROGRAMS) or (newest and newest.parent)
    if named is None or not (Path(named) / "kube-apiserver").exists():
        raise StartError(f"no kube-apiserver in {named or cache}; type: make test-cluster")
    return Path(named)


class ControlPlane:
    """One control plane; `stop` it, or end with it."""

    def __init__(self, directory: Path, bin_: Path | None = None) -> None:
        """Keep everything in `directory`; call `start`."""
        self._directory = directory
        self._bin = bin_ or programs()
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self.url = ""
        self.token = secrets.token_hex(16)
        """Of somebody who may do everything."""

    @property
    def ca(self) -> str:
        """The certificate to trust, as PEM."""
        return (self._directory / "pki/apiserver.crt").read_text()

    def kubeconfig(self, token: str) -> dict:
        """Write a kubeconfig for whoever has this token."""
        cluster = {
            "server": self.url,
            "certificate-authority-data": base64.b64encode(self.ca.encode()).decode(),
        }
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "real", "cluster": cluster}],
            "users": [{"name": "caller", "user": {"token": token}}],
            "contexts": [{"name": "real", "context": {"cluster": "real", "user": "caller"}}],
            "current-context": "real",
        }

    def audit(self) -> list[dict]:
        """Return what service accounts asked for, in the order of the answers."""
        with suppress(FileNotFoundError):
            lines = (self._directory / "audit.log").read_text().splitlines()
            return [json.loads(line) for line in lines]
        return []

    def start(self) -> None:
        """Start all three and wait until the API is ready. Raises StartError."""
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End all at once, since nothing is kept; safe to call twice."""
        for process in self._running.values():
            process.kill()
        for process in self._running.values():
            process.wait()
        self._running.clear()

    def _start(self) -> None:
        self._write_files()
        etcd, peers, port = free_port(), free_port(), free_port()
        self.url = f"https://127.0.0.1:{port}"
        self._run_etcd(f"http://127.0.0.1:{etcd}", f"http://127.0.0.1:{peers}")
        self._wait("etcd", lambda: _listens(etcd))
        self._run_apiserver(f"http://127.0.0.1:{etcd}", port)
        self._wait("kube-apiserver", self._is_ready)
        self._run_controllers(free_port())

    def _write_files(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        self._controllers_token = secrets.token_hex(16)
        rows = (
            f'{self.token},admin,admin,"system:masters"\n'
            f"{self._controllers_token},system:kube-controller-manager,controllers,\n"
        )
        (self._directory / "tokens.csv").write_text(rows)
        (self._directory / "audit.json").write_text(json.dumps(_AUDIT))
        key = self._directory / "accounts.key"
        subprocess.run(
            ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(key)],
            check=True,
            capture_output=True,
        )

    def _run_etcd(self, clients: str, peers: str) -> None:
        self._run(
            "etcd",
            "--name=contract",
            f"--data-dir={self._directory / 'etcd'}",
            "--unsafe-no-fsync",
            "--log-level=warn",
            f"--listen-client-urls={clients}",
            f"--advertise-client-urls={clients}",
            f"--listen-peer-urls={peers}",
            f"--initial-advertise-peer-urls={peers}",
            f"--initial-cluster=contract={peers}",
        )

    def _run_apiserver(self, etcd: str, port: int) -> None:
        key = self._directory / "accounts.key"
        self._run(
            "kube-apiserver",
            f"--etcd-servers={etcd}",
            "--bind-address=127.0.0.1",
            f"--secure-port={port}",
            f"--advertise-address={_NO_NODE}",
            f"--cert-dir={self._directory / 'pki'}",
            f"--token-auth-file={self._directory / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            f"--service-cluster-ip-range={_SERVICES}",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            f"--audit-policy-file={self._directory / 'audit.json'}",
            f"--audit-log-path={self._directory / 'audit.log'}",
            "--profiling=false",
        )

    def _run_controllers(self, port: int) -> None:
        config = self._directory / "controllers.json"
        config.write_text(json.dumps(self.kubeconfig(self._controllers_token)))
        self._run(
            "kube-controller-manager",
            f"--kubeconfig={config}",
            f"--authentication-kubeconfig={config}",
            f"--authorization-kubeconfig={config}",
            "--bind-address=127.0.0.1",
            f"--secure-port={port}",
            f"--cert-dir={self._directory / 'pki-controllers'}",
            "--leader-elect=false",
            f"--controllers={_CONTROLLERS}",
            "--use-service-account-credentials=true",
            f"--service-account-private-key-file={self._directory / 'accounts.key'}",
            "--profiling=false",
        )

    def _run(self, program: str, *options: str) -> None:
        with (self._directory / f"{program}.log").open("ab") as log:
            self._running[program] = subprocess.Popen(
                [self._bin / program, *options],
                cwd=self._directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=die_with_parent(),  # noqa: PLW1509 - it calls nothing but the kernel
            )

    def _wait(self, program: str, holds) -> None:
        end = time.monotonic() + _START_SECONDS
        while not holds():
            if self._running[program].poll() is not None or time.monotonic() > end:
                log = (self._directory / f"{program}.log").read_text(errors="replace")
                tail = "\n".join(log.splitlines()[-_TAIL_LINES:])
                raise StartError(f"{program} does not come up:\n{tail}")
            time.sleep(0.1)

    def _is_ready(self) -> bool:
        with suppress(OSError, urllib.error.URLError):
            trust = ssl.create_default_context(cadata=self.ca)
            asked = urllib.request.Request(f"{self.url}/readyz")
            asked.add_header("Authorization", f"Bearer {self.token}")
            with urllib.request.urlopen(asked, timeout=2, context=trust) as answer:
                return answer.status == 200
        return False


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
