"""A changed configuration: taken over between cycles, or refused with the old one kept."""

import os
import time
from contextlib import closing
from datetime import timedelta

import pytest

from autoscaler.daemon.reload import ConfigFile, Reload, ReloadListeners
from autoscaler.errors import ConfigError
from tests.stubs import CONFIGURATION, DaemonProcess, World

QUIET = CONFIGURATION.replace("interval: 100ms", "interval: 1s")


@pytest.fixture
def path(tmp_path):
    """Return a configuration as a ConfigMap mounts it: two links before the file."""
    publish(tmp_path, CONFIGURATION)
    (tmp_path / "autoscaler.yaml").symlink_to("..data/autoscaler.yaml")
    return tmp_path / "autoscaler.yaml"


def publish(folder, text):
    """Swap the content as the kubelet does."""
    version = folder / f"..{time.monotonic_ns()}"
    version.mkdir()
    (version / "autoscaler.yaml").write_text(text)
    (folder / "..tmp").symlink_to(version.name)
    (folder / "..tmp").rename(folder / "..data")


class Rig:
    """The duty to reload, and all that comes of it."""

    def __init__(self, path):
        self.told = []
        self.applied = []
        file = ConfigFile(path, {})
        listeners = ReloadListeners(
            on_reloaded=lambda changes: self.told.append(("reloaded", changes)),
            on_refused=lambda reason: self.told.append(("refused", reason)),
            on_restart_needed=lambda keys: self.told.append(("restart", keys)),
        )
        self.error = None
        self.reload = Reload(file, file.load(), self.apply, listeners)

    def apply(self, settings):
        """Note the settings."""
        if self.error:
            raise self.error
        self.applied.append(settings)

    def look(self, times=2):
        """Glance so often; return what was told by it."""
        self.told.clear()
        for _ in range(times):
            self.reload.glance()
        return list(self.told)


def test_nothing_is_reloaded_that_did_not_change(path):
    """Nor is the same content in another file."""
    rig = Rig(path)
    assert rig.look() == []
    publish(path.parent, CONFIGURATION)
    assert rig.look() == []
    assert rig.applied == []


def test_a_change_is_taken_over_once_it_has_settled(path):
    """Seen twice the same, so that no file is read half written."""
    rig = Rig(path)
    publish(path.parent, CONFIGURATION + "    min_replicas: 3\n")
    assert rig.look(times=1) == []
    publish(path.parent, CONFIGURATION + "    min_replicas: 4\n")
    assert rig.look(times=1) == []
    assert rig.look(times=1) == [("reloaded", ("llm/ollama.min_replicas",))]
    assert rig.look() == []
    (settings,) = rig.applied
    assert settings.targets[0].min_replicas == 4


def test_a_bad_one_is_refused_once_and_the_old_one_put_back_is_fine(path):
    """The one line is that of the start."""
    rig = Rig(path)
    publish(path.parent, CONFIGURATION + "    min_replicas: 9\n")
    ((what, reason),) = rig.look()
    assert what == "refused"
    assert "targets[0].min_replicas = 9, must not be above max_replicas = 6" in reason
    assert rig.look() == []
    publish(path.parent, CONFIGURATION)
    assert rig.look() == [("reloaded", ())]


def test_a_file_that_is_gone_is_refused(path):
    """As is one that is no file any more."""
    rig = Rig(path)
    path.unlink()
    ((what, reason),) = rig.look()
    assert (what, "no such file" in reason) == ("refused", True)
    path.mkdir()
    assert rig.look() == []


def test_what_cannot_be_applied_is_refused(path):
    """Whatever goes wrong, the daemon goes on."""
    rig = Rig(path)
    publish(path.parent, QUIET)
    rig.error = ConfigError("prometheus.url: no")
    assert rig.look() == [("refused", "prometheus.url: no")]
    publish(path.parent, CONFIGURATION)
    rig.error = ZeroDivisionError("so")
    assert rig.look() == [("refused", "unexpected ZeroDivisionError: so")]


def test_what_holds_for_the_process_waits_for_a_restart(path):
    """The rest is applied; it is told as long as it differs from what is in force."""
    rig = Rig(path)
    changed = QUIET.replace("port: 0", "port: 9090").replace("json}", "json, level: debug}")
    publish(path.parent, changed)
    waiting = ("restart", ("http.port", "log.level"))
    assert rig.look() == [("reloaded", ("interval",)), waiting]
    (settings,) = rig.applied
    assert (settings.http.port, settings.interval) == (0, timedelta(seconds=1))
    publish(path.parent, changed + "    min_replicas: 3\n")
    assert rig.look() == [("reloaded", ("llm/ollama.min_replicas",)), waiting]
    publish(path.parent, QUIET)
    assert rig.look() == [("reloaded", ("llm/ollama.min_replicas",))]


