"""The comparison by small records whose figures are known."""

from dataclasses import replace
from datetime import timedelta

import pytest

from autoscaler.decision.model import Pod
from autoscaler.decision.record import Outcome
from autoscaler.decision.words import MetricType
from autoscaler.errors import InputError
from autoscaler.records import Entry, Gap
from autoscaler.shadow.compare import compare
from autoscaler.shadow.figures import reversals
from autoscaler.shadow.stretches import Kind
from autoscaler.shadow.survey import Window, survey
from autoscaler.shadow.theirs import ByPrometheus, ByRecords
from tests.decision.build import CPU, QUEUE, at, missing, per_pod, pods_per, policy, seconds, seen
from tests.shadow.build import QUICK, TARGET, compared, entries, load, shadowed, spans

BURST = load((3, 0.8, 1), (6, 4.0, 1), (3, 4.0, 5), (6, 0.8, 5))
"""Half a minute of one request, then five; the other grows a minute later and stays."""


def test_each_side_has_its_area_changes_and_queue():
    """Known numbers: the other 1 for 90 s and 5 for 90 s, ours 1, 5 for 90 s, 1."""
    figures = compared(shadowed(BURST)).figures
    theirs, ours = figures.theirs, figures.ours
    assert theirs.replica_hours == pytest.approx((9 * 1 + 9 * 5) * 10 / 3600)
    assert ours.replica_hours == pytest.approx((9 * 1 + 9 * 5) * 10 / 3600)
    assert (theirs.changes, ours.changes) == (1, 2)
    assert (theirs.reversals, ours.reversals) == (0, 1)
    assert (theirs.lowest, theirs.highest, ours.lowest, ours.highest) == (1, 5, 1, 5)
    # Four requests and one replica, for a minute: three wait. Ours has five from the next cycle on.
    assert (theirs.queued, ours.queued) == (seconds(60), seconds(10))
    assert theirs.waiting_hours == pytest.approx(3 * 60 / 3600)
    assert ours.waiting_hours == pytest.approx(3 * 10 / 3600)
    assert (theirs.short, ours.short) == (seconds(60), seconds(0))
    assert figures.compared == seconds(180)
    assert figures.agreed == seconds(30 + 30)


def test_a_stretch_says_when_what_and_why():
    """The other grew later, and later stayed higher: both with our sentence of that very cycle."""
    later, higher = compared(shadowed(BURST)).stretches
    assert (later.kind, higher.kind) == (Kind.GREW_LATER, Kind.STAYED_HIGHER)
    assert (later.theirs, later.ours, higher.theirs, higher.ours) == ((1,), (5,), (5,), (1,))
    assert spans(compared(shadowed(BURST))) == [(30, 90), (120, 180)]
    assert later.ours_because == "1 -> 5, AboveTarget (queue_depth 4, target 0.8 per replica)"
    assert higher.ours_because.startswith("5 -> 1, BelowTarget (queue_depth 0.8")
    assert (later.most_waiting, later.waited) == (3, seconds(60))
    assert later.replica_hours == pytest.approx(4 * 60 / 3600)
    assert higher.replica_hours == pytest.approx(-4 * 60 / 3600)
    assert [(write.to, write.at) for write in later.later] == [(5, at(90))]
    assert higher.later == ()


@pytest.mark.parametrize(
    ("cycles", "kinds"),
    [
        (load((2, 0.8, 1), (3, 4.0, 1), (2, 0.8, 1)), [Kind.NEVER_GREW]),
        (load((3, 4.0, 5), (3, 4.0, 2)), [Kind.SHRANK_EARLIER]),
        (load((3, 0.8, 1), (3, 0.8, 4)), [Kind.GREW_MORE]),
        (load((3, 4.0, 5), (3, 0.8, 5), (3, 0.8, 1)), [Kind.SHRANK_LATER]),
        (load((3, 4.0, 5), (3, 0.8, 5)), [Kind.STAYED_HIGHER]),
        (load((3, 4.0, 5), (3, 4.0, 5)), []),
    ],
    ids=lambda value: "-".join(map(str, value)) if value and isinstance(value[0], Kind) else "",
)
def test_a_stretch_has_the_kind_of_its_beginning_and_end(cycles, kinds):
    """Who moved first, and whether the other followed."""
    assert [each.kind for each in compared(shadowed(cycles)).stretches] == kinds


def test_a_move_further_away_is_a_disagreement_of_its_own():
    """The other grows a little, too late, and shrinks again while the queue is still there."""
    cycles = load((3, 0.8, 1), (3, 4.0, 1), (3, 4.0, 3), (3, 4.0, 2), (3, 4.0, 5))
    report = compared(shadowed(cycles))
    assert [each.kind for each in report.stretches] == [Kind.GREW_LATER, Kind.SHRANK_EARLIER]
    assert spans(report) == [(30, 90), (90, 120)]
    assert report.stretches[1].ours_because.startswith("holds 5, WithinTolerance (queue_depth 4")


