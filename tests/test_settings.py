"""The configuration: what is read, and what is refused in one line."""

from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from autoscaler.decision.model import Fallback, Policy, Schedule
from autoscaler.decision.model import RatePolicy as Rate
from autoscaler.decision.words import FallbackBehavior, Mode, PolicyType
from autoscaler.errors import ConfigError
from autoscaler.settings import DEFAULT_PATHS, find_file, load, to_policy, to_queries

SHIPPED = Path(__file__).parent.parent / "config" / "autoscaler.yaml"

LEAST = """
targets:
  - namespace: llm
    deployment: ollama
    metrics:
      - {name: queue_depth, query: sum(x), type: total, target: 0.8}
"""


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a configuration and returns its path."""

    def write(content):
        path = tmp_path / "autoscaler.yaml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.fixture
def shipped(write):
    """Return a function that writes the shipped file with one thing changed."""

    def change(old, new):
        text = SHIPPED.read_text()
        assert text.count(old) >= 1, old
        return write(text.replace(old, new, 1))

    return change


def refusal(path, environ=None):
    """Return the one line with which a configuration is refused."""
    with pytest.raises(ConfigError) as caught:
        load(path, environ or {})
    line = str(caught.value)
    assert len(line.splitlines()) == 1
    return line


# --- what is read -------------------------------------------------------------------------------


def test_the_shipped_file_shows_every_key_with_its_default(write):
    """A file that names only what has no default says the same as the shipped one."""
    shipped = load(SHIPPED, {}).model_dump()
    metrics = [
        {key: metric[key] for key in ("name", "query", "type", "target", "max_age")}
        for metric in yaml.safe_load(SHIPPED.read_text())["targets"][0]["metrics"]
    ]
    target = {"namespace": "llm", "deployment": "ollama", "metrics": metrics}
    assert load(write(yaml.safe_dump({"targets": [target]})), {}).model_dump() == shipped


def test_no_key_of_the_model_is_left_out_of_the_shipped_file():
    """Whoever opens the file sees all that can be set."""
    told = load(SHIPPED, {}).model_dump(mode="json")
    written = yaml.safe_load(SHIPPED.read_text())

    def keys(data, path=""):
        if isinstance(data, list):
            return {key for item in data for key in keys(item, path)}
        if not isinstance(data, dict):
            return set()
        here = {f"{path}.{key}" for key in data}
        return here.union(*(keys(value, f"{path}.{key}") for key, value in data.items()))

    assert keys(told) == keys(written)


def test_the_shipped_policy_is_the_documented_one():
    """The numbers that ship are those of the contract."""
    (target,) = load(SHIPPED, {}).targets
    policy = to_policy(target)
    assert isinstance(policy, Policy)
    assert (policy.min_replicas, policy.max_replicas, policy.mode) == (2, 6, Mode.ACT)
    assert [(m.name, m.type, m.target) for m in policy.metrics] == [
        ("queue_depth", "total", 0.8),
        ("cpu_to_limit", "pod", 0.7),
    ]
    assert policy.scale_down.stabilization_window == timedelta(minutes=5)
    assert policy.scale_down.policies == (
        Rate(type=PolicyType.PERCENT, value=50, period=timedelta(minutes=1)),
    )
    assert policy.hold_limit == timedelta(minutes=15)
    assert [(q.name, q.per_pod) for q in to_queries(target)] == [
        ("queue_depth", False),
        ("cpu_to_limit", True),
    ]


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("16Mi", 16 << 20),
        ("16MiB", 16 << 20),
        ("64MB", 64_000_000),
        ("500k", 500_000),
        ("1Gi", 1 << 30),
        ("100000", 100_000),
    ],
)
def test_sizes_have_the_units_of_kubernetes(write, text, size):
    """With a B behind them or without; from the file and from the environment."""
    path = write(LEAST)
    given = {"AUTOSCALER_RECORDS__MAX_SIZE": text}
    assert load(path, given).records.max_size == size
    assert load(write(LEAST + f"records: {{max_size: {text}}}\n"), {}).records.max_size == size


def test_one_direction_may_be_changed_alone(write):
    """Keys that are not named keep their direction's own default."""
    text = LEAST + "    scale_down: {tolerance: 0.5}\n    scale_up: {cooldown: 30s, policies: []}\n"
    policy = to_policy(load(write(text), {}).targets[0])
    assert policy.scale_down.tolerance == 0.5
    assert policy.scale_down.cooldown == timedelta(minutes=1)
    assert policy.scale_up.cooldown == timedelta(seconds=30)
    assert policy.scale_up.policies == ()
    assert policy.scale_up.tolerance == 0.1


