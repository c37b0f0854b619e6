"""The service model: pure, in simulated seconds."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.errors import InputError
from autoscaler.sandbox.service import PROFILES, Job, Slots, profile_named

# 100 tokens of prompt: 1 s; 100 tokens of output: 10 s.
PROFILE = replace(
    PROFILES["3b-laptop"], prompt_rate=100.0, output_rate=10.0, overhead_s=0.0, sharing=0.8
)


def slots(count=1):
    """Give a replica whose model is in memory."""
    one = Slots(profile=PROFILE, count=count)
    one.admit_from(0.0)
    return one


def job(prompt=100, output=100):
    """Give a request of 1 s and 10 s."""
    return Job(input_tokens=prompt, output_tokens=output)


def run_until_idle(model):
    """Go from change to change to the end."""
    while (due := model.next_change()) is not None:
        model.advance(due)


def test_a_request_alone_takes_overhead_and_prompt_and_output():
    """S = h + in / pp + out / tg, with the figures of the parameter set."""
    laptop = PROFILES["3b-laptop"]

    assert laptop.service_s(720, 238) == pytest.approx(0.2 + 10 + 10)


def test_prompts_are_cut_to_the_context_and_outputs_to_their_cap():
    """Nothing beyond 4096 tokens in and 1024 tokens out is paid for."""
    assert PROFILE.service_s(99_999, 99_999) == pytest.approx(40.96 + 102.4)


def test_an_unknown_profile_is_refused_with_the_known_ones():
    """The message says what would be right."""
    with pytest.raises(InputError, match=r"^--profile = 7b, must be one of 1b-sbc, 3b-i3, "):
        profile_named("7b")


def test_a_job_makes_its_first_token_after_the_prompt():
    """Changes are due at the end of the prompt, at the first token and at the last."""
    model, one = slots(), job()
    model.submit(one, 5.0)

    assert model.next_change() == pytest.approx(6.0)
    model.advance(6.0)
    assert (one.started, one.prompt_done, one.emitted) == (5.0, pytest.approx(6.0), 0)
    assert model.next_change() == pytest.approx(6.1)
    model.advance(6.1)
    assert one.emitted == 1
    assert model.next_change() == pytest.approx(16.0)


def test_two_decoding_slots_each_run_at_one_over_one_point_eight():
    """With phi = 0.8 and n = 2: a pace of 1 / (1 - phi + phi n)."""
    model, first, second = slots(2), job(prompt=0), job(prompt=0)
    model.submit(first, 0.0)
    model.submit(second, 0.0)
    run_until_idle(model)

    assert first.finished == second.finished == pytest.approx(18.0)


def test_prompt_evaluation_shares_evenly():
    """Two prompts at a time: each at half its speed."""
    model, first, second = slots(2), job(), job()
    model.submit(first, 0.0)
    model.submit(second, 0.0)
    model.advance(2.0)

    assert first.prompt_done == second.prompt_done == pytest.approx(2.0)


def test_requests_beyond_the_slots_wait_in_the_order_of_arrival():
    """One slot: the second begins when the first ends, the third after the second."""
    model, jobs = slots(), [job(), job(), job()]
    for at, one in enumerate(jobs):
        model.submit(one, float(at))
    run_until_idle(model)

    assert [one.started for one in jobs] == [0.0, pytest.approx(11), pytest.approx(22)]
    assert model.served == 3


def test_nothing_begins_before_the_model_is_in_memory():
    """Requests that come during the start-up wait for its end."""
    model, one = Slots(profile=PROFILE, count=1), job()
    model.submit(one, 1.0)
    model.advance(30.0)
    assert (one.started, model.busy_s) == (None, 0.0)

    model.admit_from(35.0)
    assert one.started == 35.0


def test_a_cancelled_request_gives_its_slot_to_the_next():
    """Whether it was running or waiting, it leaves at once."""
    model, running, waiting, third = slots(), job(), job(), job()
    for one in (running, waiting, third):
        model.submit(one, 0.0)

    model.cancel(waiting, 1.0)
    model.cancel(running, 2.0)

    assert third.started == 2.0
    assert (running.finished, waiting.finished, model.served) == (None, None, 0)


def test_a_time_in_the_past_changes_nothing():
    """A clock that was read before another one's turn does not turn the model back."""
    model, one = slots(), job()
    model.submit(one, 10.0)
    model.advance(13.0)
    before = (model.now, one.emitted, model.busy_s)

    model.advance(9.0)

    assert (model.now, one.emitted, model.busy_s) == before


@given(
    sizes=st.lists(st.tuples(st.integers(0, 4096), st.integers(1, 1024)), min_size=1, max_size=8),
    step=st.floats(0.05, 50.0),
)
def test_one_slot_is_busy_for_the_sum_of_the_work_however_time_is_cut(sizes, step):
    """Work is conserved, and neither the size of steps nor their number changes the ends."""
    at_once, stepwise = slots(), slots()
    ends = []
    for model in (at_once, stepwise):
        jobs = [job(prompt, output) for prompt, output in sizes]
        for one in jobs:
            model.submit(one, 0.0)
        if model is stepwise:
            for _ in range(200):
                model.advance(model.now + step)
        run_until_idle(model)
        ends.append([one.finished for one in jobs])

    work = sum(PROFILE.service_s(prompt, output) for prompt, output in sizes)
    assert ends[0] == pytest.approx(ends[1])
    assert at_once.busy_s == pytest.approx(work)
    assert ends[0][-1] == pytest.approx(work)
