"""`autoscaler check`: what it finds, and what it says to do."""

import socket
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace

import pytest

from autoscaler.adapters.haproxy_look import Server
from autoscaler.adapters.kubernetes import Container, Written
from autoscaler.check import LeaseProbe, Probe, Severity, World, check
from autoscaler.decision.model import Missing, Pod, Sample, Samples
from autoscaler.decision.words import Direction, MissingKind
from autoscaler.errors import ObserveError, TargetReadError
from autoscaler.ports import TargetState
from autoscaler.settings import load

NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
CONFIGURATION = """
http: {host: 127.0.0.1, port: 0}
targets:
  - namespace: llm
    deployment: ollama
    metrics:
      - {name: queue_depth, query: sum(x), type: total, target: 0.8}
      - {name: cpu_to_limit, query: x / limit, type: pod, target: 0.7}
"""
PODS = (Pod(name="ollama-a"), Pod(name="ollama-b"))


def sample(value=1.0, age=2, **labels):
    """Return a sample of this age in seconds."""
    return Sample(labels=labels, value=value, at=NOW - timedelta(seconds=age))


GOOD = {
    "queue_depth": Samples(samples=(sample(1.6),)),
    "cpu_to_limit": Samples(samples=(sample(0.5, pod="ollama-a"), sample(0.5, pod="ollama-b"))),
}


def deployed(limit=Decimal(2), **changed):
    """Return a Deployment in which everything is as it should be, unless told otherwise."""
    whole = {
        "containers": (Container(name="ollama", cpu_limit=limit, slots=1),),
        "grace": timedelta(seconds=330),
        "strategy": "RollingUpdate",
        "unknown_annotations": {},
    }
    return Written(**whole | changed)


class FakeCluster:
    """A cluster in which everything is as it should be, unless told otherwise."""

    def __init__(self):
        self.state = TargetState(current=2, ready=2, pods=PODS)
        self.granted = {"get deployments.apps": True, "list pods": True}
        self.asked = []
        self.rivals = ()
        self.deployment = deployed()

    def read(self):
        """Return the target."""
        return self._told(self.state)

    def scale(self, current, desired):
        """Fail: a check never writes."""
        raise AssertionError

    def rights(self, **does):
        """Return the rights."""
        self.asked.append(does)
        return self._told(self.granted)

    def written(self):
        """Return the Deployment as it is written."""
        return self._told(self.deployment)

    def other_scalers(self):
        """Return the rivals."""
        return self._told(self.rivals)

    def _told(self, value):
        if isinstance(value, Exception):
            raise value
        return value


class FakeSource:
    """A source with set answers."""

    def __init__(self, answers, spacings=None):
        self.answers = answers
        self.spacings = spacings or {}

    def ask(self, queries, now):
        """Return them; whoever asks for anything at all is answered."""
        assert now == NOW
        known = {"anything": Samples(samples=(sample(),))} | self.answers
        return {query.name: known[query.name] for query in queries}

    def spacing(self, selector):
        """Return how far apart the samples are, in seconds."""
        seconds = self.spacings.get(selector)
        return None if seconds is None else timedelta(seconds=seconds)


@pytest.fixture
def settings(tmp_path):
    """Return a function that loads the configuration, with something changed."""

    def settings(old="", new=""):
        path = tmp_path / "autoscaler.yaml"
        path.write_text(CONFIGURATION.replace(old, new, 1))
        return load(path, {})

    return settings


class FakeLease:
    """A Lease to which all rights are granted, unless told otherwise."""

    def __init__(self, granted):
        self.granted = granted

    def rights(self):
        """Return the rights."""
        if isinstance(self.granted, Exception):
            raise self.granted
        return self.granted


class FakeGateway:
    """Gateway pods that have these servers."""

    def __init__(self, *pods):
        self.pods = pods

    def servers(self):
        """Return them, or why there are none."""
        if isinstance(self.pods[0], Exception):
            raise self.pods[0]
        return self.pods