def test_a_fallback_reaches_the_policy(write):
    """A static fallback brings its number along."""
    text = LEAST + "    fallback: {behavior: static, replicas: 3}\n"
    fallback = to_policy(load(write(text), {}).targets[0]).fallback
    assert fallback == Fallback(behavior=FallbackBehavior.STATIC, replicas=3)


def test_idle_and_stuck_reach_the_policy_with_their_defaults(write):
    """Ten minutes, five minutes, and nobody is replaced unasked."""
    policy = to_policy(load(write(LEAST), {}).targets[0])
    assert policy.idle_period == timedelta(minutes=10)
    assert (policy.stuck_after, policy.restart_stuck) == (timedelta(minutes=5), False)
    assert policy.schedules == ()


def test_a_stuck_time_of_zero_means_never(write):
    """None in the policy."""
    text = LEAST + "    stuck_after: 0s\n    restart_stuck: true\n"
    policy = to_policy(load(write(text), {}).targets[0])
    assert (policy.stuck_after, policy.restart_stuck) == (None, True)


def test_schedules_reach_the_policy(write):
    """In their order; what is not named stays open."""
    text = (
        LEAST
        + """
    schedules:
      - name: office
        start: 30 7 * * mon-fri
        end: 0 19 * * mon-fri
        timezone: Europe/Berlin
        min_replicas: 4
      - {name: night, start: 0 22 * * *, end: 0 5 * * *, max_replicas: 3}
"""
    )
    assert to_policy(load(write(text), {}).targets[0]).schedules == (
        Schedule(
            name="office",
            start="30 7 * * mon-fri",
            end="0 19 * * mon-fri",
            timezone="Europe/Berlin",
            min_replicas=4,
        ),
        Schedule(name="night", start="0 22 * * *", end="0 5 * * *", max_replicas=3),
    )


def test_zero_replicas_need_a_total_that_may_grow(write):
    """Without a pod only such a metric can bring them back."""
    zero = LEAST + "    min_replicas: 0\n"
    assert load(write(zero), {}).targets[0].min_replicas == 0
    told = "min_replicas = 0, must be above 0 without a metric of type total that may grow"
    for changed in (
        zero.replace("type: total", "type: pod"),
        zero.replace("target: 0.8", "target: 0.8, use_for: scale_down"),
    ):
        assert f"targets[0].{told}" in refusal(write(changed))
    night = (
        LEAST.replace("type: total", "type: pod")
        + """
    schedules: [{name: night, start: 0 22 * * *, end: 0 5 * * *, min_replicas: 0}]
"""
    )
    assert f"targets[0].schedules[0].{told}" in refusal(write(night))


OFFICE = {
    "name": "office",
    "start": "30 7 * * mon-fri",
    "end": "0 19 * * mon-fri",
    "timezone": "Europe/Berlin",
    "min_replicas": 4,
}
LATE = {**OFFICE, "name": "late", "start": "0 18 * * *", "end": "0 20 * * *"}


@pytest.mark.parametrize(
    ("schedules", "told"),
    [
        ([{**OFFICE, "start": "30 7 * *"}], '[0].start = "30 7 * *", must be a cron expression'),
        ([{**OFFICE, "end": "0 25 * * *"}], "hour 25 is not in 0..23"),
        ([{**OFFICE, "start": "0 8 30 2 *"}], "must name a day that there is in one of its months"),
        ([{**OFFICE, "start": 5}], "[0].start = 5, must be text"),
        ([{**OFFICE, "timezone": "Berlin"}], '[0].timezone = "Berlin", must be an IANA time zone'),
        ([{**OFFICE, "name": "a b"}], '[0].name = "a b", must be letters'),
        (
            [{**OFFICE, "min_replicas": None}],
            "[0].min_replicas = null, must be given where max_rep",
        ),
        (
            [{**OFFICE, "min_replicas": 7}],
            "[0].min_replicas = 7, must not be above max_replicas = 6",
        ),
        ([{**OFFICE, "max_replicas": 0}], "[0].max_replicas = 0, must be at least 1"),
        (
            [{**LATE, "min_replicas": None, "max_replicas": 1}],
            "[0].max_replicas = 1, must not be bel",
        ),
        ([{**OFFICE, "end": OFFICE["start"]}], '[0].end = "30 7 * * mon-fri", must end what'),
        ([{**OFFICE, "start": "* * * * *", "end": "*/2 * * * *"}], "it never does"),
        ([OFFICE, OFFICE], 'targets[0].schedules = "office", stands twice'),
        ([OFFICE, LATE], 'targets[0].schedules = "office", must not overlap with "late"'),
        ([{**OFFICE, "begin": "0 8 * * *"}], "[0].begin = "),
        ([{"name": "office", "min_replicas": 3}], "[0].start: must be given"),
        ("always", 'schedules = "always", must be a list'),
    ],
)
def test_schedules_that_cannot_be_meant_are_refused(write, schedules, told):
    """With the key, the value and the rule, on one line."""
    target = {**yaml.safe_load(LEAST)["targets"][0], "schedules": schedules}
    assert told in refusal(write(yaml.safe_dump({"targets": [target]})))


