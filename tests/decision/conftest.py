"""Nothing here may reach out: the decision is pure."""

import pytest


@pytest.fixture(autouse=True)
def _no_sockets(socket_disabled):
    """Make any socket an error."""