def test_targets_come_and_go_by_name(path):
    """No value is told, which may be secret."""
    rig = Rig(path)
    secret = 'prometheus: {headers: {X-Key: "s3cret"}}\n'
    publish(path.parent, CONFIGURATION.replace("deployment: ollama", "deployment: other") + secret)
    ((_, changes),) = rig.look()
    assert changes == ("prometheus.headers", "llm/ollama (removed)", "llm/other (added)")


def test_what_can_be_read_only_once_is_not_watched(tmp_path):
    """A pipe has been read to its end by the start."""
    pipe = tmp_path / "pipe.yaml"
    os.mkfifo(pipe)
    assert not ConfigFile(pipe, {}).changed()


# --- the process ----------------------------------------------------------------------------------


@pytest.fixture
def world(tmp_path):
    """A Deployment of two replicas."""
    world = World(tmp_path)
    yield world
    world.stop()


def second(text):
    """Add a target to a configuration."""
    head, _, target = text.partition("targets:\n")
    return head + "targets:\n" + target + target.replace("ollama", "second")


def test_a_running_daemon_takes_over_what_changes(world, path):
    """Bounds, targets that come and go, an interval; a target that stays goes on from its state."""
    cool = CONFIGURATION + "    scale_up: {cooldown: 1h}\n"
    publish(path.parent, cool)
    world.load = 4.0
    with closing(DaemonProcess(world, config=path)) as daemon:
        daemon.wait_event("cycle", lambda event: event["outcome"] == "scaled")

        publish(path.parent, second(cool.replace("1h}", "1h}\n    max_replicas: 9")))
        told = daemon.wait_event("reloaded")
        assert told["changes"] == ["llm/ollama.max_replicas", "llm/second (added)"]
        world.load = 8.0
        daemon.wait_event("cycle", lambda event: event.get("reason") == "CoolingDown")
        daemon.wait_event("cycle", lambda event: event["target"] == "llm/second")
        daemon.wait_cycles(4)  # whatever ran as it was told has ended
        page = daemon.get("/metrics")
        assert 'autoscaler_max_replicas{target="llm/ollama"} 9.0' in page
        assert 'target="llm/second"' in page

        publish(path.parent, cool)
        daemon.wait_event("reloaded", after=1)
        daemon.wait_cycles(3)
        assert "llm/second" not in daemon.get("/metrics") + daemon.get("/status")

        publish(path.parent, cool.replace("max_replicas", "max_replicass") + "    x: 1\n")
        told = daemon.wait_event("reload refused")
        assert "targets[0].x = 1, unknown key" in told["message"]
        daemon.wait_cycles(2)
        page = daemon.get("/metrics")
        assert "\nautoscaler_config_reload_success 0.0" in page
        assert 'autoscaler_config_reloads_total{result="ok"} 2.0' in page
        assert 'autoscaler_config_reloads_total{result="refused"} 1.0' in page
        assert world.count("/events") > 0

        publish(path.parent, cool.replace("interval: 100ms", "interval: 10s"))
        daemon.wait_event("reloaded", after=2)
        assert "\nautoscaler_config_reload_success 1.0" in daemon.get("/metrics")
        daemon.wait_cycles(1)
        seen = len(daemon.events("cycle"))
        time.sleep(1.5)
        assert len(daemon.events("cycle")) <= seen + 1
        assert daemon.get("/healthz") == "ok"
        assert daemon.stop() == 0
        assert daemon.errors == []


def test_another_prometheus_is_asked_from_the_next_cycle(world, path, tmp_path):
    """And what the environment says still comes first."""
    other = World(tmp_path)
    other.load = 4.0
    try:
        publish(path.parent, CONFIGURATION)
        with closing(Started(world, path)) as daemon:
            daemon.wait_cycles(2)
            publish(path.parent, CONFIGURATION + f"prometheus: {{url: {other.prometheus_url}}}\n")
            daemon.wait_event("cycle", lambda event: event["outcome"] == "scaled")
            assert daemon.stop() == 0
    finally:
        other.stop()


class Started(DaemonProcess):
    """A daemon whose Prometheus is not given by the environment."""

    def __init__(self, world, path):
        publish(path.parent, CONFIGURATION + f"prometheus: {{url: {world.prometheus_url}}}\n")
        super().__init__(world, config=path, without=("AUTOSCALER_PROMETHEUS__URL",))