def test_yaml_of_today_is_understood(write):
    """A number with an exponent, anchors and a byte order mark are all fine."""
    text = "\ufeff" + LEAST.replace("0.8", "8e-1") + "    scale_up: &x {tolerance: 0.3}\n"
    assert load(write(text), {}).targets[0].metrics[0].target == 0.8


def test_settings_go_back_to_plain_yaml(write):
    """What was read can be written, and reads the same."""
    once = load(SHIPPED, {})
    again = load(write(yaml.safe_dump(once.model_dump(mode="json"))), {})
    assert again.model_dump() == once.model_dump()


# --- the environment ----------------------------------------------------------------------------


def test_the_environment_wins_over_the_file():
    """Nested keys are reached with two underscores; other keys keep what the file says."""
    settings = load(
        SHIPPED,
        {
            "AUTOSCALER_INTERVAL": "10s",
            "AUTOSCALER_PROMETHEUS__URL": "http://other:9090",
            "AUTOSCALER_PROMETHEUS__HEADERS": '{"X-Scope-OrgID": "home"}',
            "AUTOSCALER_HTTP__PORT": "0",
            "AUTOSCALER_KUBERNETES__KUBECONFIG": "/a/b",
            "PATH": "/bin",
        },
    )
    assert settings.interval == timedelta(seconds=10)
    assert settings.prometheus.url == "http://other:9090"
    assert settings.prometheus.timeout == timedelta(seconds=3)
    assert settings.prometheus.headers["X-Scope-OrgID"].get_secret_value() == "home"
    assert settings.http.port == 0
    assert settings.kubernetes.kubeconfig == Path("/a/b")


def test_a_list_is_given_whole():
    """Targets from the environment take the place of the file's."""
    targets = '[{"namespace": "a", "deployment": "b", "metrics": [{"name": "m", "query": "x", '
    targets += '"type": "total", "target": 1}]}]'
    settings = load(SHIPPED, {"AUTOSCALER_TARGETS": targets})
    assert [target.name for target in settings.targets] == ["a/b"]


def test_arguments_win_over_the_environment():
    """A caller has the last word."""
    settings = load(SHIPPED, {"AUTOSCALER_INTERVAL": "10s"}, interval="20s")
    assert settings.interval == timedelta(seconds=20)


@pytest.mark.parametrize(
    ("name", "value", "meant"),
    [
        ("AUTOSCALER_INTERVALL", "5s", "AUTOSCALER_INTERVAL"),
        ("AUTOSCALER_PROMETHEUS__URLL", "http://x", "AUTOSCALER_PROMETHEUS__URL"),
        ("AUTOSCALER_PROMETHEUS_URL", "http://x", "AUTOSCALER_PROMETHEUS__URL"),
        ("AUTOSCALER_PROMETEUS__URL", "http://x", "AUTOSCALER_PROMETHEUS__URL"),
        ("AUTOSCALER_PROMETHEUS", "{}", "AUTOSCALER_PROMETHEUS__URL"),
        ("AUTOSCALER_TARGETS__0__MODE", "shadow", "AUTOSCALER_TARGETS"),
        ("AUTOSCALER_HTTP_PORT", "8081", "AUTOSCALER_HTTP__PORT"),
        ("autoscaler_interval", "5s", "AUTOSCALER_INTERVAL"),
    ],
)
def test_a_misspelt_variable_is_refused_with_the_one_that_was_meant(name, value, meant):
    """At any depth: a name that means nothing must not be passed over."""
    line = refusal(SHIPPED, {name: value})
    assert f'{name} = "{value}", unknown variable; did you mean {meant}' in line


