"""The daemon as a process: it starts, stops, survives outages, and is killed at any step."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from threading import Event
from types import SimpleNamespace
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from autoscaler.daemon.process import Daemon, Listeners
from autoscaler.daemon.scheduler import CycleScheduler
from autoscaler.decision.record import Record, from_json
from autoscaler.records import read, read_files
from tests.cycles import FakeClock
from tests.stubs import AFTER, BEFORE, CONFIGURATION, DaemonProcess, World, environment

QUERY, DEPLOYMENT, PODS, PATCH = "/api/v1/query", "GET /apis/apps", "/pods", "PATCH"

BEFORE_THE_WRITE = [
    pytest.param((DEPLOYMENT, BEFORE, 1), id="before the Deployment is read"),
    pytest.param((PODS, BEFORE, 1), id="between the two reads"),
    pytest.param((QUERY, BEFORE, 1), id="after the reads"),
    pytest.param((QUERY, AFTER, 1), id="before the metric's answer"),
]
AROUND_THE_WRITE = [
    pytest.param((PATCH, BEFORE, 1), id="before the write arrives"),
    pytest.param((PATCH, AFTER, 1), id="before the write is answered"),
    pytest.param((DEPLOYMENT, BEFORE, 2), id="after the write was answered"),
]
IN_BAND, MUCH, LITTLE = 1.6, 4.0, 0.1


@pytest.fixture
def world(tmp_path):
    """A Deployment of two replicas under a load that asks for just that."""
    world = World(tmp_path)
    yield world
    world.stop()


@pytest.fixture
def start(world):
    """Return a function that starts a daemon; none outlives its test."""
    started = []

    def start(*arguments, **options):
        daemon = DaemonProcess(world, *arguments, **options)
        started.append(daemon)
        return daemon

    yield start
    for daemon in started:
        daemon.close()


# --- from start to stop -------------------------------------------------------------------------


def test_scales_serves_and_stops(world, start, tmp_path):
    """One life: a line per cycle, a write, pages, records, and exit code 0 after SIGTERM."""
    records = tmp_path / "records.jsonl"
    daemon = start(AUTOSCALER_RECORDS__PATH=str(records))
    daemon.wait_cycles(2)
    world.load = MUCH
    line = daemon.wait_event("cycle", lambda event: event["outcome"] == "scaled")
    assert (line["from"], line["to"], line["reason"]) == (2, 5, "AboveTarget")
    daemon.wait_event("cycle", lambda event: event.get("from") == 5)

    assert daemon.get("/healthz") == "ok"
    assert daemon.get("/readyz") == "ok"
    assert 'autoscaler_writes_total{direction="up",target="llm/ollama"} 1.0' in daemon.get(
        "/metrics"
    )
    (target,) = json.loads(daemon.get("/status"))["targets"]
    assert target["to"] == 5
    latest = [entry.record for entry in read(daemon.get("/records").encode().splitlines())]
    assert latest[-1].decision.to == 5

    assert daemon.stop(signal.SIGTERM) == 0
    assert world.writes == [(2, 5)]
    assert daemon.errors == []
    assert daemon.events()[-1]["event"] == "stopped"
    kept = [entry.record for entry in read_files(records)]
    assert len(kept) == len(daemon.events("cycle"))
    assert [record.decision.to for record in kept if record.outcome == "scaled"] == [5]
    assert kept[: len(latest)] == latest


@pytest.mark.parametrize(
    "signals",
    [(signal.SIGTERM,), (signal.SIGINT,), (signal.SIGTERM, signal.SIGINT, signal.SIGTERM)],
    ids=["SIGTERM", "SIGINT", "several"],
)
def test_a_signal_lets_the_running_cycle_finish(world, start, signals):
    """The write under way is answered, remembered and told of; a second signal changes nothing."""
    world.load = MUCH
    world.gate.close(PATCH, BEFORE)
    daemon = start()
    world.gate.wait_reached()
    for number in signals:
        daemon.process.send_signal(number)
        time.sleep(0.1)
    daemon.wait_event("stopping")
    assert daemon.events("cycle") == []
    world.gate.open()
    assert daemon.end() == 0
    (cycle,) = daemon.events("cycle")
    assert cycle["outcome"] == "scaled"
    assert [event["event"] for event in daemon.events()][-2:] == ["cycle", "stopped"]
    assert world.replicas == 5
    assert daemon.errors == []


def test_readiness_ends_when_the_daemon_stops(world, start):
    """While the last cycle runs, probes are still answered."""
    daemon = start()
    daemon.wait_cycles(1)
    world.gate.close(QUERY, BEFORE)
    world.gate.wait_reached()
    daemon.process.send_signal(signal.SIGTERM)
    daemon.wait_event("stopping")
    with pytest.raises(HTTPError) as refused:
        daemon.get("/readyz")
    assert refused.value.code == 503
    refused.value.close()
    assert daemon.get("/healthz") == "ok"
    world.gate.open()
    assert daemon.end() == 0


def test_a_signal_during_the_start_is_kept(world, start):
    """Asked to stop while it still reads its configuration, it ends with exit code 0."""
    pipe = world.folder / "pipe.yaml"
    os.mkfifo(pipe)
    daemon = start(config=pipe)
    with pipe.open("w") as configuration:  # opens once the daemon reads
        daemon.process.send_signal(signal.SIGTERM)
        configuration.write(CONFIGURATION)
    assert daemon.end() == 0
    assert daemon.errors == []


@pytest.mark.parametrize(
    ("arguments", "more"),
    [((), "    mode: shadow\n"), (("--dry-run",), "")],
    ids=["mode: shadow", "--dry-run"],
)
def test_a_shadow_never_writes(world, start, arguments, more):
    """It decides and says what it would have done."""
    world.load = MUCH
    daemon = start(*arguments, configuration=CONFIGURATION + more)
    daemon.wait_cycles(5)
    assert daemon.stop() == 0
    assert world.count(PATCH) == 0
    assert {(e["to"], e["outcome"], e["mode"]) for e in daemon.events("cycle")} == {
        (5, "dry-run", "shadow")
    }


# --- outages ------------------------------------------------------------------------------------


def test_an_outage_of_prometheus_is_no_reason_to_die_or_to_shrink(world, start):
    """Cycles go on, replicas stay, the reason says so, and the daemon is alive."""
    world.replicas = 4
    world.prometheus_status = 500
    daemon = start()
    daemon.wait_cycles(8)
    assert daemon.get("/healthz") == "ok"
    page = daemon.get("/metrics")
    assert 'quality="Failed",target="llm/ollama"} 1.0' in page
    assert "\nautoscaler_metric_value{" not in page
    assert daemon.stop() == 0
    assert {event["reason"] for event in daemon.events("cycle")} == {"MetricFailed"}
    assert world.writes == []


def test_an_outage_of_kubernetes_is_seen_and_survived(world, start):
    """Failures are counted until the API answers again."""
    world.kubernetes_status = 500
    world.load = MUCH
    daemon = start()
    daemon.wait_cycles(3)
    assert daemon.get("/healthz") == "ok"
    page = daemon.get("/metrics")
    assert 'autoscaler_consecutive_failures{target="llm/ollama"} 0.0' not in page
    assert "\nautoscaler_current_replicas{" not in page
    assert {event["outcome"] for event in daemon.events("cycle")} == {"failed"}
    world.kubernetes_status = 200
    daemon.wait_event("cycle", lambda event: event["outcome"] == "scaled")
    assert daemon.stop() == 0


def test_a_slow_cycle_is_not_overtaken(world, start):
    """While one runs no other begins, and the ones left out are counted."""
    world.gate.close(QUERY, BEFORE)
    daemon = start(AUTOSCALER_PROMETHEUS__TIMEOUT="5s")
    world.gate.wait_reached()
    time.sleep(0.5)
    assert world.count(QUERY) == 1
    page = daemon.get("/metrics")
    overruns = next(line for line in page.splitlines() if line.startswith("autoscaler_cycle_over"))
    assert float(overruns.split()[-1]) >= 2
    world.gate.open()
    assert daemon.stop() == 0


# --- refusals at the start ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("configuration", "environ", "told"),
    [
        (CONFIGURATION.replace("100ms", '"15 s"'), {}, "interval"),
        (CONFIGURATION, {"AUTOSCALER_INTERVALL": "5s"}, "AUTOSCALER_INTERVALL"),
        (CONFIGURATION, {"AUTOSCALER_KUBERNETES__KUBECONFIG": "/nowhere"}, "/nowhere"),
        ("", {}, "is empty"),
    ],
)
def test_a_bad_configuration_ends_with_2_and_one_line(start, configuration, environ, told):
    """Nothing starts, nothing is logged, and there is no traceback."""
    daemon = start(configuration=configuration, **environ)
    assert daemon.end() == 2
    assert daemon.lines == []
    (line,) = daemon.errors
    assert line.startswith("autoscaler: ")
    assert told in line


def test_a_port_that_is_taken_ends_with_1_and_one_line(world, start):
    """The line names the key and the value."""
    port = world.prometheus_url.rpartition(":")[2]
    daemon = start(AUTOSCALER_HTTP__PORT=port)
    assert daemon.end() == 1
    (line,) = daemon.errors
    assert f"http.port = {port}: cannot listen there" in line


def test_a_records_file_that_cannot_be_written_stops_nothing(start):
    """It is told of once, and cycles go on."""
    daemon = start(AUTOSCALER_RECORDS__PATH="/nowhere/records.jsonl")
    daemon.wait_cycles(4)
    assert daemon.stop() == 0
    told = [event for event in daemon.events() if event["level"] == "error"]
    assert [event["event"] for event in told] == ["records"]
    assert "/nowhere/records.jsonl" in told[0]["message"]


def test_records_on_standard_output_stand_there_alone(start):
    """Whole ones, one a line; the log makes way to standard error."""
    daemon = start(AUTOSCALER_RECORDS__PATH="-")
    while len(daemon.lines) < 3:
        time.sleep(0.05)
    assert daemon.process.poll() is None
    assert daemon.stop() == 0
    records = [from_json(Record, json.loads(line)) for line in daemon.lines]
    assert {record.decision.reason for record in records} == {"WithinTolerance"}
    log = [json.loads(line) for line in daemon.errors]
    assert [event["event"] for event in log if event["event"] != "cycle"][-1] == "stopped"
    assert sum(event["event"] == "cycle" for event in log) == len(records)


# --- a log that nobody takes --------------------------------------------------------------------


def life(world, stdout, close=lambda: None):
    """Run a daemon with this standard output until it has cycled a while; return code, errors."""
    config = world.folder / "autoscaler.yaml"
    config.write_text(CONFIGURATION)
    command = [sys.executable, "-m", "autoscaler", "run", "--config", str(config)]
    if stdout is None:
        command = ["sh", "-c", 'exec "$@" >&-', "sh", *command]
    daemon = subprocess.Popen(
        command, env=environment(world), stdout=stdout, stderr=subprocess.PIPE, text=True
    )
    try:
        wait_until(lambda: world.count(PATCH) or daemon.poll() is not None)
        close()
        seen = world.count(DEPLOYMENT)
        wait_until(lambda: world.count(DEPLOYMENT) > seen + 3 or daemon.poll() is not None)
        daemon.send_signal(signal.SIGTERM)
        _, errors = daemon.communicate(timeout=10)
    finally:
        daemon.kill()
        daemon.communicate()
    return daemon.returncode, errors.splitlines()


def wait_until(found):
    """Wait for what will be soon."""
    latest = time.monotonic() + 30
    while not found():
        assert time.monotonic() < latest
        time.sleep(0.02)


CANNOT = "autoscaler: the log cannot be written: {}; scaling goes on"


def test_a_full_disk_under_the_log_stops_nothing(world):
    """It is told of once, cycles go on, and the end is a good one."""
    world.load = MUCH
    with open("/dev/full", "w") as full:  # noqa: PTH123
        assert life(world, full) == (0, [CANNOT.format("No space left on device")])
    assert world.replicas == 5


def test_a_log_whose_reader_went_away_stops_nothing(world):
    """Neither the cycles nor the good end."""
    world.load = MUCH
    reader, writer = os.pipe()
    try:
        ended = life(world, writer, close=lambda: os.close(reader))
    finally:
        os.close(writer)
    assert ended == (0, [CANNOT.format("Broken pipe")])


def test_a_log_that_nobody_reads_stops_nothing(world):
    """A pipe that is full from the start: cycles go on, and the signal ends it soon."""
    world.load = MUCH
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writer, b"x" * 4096)
    os.set_blocking(writer, True)
    try:
        assert life(world, writer) == (0, [])
    finally:
        os.close(reader)
        os.close(writer)


def test_a_closed_standard_output_stops_nothing(world):
    """No connection takes its place, either."""
    world.load = MUCH
    code, (line,) = life(world, None)
    assert code == 0
    assert line == ("autoscaler: standard output is closed: there will be no log; scaling goes on")


@pytest.mark.usefixtures("signal_mask")
def test_cycles_are_finished_whatever_the_listeners_do():
    """A listener that fails is told of, but the running cycle ends before that."""
    began, finished = Event(), Event()
    stopped = []

    class Noted:
        def __init__(self, name="server"):
            self.name = name

        def start(self):
            return "nowhere"

        def stop(self):
            assert finished.is_set()
            stopped.append(self.name)

    def cycle():
        began.set()
        time.sleep(0.3)
        finished.set()

    def fail(address):
        assert began.wait(10)
        raise ZeroDivisionError

    listeners = Listeners(on_started=fail, on_stopping=lambda name: None, on_stopped=lambda: None)
    clock = FakeClock(datetime.now(UTC))
    scheduler = CycleScheduler(clock, lambda target: None)
    scheduler.put({"a/b": cycle}, timedelta(hours=1))
    with pytest.raises(ZeroDivisionError):
        Daemon(scheduler, Noted(), clock, listeners, [Noted("duty")]).run()
    assert finished.is_set()
    assert stopped == ["duty", "server"]


# --- killed between any two steps ---------------------------------------------------------------


def kill_at(world, start, place):
    """Start a daemon and kill it at this request of a cycle; what stands there is lost."""
    request, moment, nth = place
    world.gate.close(request, moment, nth=nth)
    daemon = start()
    world.gate.wait_reached()
    daemon.kill()
    world.gate.tear_down()


@pytest.mark.parametrize(
    ("replicas", "load", "reason"),
    [(2, IN_BAND, "WithinTolerance"), (4, LITTLE, "Stabilized")],
    ids=["a load within the band", "a load that asks for less"],
)
def test_restarts_move_nothing_on_their_own_account(world, start, replicas, load, reason):
    """Killed at every step of a cycle in turn and started again: the replicas stay."""
    world.replicas, world.load = replicas, load
    for place in BEFORE_THE_WRITE:
        kill_at(world, start, place.values[0])
    daemon = start()
    daemon.wait_cycles(5)
    assert daemon.stop() == 0
    assert world.writes == []
    assert {event["reason"] for event in daemon.events("cycle")} == {reason}


@pytest.mark.parametrize("place", [*BEFORE_THE_WRITE, *AROUND_THE_WRITE])
def test_a_pending_move_up_is_made_exactly_once(world, start, place):
    """Whether the killed daemon's write was carried out or not: two become five, once."""
    world.load = MUCH
    kill_at(world, start, place)
    daemon = start()
    daemon.wait_event("cycle", lambda event: event.get("from") == 5)
    daemon.wait_cycles(3)
    assert daemon.stop() == 0
    assert world.writes == [(2, 5)]
    assert world.replicas == 5


