"""What Prometheus would say of the pods' CPU use."""

import random

import pytest

from autoscaler.backtest.podwatch import PodWatch
from autoscaler.backtest.rates import rate
from autoscaler.backtest.scaler import ReplicaView, Truth


@pytest.mark.parametrize(
    ("samples", "now", "expected"),
    [
        ([(15, 100.0), (30, 110.0), (45, 120.0), (60, 130.0)], 60, 30 / 45),
        ([(15, 100.0), (30, 110.0), (45, 120.0), (60, 130.0)], 70, 30 / 45),  # to both edges
        ([(0, 90.0), (15, 100.0), (30, 110.0), (45, 120.0), (60, 130.0)], 60, 30 / 45),
        ([(45, 100.0), (60, 103.0)], 60, 3 * (15 + 7.5) / 15 / 60),  # no further than half a gap
        ([(45, 0.0), (60, 3.0)], 60, 3 / 60),  # it was zero then: nothing before
        ([(45, 1.0), (60, 4.0)], 60, 3 * (15 + 5) / 15 / 60),  # zero 5 s before the first
        ([(60, 4.0)], 60, None),
        ([(0, 1.0), (60, 4.0)], 60, None),  # the window is open on the left
    ],
)
def test_a_rate_is_stretched_as_prometheus_does_it(samples, now, expected):
    """Over a minute; worked out by hand from `extrapolatedRate`."""
    found = rate(samples, now, 60)

    assert found is None if expected is None else found == pytest.approx(expected)


@pytest.mark.parametrize(("scrape", "window"), [(15, 60), (10, 60), (15, 50), (15, 45)])
def test_what_is_kept_between_scrapes_is_what_would_be_worked_out_anew(scrape, window):
    """Pods that come one after the other, busy and idle by turns: each rate at each cycle."""
    draw = random.Random(scrape * window)
    watch, used, scraped = PodWatch(scrape, window), {}, {}
    for second in range(0, 3000, 5):
        for pod in range(6):
            if second >= pod * 200:
                used[pod] = used.get(pod, 0.0)
                if draw.random() < (0.9 if second // 300 % 2 else 0.1):
                    used[pod] += draw.choice([5.0, 5 * draw.random()])
        views = [
            ReplicaView(f"p{pod}", 200.0 * pod, 0.0, False, 0, 0.0, cpu)
            for pod, cpu in used.items()
        ]
        truth = Truth(
            now=second, wanted=6, waiting=0, running=0, replicas=tuple(views), in_system_seconds=0
        )
        if second % scrape == 0:
            watch.scrape(truth)
            for pod, cpu in used.items():
                scraped.setdefault(pod, []).append((second, cpu))
        samples, numbers = watch.uses(second)
        rates = {f"p{pod}": rate(held, second, window) for pod, held in scraped.items()}

        assert {sample.labels["pod"]: sample.value for sample in samples.samples} == {
            pod: pytest.approx(value) for pod, value in rates.items() if value is not None
        }
        assert numbers == tuple(sample.value for sample in samples.samples)