def findings(settings, cluster=None, *, gateway=None, lease=None, spacings=None, **answers):
    """Return what is found, without what is in order."""
    cluster = cluster or FakeCluster()
    world = World(
        source=FakeSource(GOOD | answers, spacings),
        probes={"llm/ollama": Probe(target=cluster, checks=cluster, gateway=gateway)},
        now=NOW,
        lease=LeaseProbe(namespace="llm", name="autoscaler", checks=lease) if lease else None,
    )
    return [each for each in check(settings, world) if each.severity is not Severity.OK]


def test_nothing_is_found_where_all_is_well(settings):
    """Yet everything that was looked at is told."""
    assert findings(settings()) == []
    cluster = FakeCluster()
    world = World(
        source=FakeSource(GOOD),
        probes={"llm/ollama": Probe(target=cluster, checks=cluster)},
        now=NOW,
    )
    told = [each.what for each in check(settings(), world)]
    assert told == [
        "2..6 replicas by queue_depth, cpu_to_limit; mode act",
        "2 replicas, 2 ready",
        "may get deployments.apps, list pods",
        "no gateway is asked for requests in flight: victims go blindly",
        "1.6, 2s old; target 0.8 per replica",
        "1 over 2 pods, 2s old; target 0.7 per replica",
    ]


@pytest.mark.parametrize(
    ("answer", "severity", "what", "step"),
    [
        (Samples(samples=()), "error", "Empty: no series", "is that scraped?"),
        (Samples(samples=(sample(), sample(b="c"))), "error", "TooManySeries: 2 series", "sum("),
        (Samples(samples=(sample(age=45),)), "error", "Stale: 45s old, max_age 30s", "max_age"),
        (Samples(samples=(sample(float("nan")),)), "error", "NotANumber", "division by zero"),
        (
            Missing(missing=MissingKind.FAILED, detail="timeout after 3s"),
            "error",
            "Failed: timeout after 3s",
            "prometheus.url",
        ),
        (
            Missing(missing=MissingKind.FAILED, detail="bad query: unknown function"),
            "error",
            "Failed: bad query",
            "mend the query",
        ),
        (
            Missing(missing=MissingKind.FAILED, detail="bearer_token_file /a: must be text"),
            "error",
            "Failed: bearer_token_file",
            "correct prometheus.bearer_token_file",
        ),
    ],
    ids=["empty", "several series", "stale", "not a number", "failed", "bad query", "no token"],
)
def test_a_query_without_a_usable_answer_is_found(settings, answer, severity, what, step):
    """Judged as a cycle would, with what to do about it."""
    (found,) = findings(settings(), queue_depth=answer)
    assert found.where == "llm/ollama queue_depth"
    assert found.severity == severity
    assert what in found.what
    assert step in found.next_step


def test_a_per_pod_metric_without_the_label_is_found(settings):
    """The advice names the label."""
    (found,) = findings(settings(), cpu_to_limit=Samples(samples=(sample(),)))
    assert "lacks the label `pod`" in found.what
    assert "by (pod)" in found.next_step


def test_a_pod_without_a_sample_is_a_warning(settings):
    """The daemon can work with that, but not as one might think."""
    answer = Samples(samples=(sample(0.5, pod="ollama-a"),))
    (found,) = findings(settings(), cpu_to_limit=answer)
    assert found.severity is Severity.WARNING
    assert "1 of 2 ready pods lack a sample" in found.what


def test_an_empty_answer_that_means_zero_is_fine(settings):
    """With `on_empty: zero` there is nothing to find."""
    changed = settings("target: 0.8", "target: 0.8, on_empty: zero")
    assert findings(changed, queue_depth=Samples(samples=())) == []


@pytest.mark.parametrize("query", ["sum(x", "rate(x)", "x[5m]"])
def test_a_query_that_is_not_promql_is_found_offline(settings, query):
    """Its place is named without asking anybody."""
    found = [f for f in check(settings("sum(x)", f"'{query}'")) if f.severity is Severity.ERROR]
    assert [each.where for each in found] == ["llm/ollama queue_depth"]
    assert len(found[0].what.splitlines()) == 1


