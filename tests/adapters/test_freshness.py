"""The age of data, against a real Prometheus: history with known times, and exporters that die."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from math import isnan

import pytest

from autoscaler.adapters.freshness import freshness_query
from autoscaler.adapters.prometheus import PrometheusSource
from autoscaler.decision.decide import decide
from autoscaler.decision.model import Missing, Observation, Samples, ScalingState
from autoscaler.decision.words import MissingKind, Reason
from autoscaler.ports import MetricQuery
from tests.adapters.prometheus_server import Exporter, Prometheus, backfill, prometheus
from tests.decision.build import FREE, QUEUE

STEP = 15
CLOSE = 1.5
"""Seconds that an age may be off: between our `now` and the evaluation, on a busy machine."""

# Series to seconds between their last sample and the zero hour; they reach back half an hour.
HISTORY = {
    'h{s="new"}': 30,
    'h{s="old"}': 120,
    'c{pod="a",other="a"}': 30,
    'c{pod="b",other="b"}': 120,
    'limit{pod="a"}': 45,
    'limit{pod="b"}': 45,
    'm_running{job="x"}': 60,
    'm_waiting{job="x"}': 90,
    "ancient": 405,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A server, when its history ends, and when one of its exporters died."""

    server: Prometheus
    zero: float
    died: float
    own: float
    """The time that the exporter with its own timestamps stopped at."""

    def ask(self, query: str, *, per_pod: bool = False) -> Samples | Missing:
        """Ask one query."""
        source = PrometheusSource(self.server.url, timedelta(seconds=20))
        asked = MetricQuery(name="m", query=query, per_pod=per_pod)
        return source.ask([asked], datetime.now(UTC))["m"]

    def ages(self, query: str, *, per_pod: bool = False) -> dict[str, float]:
        """Return the ages by pod ("" for none), in seconds before the zero hour."""
        now = datetime.now(UTC)
        answer = self.ask(query, per_pod=per_pod)
        assert isinstance(answer, Samples), answer
        return {
            sample.labels.get("pod", ""): (now - sample.at).total_seconds()
            - (now.timestamp() - self.zero)
            for sample in answer.samples
        }

    def seconds_since_zero(self) -> float:
        """Return the time that has passed since the zero hour."""
        return time.time() - self.zero


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One server for all: history, a living exporter, a dead one, one whose times stand still."""
    folder = tmp_path_factory.mktemp("prometheus")
    zero = float(int(time.time()) - 2)
    lines = [
        f"{series} {number} {zero - last - number * STEP}"
        for series, last in HISTORY.items()
        for number in range(120, -1, -1)
    ]
    backfill(folder / "data", "\n".join(lines))
    living = Exporter('alive{pod="a"} 3\nnot_a_number NaN\ninfinite +Inf\n')
    dying = Exporter("mortal 5\n")
    own = Exporter()
    with (
        living,
        own,
        prometheus(
            folder, {"living": [living.address, dying.address], "own": [own.address]}
        ) as server,
    ):
        for age in (20, 10):  # later than the history, or the server refuses them
            stamp = time.time() - age
            own.text = f"stuck {100 - age} {int(stamp * 1000)}\n"
            server.wait_for(f"stuck == {100 - age}")
        server.wait_for("count_over_time(mortal[1m]) > 9")
        died = time.time()
        dying.stop()
        server.wait_until_gone("mortal")
        yield World(server=server, zero=zero, died=died, own=stamp)


@pytest.mark.parametrize(
    ("query", "age"),
    [
        pytest.param('h{s="new"}', 30, id="plain"),
        pytest.param("sum(h)", 120, id="the oldest series counts"),
        pytest.param("max(h) - min(h)", 120, id="a selector twice"),
        pytest.param('{__name__="h",s=~`n.w`}', 30, id="name as a matcher, raw string"),
        pytest.param('h{s="new"} # the new one', 30, id="comment at the end"),
        pytest.param('h{s="new"} offset 10s', 20, id="offset is taken off"),
        pytest.param('h{s="old"} - h offset 20s', 120, id="each selector has its own offset"),
        pytest.param('sum(rate(c{pod="a"}[2m]))', 30, id="range"),
        pytest.param("sum(rate(c[5m]))", 120, id="range, two series"),
        pytest.param("sum(rate(c[1m45s]))", 30, id="a series that has left the range"),
        pytest.param("sum(rate(c[5m] offset 10s))", 110, id="range with offset"),
        pytest.param("max_over_time(ancient[10m])", 405, id="range beyond the look-back"),
        pytest.param("max_over_time(h[10m:1s])", 120, id="subquery"),
        pytest.param("max_over_time(ancient[10m:1s])", 405, id="subquery beyond the look-back"),
        pytest.param('sum_over_time(rate(c{pod="a"}[1m])[2m:1s])', 30, id="range in a subquery"),
        pytest.param('avg_over_time(sum(h{s="new"})[5m:1s] offset 10s)', 20, id="subquery, offset"),
        pytest.param("max_over_time(max_over_time(h[2m:1s])[2m:10s])", 120, id="two subqueries"),
        pytest.param('sum(h{s="new"}) or vector(0)', 30, id="a default that is not used"),
        pytest.param('sum(nothing) or sum(h{s="new"})', 30, id="only one side exists"),
        pytest.param('scalar(h{s="new"})', 30, id="scalar"),
        pytest.param('scalar(h{s="new"}) * 2', 30, id="scalar arithmetic"),
        pytest.param("vector(scalar(sum(h)))", 120, id="scalar made a vector"),
        pytest.param("-sum(h)", 120, id="unary"),
        pytest.param("topk(scalar(count(h)), h)", 120, id="parameter of an aggregation"),
        pytest.param('h{s="new"} > bool 3', 30, id="comparison"),
        pytest.param("sum(c) / on() sum(limit)", 120, id="matched on nothing"),
        pytest.param("c * on(pod) group_left() limit{pod='b'}", 120, id="group_left"),
        pytest.param('h{s="new"} unless on() nothing', 30, id="unless"),
        pytest.param("timestamp(h)", 120, id="timestamp"),
        pytest.param('sum({__name__=~"m_.+"})', 90, id="metric names by pattern"),
        pytest.param('sum(last_over_time({job="x"}[5m]))', 90, id="no name, range"),
        pytest.param('sum(last_over_time({job="x"}[5m:1s]))', 90, id="no name, subquery"),
        pytest.param("label_replace(h, 'pod', 'z', '', '')", 120, id="label_replace"),
        pytest.param("histogram_quantile(0.9, h) or h", 120, id="function of two arguments"),
        pytest.param("holt_winters(h[5m], 0.5, 0.5)", 120, id="a function that was renamed"),
    ],
)
def test_age_is_that_of_the_oldest_series_behind_the_value(
    world: World, query: str, age: float
) -> None:
    """Whatever the query's form, the oldest of the newest samples that it reads gives the age."""
    ages = world.ages(query)
    assert ages
    assert all(found == pytest.approx(age, abs=CLOSE) for found in ages.values()), ages


