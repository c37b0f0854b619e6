"""Reading a query and writing its riders: text in, text out."""

from datetime import timedelta

import pytest

from autoscaler.adapters.freshness import Ages, freshness_query, names_found, split_ages
from autoscaler.adapters.promql import Place, QueryError, Selector, check_query, parse_query


def selector(query: str) -> Selector:
    """Return the only selector of a query."""
    (only,) = parse_query(query).selectors
    return only


@pytest.mark.parametrize(
    "query",
    [
        "sum(x)",
        "x",
        "1",
        "time()",
        "# a comment with a ` and a \"\nsum(x) # and '",
        r"x{a=~`\d+\.(b|c)`}",
        r'x{a=~"\\d+", b="`", c=\'"\'}'.replace("\\'", "'"),
        'sum by (pod) (rate(x{a="b"}[2m:30s] offset -5m @ end()))',
        "x @ 1700000000.5",
        "holt_winters(x[5m], 0.1, 0.1)",
        "double_exponential_smoothing(x[5m], 0.1, 0.1)",
        "sum(" * 90 + "x" + ")" * 90,
        "x{a=~'" + "long|" * 2000 + "'}",
    ],
)
def test_a_good_query_has_no_findings(query: str) -> None:
    """What Prometheus takes, we take: old and new names, raw strings, comments."""
    assert check_query(query) is None


@pytest.mark.parametrize(
    ("query", "finding"),
    [
        ("", "no expression found in input"),
        ("sum(x", "unclosed left parenthesis"),
        ("rate(x)", "expected type matrix in call to function 'rate', got vector"),
        ("nonsense(x)", "unknown function with name 'nonsense'"),
        ("x[5m]", "the query gives a range of samples, must give an instant vector or a scalar"),
        ("x[5m:1m]", "the query gives a range of samples, must give an instant vector or a scalar"),
        ('"x"', "the query gives a string, must give an instant vector or a scalar"),
        ('x{a="b" or c="d"}', "a selector has `or` between matchers, must join them by a comma"),
        ("x @ -5", "the query has a negative time after @, must be 0 or above"),
        ("x @ 1e99", "number too large to fit in target type"),
        ("(" * 101 + "x" + ")" * 101, "the query nests 101 parentheses, must nest at most 100"),
        (
            "1" + "+1" * 2000,
            "the query has 4001 characters outside strings, must have 4000 or less",
        ),
        ("1" + "+1" * 1990, "the query is nested too deeply"),
    ],
)
def test_a_bad_query_has_one_line_that_says_why(query: str, finding: str) -> None:
    """Also where the compiled parser would have taken the process with it."""
    assert check_query(query) == finding
    with pytest.raises(QueryError):
        freshness_query(query)


def test_selectors_keep_values_and_times_exactly() -> None:
    """Quotes, backslashes, line ends, milliseconds and negative offsets survive the parser."""
    found = selector('rate(x{a="q\\"\\\\\\n",b!="",c=~`\\.`,d!~"e"}[1m250ms] offset -1m30s)')
    assert found == Selector(
        matchers=('__name__="x"', r'a="q\"\\\n"', 'b!=""', r'c=~"\\."', 'd!~"e"'),
        named=True,
        place=Place(range=timedelta(seconds=60.25), offset=timedelta(seconds=-90)),
        by_pod=True,
    )


def test_names_that_need_quotes_get_them() -> None:
    """The new syntax for names beyond letters and digits is written as it is read."""
    assert selector('{"my.metric","a.b"="c"}').matchers == ('__name__="my.metric"', '"a.b"="c"')


def test_subqueries_are_kept_from_the_inside_out() -> None:
    """Each level has its range, step, offset and time."""
    found = selector("max_over_time(rate(x[1m] @ start())[5m:10s] offset 1m)")
    assert found.place == Place(range=timedelta(minutes=1), at="start")
    assert found.outer == (
        Place(range=timedelta(minutes=5), step=timedelta(seconds=10), offset=timedelta(minutes=1)),
    )


