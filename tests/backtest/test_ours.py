"""Our policy in a run decides what the daemon would, and passing cycles over changes nothing."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from autoscaler.backtest.engine import simulate
from autoscaler.backtest.ours import Ours
from autoscaler.backtest.ours import Path as SeenBy
from autoscaler.backtest.podwatch import moment
from autoscaler.backtest.service import service_named
from autoscaler.decision.record import Outcome, to_json
from autoscaler.decision.words import PodPhase
from autoscaler.replay import replay
from autoscaler.settings import load, to_policy
from tests.backtest.build import Script, bursty, service, timed

SHIPPED = to_policy(load(Path("config/autoscaler.yaml"), {}).targets[0])


def told(run_of, requests, made, *, shortcut, seed=0):
    """Return one line for each cycle, what was decided and why, and the run's hash."""
    lines, last = [], []

    def watch(observation, verdict):
        if verdict is not None:
            last[:] = [verdict.decision, verdict.steps]
        now = observation.now.isoformat()
        lines.append(json.dumps([now, to_json(last[0]), [to_json(step) for step in last[1]]]))

    scaler = Ours(run_of, shortcut=shortcut, watcher=watch)
    run = simulate(requests, made, scaler, seed=seed, initial=2)
    return "\n".join(lines).encode(), run.result_hash(), scaler