def test_variables_that_kubernetes_makes_for_a_service_are_no_mistake():
    """A Service named `autoscaler` in the namespace must not stop the daemon."""
    environ = {
        "AUTOSCALER_SERVICE_HOST": "10.96.0.7",
        "AUTOSCALER_SERVICE_PORT": "8080",
        "AUTOSCALER_SERVICE_PORT_HTTP": "8080",
        "AUTOSCALER_PORT": "tcp://10.96.0.7:8080",
        "AUTOSCALER_PORT_8080_TCP": "tcp://10.96.0.7:8080",
        "AUTOSCALER_PORT_8080_TCP_ADDR": "10.96.0.7",
        "AUTOSCALER_METRICS_PORT": "tcp://10.96.0.8:9090",
        "AUTOSCALER_METRICS_SERVICE_HOST": "10.96.0.8",
    }
    assert load(SHIPPED, environ).http.port == 8080


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("AUTOSCALER_INTERVAL", "15 s", '= "15 s", must be a duration'),
        ("AUTOSCALER_INTERVAL", "", '= "", must be a duration'),
        ("AUTOSCALER_HTTP__PORT", "eighty", '= "eighty", must be a whole number'),
        ("AUTOSCALER_HTTP__PORT", "", '= "", must be a whole number'),
        ("AUTOSCALER_PROMETHEUS__TIMEOUT", "20s", '= "20s", must not be above 5s'),
        ("AUTOSCALER_TARGETS", "5", "= 5, must be a list"),
        ("AUTOSCALER_TARGETS", "[{namespace: a}]", "[0].deployment: must be given"),
    ],
)
def test_a_bad_value_is_refused_under_the_variables_name(name, value, told):
    """The line names what the operator must change: the variable, not a key of the file."""
    assert f"environment: {name}" in (line := refusal(SHIPPED, {name: value}))
    assert told in line


def test_a_lease_leaves_time_for_a_write():
    """Three times kubernetes.timeout; where nobody contends for it, nothing has to fit."""
    given = {"AUTOSCALER_KUBERNETES__TIMEOUT": "1s", "AUTOSCALER_LEADERSHIP__DURATION": "3s"}
    assert load(SHIPPED, given).leadership.duration == timedelta(seconds=3)
    short = given | {"AUTOSCALER_LEADERSHIP__DURATION": "2s"}
    assert "must be at least 3s (three times kubernetes.timeout)" in refusal(SHIPPED, short)
    alone = load(SHIPPED, short | {"AUTOSCALER_LEADERSHIP__ENABLED": "false"})
    assert not alone.leadership.enabled
    assert alone.leadership.namespace is None


def test_two_thousand_targets_are_a_daemons_limit(tmp_path):
    """One more is refused; each has a name of its own."""
    metric = "{name: m, query: x, type: total, target: 1}"
    target = "  - {namespace: a, deployment: o%d, metrics: [" + metric + "]}\n"
    path = tmp_path / "many.yaml"
    path.write_text("targets:\n" + "".join(target % n for n in range(2000)))
    assert len(load(path, {}).targets) == 2000
    path.write_text("targets:\n" + "".join(target % n for n in range(2001)))
    assert "targets = list of 2001, must name at most 2000" in refusal(path, {})


