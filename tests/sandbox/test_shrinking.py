"""Shrinking cuts no stream, and takes those that have nothing to do; `make shrinking` does more."""

from tests.sandbox.shrinking import shrink


async def test_no_stream_is_cut_though_the_daemon_is_killed(tmp_path):
    """Streams run all the time; who goes is idle, and a mark that nothing came of is taken back."""
    found = await shrink(tmp_path, 6, kills=True)
    assert found.cut == []
    assert found.kills >= 2
    assert found.busy <= found.deleted // 4
    assert found.left_marked == 0
    assert "BelowTarget" in found.reasons


async def test_without_a_gateway_to_ask_who_is_busy_goes_too_and_is_not_cut(tmp_path):
    """The decision works all the same, says that it chose blindly, and the stream is finished."""
    found = await shrink(tmp_path, 4, ranked=False)
    assert found.cut == []
    assert "VictimsUnknown" in found.reasons
