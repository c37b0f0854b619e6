"""Which API a case runs against: the emulated one, and a real one where it was asked for."""

import os
from collections.abc import Iterator

import pytest

from tests.contract.emulated import Emulated
from tests.contract.world import World

ASKED = "CONTRACT_API"
APIS = ["emulated", *(["real"] if os.environ.get(ASKED) == "real" else [])]


@pytest.fixture(scope="session", params=APIS)
def api(request) -> str:
    """Name the API of a case."""
    return request.param


@pytest.fixture(scope="session")
def make_world(api, tmp_path_factory) -> Iterator:
    """Return what makes a world for one case."""
    if api == "emulated":
        yield Emulated
        return
    from tests.cluster.kube.control import ControlPlane  # noqa: PLC0415
    from tests.contract.real import Admin, Kubelet, Real  # noqa: PLC0415

    control = ControlPlane(tmp_path_factory.mktemp("control"))
    control.start()
    kubelet = Kubelet(Admin(control))
    yield lambda directory: Real(control, kubelet, directory)
    control.stop()
    kubelet.join()


@pytest.fixture(autouse=True)
def _told(api, record_property) -> None:
    """Let the summary know which API a case was about."""
    record_property("contract", api)


@pytest.fixture
def empty(make_world, tmp_path) -> Iterator[World]:
    """Give a world without any Deployment yet."""
    world = make_world(tmp_path)
    yield world
    world.close()


@pytest.fixture(scope="module")
def still(make_world, tmp_path_factory) -> Iterator[World]:
    """Give a world that cases share which change nothing, with two ready pods."""
    world = make_world(tmp_path_factory.mktemp("still"))
    world.deploy()
    yield world
    world.close()


@pytest.fixture
def world(empty) -> World:
    """Give a world with the Deployment `ollama` of two ready pods."""
    empty.deploy()
    return empty
