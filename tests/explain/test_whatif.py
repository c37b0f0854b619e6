"""`--what-if`: the same cycles by another policy."""

import json

import pytest

from autoscaler import cli
from tests.explain.material import keep, scenario, steady

NIGHT = "a_restart_at_night_shrinks_at_once"


@pytest.fixture(autouse=True)
def _in_utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")


@pytest.fixture
def run(capsys, tmp_path):
    """Return a function that supposes something of records: code, output and error lines."""

    def run(records, *options):
        file = keep(tmp_path / "records.jsonl", *records)
        code = cli.run(["explain", str(file), *options])
        out, err = capsys.readouterr()
        return code, out.splitlines(), err.splitlines()

    return run


def test_both_decisions_and_the_steps_that_differ(run):
    """A whole screen, as it is read."""
    story = scenario("a_swing_hides_from_the_rate")[:3]
    code, out, _ = run(story, "--what-if", "scale_up.policies=[]", "--what-if", "max_replicas=9")
    assert code == 0
    assert out == [
        "llm/ollama at 2026-11-23 10:00:30 UTC  (records.jsonl line 3)",
        "what if scale_up.policies=[], max_replicas=9",
        "",
        "recorded: holds 8, RateLimited: the rate policies allow no further change now",
        "what if:  grows from 8 to 9, AboveTarget: the load is more than these replicas",
        "          should carry",
        "",
        "rule              from  to  because",
        "rate    recorded  12    8   RateLimited: rate policies allow 8 now",
        "rate    what if             nothing to change",
        "bounds  recorded            nothing to change",
        "bounds  what if   12    9   AtMaximum: min_replicas 1, max_replicas 9",
        "with the memory of 2 cycles before, since 2026-11-23 10:00:00 UTC",
    ]


def test_a_policy_that_changes_nothing_says_so(run):
    """Not an empty table."""
    _, out, _ = run(steady(), "--what-if", "max_replicas=19")
    assert "Every step is the same." in out


def test_a_longer_window_remembers_what_the_recorded_one_had_forgotten(run):
    """The memory is made anew from the first record on."""
    story = scenario(NIGHT)
    shrinks = next(n for n, each in enumerate(story) if each.decision.direction == "down")
    _, out, _ = run(story[: shrinks + 1], "--what-if", "scale_down.stabilization_window=30m")
    assert any(line.startswith("what if:  holds ") for line in out)
    assert "highest recommendation of the last 1800s is" in " ".join(" ".join(out).split())


def test_over_a_range_it_counts_and_tells_the_first_few(run):
    """Who comes to another number, and who to the same for another reason."""
    _, out, _ = run(steady(), "--since", "5m", "--what-if", "metrics.queue_depth.target=0.4")
    assert len(out) == 7
    assert out[0] == (
        "2026-11-23 10:10:00  llm/ollama: holds 2, WithinTolerance | grows from 2 to 4, AboveTarget"
    )
    assert out[-2] == "... and 16 more"
    assert out[-1] == ("21 of 21 cycles come to another number by metrics.queue_depth.target=0.4")
    _, out, _ = run(steady(), "--since", "5m", "--what-if", "min_replicas=2")
    assert out == ["0 of 21 cycles come to another number by min_replicas=2"]
    _, out, _ = run(steady(), "--since", "0", "--what-if", "metrics.queue_depth.use_for=scale_down")
    assert out[-1].startswith("0 of 1 cycles come to another number")


def test_at_a_time(run):
    """The cycle in force then."""
    _, out, _ = run(steady(), "--at", "10:05", "--what-if", "metrics.queue_depth.target=0.4")
    assert out[0].startswith("llm/ollama at 2026-11-23 10:05:00")


def test_the_memory_goes_on_over_what_the_records_went_on_over(run):
    """Every story with a restart, a conflict, a write that failed."""
    for name in (NIGHT, "somebody_was_faster", "the_machine_slept_for_an_hour"):
        story = scenario(name)
        code, out, _ = run(story, "--since", "1d", "--what-if", "hold_limit=14m")
        assert code == 0
        assert f"of {len(story)} cycles" in out[-1]


def test_json_holds_both(run):
    """One line per cycle."""
    options = ("--json", "--what-if", "metrics.queue_depth.target=0.4")
    (line,) = run(steady(), *options)[1]
    both = json.loads(line)
    assert both["recorded"]["decision"]["to"] == 2
    assert both["what_if"]["decision"]["to"] == 4
    assert len(run(steady(), *options, "--since", "1m")[1]) == 5


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("max_replica=8", "did you mean max_replicas; next: type it again with max_replicas=VALUE"),
        ("x=8", "unknown key, must be one of min_replicas, max_replicas, metrics, "),
        ("mode=shadow", "unknown key"),
        ("metrics.queue_depth.query=up", "unknown key"),
        ("max_replicas", "must be KEY=VALUE, such as max_replicas=8"),
        ("max_replicas=many", 'max_replicas = "many", must be a whole number'),
        ("max_replicas=0", "max_replicas = 0, must be at least 1"),
        ("min_replicas=99", "min_replicas = 99, must not be above max_replicas = 20"),
        ("hold_limit=soon", 'hold_limit = "soon", must be a duration such as 500ms'),
        ("hold_limit=3d", "must lie within 0s..1d"),
        ("scale_up.policies=[{type: pods, value: 0, period: 1m}]", "must be above 0"),
        ("hold_limit=[", "must be YAML"),
    ],
)
def test_what_cannot_be_is_refused_as_in_the_configuration(run, change, told):
    """One line, exit code 2."""
    code, out, (line,) = run(steady(), "--what-if", change)
    assert (code, out) == (2, [])
    assert line.startswith(f"autoscaler: --what-if {change}:")
    assert told in line