@pytest.mark.parametrize(
    ("query", "ages"),
    [
        pytest.param("c", {"a": 30, "b": 120}, id="plain"),
        pytest.param("sum by (pod) (rate(c[5m]))", {"a": 30, "b": 120}, id="rate"),
        pytest.param(
            "sum by (pod) (rate(c[5m])) / sum without (other) (limit)",
            {"a": 45, "b": 120},
            id="the older of two sources",
        ),
        pytest.param(
            "c / on() group_left() sum(limit)", {"a": 45, "b": 120}, id="divided by a total"
        ),
        pytest.param("c / scalar(sum(c))", {"a": 120, "b": 120}, id="every pod is in the value"),
        pytest.param("limit and on() sum(h)", {"a": 120, "b": 120}, id="a condition for all"),
        pytest.param("nothing or c", {"a": 30, "b": 120}, id="only one side exists"),
        pytest.param(
            'label_replace(sum by (other) (c), "pod", "$1", "other", "(.+)")',
            {"a": 120, "b": 120},
            id="pod from another label",
        ),
        pytest.param(
            "max_over_time(sum by (pod) (c)[5m:1s])", {"a": 30, "b": 120}, id="subquery by pod"
        ),
        pytest.param(
            'sum by (pod) ({__name__=~"c|limit"})', {"a": 45, "b": 120}, id="names by pattern"
        ),
        pytest.param("sum(c)", {"": 120}, id="no label pod in the result"),
    ],
)
def test_age_is_told_by_pod_where_pods_can_be_told_apart(
    world: World, query: str, ages: dict[str, float]
) -> None:
    """A stale pod does not make its neighbours stale, unless their values contain it."""
    found = world.ages(query, per_pod=True)
    assert found == {pod: pytest.approx(age, abs=CLOSE) for pod, age in ages.items()}