def test_offline_nobody_is_asked(settings):
    """The configuration and the queries alone."""
    assert {each.severity for each in check(settings())} == {Severity.OK}


def test_a_target_that_cannot_be_read_is_found(settings):
    """The metrics are asked for all the same."""
    cluster = FakeCluster()
    cluster.state = TargetReadError("llm/ollama: not found")
    found = findings(settings(), cluster, queue_depth=Samples(samples=()))
    assert [each.what for each in found] == ["not found", "Empty: no series"]


@pytest.mark.parametrize(
    ("current", "what", "step"),
    [
        (0, "0 replicas: switched off", "scale deployment ollama --replicas=2"),
        (1, "outside 2..6", "min_replicas"),
        (9, "outside 2..6", "max_replicas"),
    ],
)
def test_replicas_that_will_surprise_are_found(settings, current, what, step):
    """Switched off, or about to be moved to a bound."""
    cluster = FakeCluster()
    cluster.state = TargetState(current=current, ready=2, pods=PODS)
    (found,) = findings(settings(), cluster)
    assert found.severity is Severity.WARNING
    assert what in found.what
    assert step in found.next_step


def test_missing_rights_are_named(settings):
    """One finding each, with where to grant it; those that are there are told in one."""
    cluster = FakeCluster()
    cluster.granted = {"patch deployments/scale.apps": False, "list pods": True, "a": False}
    found = findings(settings(), cluster)
    assert [each.what for each in found] == [
        "the right to patch deployments/scale.apps is missing",
        "the right to a is missing",
    ]
    assert found[0].next_step.startswith("grant it in a Role of namespace llm")


def test_a_shadow_is_asked_for_no_right_to_write(settings):
    """It needs none."""
    cluster = FakeCluster()
    findings(settings(), cluster)
    findings(shadow(settings), cluster)
    assert cluster.asked == [
        {"acts": True, "replaces": False},
        {"acts": False, "replaces": False},
    ]


LEASE_RIGHTS = {"get leases": True, "create leases": False}


def test_missing_rights_to_the_lease_are_named(settings):
    """They are granted where the Lease is."""
    (found,) = findings(settings(), lease=FakeLease(LEASE_RIGHTS))
    assert (found.severity, found.where) == (Severity.ERROR, "lease llm/autoscaler")
    assert found.what == "the right to create leases is missing"
    assert found.next_step.startswith("grant it in a Role of namespace llm")


def test_a_lease_that_cannot_be_looked_at_is_told(settings):
    """It is not taken for clean."""
    (found,) = findings(settings(), lease=FakeLease(TargetReadError("no answer within 5s")))
    assert found.what == "could not look at rights: no answer within 5s"


def test_where_no_target_acts_no_lease_is_needed(settings):
    """Shadows do not share anything."""
    assert findings(shadow(settings), lease=FakeLease(LEASE_RIGHTS)) == []


@pytest.mark.parametrize(
    ("pause", "what"),
    [
        ({"paused": True}, "paused by its annotation: it holds"),
        ({"paused_direction": Direction.UP}, "paused by its annotation: it never grows"),
        ({"paused_direction": Direction.DOWN}, "paused by its annotation: it never shrinks"),
    ],
)
def test_a_pause_is_told(settings, pause, what):
    """Somebody may have forgotten it."""
    cluster = FakeCluster()
    cluster.state = TargetState(current=2, ready=2, pods=PODS, **pause)
    (found,) = findings(settings(), cluster)
    assert (found.severity, found.what) == (Severity.WARNING, what)


