"""What is claimed of the peers' validation is true."""

import pytest

from autoscaler.backtest.peers import PEERS, Place
from autoscaler.hpa.rules import Bounds
from tests.backtest.peers.tables import FOLDER, table


def figures(case):
    """Count what a case holds a model to: each step of a story, each reading, or one."""
    return len(case.get("steps") or case.get("read") or [case])


def count(name, *, derived):
    """Count a table's figures, or only those that were derived by hand."""
    return sum(
        figures(case)
        for test, listed in table(name).items()
        for case in listed
        if test.startswith("derived") or not derived
    )


@pytest.mark.parametrize("peer", PEERS.values(), ids=PEERS)
def test_each_peer_passes_as_many_figures_as_it_says(peer):
    """A count that is wrong here would be wrong in the league table's notes."""
    assert peer.tables
    assert peer.tables == {name: count(name, derived=False) for name in peer.tables}
    assert peer.derived == sum(count(name, derived=True) for name in peer.tables)


def test_every_table_belongs_to_a_peer():
    """No table lies about unused."""
    used = {name for peer in PEERS.values() for name in peer.tables}
    assert used == {path.name for path in FOLDER.glob("*.yaml")}


@pytest.mark.parametrize("peer", PEERS.values(), ids=PEERS)
def test_each_peer_can_be_built(peer):
    """With the target that it comes with, or with one; and with the least that it takes."""
    place = Place(Bounds(), slots=2, start=30)
    for number in (peer.shipped(place) or 3, peer.target.least):
        assert peer.build(place, number).period > 0


def test_what_they_come_with():
    """The targets of a place with two slots and a minute to start."""
    place = Place(Bounds(), slots=2, start=60)
    assert {name: peer.shipped(place) for name, peer in PEERS.items()} == {
        "hpa": 2,
        "hpa-behavior": 2,
        "hpa-cpu": 80,
        "hpa-cpu-behavior": 80,
        "keda": 2,
        "kpa": 1.4,
        "kubeai": 100,
        "static": None,
        "delayed-off": 60,
    }