# --- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        # unknown keys, at every depth
        ("interval: 5s", "intervall: 5s", 'intervall = "5s", unknown key; did you mean interval'),
        ("  url:", "  urll:", "prometheus.urll = "),
        ("min_replicas: 2", "min_replica: 2", "targets[0].min_replica = 2, unknown key; did you m"),
        ("        target: 0.8", "        tarket: 0.8", "targets[0].metrics[0].tarket = 0.8"),
        ("      tolerance: 0.2", "      tolerence: 0.2", "targets[0].scale_down.tolerence = 0.2"),
        ("value: 4", "valu: 4", "targets[0].scale_up.policies[0].valu = 4, unknown key; did you"),
        # impossible bounds
        (
            "min_replicas: 2",
            "min_replicas: 7",
            "targets[0].min_replicas = 7, must not be above max",
        ),
        ("max_replicas: 6", "max_replicas: 0", "targets[0].max_replicas = 0, must be at least 1"),
        ("min_replicas: 2", "min_replicas: -1", "min_replicas = -1, must be at least 0"),
        ("max_replicas: 6", f"max_replicas: {10**12}", "max_replicas = 1000000000000, must be at"),
        ("max_size: 16Mi", "max_size: 16MiBi", 'max_size = "16MiBi", must be a size such as 500k'),
        ("max_size: 16Mi", "max_size: 1k", 'max_size = "1k", must lie within 64Ki..1000Gi'),
        ("max_size: 16Mi", "max_size: true", "records.max_size = true, must be a size"),
        ("max_size: 16Mi", "max_size: -1", "records.max_size = -1, must lie within"),
        ("files: 4", "files: 0", "records.files = 0, must"),
        ("replicas: null", "replicas: 9", "fallback.replicas = 9, must lie within 2..6"),
        ("behavior: current_replicas", "behavior: static", "fallback.replicas = null, must be giv"),
        # numbers
        ("target: 0.8", "target: 0", "metrics[0].target = 0, must be above 0"),
        ("target: 0.8", "target: -1", "metrics[0].target = -1, must be above 0"),
        ("target: 0.8", "target: .nan", "metrics[0].target = NaN, must be a finite number"),
        ("target: 0.8", "target: .inf", "metrics[0].target = Infinity, must be a finite number"),
        ("target: 0.8", "target: 1e300", "metrics[0].target = 1e+300, must be at most"),
        ("target: 0.8", 'target: "0.8"', 'metrics[0].target = "0.8", must be a number'),
        ("target: 0.8", "target: true", "metrics[0].target = true, must be a number"),
        ("min_replicas: 2", "min_replicas: true", "min_replicas = true, must be a whole number"),
        ("min_replicas: 2", "min_replicas: 2.0", "min_replicas = 2.0, must be a whole number"),
        ("min_replicas: 2", 'min_replicas: "2"', 'min_replicas = "2", must be a whole number'),
        ("min_replicas: 2", "min_replicas:", "min_replicas = null, must be a whole number"),
        ("tolerance: 0.1", "tolerance: -0.1", "scale_up.tolerance = -0.1, must be at least 0"),
        ("tolerance: 0.2", "tolerance: 1", "scale_down.tolerance = 1, must be below 1"),
        ("value: 50", "value: 0", "scale_down.policies[0].value = 0, must be above 0"),
        ("port: 8080", "port: 65536", "http.port = 65536, must be at most 65535"),
        # durations
        ("stabilization_window: 5m", "stabilization_window: -5m", '= "-5m", must be a duration'),
        ("interval: 5s", 'interval: "5 s"', 'interval = "5 s", must be a duration such as'),
        ("interval: 5s", "interval: 5", "interval = 5, must be a duration such as"),
        ("interval: 5s", "interval: true", "interval = true, must be a duration such as"),
        ("interval: 5s", "interval: 0", "interval = 0, must lie within 100ms..1h"),
        ("interval: 5s", "interval: 2h", 'interval = "2h", must lie within 100ms..1h'),
        ("interval: 5s", "interval: [5s]", "interval = list of 1, must be a duration"),
        (
            "hold_limit: 15m",
            "hold_limit: 9999999999y",
            'hold_limit = "9999999999y", must not be lo',
        ),
        ("max_age: 30s", "max_age: 0s", 'metrics[0].max_age = "0s", must lie within'),
        ("timeout: 3s", "timeout: 6s", 'prometheus.timeout = "6s", must not be above 5s'),
        ("timeout: 5s", "timeout: 10s", 'kubernetes.timeout = "10s", must not be above 5s'),
        ("idle_period: 10m", "idle_period: 0s", 'idle_period = "0s", must lie within 1s..7d'),
        ("stuck_after: 5m", "stuck_after: 9s", '= "9s", must be 0s or at least 10s (twice the int'),
        ("stuck_after: 5m", "stuck_after: 2d", 'stuck_after = "2d", must lie within 0s..1d'),
        ("timeout: 1s", "timeout: 6s", 'gateway.timeout = "6s", must not be above 5s'),
        ("duration: 15s", "duration: 14s", 'leadership.duration = "14s", must be at least 15s'),
        ("duration: 15s", "duration: 15500ms", '= "15500ms", must be whole seconds'),
        ("duration: 15s", "duration: 11m", 'duration = "11m", must lie within 1s..10m'),
        ("enabled: true", "enabled: maybe", 'enabled = "maybe", must be true or false'),
        ("lease: autoscaler", "lease: A", 'leadership.lease = "A", must be a DNS name'),
        ('  namespace: ""', "  namespace: A", 'leadership.namespace = "A", must be a DNS label'),
        # words
        ("restart_stuck: false", "restart_stuck: 1", "restart_stuck = 1, must be true or false"),
        ("mode: act", "mode: acting", "mode = \"acting\", must be one of 'act' or 'shadow'"),
        ("type: total", "type: totals", 'metrics[0].type = "totals", must be one of'),
        ("use_for: both", "use_for: up", 'metrics[0].use_for = "up", must be one of'),
        ("level: info", "level: loud", 'log.level = "loud", must be one of'),
        ("namespace: llm", "namespace: LLM", 'namespace = "LLM", must be a DNS label'),
        ("namespace: llm", "namespace: a.b", 'namespace = "a.b", must be a DNS label'),
        ("deployment: ollama", "deployment: ../x", 'deployment = "../x", must be a DNS name'),
        ("deployment: ollama", "deployment: 5", "deployment = 5, must be text"),
        ("name: queue_depth", 'name: "a b"', 'metrics[0].name = "a b", must be letters'),
        ("url: http://prometheus:9090", "url: prometheus:9090", "prometheus.url = "),
        ("url: http://prometheus:9090", "url: ftp://x", 'url = "ftp://x", must be an http://'),
        ("url: http://prometheus:9090", "url: http://", 'url = "http://", must be an http://'),
        ("url: http://prometheus:9090", "url: http://x:99999", "must be an http://"),
        ("url: http://prometheus:9090", "url: http://x/?a=b", "must be an http://"),
        ("stats_url: http", "stats_url: https", "must be an http:// address, or empty"),
        ('gateway_stats_url: ""', "gateway_stats_url: x:8404", "targets[0].gateway_stats_url = "),
        ("gateway_backend: ollama", "gateway_backend: a b", 'gateway_backend = "a b", must be a'),
        # shapes
        ("name: cpu_to_limit", "name: queue_depth", "stands twice, names must be distinct"),
        (
            "    fallback:",
            "    fallback: no\n    fall:",
            "targets[0].fallback = false, must be a map",
        ),
        (
            "interval: 5s",
            "interval: 5s\ninterval: 6s",
            ":13:1: must be YAML: a key must not stand twice",
        ),
        ("interval: 5s", "interval: 5s\n5: 6", "a key must be text"),
        ("interval: 5s", "interval: {", "autoscaler.yaml:"),
        ("interval: 5s", "interval: *nobody", ":12:11: must be YAML: found undefined alias"),
        ("interval: 5s", "interval: {", "expected ',' or '}', but got ':'"),
        ("interval: 5s", "interval: !!python/object:os.system x", "autoscaler.yaml:"),
        ("max_replicas: 6", f"max_replicas: {'9' * 5000}", "must be YAML"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_key_value_and_rule(shipped, old, new, told):
    """Each fault is one line that says which key, which value and which rule."""
    path = shipped(old, new)
    line = refusal(path)
    assert line.startswith(str(path))
    assert told in line


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "is empty"),
        ("# nothing\n", "is empty"),
        ("- a\n", "must be a mapping of keys, is a list"),
        ("hello", "must be a mapping of keys, is a str"),
        ("interval: 5s\n", "targets: must be given"),
        ("targets: []\n", "targets = [], must name at least 1"),
        ("targets:\n", "targets = null, must be a list"),
        ("targets: {a: b}\n", "targets = object of 1, must be a list"),
        ("targets: [5]\n", "targets[0] = 5, must be a mapping"),
        ("prometheus: http://x\n" + LEAST, 'prometheus = "http://x", must be a mapping'),
        (LEAST.replace("query: sum(x), ", ""), "targets[0].metrics[0].query: must be given"),
        (LEAST.replace("sum(x)", "' '"), 'query = " ", must be a PromQL expression'),
        (
            "targets: [{namespace: a, deployment: b, metrics: []}]",
            "metrics = [], must name at leas",
        ),
        ("targets: [{namespace: a, deployment: b}]", "targets[0].metrics: must be given"),
        (LEAST + LEAST.replace("targets:", ""), 'targets = "llm/ollama", must not stand twice'),
        ("a: b\n---\nc: d\n", "expected a single document"),
        (b"\xff\xfe\x00a", "byte 0 is not UTF-8"),
        (b"interval: \x00", "must be YAML"),
        ("[" * 5000, "must be YAML: nested too deeply"),
        ("a: &a [*a]\n", "unknown key"),
        ("x" * (1 << 20) + "y", "must not be larger than 1048576 bytes"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(write, content, told):
    """Empty, of the wrong shape, not YAML or not text: one line each."""
    assert told in refusal(write(content))


@pytest.mark.parametrize(
    ("path", "told"),
    [("missing.yaml", "no such file"), (".", "is a directory"), ("a\0b", "cannot be read")],
)
def test_a_file_that_cannot_be_read_is_refused(tmp_path, path, told):
    """The line names the file."""
    assert told in refusal(tmp_path / path)


def test_several_faults_share_one_line(shipped):
    """Whoever mends one finds the others at the same time."""
    path = shipped("target: 0.8", "target: 0")
    path.write_text(path.read_text().replace("interval: 5s", "interval: 5 s"))
    line = refusal(path, {"AUTOSCALER_HTTP__PORT": "x"})
    assert 'interval = "5 s"' in line
    assert "targets[0].metrics[0].target = 0" in line
    assert 'AUTOSCALER_HTTP__PORT = "x"' in line


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("headers: {}", "headers: {Authorization: [s3cret]}"),
        ("headers: {}", 'headers: {Authorization: "Bearer s3cret\\n"}'),
        ("headers: {}", 'headers: {"a b": "s3cret"}'),
        ("headers: {}", "headerz: {Authorization: s3cret}"),
        ("headers: {}", "password: s3cret"),
        ("url: http://prometheus:9090", "url: http://me:s3cret@prometheus:9090"),
    ],
)
def test_a_refusal_never_repeats_a_secret(shipped, old, new):
    """Headers, what looks like a password, and credentials in an address are hidden."""
    line = refusal(shipped(old, new))
    assert "s3cret" not in line
    assert "(hidden)" in line


