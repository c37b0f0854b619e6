"""The namespaces that a pod is made of, for what has to run in one."""

import contextlib
import functools
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

PORT = 11434
POD, POD6 = "10.9.0.1", "fd00::1"
GATEWAY, GATEWAY6 = "10.9.0.2", "fd00::2"

_ROOT = os.geteuid() == 0
UNSHARE = ["unshare", *([] if _ROOT else ["--user", "--map-root-user"])]
"""The beginning of a command in namespaces of its own."""
_POD = [*UNSHARE, "--net", "--pid", "--mount-proc", "--fork", "--kill-child"]
_NSENTER = ["nsenter", *([] if _ROOT else ["--user", "--preserve-credentials"])]
_NSENTER += ["--net", "--pid", "--mount"]

_INIT = f"""
import socket, subprocess
subprocess.run("ip link set lo up", shell=True, check=True)
for address in ("{POD}/24", "{GATEWAY}/24", "{POD6}/64", "{GATEWAY6}/64"):
    subprocess.run(["ip", "addr", "add", address, "dev", "lo"], check="." in address)
with socket.socket(fileno=0) as channel:
    while family := channel.recv(1):
        with socket.socket(socket.AF_INET6 if family == b"6" else socket.AF_INET) as made:
            socket.send_fds(channel, [b"."], [made.fileno()])
"""
"""The first process. A socket belongs for ever to the network it was made in: so this one makes
them and hands them out. It ends with its channel, and everything in the namespaces with it."""


@functools.cache
def obstacle() -> str | None:
    """Say why there can be no namespaces here."""
    missing = [name for name in ("unshare", "nsenter", "ip") if shutil.which(name) is None]
    if missing:
        return f"{' and '.join(missing)} not found; type: apt-get install util-linux iproute2"
    tried = subprocess.run(
        [*_POD, "ip", "link", "set", "lo", "up"], capture_output=True, text=True, check=False
    )
    if tried.returncode == 0:
        return None
    return f"no namespaces ({tried.stderr.strip()}); run as root, or allow user namespaces"


@dataclass(slots=True, kw_only=True)
class Request:
    """Both ends of a connection."""

    client: socket.socket
    server: socket.socket

    def end(self) -> None:
        """Close it as Ollama does after an answer: the server first."""
        self.server.close()
        self.client.close()


@dataclass(slots=True, kw_only=True)
class Pod:
    """One pod: what listens, who connects, and what is run in its container."""

    process: subprocess.Popen[str]
    """Its standard output is the container's log."""
    channel: socket.socket
    held: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def make_socket(self, *, ipv6: bool = False) -> socket.socket:
        """Make a socket in the pod's network."""
        self.channel.sendall(b"6" if ipv6 else b"4")
        _, fds, _, _ = socket.recv_fds(self.channel, 1, 1)
        assert fds, self.process.communicate()[1]
        return self.held.enter_context(socket.socket(fileno=fds[0]))

    def listen(self, address: str = "::", port: int = PORT) -> socket.socket:
        """Listen as Ollama does: on IPv4 and IPv6 at once, or on one address."""
        listener = self.make_socket(ipv6=":" in address)
        if address == "::":
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind((address, port))
        listener.listen()
        return listener

    def connect(self, listener: socket.socket, source: str, to: str) -> Request:
        """Connect from one address to another."""
        client = self.make_socket(ipv6=":" in source)
        client.bind((source, 0))
        client.connect((to, listener.getsockname()[1]))
        server, _ = listener.accept()
        return Request(client=client, server=self.held.enter_context(server))

    def run(self, *command: str | Path, **environment: str) -> subprocess.Popen[str]:
        """Run a command in the container, as an exec hook is run."""
        first = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        process = subprocess.Popen(
            [*_NSENTER, "--target", first.strip(), *command],
            env={"PATH": os.environ["PATH"], **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return self.held.enter_context(process)


@contextmanager
def running_pod(*, log: int = subprocess.PIPE) -> Iterator[Pod]:
    """Make a pod, and leave nothing of it behind."""
    if reason := obstacle():
        pytest.skip(reason)
    ours, theirs = socket.socketpair()
    with ours:
        process = subprocess.Popen(
            [*_POD, sys.executable, "-c", _INIT],
            stdin=theirs,
            stdout=log,
            stderr=subprocess.PIPE,
            text=True,
        )
        theirs.close()
        with process:
            pod = Pod(process=process, channel=ours)
            try:
                pod.make_socket()
                yield pod
            finally:
                ours.close()
                pod.held.close()
