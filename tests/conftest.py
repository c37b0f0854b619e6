"""For all tests."""

import signal

import pytest
from hypothesis import HealthCheck, settings

from tests.contract.counting import counted

# Another environment, or a cluster: make test-webui, make test-cluster.
collect_ignore = ["webui", "cluster"]

# A busy machine is no defect: properties are judged by what holds, not by how fast.
settings.register_profile("steady", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", parent=settings.get_profile("steady"), max_examples=3000)
settings.load_profile("steady")


def pytest_terminal_summary(terminalreporter) -> None:
    """Say against which API how many contract cases ran."""
    for line in counted(terminalreporter.stats):
        terminalreporter.write_line(line)


@pytest.fixture
def signal_mask():
    """Give back the signals that a daemon blocks which runs in this very process.

    Every process that a later test starts would have them blocked, too.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    yield
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