@pytest.mark.parametrize(
    "name", ["AUTOSCALER_PROMETHEUS__HEADRES", "AUTOSCALER_PROMETHEUS__HEADERS", "AUTOSCALER_TOKEN"]
)
def test_a_variable_never_repeats_a_secret(name):
    """Not even under a misspelt name, nor where it cannot be parsed."""
    assert "s3cret" not in refusal(SHIPPED, {name: "{Authorization: [s3cret]}"})
    assert "s3cret" not in refusal(SHIPPED, {name: "{Authorization: s3cret"})


@pytest.mark.parametrize(
    "headers",
    [
        "*s3cret",
        "{Authorization: *s3cret}",
        "!s3cret x",
        '{"X-A": !!int "s3cret"}',
        '{"X-A": !!bool "s3cret"}',
        '{"X-A": !!float "s3cret"}',
        '{"X-A": !!timestamp "s3cret"}',
        "{&s3cret a: 1, &s3cret b: 2}",
        "{s3cret: a, s3cret: b}",
        "{!s3cret!x a: b}",
        '"\\s3cret"',
        "{X s3cret: a}",
        "{X s3cret: [a]}",
        "[s3cret]",
    ],
)
def test_what_is_wrong_with_headers_is_told_without_them(shipped, headers):
    """Be it no YAML, no header's name or no text; from the file and from the environment."""
    for line in (
        refusal(shipped("headers: {}", f"headers: {headers}")),
        refusal(SHIPPED, {"AUTOSCALER_PROMETHEUS__HEADERS": headers}),
    ):
        assert "s3cret" not in line