def test_a_hold_of_ours_is_told_by_the_rule_that_holds():
    """The other shrinks into the lull; ours says which window keeps its number."""
    plan = replace(QUICK, scale_down=replace(QUICK.scale_down, stabilization_window=seconds(300)))
    (stretch,) = compared(shadowed(load((3, 4.0, 5), (3, 0.8, 1)), plan)).stretches
    assert stretch.kind is Kind.SHRANK_EARLIER
    assert stretch.ours_because == (
        "holds 5, Stabilized (highest recommendation of the last 300s is 5)"
    )


def test_who_wrote_is_told_with_what_was_seen_then():
    """By the name of the field manager that the record has."""
    cycles = [
        replace(each, writer="kubectl" if each.current == 1 else "kube-controller-manager")
        for each in BURST
    ]
    report = compared(shadowed(cycles))
    assert report.writers == ("kubectl", "kube-controller-manager")
    higher = report.stretches[1].write
    assert (higher.writer, higher.to, higher.at) == ("kube-controller-manager", 5, at(90))
    assert [(use.name, use.value) for use in higher.uses] == [("queue_depth", 4.0)]


# --- our own run --------------------------------------------------------------------------------


def test_ours_is_carried_on_and_not_begun_anew_from_the_others_number():
    """One replica a minute: from 1 to 4 it takes three, though the other never moves."""
    plan = policy(min_replicas=1, max_replicas=10, up_policies=(pods_per(1, 60),))
    report = compared(shadowed(load((20, 3.2, 1)), plan))
    assert [number for _, number in report.curves.ours] == [2, 3, 4]
    (stretch,) = report.stretches
    assert stretch.ours == (2, 3, 4)
    assert (stretch.widest.ours, stretch.widest.at) == (4, at(120))
    assert "RateLimited" not in stretch.ours_because
    assert stretch.widest_because.startswith("3 -> 4, AboveTarget")


def test_new_replicas_of_ours_serve_after_the_time_that_theirs_took():
    """The median of the pods that were seen to start: 20 s; until then they count as starting."""
    pods = {"old": Pod(name="old"), "new": Pod(name="new"), "raw": Pod(name="new", ready=False)}
    then = [("old",)] * 3 + [("old", "raw")] * 2 + [("old", "new")] * 3
    cycles = [
        seen(
            len(names),
            now=10.0 * index,
            ready=1 if "new" not in names else 2,
            queue=1.6,
            pods=tuple(pods[name] for name in names),
        )
        for index, names in enumerate(then)
    ]
    report = compared(shadowed(cycles))
    assert report.survey.start_up == seconds(20)
    # Ours asks for its second replica in the first cycle and has it two cycles later.
    assert report.figures.ours.queued == seconds(20)
    assert report.figures.theirs.queued == seconds(50)


def test_what_all_pods_use_is_shared_by_ours():
    """Two pods at 70 % of the target's load are four pods' worth for nobody: the sum is kept."""
    plan = replace(policy(min_replicas=1, max_replicas=9, metrics=(CPU,)), mode=QUICK.mode)
    cycles = [
        seen(
            2,
            now=10.0 * index,
            cpu=per_pod({"a": 1.4, "b": 1.4}, now=10.0 * index),
            pods=(Pod(name="a"), Pod(name="b")),
        )
        for index in range(5)
    ]
    report = compared(shadowed(cycles, plan))
    assert [number for _, number in report.curves.ours] == [4]
    assert report.stretches[0].ours_because == (
        "2 -> 4, AboveTarget (cpu_to_limit 2.8 over 2 pods, target 0.7 per replica)"
    )
    assert report.survey.requests_metric == ""
    assert report.figures.theirs.queued is None
    assert report.figures.theirs.waiting_hours is None


def test_a_missing_metric_holds_ours_and_counts_as_a_blind_cycle():
    """Absence is never zero, also not in a run that did not happen."""
    cycles = load((3, 4.0, 5))
    cycles += [seen(5, now=30 + 10.0 * index, queue=missing()) for index in range(3)]
    report = compared(shadowed(cycles))
    assert report.figures.blind_cycles == 3
    assert report.figures.ours.changes == 0
    assert report.figures.ours.short == seconds(0)


def test_scaling_that_a_person_switches_off_is_off_for_ours_as_well():
    """Zero is a switch; afterwards both go on from the same number."""
    report = compared(shadowed(load((2, 1.6, 2), (3, 1.6, 0), (3, 1.6, 2))))
    assert report.stretches == []
    assert [number for _, number in report.curves.ours] == [2, 0, 2]


# --- time ---------------------------------------------------------------------------------------


def test_time_that_nobody_watched_is_not_compared():
    """An hour without a cycle counts as a minute, and parts the stretch in two."""
    cycles = load((6, 4.0, 1))
    cycles = [*cycles[:3], *(replace(each, now=each.now + seconds(3600)) for each in cycles[3:])]
    report = compared([*shadowed(_fresh(cycles))])
    assert report.figures.compared == seconds(2 * 10 + 60 + 3 * 10)
    assert spans(report) == [(0, 80), (3630, 3660)]


