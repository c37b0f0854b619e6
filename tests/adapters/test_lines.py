"""Log lines reach their stream, and never keep anybody waiting for it."""

import json
import os
from contextlib import suppress
from io import StringIO

import pytest

from autoscaler.adapters.lines import LineWriter
from autoscaler.adapters.telemetry import Log

MOST = 1000


@pytest.fixture
def pipe():
    """Return both ends of a pipe as files without a buffer."""
    read, write = os.pipe()
    reader, writer = os.fdopen(read, "rb", 0), os.fdopen(write, "w")
    yield reader, writer
    for end in (reader, writer):
        end.close()


def fill(writer):
    """Write until nothing more fits in; return how many bytes did."""
    os.set_blocking(writer.fileno(), False)
    count = 0
    with suppress(BlockingIOError):
        while True:
            count += os.write(writer.fileno(), b"x" * 4096)
    os.set_blocking(writer.fileno(), True)
    return count


def read(reader, count):
    """Read so many bytes."""
    data = b""
    while len(data) < count:
        data += reader.read(count - len(data))
    return data


def test_lines_arrive_in_their_order(pipe):
    """As soon as they are closed off, all are there."""
    reader, writer = pipe
    lines = LineWriter(writer)
    for number in range(100):
        lines.write(f"line {number}")
    lines.close()
    expected = "".join(f"line {number}\n" for number in range(100)).encode()
    assert reader.read(len(expected) + 1) == expected


def test_what_is_no_file_is_written_at_once():
    """No thread is needed."""
    stream = StringIO()
    LineWriter(stream).write("a")
    assert stream.getvalue() == "a\n"


def test_a_full_pipe_keeps_nobody_waiting(pipe):
    """What waits is bounded, the rest is dropped and counted, and told of once lines flow again."""
    reader, writer = pipe
    filled = fill(writer)
    log = Log(stream=writer)
    for number in range(MOST + 50):
        log.tell("info", "told", number=number)
    log.close()  # gives up
    read(reader, filled)
    told = [json.loads(reader.readline()) for _ in range(MOST)]
    log.close()
    log.tell("info", "told", number=-1)
    log.close()
    while told[-1].get("number") != -1:
        told.append(json.loads(reader.readline()))
    lost = told[-2]
    assert (lost["event"], lost["level"]) == ("lost", "error")
    assert 49 <= lost["lines"] <= 50  # one may have been on its way
    assert lost["lines"] + len(told) - 2 == MOST + 50


def test_a_stream_without_a_reader_is_told_of_once(capfd):
    """On standard error; and what went lost is counted once the stream works again."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "w") as writer:
        lines = LineWriter(writer)
        for _ in range(3):
            lines.write("a")
        lines.close()
        assert lines.take_lost() == 0
        again, other = os.pipe()
        os.dup2(other, write_end)
        os.close(other)
        lines.write("b")
        lines.close()
        assert os.read(again, 100) == b"b\n"
        assert lines.take_lost() == 3
        os.close(again)
    assert capfd.readouterr().err == (
        "autoscaler: the log cannot be written: Broken pipe; scaling goes on\n"
    )


def test_a_stream_that_does_not_block_is_waited_for(pipe):
    """Whoever shares it may have made it so; no line is lost by that."""
    reader, writer = pipe
    filled = fill(writer)
    os.set_blocking(writer.fileno(), False)
    lines = LineWriter(writer)
    lines.write("a")
    read(reader, filled)
    assert read(reader, 2) == b"a\n"
    lines.close()
    assert lines.take_lost() == 0