@pytest.mark.parametrize("seed", range(8))
def test_passing_cycles_over_gives_the_same_decisions_byte_by_byte(seed):
    """Each cycle's decision and steps, and all that happens, with the shortcut and without."""
    requests = bursty(seed, hours=1.5, busy=[2.0, 0.05][seed % 2])
    made = service_named("3b-laptop", slots=[1, 4][seed // 4], start=20.0 + 5 * seed)
    policy = replace(SHIPPED, max_replicas=8, min_replicas=1 + seed % 3)
    if seed % 4 == 3:
        policy = replace(policy, metrics=policy.metrics[:1])

    full, full_hash, all_of_them = told(policy, requests, made, shortcut=False, seed=seed)
    short, short_hash, fewer = told(policy, requests, made, shortcut=True, seed=seed)

    assert short == full
    assert short_hash == full_hash
    assert all_of_them.decided == all_of_them.cycles == fewer.cycles
    assert fewer.decided < (fewer.cycles if seed % 2 == 0 else 0.9 * fewer.cycles)


def test_a_run_without_a_watcher_is_the_same_run():
    """Being watched builds observations that are else not needed."""
    requests, made = bursty(3), service_named("3b-laptop")

    _, watched, _ = told(SHIPPED, requests, made, shortcut=True)

    assert simulate(requests, made, Ours(SHIPPED), initial=2).result_hash() == watched


def test_the_decisions_are_those_of_autoscaler_decide():
    """The observations of a run, line by line through the command: the same numbers and steps."""
    observations, decided = [], []

    def watch(observation, verdict):
        observations.append(json.dumps(to_json(observation)))
        decided.append((to_json(verdict.decision), [to_json(step) for step in verdict.steps]))

    scaler = Ours(SHIPPED, shortcut=False, watcher=watch)
    run = simulate(bursty(5, hours=0.5), service_named("3b-laptop"), scaler, initial=2)

    records = [json.loads(line) for line in replay(SHIPPED, "llm/ollama", observations)]
    assert [(record["decision"], record["steps"]) for record in records] == decided
    assert run.actions
    assert {record["outcome"] for record in records} == {Outcome.HELD, Outcome.SCALED}


def seen_at(second, requests, made, policy=SHIPPED, orders=None, **path):
    """Return what the cycle at that second saw; the replicas follow a script instead."""
    found = {}
    scaler = Ours(policy, SeenBy(**path), watcher=lambda seen, _: found.update({seen.now: seen}))
    script = Script(orders or {}, period=1.0)

    class Both(Script):
        def tick(self, truth):
            scaler.tick(truth)
            return script.tick(truth)

    simulate(requests, made, Both({}, period=1.0), initial=2)
    return found[moment(second)]


def test_the_queue_is_as_old_as_its_last_scrape():
    """Scraped each 2 s: at 5 s it is what it was at 4 s, and says so; at 10 s it is of now."""
    requests = timed([(0, 100), (4.5, 100)])

    five, ten = (seen_at(second, requests, service()) for second in (5, 10))

    (sample,) = five.metrics["queue_depth"].samples
    assert (sample.value, sample.at) == (1.0, moment(4))
    (sample,) = ten.metrics["queue_depth"].samples
    assert (sample.value, sample.at) == (2.0, moment(10))


def test_cpu_use_is_the_rate_of_what_was_scraped():
    """Busy from 0 to 100: scrapes at 15 and 30 tell 1.0; after 130, of 60 s one is busy."""
    requests = timed([(0, 100)], span=200.0)

    early, busy, after = (seen_at(second, requests, service()) for second in (10, 65, 140))

    assert early.metrics["cpu_to_limit"].samples == ()
    uses = {each.labels["pod"]: each for each in busy.metrics["cpu_to_limit"].samples}
    assert {pod: each.value for pod, each in uses.items()} == {
        "ollama-00000": pytest.approx(1.0),
        "ollama-00001": 0.0,
    }
    assert uses["ollama-00000"].at == moment(60)
    # Scrapes at 90 (90 s), 105, 120, 135 (100 s): 10 s in 45.
    uses = {each.labels["pod"]: each.value for each in after.metrics["cpu_to_limit"].samples}
    assert uses["ollama-00000"] == pytest.approx(10 / 45)


def test_pods_are_as_the_api_and_the_gateway_show_them():
    """Starting, without a node, draining, serving."""
    requests = timed([(0, 100), (0, 100)], span=150.0)
    orders = {5.0: 4, 20.0: 1}

    starting = seen_at(10, requests, service(capacity=3), orders=orders)
    shrunk = seen_at(25, requests, service(capacity=3), orders=orders)

    assert (starting.current, starting.ready) == (4, 2)
    serving, _, coming, homeless = starting.pods
    assert (serving.phase, serving.ready, serving.in_flight) == (PodPhase.RUNNING, True, 1)
    assert (coming.phase, coming.ready, coming.in_flight) == (PodPhase.RUNNING, False, None)
    assert (coming.created, coming.unschedulable, coming.failing) == (moment(5), False, False)
    assert (homeless.phase, homeless.unschedulable) == (PodPhase.PENDING, True)
    assert (shrunk.current, shrunk.ready) == (1, 1)
    assert [(pod.name, pod.deleting) for pod in shrunk.pods] == [
        ("ollama-00000", True),  # both became ready at once: by name
        ("ollama-00001", False),
    ]


def test_idle_replicas_go_first():
    """Three of four are busy; the idle one goes, although it is the oldest."""
    requests = timed([(0, 5), *[(1 + k, 4000) for k in range(3)]], span=3000.0)
    policy = replace(
        SHIPPED, metrics=SHIPPED.metrics[:1], min_replicas=1,
        scale_down=replace(SHIPPED.scale_down, stabilization_window=timedelta(seconds=60)),
    )  # fmt: skip
    policy = replace(policy, metrics=(replace(policy.metrics[0], target=1.2),))

    run = simulate(requests, service(), Ours(policy), initial=4)

    assert [(before, after) for _, before, after in run.actions][:1] == [(4, 3)]
    first = min(run.visits, key=lambda visit: visit.ended)
    assert first.seconds < 300
    assert run.figures(10).cut == 0


def test_a_sample_that_may_be_too_old_between_scrapes_leaves_no_shortcut():
    """Fresh at one cycle and stale at the next: such cycles are not the same."""
    queue = replace(SHIPPED.metrics[0], max_age=timedelta(seconds=1))
    policy = replace(SHIPPED, metrics=(queue, SHIPPED.metrics[1]), min_replicas=2)
    scaler = Ours(policy, SeenBy(gateway_scrape=2))

    simulate(timed([(0, 1)], span=2000.0), service(), scaler, initial=2)

    assert scaler.decided == scaler.cycles


def test_ours_grows_for_a_crowd_and_shrinks_after_it():
    """The whole way: from two up and back, nothing cut."""
    crowd = timed([(600 + k, 60.0) for k in range(6)], span=4000.0)

    run = simulate(crowd, service(start_sigma=0.3), Ours(SHIPPED), initial=2)

    numbers = [after for _, _, after in run.actions]
    assert max(numbers) == 6
    assert numbers[-1] == 2
    assert run.figures(60).share == 1.0
