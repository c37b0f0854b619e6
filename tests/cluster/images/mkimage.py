"""Write image archives (OCI) from folders: no builder, no registry, same files, same bytes.

A layer is a tar file of its own, so that images that share one share its digest. File by file it
goes to disk: nothing here holds a layer in memory.
"""

import hashlib
import io
import json
import os
import platform
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

OCI = "application/vnd.oci.image."
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# What `setcap cap_net_bind_service=+ep` writes: revision 2 and "effective", then the bit mask.
NET_BIND_SERVICE = bytes.fromhex("01000002 00040000 00000000 00000000 00000000")


def layer(folder: Path, tar: Path, capabilities: dict[str, bytes] | None = None) -> Path:
    """Write the folder's content as one layer; `capabilities` are those of program files in it."""

    def normal(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
        """Drop what differs between two makings of the same content."""
        entry.mtime = 0
        entry.uname = entry.gname = ""
        if (capability := (capabilities or {}).get(entry.name.removeprefix("./"))) is not None:
            entry.pax_headers["SCHILY.xattr.security.capability"] = capability.decode("latin-1")
        return None if entry.ischr() or entry.isblk() else entry

    with tarfile.open(tar, "w", format=tarfile.PAX_FORMAT) as out:
        out.add(folder, arcname=".", filter=normal)
    return tar


def config(env: dict[str, str] | None = None, **settings: object) -> bytes:
    """An image's configuration, in the format's own words: Entrypoint, Cmd, User, StopSignal."""
    settings["Env"] = [f"{name}={value}" for name, value in ({"PATH": PATH} | (env or {})).items()]
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
    return json.dumps({"architecture": architecture, "os": "linux", "config": settings}).encode()


def archive(out: Path, name: str, layers: list[Path], settings: bytes) -> None:
    """Write an archive that `ctr images import` takes under this very name.

    The layers are compressed, which halves the time of an import: most of it goes to check sums.
    """
    diffs = [_digest(each) for each in layers]
    settings = json.dumps(
        json.loads(settings) | {"rootfs": {"type": "layers", "diff_ids": diffs}}
    ).encode()
    with tempfile.TemporaryDirectory(dir=out.parent) as folder, tarfile.open(out, "w") as tar:
        packed = [Path(folder, diff) for diff in diffs]
        for each, file in zip(layers, packed, strict=True):
            subprocess.run(["zstd", "-q", "-3", "-T2", "-f", each, "-o", file], check=True)
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI + "manifest.v1+json",
            "config": _blob(settings, "config.v1+json"),
            "layers": [
                _described(_digest(file), file.stat().st_size, "layer.v1.tar+zstd")
                for file in packed
            ],
        }
        written = json.dumps(manifest).encode()
        entry = _blob(written, "manifest.v1+json")
        # containerd goes by the first, buildah by the second.
        entry["annotations"] = {
            "io.containerd.image.name": name,
            "org.opencontainers.image.ref.name": name,
        }
        index = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
        _add(tar, "oci-layout", io.BytesIO(b'{"imageLayoutVersion": "1.0.0"}'))
        _add(tar, "index.json", io.BytesIO(index))
        for content in (settings, written):
            _add(tar, _place(_blob(content, "")), io.BytesIO(content))
        for described, file in zip(manifest["layers"], packed, strict=True):
            with file.open("rb") as content:
                _add(tar, _place(described), content)


def repack(docker_archive: Path, out: Path, name: str) -> None:
    """Turn what a builder saved for Docker into such an archive, with its layers as they are."""
    folder = out.with_suffix(".parts")
    with tarfile.open(docker_archive) as tar:
        tar.extractall(folder, filter="data")
    image = json.loads((folder / "manifest.json").read_text())[0]
    layers = [folder / each for each in image["Layers"]]
    archive(out, name, layers, (folder / image["Config"]).read_bytes())
    shutil.rmtree(folder)


def _described(digest: str, size: int, kind: str) -> dict[str, object]:
    return {"mediaType": OCI + kind, "digest": digest, "size": size}


def _blob(content: bytes, kind: str) -> dict[str, object]:
    return _described("sha256:" + hashlib.sha256(content).hexdigest(), len(content), kind)


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return "sha256:" + hashlib.file_digest(content, "sha256").hexdigest()


def _place(described: dict) -> str:
    return "blobs/" + described["digest"].replace(":", "/")


def _add(tar: tarfile.TarFile, name: str, file: io.BufferedIOBase) -> None:
    member = tarfile.TarInfo(name)
    member.size = file.seek(0, os.SEEK_END)
    file.seek(0)
    tar.addfile(member, file)