@pytest.mark.parametrize("query", ["vector(1)", "time()", "5", "1 + 1", "month()"])
def test_what_reads_no_series_is_new(world: World, query: str) -> None:
    """A constant or the server's time is as old as its evaluation."""
    now = datetime.now(UTC)
    answer = world.ask(query)
    assert isinstance(answer, Samples)
    assert now - answer.samples[0].at < timedelta(seconds=CLOSE)


@pytest.mark.parametrize(
    "query",
    [
        "sum(nothing) or vector(0)",
        "absent(nothing)",
        "absent_over_time(nothing[5m])",
        "scalar(nothing)",
        'sum({__name__=~"nothing.*"}) or vector(0)',
        "sum(mortal) or vector(0)",
        "ancient or vector(0)",
    ],
)
def test_a_value_without_any_series_behind_it_is_empty(world: World, query: str) -> None:
    """A made-up value is no measurement: absence is never zero."""
    answer = world.ask(query)
    assert answer == Missing(missing=MissingKind.EMPTY, detail="no series behind the query's value")


@pytest.mark.parametrize("query", ["nothing", "mortal", "ancient", "absent(h)", "h > 1000"])
def test_an_empty_result_has_no_samples(world: World, query: str) -> None:
    """A dead exporter's series, one beyond the look-back, a filter that nothing passes."""
    assert world.ask(query) == Samples(samples=())


@pytest.mark.parametrize(
    ("query", "step"),
    [
        ("rate(mortal[30s])", 0.5),
        ("sum(max_over_time(mortal[1m])) or vector(0)", 1),
        ("max_over_time(mortal[2m:1s])", 1),
        ("max_over_time(sum(rate(mortal[1m]))[2m:1s])", 1),
    ],
)
def test_ranges_go_on_after_death_and_their_age_says_so(
    world: World, query: str, step: float
) -> None:
    """A range function outlives its exporter; the age counts from the last scrape."""
    now = datetime.now(UTC)
    answer = world.ask(query)
    assert isinstance(answer, Samples)
    age = (now - answer.samples[0].at).total_seconds()
    assert 0 <= age - (now.timestamp() - world.died) + 0.5 <= step + CLOSE


@pytest.mark.parametrize("query", ["stuck", "sum(stuck)", "rate(stuck[5m])", "stuck offset 1s"])
def test_an_exporter_whose_own_times_stand_still_grows_old(world: World, query: str) -> None:
    """A source that stamps its samples is scraped with success and is old all the same."""
    now = datetime.now(UTC)
    answer = world.ask(query)
    assert isinstance(answer, Samples)
    age = (now - answer.samples[0].at).total_seconds() + (1 if "offset" in query else 0)
    assert age == pytest.approx(now.timestamp() - world.own, abs=CLOSE)


def test_a_time_given_with_at_is_absolute(world: World) -> None:
    """What was measured long ago is old even where the query asks for that very time."""
    ages = world.ages(f'h{{s="new"}} @ {world.zero - 600}')
    assert ages == {"": pytest.approx(600, abs=CLOSE)}
    ages = world.ages(f"max_over_time(h[1m] @ {world.zero - 615} offset 15s)")
    assert ages == {"": pytest.approx(615, abs=CLOSE)}
    assert world.ages('h{s="new"} @ end()') == {"": pytest.approx(30, abs=CLOSE)}