def test_an_annotation_that_means_nothing_is_told(settings):
    """With its value, in a form that cannot end the line."""
    cluster = FakeCluster()
    cluster.deployment = deployed(unknown_annotations={"ollama-autoscaler/paused": "may\nbe"})
    (found,) = findings(settings(), cluster)
    assert found.severity is Severity.WARNING
    told = "annotation ollama-autoscaler/paused has a meaning that nobody knows: "
    assert found.what == told + "'may\\nbe'"
    assert "scale-down" in found.next_step


def server(address="", *, up=True, limit=1):
    """Return one place of the gateway."""
    return Server(address=address, up=up and bool(address), limit=limit)


BOTH = [server("10.0.0.1"), server("10.0.0.2"), *[server()] * 4]
SILENT = ObserveError("http://gateway/: connection refused", next_step="correct gateway.stats_url")


@pytest.mark.parametrize(
    ("pods", "what", "step"),
    [
        (
            [SILENT],
            f"the gateway does not tell how many requests are in flight: {SILENT}",
            "correct gateway.stats_url",
        ),
        ([[server()] * 6], "the gateway does not know 2 of 2 ready replicas", "gateway_backend"),
        (
            [BOTH, [server("10.0.0.1"), *[server()] * 5]],
            "the gateway does not know 1 of 2 ready replicas",
            "gateway_backend",
        ),
        (
            [[BOTH[0], replace(BOTH[1], up=False), *BOTH[2:]]],
            "the gateway takes 1 of 2 ready replicas for dead: they fail its check",
            "option httpchk",
        ),
        (
            [[replace(BOTH[0], address=""), *BOTH[2:], server()]],
            "the gateway's statistics lack the addresses of its servers: victims go blindly",
            "stats show-legends",
        ),
        (
            [BOTH, BOTH[:4]],
            "the gateway has 4 places for replicas, max_replicas is 6: the others get no request",
            "server-template to 6",
        ),
        (
            [[replace(each, limit=4) for each in BOTH]],
            "OLLAMA_NUM_PARALLEL is 1, the gateway gives a replica 4 at a time",
            "GATEWAY_SLOTS",
        ),
        (
            [[replace(each, limit=None) for each in BOTH]],
            "the gateway's servers have no maxconn: requests queue where nobody counts them",
            "GATEWAY_SLOTS",
        ),
    ],
)
def test_a_gateway_that_does_not_fit_is_found(settings, pods, what, step):
    """Where one of several pods is wrong, too."""
    cluster = FakeCluster()
    addresses = {"ollama-a": "10.0.0.1", "ollama-b": "10.0.0.2"}
    cluster.state = TargetState(current=2, ready=2, pods=PODS, addresses=addresses)
    (found,) = findings(settings(), cluster, gateway=FakeGateway(*pods))
    assert (found.severity, found.what) == (Severity.WARNING, what)
    assert step in found.next_step
    assert findings(settings(), cluster, gateway=FakeGateway(BOTH, BOTH)) == []


def test_a_place_that_an_old_pod_has_left_does_not_count(settings):
    """A slot keeps the address of who had it last, beside that of who is there now."""
    cluster = FakeCluster()
    cluster.state = TargetState(
        current=1, ready=1, pods=PODS[:1], addresses={"ollama-a": "10.0.0.1"}
    )
    old = replace(server("10.0.0.1"), up=False)
    pods = [server("10.0.0.1"), old, *[server()] * 4]
    changed = settings("metrics:", "min_replicas: 1\n    metrics:")
    answer = {"cpu_to_limit": Samples(samples=(sample(0.5, pod="ollama-a"),))}
    assert findings(changed, cluster, gateway=FakeGateway(pods), **answer) == []


RATE = "rate(busy[1m]) / limit"
BUSY, LIMIT = '{__name__="busy"}', '{__name__="limit"}'


