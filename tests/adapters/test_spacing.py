"""How far apart samples are: by the samples themselves, whatever has come, gone or failed."""

from datetime import timedelta

import pytest

from autoscaler.adapters.spacing import spacing_of


def series(*times):
    """Return one series of a range's answer, as Prometheus writes it."""
    return {"metric": {}, "values": [[at, "1"] for at in times]}


@pytest.mark.parametrize(
    ("result", "seconds"),
    [
        ([series(0, 15, 30, 45)], 15),
        ([series(0, 15, 30, 90, 105, 120)], 15),
        ([series(100, 200), series(0, 2, 4, 6)], 2),
        ([series(7)], None),
        ([], None),
        ([{"metric": {}, "histograms": []}], None),
    ],
    ids=["even", "a gap", "one that has just begun", "one sample", "nothing", "histograms"],
)
def test_the_usual_distance_counts(result, seconds):
    """Where there are not two samples, nothing is known."""
    assert spacing_of(result) == (None if seconds is None else timedelta(seconds=seconds))