# --- clocks -------------------------------------------------------------------------------------


def test_a_clock_put_back_does_not_put_the_cycles_to_sleep(monkeypatch):
    """Times made by the old clock lie far ahead; the cycles go on all the same."""
    ran = Event()
    rounds = []
    clock = FakeClock(datetime.now(UTC))

    class Silent:
        def start(self):
            return "nowhere"

        def stop(self):
            pass

    def wait(signals, seconds):
        rounds.append(seconds)
        if ran.wait(0.1) or len(rounds) > 50:
            return SimpleNamespace(si_signo=signal.SIGTERM)
        for job in scheduler._scheduler.get_jobs():  # as they look once the clock was put back
            job.modify(next_run_time=clock.at + timedelta(hours=1))
        ran.clear()
        clock.at -= timedelta(seconds=1)
        return None

    listeners = Listeners(
        on_started=lambda address: ran.wait(10) and ran.clear(),
        on_stopping=lambda name: None,
        on_stopped=lambda: None,
    )
    monkeypatch.setattr(signal, "sigtimedwait", wait)
    monkeypatch.setattr(signal, "pthread_sigmask", lambda how, mask: None)
    scheduler = CycleScheduler(clock, lambda target: None)
    scheduler.put({"llm/ollama": ran.set}, timedelta(hours=1))
    Daemon(scheduler, Silent(), clock, listeners).run()
    assert ran.is_set()


def test_a_process_that_was_stopped_goes_on(start):
    """By SIGSTOP, for longer than it ever waits; it does not take that for a signal to end."""
    daemon = start()
    daemon.wait_cycles(1)
    for _ in range(3):
        daemon.process.send_signal(signal.SIGSTOP)
        time.sleep(1.1)
        daemon.process.send_signal(signal.SIGCONT)
        daemon.wait_cycles(2)
    assert daemon.stop() == 0
    assert daemon.errors == []


# --- the port -----------------------------------------------------------------------------------


def test_no_page_acts(start):
    """Everything but GET and HEAD is refused."""
    daemon = start()
    address = daemon.wait_event("started")["http"]
    with pytest.raises(HTTPError) as refused:
        urlopen(Request(f"http://{address}/status", method="POST", data=b"x"), timeout=10)
    assert refused.value.code == 405
    refused.value.close()
    assert daemon.stop() == 0