@pytest.mark.parametrize(
    ("busy", "limit", "what"),
    [
        (None, None, None),
        (31, 31, None),
        (31.9, 5, "a rate over 1m of samples 32s apart often has no answer: it needs two"),
        (5, 31.9, "max_age 30s, and samples come 32s apart: it is stale most of the time"),
    ],
)
def test_samples_that_are_too_far_apart_are_found(settings, busy, limit, what):
    """Each by its own rule: a rate needs two, and no series may be older than max_age.

    Their distance is measured, so that a twentieth more or less is no mistake.
    """
    changed = settings("query: x / limit", f"query: '{RATE}'")
    stale = Samples(samples=(sample(0.5, age=45, pod="ollama-a"),))
    answer = {} if what is None else {"cpu_to_limit": stale}
    found = findings(changed, spacings={BUSY: busy, LIMIT: limit}, **answer)
    assert [each.what for each in found][:1] == ([] if what is None else [what])
    assert all("Stale" not in each.what for each in found)


def test_an_interval_that_nothing_is_scraped_in_is_found(settings):
    """Only where that is known of every metric."""
    spacings = {'{__name__="x"}': 15, LIMIT: 20}
    (found,) = findings(settings(), spacings=spacings)
    assert found.what.startswith("interval 5s, and no metric has a new sample more often than")
    assert findings(settings(), spacings={LIMIT: 20}) == []


def test_a_prometheus_that_cannot_be_asked_is_told_once(settings):
    """And not for each metric."""
    wrong = Missing(missing=MissingKind.FAILED, detail="HTTP 401")
    (found,) = findings(settings(), anything=wrong, queue_depth=wrong, cpu_to_limit=wrong)
    assert (found.where, found.what) == ("prometheus.url", "http://prometheus:9090: HTTP 401")
    assert "bearer_token_file" in found.next_step


@pytest.mark.parametrize(
    "query",
    [
        'sum(haproxy_backend_current_queue{proxy="ollama"})',
        'sum(haproxy_backend_current_queue{proxy="ollama"}) + 0',
    ],
)
def test_a_queue_alone_is_found_unless_another_metric_counts_who_is_served(settings, query):
    """Or it may only grow."""
    (found,) = findings(settings("sum(x)", f"'{query}'"))
    assert "haproxy_backend_current_queue counts who waits" in found.what
    grows = settings("query: sum(x)", f"use_for: scale_up, query: '{query}'")
    assert findings(grows) == []
    served = 'x / limit + on () group_left () sum(haproxy_server_current_sessions{proxy="ollama"})'
    both = settings("sum(x)", f"'{query}'")
    metrics = tuple(
        each if each.name != "cpu_to_limit" else each.model_copy(update={"query": served})
        for each in both.targets[0].metrics
    )
    target = both.targets[0].model_copy(update={"metrics": metrics})
    assert findings(both.model_copy(update={"targets": (target,)})) == []


def test_the_bounds_that_are_in_force_count(settings):
    """At ten o'clock four replicas are what the schedule wants."""
    window = "{name: day, start: 0 8 * * *, end: 0 18 * * *, min_replicas: 4, max_replicas: 9}"
    changed = settings("    metrics:", f"    schedules: [{window}]\n    metrics:")
    (found,) = findings(changed)
    assert "outside 4..9 (schedule day)" in found.what
    cluster = FakeCluster()
    cluster.state = TargetState(current=8, ready=2, pods=PODS)
    assert findings(changed, cluster) == []


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"grace": timedelta(seconds=59)}, "terminationGracePeriodSeconds is 59"),
        ({"strategy": "Recreate"}, "strategy Recreate"),
        ({"applied": (3, "argocd")}, "its manifest has replicas: 3, which argocd writes back"),
    ],
)
def test_a_deployment_that_works_against_it_is_found(settings, changed, what):
    """One warning each."""
    cluster = FakeCluster()
    cluster.deployment = deployed(**changed)
    (found,) = findings(settings(), cluster)
    assert found.severity is Severity.WARNING
    assert what in found.what