@pytest.mark.parametrize(
    "url",
    [
        "http://h/?token=s3cret",
        "h?token=s3cret",
        "http://h/#s3cret",
        "me:s3cret@h:9090",
        "http://me:s3/c@s3cret@h:9090",
        "http://me:a s3cret@h",
        "ftp://me:a?s3cret@h",
    ],
)
@pytest.mark.parametrize("key", ["url", "urll"])
def test_an_address_is_shown_without_what_may_be_secret(shipped, url, key):
    """Neither credentials nor what is asked for, also under a misspelt key or variable."""
    line = refusal(shipped("url: http://prometheus:9090", f'{key}: "{url}"'))
    assert "s3cret" not in line
    assert "(hidden)" in line
    line = refusal(SHIPPED, {f"AUTOSCALER_PROMETHEUS__{key.upper()}": url})
    assert "s3cret" not in line


def test_a_section_that_is_a_list_is_not_spelt_out(shipped):
    """What stands in it may be secret."""
    line = refusal(shipped("prometheus:", "prometheus: [{Authorization: s3cret}]\nother:"))
    assert "prometheus = list of 1, must be a mapping" in line
    assert "s3cret" not in line


@pytest.mark.parametrize("name", ["a\x1b[31mb", "a\x07b", "a\u202eb"])
def test_an_unknown_name_cannot_steer_the_terminal(write, name):
    """What is no printable character is written as an escape."""
    written = name.encode("unicode_escape").decode()
    assert f"{written} = 5, unknown key" in refusal(write(f'"{written}": 5\n{LEAST}'))
    variable = f"AUTOSCALER_{name}"
    assert f"AUTOSCALER_{written} = " in refusal(SHIPPED, {variable: "5"})


