"""The composition root: what the settings say reaches those whom it concerns."""

from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import StringIO
from pathlib import Path
from threading import Thread

import pytest

from autoscaler.adapters.haproxy import HaproxyGateways
from autoscaler.bootstrap import (
    build,
    busy_source,
    check_settings,
    metric_source,
    patience,
    plan_of,
)
from autoscaler.check import Severity
from autoscaler.decision.words import Mode
from autoscaler.errors import ConfigError
from autoscaler.ports import MetricQuery
from autoscaler.settings import load
from tests.stubs import CONFIGURATION, World, environment

SHIPPED = Path(__file__).parent.parent / "config" / "autoscaler.yaml"


@pytest.fixture
def world(tmp_path):
    """Return a Prometheus and a Kubernetes API that answer."""
    world = World(tmp_path)
    yield world
    world.stop()


@pytest.fixture
def settings(world, tmp_path):
    """Return a function that loads the tests' configuration with this environment."""
    path = tmp_path / "autoscaler.yaml"
    path.write_text(CONFIGURATION)
    return lambda **environ: load(path, environment(world, **environ))


def test_the_shipped_plan():
    """Each metric of the policy has its query, and nothing is written in a dry run."""
    (target,) = load(SHIPPED, {}).targets
    plan = plan_of(target)
    assert plan.name == "llm/ollama"
    assert plan.mode is Mode.ACT
    assert [query.name for query in plan.queries] == [m.name for m in plan.policy.metrics]
    assert plan_of(target, dry_run=True).mode is Mode.SHADOW


@pytest.mark.parametrize(
    ("interval", "targets", "limit"),
    [(0.1, 1, 30), (5, 1, 30), (6, 32, 30), (60, 32, 300), (5, 33, 54), (5, 1000, 774)],
)
def test_liveness_waits_for_five_intervals_and_thirty_seconds(interval, targets, limit):
    """Whichever is longer, and for turns where there are more targets than workers.

    So that no outage within the timeouts looks like a loop that hangs.
    """
    shipped = load(SHIPPED, {})
    update = {"interval": timedelta(seconds=interval), "targets": shipped.targets * targets}
    assert patience(shipped.model_copy(update=update)) == timedelta(seconds=limit)


def test_a_daemon_is_built_without_asking_anybody(world, settings):
    """Neither Prometheus nor the cluster has to be there when the daemon starts."""
    build(settings(), StringIO())
    assert world.requests == []


def test_a_kubeconfig_that_is_missing_is_a_bad_configuration(settings):
    """Nothing is half started; the key is named that is to be mended."""
    with pytest.raises(ConfigError, match=r"^kubernetes\.kubeconfig: .*/nowhere"):
        build(settings(AUTOSCALER_KUBERNETES__KUBECONFIG="/nowhere"), StringIO())


def test_a_context_that_is_missing_is_a_bad_configuration(settings):
    """The message names both keys, since either may be wrong."""
    with pytest.raises(ConfigError, match=r"^kubernetes\.kubeconfig and kubernetes\.context: "):
        build(settings(AUTOSCALER_KUBERNETES__CONTEXT="nobody"), StringIO())


def test_headers_and_token_reach_prometheus(settings, tmp_path):
    """As configured, and nowhere else."""
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(self.headers)
            self.send_error(500)

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    loaded = settings(
        AUTOSCALER_PROMETHEUS__URL=f"http://127.0.0.1:{server.server_address[1]}",
        AUTOSCALER_PROMETHEUS__HEADERS="{X-Scope-OrgID: home}",
        AUTOSCALER_PROMETHEUS__BEARER_TOKEN_FILE=str(token),
    )
    query = MetricQuery(name="a", query="vector(1)")
    metric_source(loaded.prometheus).ask([query], datetime(2026, 11, 23, tzinfo=UTC))
    server.shutdown()
    server.server_close()
    assert seen[0]["X-Scope-OrgID"] == "home"
    assert seen[0]["Authorization"] == "Bearer s3cret"


STATISTICS = (
    b"# pxname,svname,scur,addr,\nours,one,3,10.0.0.1:11434,\nours,BACKEND,3,,\n"
    b"ollama,one,1,10.0.0.1:11434,\nollama,BACKEND,1,,\n"
)


@pytest.mark.parametrize(
    ("of_all", "of_target", "backend", "told"),
    [
        ("here", "", "ollama", {"10.0.0.1": 1}),
        ("here", "", "ours", {"10.0.0.1": 3}),
        ("", "here", "ours", {"10.0.0.1": 3}),
        ("http://127.0.0.1:1/", "here", "ours", {"10.0.0.1": 3}),
        ("http://127.0.0.1:1/", "", "ours", None),
    ],
)
def test_the_targets_gateway_is_asked(tmp_path, of_all, of_target, backend, told):
    """Its own where it has one, else that of all, for the backend that is named."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(STATISTICS)

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    here = f"http://127.0.0.1:{server.server_address[1]}/stats;csv"
    path = tmp_path / "autoscaler.yaml"
    path.write_text(
        CONFIGURATION
        + f"    gateway_backend: {backend}\n"
        + f'    gateway_stats_url: "{of_target.replace("here", here)}"\n'
    )
    settings = load(path, {"AUTOSCALER_GATEWAY__STATS_URL": of_all.replace("here", here)})
    gateways = HaproxyGateways(settings.gateway.timeout, iter(range(9)).__next__)
    source = busy_source(settings, settings.targets[0], gateways)
    answer = source.in_flight()
    server.shutdown()
    server.server_close()
    assert answer == told


def test_without_a_gateway_nobody_is_asked(settings):
    """An empty address says that there is none."""
    loaded = settings()
    gateways = HaproxyGateways(loaded.gateway.timeout, iter(range(9)).__next__)
    assert busy_source(loaded, loaded.targets[0], gateways) is None


def test_a_check_looks_at_the_real_thing(settings):
    """Every adapter is asked; here all is well."""
    found = check_settings(settings())
    assert {each.severity for each in found} == {Severity.OK}
    assert any("2 replicas, 2 ready" in each.what for each in found)


def test_a_check_offline_needs_no_cluster(settings):
    """Not even a kubeconfig."""
    found = check_settings(settings(AUTOSCALER_KUBERNETES__KUBECONFIG="/nowhere"), offline=True)
    assert {each.severity for each in found} == {Severity.OK}
