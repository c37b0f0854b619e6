"""The images that the tests on a real cluster make for themselves."""

import os
import tarfile

import pytest

from tests.cluster.images import build, mkimage
from tests.stack import builds


def test_they_have_the_names_that_the_overlay_pins():
    """What is read from the kustomization files is what kustomize makes of them."""
    pods = [
        template.spec for template in builds.templates(builds.built("deploy/overlays/minikube"))
    ]
    used = {
        container["image"]
        for pod in pods
        for container in pod["containers"] + pod.get("initContainers", [])
    }
    assert {f"{name}:{tag}" for name, tag in build.pinned().items()} == used


@pytest.mark.parametrize(
    ("name", "known_as"),
    [
        ("haproxy", "docker.io/library/haproxy:1"),
        ("prom/prometheus", "docker.io/prom/prometheus:1"),
        ("ghcr.io/some/where", "ghcr.io/some/where:1"),
        ("registry:5000/name", "registry:5000/name:1"),
    ],
)
def test_a_name_is_written_out_as_containerd_does(name, known_as):
    """A short name is one of the usual registry."""
    assert build.full(name, "1") == known_as


def test_the_same_files_make_the_same_layer(tmp_path):
    """Neither times nor users' names of this machine get into an image."""
    layers = []
    for at, seconds in enumerate((1_000, 2_000)):
        root = tmp_path / f"root{at}"
        (root / "bin").mkdir(parents=True)
        (root / "bin/program").write_text("#!/bin/sh\n")
        (root / "bin/other").symlink_to("program")
        os.utime(root / "bin/program", (seconds, seconds))
        layers.append(mkimage.layer(root, tmp_path / f"{at}.tar").read_bytes())
    assert layers[0] == layers[1]


def test_a_program_keeps_its_capability_in_a_layer(tmp_path):
    """As `setcap cap_net_bind_service=+ep` would write it, for the one program that has it."""
    root = tmp_path / "root"
    root.mkdir()
    for name in ("coredns", "other"):
        (root / name).write_text("")
    mkimage.layer(root, tmp_path / "tar", {"coredns": mkimage.NET_BIND_SERVICE})
    with tarfile.open(tmp_path / "tar") as tar:
        headers = {member.name: member.pax_headers for member in tar}
    key = "SCHILY.xattr.security.capability"
    assert headers["./coredns"][key].encode() == mkimage.NET_BIND_SERVICE
    assert key not in headers["./other"]