@pytest.mark.parametrize(
    ("query", "by_pod"),
    [
        ("x", {"x"}),
        ("sum(x)", set()),
        ("sum by (pod, a) (x)", {"x"}),
        ("sum by (a) (x)", set()),
        ("sum without (a) (x)", {"x"}),
        ("sum without (pod) (x)", set()),
        ("topk by (pod) (scalar(y), x)", {"x"}),
        ('count_values by (pod) ("pod", x)', set()),
        ("-rate(x[1m])", {"x"}),
        ("max_over_time(x[5m:1m])", {"x"}),
        ("scalar(x)", set()),
        ("absent(x)", set()),
        ('label_replace(x, "a", "b", "", "")', {"x"}),
        ('label_replace(x, "pod", "b", "", "")', set()),
        ('label_join(x, "pod", "b", "a")', set()),
        ("x / y", {"x", "y"}),
        ("x * 2 > bool 1", {"x"}),
        ("x / on(pod) y", {"x", "y"}),
        ("x / ignoring(a) y", {"x", "y"}),
        ("x / ignoring(pod) y", set()),
        ("x / on(a) y", set()),
        ("x / on(a) group_left y", {"x"}),
        ("x / on(a) group_right y", {"y"}),
        ("x / on(a) group_left(pod) y", set()),
        ("x and on(a) y", {"x"}),
        ("x unless on(a) y", {"x"}),
        ("x or on(a) y", {"x", "y"}),
        ("sum by (pod) (x) / sum(y)", {"x"}),
    ],
)
def test_the_label_pod_is_followed_to_the_result(query: str, by_pod: set[str]) -> None:
    """An age goes by pod only where a selector's pod is the result's pod beyond doubt."""
    selectors = parse_query(query).selectors
    assert {each.matchers[0][10:-1] for each in selectors if each.by_pod} == by_pod


def test_the_second_argument_of_info_is_no_selector() -> None:
    """It names labels to add, and reads nothing by itself."""
    assert selector('info(x, {k8s_cluster="a"})').matchers == ('__name__="x"',)


def test_the_riders_follow_the_query() -> None:
    """The query is sent as it is written, and equal selectors have one rider."""
    plan = freshness_query("sum(x) / sum(x) # half")
    marker = plan.marker
    assert plan.text == (
        "(\nsum(x) / sum(x) # half\n)\n"
        f'or label_replace(max(time() - (timestamp({{__name__="x"}}))), "{marker}", "a0", "", "")'
    )


def test_a_scalar_is_sent_as_a_vector() -> None:
    """Only vectors can have riders."""
    assert freshness_query("1").text == "vector(\n1\n)"
    assert not freshness_query("1").has_selectors
    assert freshness_query("scalar(x)").text.startswith("vector(\nscalar(x)\n)\nor ")


def test_riders_go_by_pod_only_when_asked() -> None:
    """A total needs one age, not one for each pod."""
    assert "by (pod)" not in freshness_query("x").text
    plan = freshness_query("x / on() group_left sum(y)", per_pod=True)
    assert plan.text.count("by (pod)") == 1
    assert f'"{plan.marker}", "p0"' in plan.text
    assert f'"{plan.marker}", "a1"' in plan.text


def test_the_marker_is_no_label_of_anyone_else() -> None:
    """It depends on the query, so that no query can contain its own marker."""
    first = freshness_query("x").marker
    second = freshness_query(f'x{{{first}="a0"}}')
    assert second.marker != first
    series = [({first: "a0"}, 1.0), ({second.marker: "a0"}, 2.0)]
    assert split_ages(second.marker, series) == ([({first: "a0"}, 1.0)], Ages(whole=(2.0,)))


def test_ages_are_told_apart_by_pod() -> None:
    """A pod's own age and those of the whole count; others' only where a pod has none."""
    marker = "m"
    own, ages = split_ages(
        marker,
        [({"pod": "a"}, 1.0), ({"pod": "a", marker: "p0"}, 10.0), ({"pod": "b", marker: "p0"}, 20)],
    )
    assert own == [({"pod": "a"}, 1.0)]
    assert (ages.of("a"), ages.of("b"), ages.of("c")) == (10.0, 20.0, 20.0)
    ages = Ages(whole=(15.0,), by_pod=(("a", 10.0), ("b", 20.0)))
    assert (ages.of("a"), ages.of("b"), ages.of("c")) == (15.0, 20.0, 15.0)
    ages = Ages(by_pod=(("a", 10.0), ("", 30.0)))
    assert ages.of("a") == 30.0, "a series without the label may be behind every pod"
    assert not Ages()


def test_selectors_without_a_name_are_built_again_with_names() -> None:
    """The names come from a query of their own, and each gets a rider."""
    plan = freshness_query('sum({job="a"}) + y')
    assert plan.has_selectors
    assert '"__name__", "(.+)"' in plan.names_query
    key = plan.names_query.split('"selector", "')[1][:8]
    names = names_found(
        [{"selector": key, "name": "m"}, {"selector": key, "name": "n", "__name__": "n"}]
    )
    again = freshness_query('sum({job="a"}) + y', names=names)
    assert not again.names_query
    for text in ('{__name__="m",job="a"}', '{__name__="n",job="a"}', '{__name__="y"}'):
        assert again.text.count(f"timestamp({text})") == 1
    assert freshness_query('sum({job="a"})', names={}).has_selectors
