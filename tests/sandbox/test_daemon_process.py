"""What the daemon of a run is started with."""

from pathlib import Path

from autoscaler.decision.words import Mode
from autoscaler.sandbox.daemon_process import Changes, Places, plan
from autoscaler.settings import load

SHIPPED = Path("config/autoscaler.yaml")


def planned(tmp_path, **changes):
    """Return the plan of a run that changes this."""
    places = Places(
        prometheus="http://127.0.0.1:1",
        statistics="http://127.0.0.1:2/stats;csv",
        kubeconfig=tmp_path / "kubeconfig",
        port=3,
        records=tmp_path / "records.jsonl",
    )
    return plan(SHIPPED, load(SHIPPED, {}), Changes(**changes), places, tmp_path)


def test_without_a_change_it_is_the_shipped_file_itself(tmp_path):
    """Nothing is written."""
    found = planned(tmp_path)
    assert (found.config, found.differences) == (SHIPPED, ())
    assert list(tmp_path.iterdir()) == []


def test_a_shadow_at_the_speed_of_life_differs_by_its_mode_alone(tmp_path):
    """The rest is as it is shipped, and the difference is told."""
    found = planned(tmp_path, mode=Mode.SHADOW)
    told = [(each.key, each.shipped, each.here) for each in found.differences]
    assert told == [("targets[0].mode", "act", "shadow")]
    assert load(found.config, {}).targets[0].mode is Mode.SHADOW
    assert load(found.config, {}).interval == load(SHIPPED, {}).interval


def test_speed_and_mode_are_changed_together(tmp_path):
    """Every duration is divided, and it is a shadow."""
    found = planned(tmp_path, mode=Mode.SHADOW, speed=10.0)
    told = {each.key: each.here for each in found.differences}
    assert (told["interval"], told["targets[0].mode"]) == ("500ms", "shadow")