def test_cycles_without_a_decision_part_no_stretch():
    """The API was away for half a minute: the numbers are known again before they are too old."""
    records = shadowed(load((9, 4.0, 1)))
    gap = Gap(target=TARGET, now=at(31), outcome=Outcome.SKIPPED, reason="", error="no answer")
    lines = [Entry(line=1, record=one) for one in (*records[:3], *records[6:])]
    lines.insert(3, Entry(line=1, gap=gap))
    read, everything = (lambda: iter(lines)), Window()
    report = compare(read, survey(read, None, everything), everything, ByRecords())
    assert spans(report) == [(0, 90)]
    assert report.figures.compared == seconds(90)


def _fresh(cycles):
    """Return cycles whose samples are as old as they were."""
    return [
        seen(each.current, now=(each.now - at(0)).total_seconds(), queue=4.0) for each in cycles
    ]


def test_lines_that_go_back_in_time_are_left_out_and_told_of():
    """Two daemons that wrote one file, or a clock that was set."""
    records = shadowed(load((6, 4.0, 1)))
    report = compared([*records[:4], records[1], *records[4:]])
    assert report.survey.skipped == 1
    assert report.figures.compared == seconds(60)


def test_a_window_leaves_out_what_lies_outside():
    """The end is not inside; ours begins with the number of the first cycle inside."""
    report = compared(shadowed(BURST), window=Window(begin=at(90), end=at(150)))
    assert (report.begin, report.end) == (at(90), at(150))
    assert report.figures.compared == seconds(60)
    assert spans(report) == [(30, 60)]


def test_prometheus_numbers_are_taken_where_they_are_given():
    """A cycle for which it knew none is not compared."""
    points = [(at(10.0 * index), 5) for index in range(9)]
    report = compared(shadowed(BURST), done=ByPrometheus(points, seconds(10)))
    assert report.source == "prometheus"
    # The last point stands for two steps more.
    assert report.figures.compared == seconds(110)
    assert report.figures.unknown == seconds(70)
    assert report.figures.theirs.replica_hours == pytest.approx(5 * 110 / 3600)


# --- which target, how many -----------------------------------------------------------------------


def test_one_of_several_targets_must_be_chosen():
    """The refusal names them."""
    both = [*shadowed(BURST), *shadowed(BURST, target="llm/other")]
    with pytest.raises(InputError, match="--target must be given, one of llm/ollama, llm/other"):
        survey(entries(both), None, Window())
    with pytest.raises(InputError, match="--target = llm/x, must be one of llm/ollama, llm/other"):
        survey(entries(both), "llm/x", Window())
    assert survey(entries(both), "llm/other", Window()).cycles == len(BURST)


def test_nothing_to_compare_is_refused():
    """No cycle, or a single one."""
    with pytest.raises(InputError, match="no cycle in the records"):
        survey(entries([]), None, Window())
    with pytest.raises(InputError, match="llm/ollama: 1 cycle in the records, must be at least 2"):
        survey(entries(shadowed(BURST[:1])), None, Window())


@pytest.mark.parametrize(
    ("moves", "count"),
    [
        ([], 0),
        ([(0, 2), (60, 1), (120, -3)], 1),
        ([(0, 2), (60, -2), (120, 2)], 2),
        ([(0, 2), (600, -2)], 1),
        ([(0, 2), (601, -2)], 0),
    ],
)
def test_a_reversal_takes_the_direction_back_within_ten_minutes(moves, count):
    """Ten minutes are inside, a second more is not."""
    assert reversals([(at(second), change) for second, change in moves]) == count


def test_pods_that_go_are_counted_with_what_they_were_doing():
    """Each once: one is seen leaving for a while, two are gone from one cycle to the next."""
    going = Pod(name="b", deleting=True, in_flight=1)
    three = [Pod(name=name, in_flight=int(name == "d")) for name in "bcd"]
    pods = [(Pod(name="a"), *three)] * 2 + [(Pod(name="a"), going)] * 2 + [(Pod(name="a"),)]
    cycles = [seen(1, now=10.0 * index, queue=0.8, pods=some) for index, some in enumerate(pods)]
    figures = compared(shadowed(cycles)).figures
    assert (figures.gone, figures.gone_busy) == (3, 2)


def test_a_replica_answers_as_many_at_a_time_as_was_seen():
    """Where nobody could be asked, the target value tells, rounded up."""
    assert QUEUE.type is MetricType.TOTAL
    assert compared(shadowed(BURST)).survey.slots == 1
    busy = [replace(each, pods=(Pod(name="a", in_flight=4),)) for each in BURST[:3]]
    assert compared(shadowed(busy)).survey.slots == 4
    once = [replace(each, pods=(Pod(name="a", in_flight=1),)) for each in BURST[:-1]]
    once += [replace(BURST[-1], pods=(Pod(name="a", in_flight=2),))]
    assert compared(shadowed(once)).survey.slots == 1
    assert compared(shadowed(BURST)).survey.interval == timedelta(seconds=10)
