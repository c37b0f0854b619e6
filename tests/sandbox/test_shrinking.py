"""Shrinking cuts no stream, and meets those that have nothing to do."""

from tests.sandbox.shrinking import shrink


async def test_shrinking_cuts_no_stream_and_takes_the_idle(tmp_path):
    """With streams running all the time; hardly a replica that goes had anything to finish."""
    found = await shrink(tmp_path, 9)
    print(found)
    assert found.cut == []
    assert found.busy <= found.deleted // 4
    assert found.left_marked == 0
