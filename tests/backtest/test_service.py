"""The named sets, and what no service can be."""

import pytest

from autoscaler.backtest.service import SETS, service_named
from autoscaler.errors import InputError
from autoscaler.sandbox.service import PROFILES
from tests.backtest.build import service


def test_the_sets_are_the_sandboxs_profiles():
    """One machine, one model, the same figures in both worlds."""
    assert SETS.keys() == PROFILES.keys()
    for name, made in SETS.items():
        profile = PROFILES[name]
        assert (made.pp, made.tg) == (profile.prompt_rate, profile.output_rate), name
        assert (made.overhead, made.start) == (profile.overhead_s, profile.start_up_s), name
        assert (made.phi, made.slots) == (profile.sharing, 1), name
        assert made.seconds(5000, 77) == pytest.approx(profile.service_s(5000, 77)), name


def test_what_slots_are_worth_together():
    """Four slots at phi 0.8 do 4 / 3.4 of one."""
    assert service(slots=4, phi=0.8).gamma == pytest.approx(4 / 3.4)
    assert service(slots=1, phi=0.8).gamma == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"pp": 0.0}, "pp = 0.0, must be above 0"),
        ({"tg": float("inf")}, "tg = inf, must be finite"),
        ({"slots": 0}, "slots = 0, must be above 0"),
        ({"phi": 1.2}, "phi = 1.2, must be at most 1"),
        ({"grace": -1.0}, "grace = -1.0, must not be negative"),
        ({"capacity": 0}, "capacity = 0, must be above 0"),
    ],
)
def test_what_cannot_be_is_refused(change, words):
    """With the key, the value and the rule."""
    with pytest.raises(InputError, match=words):
        service(**change)


def test_a_set_that_is_not_there_is_refused_with_those_that_are():
    """Whoever mistypes a name reads the right ones."""
    with pytest.raises(InputError, match="--set = 70b, must be one of 1b-sbc, 3b-i3"):
        service_named("70b")
