"""Debian trees as base layers, packages unpacked on top of them, and programs run inside.

The mirror is the machine's own, read from /etc/apt; signatures are checked with Debian's keys.
"""

import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from configparser import ConfigParser
from contextlib import contextmanager
from pathlib import Path

KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"
# What no program here reads at run time, and what differs from one making to the next.
NEEDLESS = [
    *("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "usr/share/lintian"),
    *("var/cache", "var/lib/apt/lists", "var/log/*", "var/lib/dpkg/*-old"),
    *("etc/hostname", "etc/machine-id", "etc/.pwd.lock"),
]
CERTIFICATES = Path("/etc/ssl/certs")
PIP_CONFIG = ".config/pip/pip.conf"
# This machine's way to the network, for what is run inside.
NETWORK = {str(each): each for each in (CERTIFICATES, Path("/etc/resolv.conf"))}


def mirror() -> str:
    """The machine's Debian mirror."""
    for file in sorted(Path("/etc/apt").glob("sources.list*")):
        for each in sorted(file.iterdir()) if file.is_dir() else [file]:
            if found := re.search(
                r"^[^#]*?(https?://\S+/debian)/?(?:\s|$)", each.read_text(), re.MULTILINE
            ):
                return found[1]
    raise SystemExit("no Debian mirror in /etc/apt")


def tree(suite: str, out: Path, *packages: str) -> None:
    """Make a minimal system of the suite, with these packages as well."""
    include = ["--include=" + ",".join(packages)] if packages else []
    run("debootstrap", "--variant=minbase", f"--keyring={KEYS}", *include, suite, out, mirror())
    strip(out)
    (out / "etc/resolv.conf").write_text("")


def strip(out: Path) -> None:
    """Remove what no program reads."""
    for pattern in NEEDLESS:
        for each in out.glob(pattern):
            shutil.rmtree(each) if each.is_dir() else each.unlink()


def unpack(suite: str, base: Path, out: Path, *packages: str) -> None:
    """Unpack packages, and what they need and the base lacks, into a folder.

    Nothing is installed on this machine and no script of a package runs: the programs wanted here
    need none. The index may be older than it says it may be, on a mirror that stands still.
    """
    with tempfile.TemporaryDirectory(prefix="images-") as folder:
        apt = Path(folder)
        for each in ("state/lists/partial", "cache/archives/partial"):
            (apt / each).mkdir(parents=True)
        # A copy, because apt locks the folder that it is in.
        shutil.copy2(base / "var/lib/dpkg/status", apt)
        (apt / "suite.list").write_text(
            f"deb [signed-by={KEYS} check-valid-until=no] {mirror()} {suite} main\n"
        )
        settings = {
            "Dir::Etc::sourcelist": apt / "suite.list",
            "Dir::Etc::sourceparts": "-",
            "Dir::Etc::preferences": "-",
            "Dir::Etc::preferencesparts": "-",
            "Dir::State": apt / "state",
            "Dir::State::status": apt / "status",
            "Dir::Cache": apt / "cache",
            "Acquire::Languages": "none",
            "APT::Sandbox::User": "root",
        }
        get = ["apt-get", "-qq", *(f"-o{key}={value}" for key, value in settings.items())]
        run(*get, "update")
        run(*get, "install", "-y", "--no-install-recommends", "--download-only", *packages)
        for package in sorted(apt.glob("cache/archives/*.deb")):
            run("dpkg-deb", "--extract", package, out)
    strip(out)


def run(*command: object, **options: object) -> str:
    """Run a command; what it printed, which is also in the error where it fails."""
    done = subprocess.run(
        [str(each) for each in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        check=False,
        **options,
    )
    if done.returncode:
        tail = "\n".join(done.stdout.splitlines()[-25:])
        raise RuntimeError(
            f"{shlex.join(map(str, command))[:300]} ended with {done.returncode}:\n{tail}"
        )
    return done.stdout


def inside(
    layers: list[Path],
    *command: object,
    user: str = "0:0",
    writable: dict[str, Path] | None = None,
    environment: dict[str, str] | None = None,
) -> str:
    """Run a command in the file system that the layers make, the first one lowest.

    The root is read-only and /tmp is empty, as in the pods; `writable` are folders and files of
    this machine, by their place inside. The network is this machine's. Mounts and processes go when
    the command ends.
    """
    lowest, *others = layers
    mounts = [f"mount --bind {lowest} $root", "mount -o remount,bind,ro $root"]
    if others:
        mounts = [f"mount -t overlay -o lowerdir={':'.join(map(str, layers[::-1]))} none $root"]
    mounts += ["mount -t proc proc $root/proc", "mount --rbind /dev $root/dev"]
    mounts += ["mount -t tmpfs -o mode=1777 none $root/tmp"]
    for place, folder in (writable or {}).items():
        mounts.append(f"mount --bind {shlex.quote(str(folder))} $root{place}")
    script = (
        f'set -e; root=$1; shift; {"; ".join(mounts)}; exec chroot --userspec={user} $root "$@"'
    )
    with tempfile.TemporaryDirectory(prefix="images-") as root:
        namespaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
        whole = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/tmp", **(environment or {})}
        return run(*namespaces, "sh", "-c", script, "sh", root, *command, env=whole)


def pip_settings() -> dict[str, str]:
    """This machine's own settings for pip, as variables: where from, and whom to trust."""
    files = ConfigParser(interpolation=None)
    files.read(["/etc/pip.conf", *(Path.home() / each for each in (".pip/pip.conf", PIP_CONFIG))])
    found = {
        "PIP_" + name.upper().replace("-", "_"): " ".join(value.split())
        for section in ("global", "install")
        if files.has_section(section)
        for name, value in files.items(section)
    }
    told = os.environ.items()
    return found | {
        name: value
        for name, value in told
        if name.startswith("PIP_") or name.lower().endswith("_proxy")
    }


@contextmanager
def builder(storage: Path) -> Iterator[dict[str, str]]:
    """The environment of a container builder that keeps nothing outside the folder.

    What it runs may use this machine's way to PyPI: pip's settings, certificates and names.
    """
    storage.mkdir()
    (storage / "storage.conf").write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{storage}/graph"\nrunroot = "{storage}/run"\n'
    )
    shown = ", ".join(f'"{name}={value}"' for name, value in pip_settings().items())
    (storage / "containers.conf").write_text(
        f'[containers]\nvolumes = ["{CERTIFICATES}:{CERTIFICATES}:ro"]\nenv = [{shown}]\n'
    )
    yield os.environ | {
        "CONTAINERS_STORAGE_CONF": f"{storage}/storage.conf",
        "CONTAINERS_CONF": f"{storage}/containers.conf",
        "BUILDAH_ISOLATION": "chroot",
    }
    shutil.rmtree(storage)
