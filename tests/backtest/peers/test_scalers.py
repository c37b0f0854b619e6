"""The peers at work: what each sees, how late, and what it then does."""

import pytest

from autoscaler.backtest.peers.delayed_off import DelayedOff
from autoscaler.backtest.peers.hpa import Hpa
from autoscaler.backtest.peers.keda import Keda, ScaledObject
from autoscaler.backtest.peers.kpa import Kpa, Spec
from autoscaler.backtest.peers.kubeai import KubeAI
from autoscaler.backtest.peers.static import Static
from autoscaler.backtest.scaler import ReplicaView, Truth
from autoscaler.hpa.rules import Behavior, Bounds

BOUNDS = Bounds(1, 50)


class World:
    """A world that does at once what a policy wants, and shows it each moment in turn."""

    def __init__(self, scaler, replicas=1, ready=True):
        self.scaler = scaler
        self.replicas = replicas
        self.ready = ready
        self.now = -scaler.period
        self.area = 0.0
        self.cpu = 0.0
        self.said = []  # (when, number)

    def run(self, until, in_system, busy=0.0):
        """Go on until a moment with so many requests, and return the replicas then."""
        while self.now + self.scaler.period <= until:
            self.now += self.scaler.period
            self.area += in_system * self.scaler.period
            self.cpu += busy * self.scaler.period
            number = self.scaler.tick(self.truth(in_system))
            if number is not None:
                self.said.append((self.now, number))
                self.replicas = number
        return self.replicas

    def truth(self, in_system):
        """Return the present moment."""
        running = min(in_system, self.replicas) if self.ready else 0
        return Truth(
            now=self.now,
            wanted=self.replicas,
            waiting=in_system - running,
            running=running,
            replicas=tuple(self.view(place, running) for place in range(self.replicas)),
            in_system_seconds=self.area,
        )

    def view(self, place, running):
        """Return one replica; the first ones have the work."""
        ready_at = -1000.0 if self.ready else None
        return ReplicaView(
            name=f"r{place}",
            created=-1000.0,
            ready_at=ready_at,
            draining=False,
            running=int(place < running),
            busy_seconds=0.0,
            cpu_seconds=self.cpu,
        )


def test_hpa_reads_what_was_scraped_before_and_grows_by_its_old_limit():
    """Scrapes at 0, 15, 30 s; syncs at 7.5, 22.5, 37.5 s: from one to four, then by twice."""
    world = World(Hpa(1, BOUNDS))
    world.run(7.5, in_system=1)
    world.run(45, in_system=30)
    world.run(52.5, in_system=30)
    assert world.said == [(22.5, 4), (37.5, 8), (52.5, 16)]


def test_hpa_with_behavior_grows_by_four_pods_or_all_again():
    """From one to five, then ten: the policies count from the start of their 15 s."""
    world = World(Hpa(1, BOUNDS, behavior=Behavior()))
    world.run(52.5, in_system=30)
    assert world.said == [(7.5, 5), (22.5, 10), (37.5, 20), (52.5, 30)]


@pytest.mark.parametrize("behavior", [None, Behavior()])
def test_hpa_shrinks_after_five_minutes(behavior):
    """The last high recommendation has to leave the window."""
    world = World(Hpa(1, BOUNDS, behavior=behavior), replicas=6)
    world.run(97.5, in_system=6)
    world.run(390, in_system=2)
    assert world.said == []
    world.run(412.5, in_system=2)
    assert [number for _, number in world.said] == [2]


def test_hpa_on_cpu_needs_two_scrapes_and_sees_no_queue():
    """A replica that is busy all the time uses 100 % of its request, whatever waits for it."""
    world = World(Hpa(80, BOUNDS, metric="cpu"), replicas=4)
    world.run(7.5, in_system=100, busy=1.0)
    assert world.said == []
    world.run(22.5, in_system=100, busy=1.0)
    assert world.said == [(22.5, 5)]


def test_keda_goes_to_zero_after_its_cooldown_and_wakes_at_a_poll():
    """Polls at 22.5, 52.5 s and so on; the cooldown is over when more than 300 s have passed."""
    world = World(Keda(1, ScaledObject(low=0)), replicas=1)
    world.run(60, in_system=1)
    world.run(352.5, in_system=0)
    assert world.said == []
    world.run(382.5, in_system=0)
    assert world.said == [(382.5, 0)]
    world.run(390, in_system=0)
    world.run(420, in_system=3)
    assert world.said[1:] == [(412.5, 1)]


def test_keda_leaves_the_rest_to_its_hpa():
    """Between one and many it is HPA."""
    world = World(Keda(2, ScaledObject(low=1, high=10)), replicas=1)
    world.run(22.5, in_system=30)
    assert world.said == [(7.5, 4), (22.5, 8)]


def test_kpa_panics_within_seconds():
    """Twelve times its target fill the panic window, not yet the stable one."""
    world = World(Kpa(Spec(target=0.7), BOUNDS))
    world.run(60, in_system=0)
    assert world.run(64, in_system=8) > 5
    assert world.run(70, in_system=8) == 12
    assert world.run(120, in_system=0) == 12


def test_kpa_without_data_decides_nothing():
    """Nothing has been scraped yet."""
    world = World(Kpa(Spec(target=0.7), BOUNDS), replicas=3)
    world.run(0, in_system=9)
    assert world.said == []


def test_kpa_goes_to_zero_after_its_window_and_grace_and_wakes_at_once():
    """60 s without a request, 30 s of grace; then the activator does not wait for a tick."""
    world = World(Kpa(Spec(target=0.7), Bounds(0, 50)))
    world.run(100, in_system=1)
    world.run(159, in_system=0)
    assert world.replicas > 0
    world.run(200, in_system=0)
    assert world.replicas == 0
    asleep = len(world.said)
    world.run(203, in_system=0)
    world.run(204, in_system=1)
    assert world.said[asleep:] == [(204, 2)]


def test_kubeai_takes_ten_minutes_to_see_a_step():
    """After a minute a tenth of ten requests, after ten minutes all of them."""
    world = World(KubeAI(1, BOUNDS))
    assert world.run(59, in_system=10) == 1
    assert world.run(300, in_system=10) == 5
    assert world.run(600, in_system=10) == 10


def test_kubeai_wakes_at_once():
    """A request that finds nothing asks for one."""
    world = World(KubeAI(1, Bounds(0, 50)), replicas=0)
    world.run(4, in_system=0)
    world.run(5, in_system=1)
    assert world.said == [(5, 1)]


def test_static_is_set_once():
    """And stays."""
    world = World(Static(7))
    world.run(600, in_system=100)
    assert world.said == [(0, 7)]


def test_delayed_off_lets_the_longest_idle_go_after_its_time():
    """Three for three requests; thirty seconds after they ended the two that had nothing since."""
    scaler = DelayedOff(30, 1, BOUNDS)
    world = World(scaler)
    world.run(10, in_system=3)
    assert world.said == [(0, 3)]
    world.run(20, in_system=1)
    assert list(scaler.victims(world.truth(1), 2)) == ["r1", "r2"]
    world.run(40, in_system=0)
    assert world.replicas == 3
    world.run(41, in_system=0)
    assert world.replicas == 1