def test_a_sidecar_needs_neither_hook_nor_probe(settings):
    """One container that drains, and one that is probed, are enough."""
    cluster = FakeCluster()
    sidecar = Container(name="proxy", cpu_limit=Decimal(1), drains=False, probed=False)
    cluster.deployment = deployed(containers=(*deployed().containers, sidecar))
    assert findings(settings(), cluster) == []
    cluster.deployment = deployed(containers=(sidecar,))
    assert len(findings(settings(), cluster)) == 2


def test_another_autoscaler_on_the_target_is_an_error(settings):
    """Two writers fight, unless one of them only watches."""
    cluster = FakeCluster()
    cluster.rivals = (SimpleNamespace(kind="ScaledObject", name="ollama"),)
    (found,) = findings(settings(), cluster)
    assert found.severity is Severity.ERROR
    assert found.what == "ScaledObject ollama scales it, too"
    assert "mode: shadow" in found.next_step
    assert findings(settings("min", "min") and shadow(settings), cluster) == []


def shadow(settings):
    """Load the configuration in shadow mode."""
    return settings("    metrics:", "    mode: shadow\n    metrics:")


def test_a_container_without_a_cpu_limit_is_found_where_a_query_divides_by_limits(settings):
    """Elsewhere it does not matter."""
    cluster = FakeCluster()
    cluster.deployment = deployed(limit=None)
    (found,) = findings(settings(), cluster)
    assert "container ollama has no CPU limit" in found.what
    assert findings(settings("x / limit", "x"), cluster) == []


@pytest.mark.parametrize("attribute", ["granted", "rivals", "deployment"])
def test_what_could_not_be_looked_at_is_told(settings, attribute):
    """It is not taken for clean."""
    cluster = FakeCluster()
    setattr(cluster, attribute, TargetReadError("may not list horizontalpodautoscalers"))
    (found,) = findings(settings(), cluster)
    assert found.severity is Severity.WARNING
    assert "could not look at" in found.what
    assert "may not list" in found.what


def test_a_folder_for_records_that_does_not_exist_is_found(settings):
    """Before a night without records."""
    changed = settings("targets:", "records: {path: /nowhere/records.jsonl}\ntargets:")
    (found,) = findings(changed)
    assert found.where == "records.path"
    assert "/nowhere" in found.what


def test_a_query_that_is_not_promql_is_told_once(settings):
    """Its answer would only say the same."""
    answer = Missing(missing=MissingKind.FAILED, detail="bad query: as told before")
    (found,) = findings(settings("sum(x)", "sum(x"), queue_depth=answer)
    assert "the query cannot be used" in found.what
    assert "mend the query" in found.next_step


@pytest.mark.parametrize("path", ["/proc/records.jsonl", "/tmp"])
def test_records_that_could_not_be_kept_are_found(settings, path):
    """A folder, or a file system that takes none."""
    (found,) = findings(settings("targets:", f"records: {{path: {path}}}\ntargets:"))
    assert (found.where, found.severity) == ("records.path", Severity.WARNING)
    assert path in found.what


@pytest.mark.parametrize("key", ["bearer_token_file", "ca_file"])
@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_file_that_cannot_be_used_is_found_offline(settings, tmp_path, key, content):
    """Without it no metric would ever be had."""
    path = tmp_path / "file"
    if content:
        path.write_bytes(content)
    changed = settings("targets:", f"prometheus: {{{key}: {path}}}\ntargets:")
    (found,) = [each for each in check(changed) if each.severity is not Severity.OK]
    assert (found.where, found.severity) == (f"prometheus.{key}", Severity.ERROR)
    assert found.what.startswith(f"{path}: ")
    assert found.next_step


def test_a_port_that_is_taken_is_found(settings):
    """Where the daemon is to run; elsewhere it says nothing, so not offline."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        changed = settings("port: 0", f"port: {port}")
        (found,) = findings(changed)
        assert {each.severity for each in check(changed)} == {Severity.OK}
    assert (found.where, found.severity) == ("http.port", Severity.ERROR)
    assert found.what == f"cannot listen at 127.0.0.1, port {port}: Address already in use"