@pytest.mark.parametrize(
    "value",
    ["", "x" * 20_000, "\x1b", 5, -1, 10**30, 1.5, True, None, [], {}, {"a": {}}, timedelta(1)],
    ids=repr,
)
def test_every_rule_is_told_in_our_own_words(monkeypatch, value):
    """Whatever stands wherever: the validator's own wording never reaches the operator."""

    def everywhere(data):
        if isinstance(data, dict) and data:
            return {key: everywhere(item) for key, item in data.items()}
        return [everywhere(item) for item in data] if isinstance(data, list) and data else value

    monkeypatch.setattr("autoscaler.settings.refusal._MOST_FAULTS", 1000)
    with pytest.raises(ConfigError) as refused:
        load(SHIPPED, {}, **everywhere(yaml.safe_load(SHIPPED.read_text())))
    line = str(refused.value)
    assert line.isprintable()
    assert "hould" not in line
    assert "nput" not in line
    assert "cannot be used" not in line


def test_an_empty_host_is_refused_in_our_words(shipped):
    """Key, value, rule."""
    assert 'http.host = "", must not be empty' in refusal(shipped("host: 0.0.0.0", 'host: ""'))


def test_headers_do_not_show_in_a_dump(shipped):
    """Printing the settings does not print what is secret in them."""
    settings = load(shipped("headers: {}", "headers: {Authorization: s3cret}"), {})
    assert "s3cret" not in repr(settings)
    assert "s3cret" not in str(settings.model_dump(mode="json"))


def test_settings_cannot_be_changed():
    """What was checked stays as it was."""
    settings = load(SHIPPED, {})
    with pytest.raises(ValueError, match="frozen"):
        settings.prometheus.url = "http://other"


# --- where the file is looked for ---------------------------------------------------------------


def test_a_given_file_is_taken(tmp_path):
    """Even where it does not exist, so that its absence is told of under its name."""
    assert find_file(tmp_path / "mine.yaml") == tmp_path / "mine.yaml"


def test_the_file_beside_the_working_directory_comes_first(tmp_path, monkeypatch):
    """A checkout uses its own file."""
    monkeypatch.chdir(SHIPPED.parent.parent)
    assert find_file() == DEFAULT_PATHS[0]


def test_the_places_that_were_tried_are_named(tmp_path, monkeypatch):
    """Nothing to load is refused with what to do about it."""
    monkeypatch.chdir(tmp_path)
    if DEFAULT_PATHS[1].exists():  # pragma: no cover - a machine with the daemon installed
        assert find_file() == DEFAULT_PATHS[1]
        return
    with pytest.raises(ConfigError, match=r"config/autoscaler.yaml and /etc/.*--config FILE"):
        find_file()


def test_an_idle_period_that_two_cycles_do_not_see_is_refused(shipped):
    """Where the last replica may go, cycles must be close enough to watch that it is idle."""
    path = shipped("idle_period: 10m", "idle_period: 9s")
    assert load(path, {}).targets[0].idle_period == timedelta(seconds=9)
    path.write_text(path.read_text().replace("min_replicas: 2", "min_replicas: 0"))
    assert 'targets[0].idle_period = "9s", must be at least 10s (twice the int' in refusal(path)