def test_a_living_exporter_is_young(world: World) -> None:
    """Data from the last scrape is no older than the scrape interval, ranges included."""
    for query in ("alive", "max_over_time(alive[1m])", "max_over_time(alive[1m:100ms])"):
        now = datetime.now(UTC)
        answer = world.ask(query, per_pod=True)
        assert isinstance(answer, Samples)
        assert now - answer.samples[0].at < timedelta(seconds=CLOSE), query


def test_values_that_are_no_numbers_come_through(world: World) -> None:
    """NaN and Inf are for the decision to judge."""
    answer = world.ask("not_a_number")
    assert isinstance(answer, Samples)
    assert isnan(answer.samples[0].value)
    answer = world.ask("infinite")
    assert isinstance(answer, Samples)
    assert answer.samples[0].value == float("inf")


def test_all_series_come_through_with_their_labels(world: World) -> None:
    """Two series where one belongs are for the decision to judge."""
    answer = world.ask("h")
    assert isinstance(answer, Samples)
    labels = [dict(sample.labels) for sample in answer.samples]
    assert sorted(labels, key=str) == [
        {"__name__": "h", "s": "new"},
        {"__name__": "h", "s": "old"},
    ]


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("h[5m]", "bad query: the query gives a range of samples, must give an instant vector"),
        ('"text"', "bad query: the query gives a string, must give an instant vector"),
        ("sum(h", "bad query: "),
        ("ts_of_last_over_time(h[1m])", "bad query: "),
        ("c * on() c", "bad query: found duplicate series"),
    ],
)
def test_a_query_that_cannot_be_answered_says_why(world: World, query: str, detail: str) -> None:
    """What the parser or the server refuses is Failed, with the cause."""
    answer = world.ask(query)
    assert isinstance(answer, Missing)
    assert answer.missing is MissingKind.FAILED
    assert answer.detail.startswith(detail)


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        pytest.param("sum(mortal)", Reason.METRIC_EMPTY, id="exporter died"),
        pytest.param("sum(rate(mortal[1m]))", Reason.METRIC_STALE, id="exporter died, range"),
        pytest.param("sum(mortal) or vector(0)", Reason.METRIC_EMPTY, id="a made-up zero"),
        pytest.param("stuck * 0", Reason.METRIC_STALE, id="own times stand still"),
        pytest.param("not_a_number", Reason.METRIC_NOT_A_NUMBER, id="NaN"),
        pytest.param("nothing", Reason.METRIC_EMPTY, id="empty"),
        pytest.param("alive * 0 or timestamp(up) * 0", Reason.TOO_MANY_SERIES, id="many series"),
        pytest.param("alive[1m]", Reason.METRIC_FAILED, id="refused"),
        pytest.param("alive * 0", Reason.BELOW_TARGET, id="a measured zero"),
    ],
)
def test_each_kind_of_absence_holds_for_its_own_reason(
    world: World, query: str, reason: Reason
) -> None:
    """From the server to the decision: only a measured zero may shrink."""
    time.sleep(max(0.0, world.died + 3 - time.time()))
    now = datetime.now(UTC)
    metric = replace(QUEUE, name="m", max_age=timedelta(seconds=2.5))
    observation = Observation(now=now, current=3, ready=3, metrics={"m": world.ask(query)})
    verdict = decide(replace(FREE, metrics=(metric,)), ScalingState(), observation)
    if reason is Reason.BELOW_TARGET:
        assert verdict.decision.to < 3
    else:
        assert verdict.decision.to == 3
        assert verdict.decision.reason is reason


def test_a_selector_of_very_many_names_is_refused() -> None:
    """The age of hundreds of metrics is not worth a query that no server likes."""
    names = [f"many_{number}" for number in range(60)]
    plan = freshness_query('sum({__name__=~"many_.*"})')
    key = plan.names_query.split('"selector", "')[1][:8]
    with pytest.raises(ValueError, match="selects 60 metric names, must select at most 50"):
        freshness_query('sum({__name__=~"many_.*"})', names={key: names})


def test_one_request_per_metric() -> None:
    """Query, ages and all, in one go; a second request only where names must be found."""
    assert not freshness_query("sum(rate(c[5m])) / sum(limit)").names_query
    assert freshness_query('sum({job="x"})').names_query
