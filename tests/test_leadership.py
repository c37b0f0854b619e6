"""Two daemons at one API: frozen, killed, stopped, on slow ways. One of them writes at any time."""

import signal
import time
from contextlib import ExitStack, closing
from random import Random
from threading import Event, Thread
from types import SimpleNamespace

import pytest
import yaml

from autoscaler.decision.record import to_json
from autoscaler.records import read_files
from autoscaler.sandbox.kube.resources import LEASES
from tests.proxy import Proxy
from tests.sandbox.kube_cluster import ClusterThread
from tests.stubs import AFTER, BEFORE, DaemonProcess, World

MUCH, IN_BAND, LITTLE = 4.0, 1.6, 0.1
LEASE = "/apis/coordination.k8s.io/v1/namespaces/llm/leases/autoscaler"
SCALE = "/apis/apps/v1/namespaces/llm/deployments/ollama/scale"

CONFIGURATION = """
interval: 100ms
prometheus: {timeout: 1s}
gateway: {stats_url: ""}
kubernetes: {timeout: 500ms}
leadership: {duration: 3s}
http: {host: 127.0.0.1, port: 0}
log: {format: json, level: debug}
targets:
  - namespace: llm
    deployment: ollama
    metrics:
      - {name: queue_depth, query: vector(1), type: total, target: 0.8}
    scale_up: {policies: []}
    scale_down: {stabilization_window: 0s, cooldown: 0s, policies: []}
"""


class Pair:
    """A cluster, a Prometheus, and daemons that reach the API each on a way of its own."""

    def __init__(self, folder, ending):
        self.folder = folder
        self.world = World(folder)
        ending.callback(self.world.stop)
        self.kube = ending.enter_context(closing(ClusterThread(folder)))
        self.kube.deploy()
        # One that nobody holds is taken at once; one that is not there would be waited for.
        vacant = {"metadata": {"name": "autoscaler"}, "spec": {}}
        self.kube.call(lambda: self.kube.cluster.store.create(LEASES, "llm", vacant))
        self.ways = {}
        self._ending = ending

    def start(self, name, *arguments, configuration=CONFIGURATION, **environ):
        """Start a daemon whose name is its token."""
        if name not in self.ways:
            self.ways[name] = Proxy(self.kube.cluster.url)
            self._ending.callback(self.ways[name].stop)
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(yaml.safe_dump(kubeconfig_for(self.ways[name].url, name)))
        seen = SimpleNamespace(
            folder=folder, prometheus_url=self.world.prometheus_url, kubeconfig=kubeconfig
        )
        daemon = DaemonProcess(seen, *arguments, configuration=configuration, **environ)
        daemon.name = name
        self._ending.callback(daemon.close)
        return daemon

    def writes(self):
        """Return who set the replicas, in order, and who held the Lease then, by the API's log."""
        holder, seen = "", []
        for entry in list(self.kube.cluster.audit):
            if entry.code >= 300:
                continue
            if entry.path.startswith(LEASE.rpartition("/")[0]):
                holder = entry.user if entry.body["spec"]["holderIdentity"] else ""
            elif entry.path == SCALE:
                seen.append((entry.user, holder))
        return seen

    def turns(self):
        """Return who wrote, one after the other."""
        users = [user for user, _ in self.writes()]
        return [user for n, user in enumerate(users) if n == 0 or users[n - 1] != user]

    def wait_writes(self, name, more=2):
        """Return once this daemon has written so many more times."""
        goal = sum(user == name for user, _ in self.writes()) + more
        until = time.monotonic() + 30
        while sum(user == name for user, _ in self.writes()) < goal:
            assert time.monotonic() < until, f"{name} does not write"
            time.sleep(0.02)

    def assert_one_writer(self):
        """Every write was made by who held the Lease at that moment."""
        writes = self.writes()
        assert [each for each in writes if each[0] != each[1]] == []
        return writes


def kubeconfig_for(url, token):
    """Write a kubeconfig whose user is called like the token."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "clusters": [{"name": "test", "cluster": {"server": url}}],
        "users": [{"name": "test", "user": {"token": token}}],
    }


@pytest.fixture
def pair(tmp_path):
    """Return a cluster with two replicas, and nobody who scales them."""
    with ExitStack() as ending:
        yield Pair(tmp_path, ending)


@pytest.fixture
def restless(pair):
    """Let the load swing, so that whoever leads writes several times a second."""
    done = Event()

    def swing():
        while not done.wait(0.35):
            pair.world.load = LITTLE if pair.world.load == MUCH else MUCH

    thread = Thread(target=swing, daemon=True)
    thread.start()
    yield pair
    done.set()
    thread.join()


def freeze(daemon):
    """Stop it as a machine does that has other things to do."""
    daemon.process.send_signal(signal.SIGSTOP)


def thaw(daemon):
    """Let it go on."""
    daemon.process.send_signal(signal.SIGCONT)


def reasons(*daemons):
    """Return the reasons of all cycles."""
    return {cycle.get("reason") for daemon in daemons for cycle in daemon.events("cycle")}


def leads(daemon, after=0):
    """Wait until it says that it leads."""
    return daemon.wait_event("leads", after=after)


# --- one of two ---------------------------------------------------------------------------------


def test_one_leads_and_the_other_stands_by(pair):
    """Both are alive and ready; the one that stands by neither reads nor writes the target."""
    pair.world.load = MUCH
    first = pair.start("first")
    leads(first)
    second = pair.start("second")
    leader = second.wait_event("stands by")["leader"]
    assert leader == lease(pair)["spec"]["holderIdentity"]
    first.wait_event("cycle", lambda event: event["outcome"] == "scaled")
    second.wait_cycles(3)
    for daemon in (first, second):
        assert daemon.get("/healthz") == daemon.get("/readyz") == "ok"
    assert "\nautoscaler_leader 1.0" in first.get("/metrics")
    page = second.get("/metrics")
    assert "\nautoscaler_leader 0.0" in page
    assert "autoscaler_lease_renew_failures_total 0.0" in page
    assert {event["reason"] for event in second.events("cycle")} == {"NotLeader"}
    assert pair.turns() == ["first"]
    assert first.stop() == second.stop() == 0
    assert first.errors == second.errors == []


def lease(pair):
    """Return the Lease as the API keeps it."""
    return pair.kube.call(lambda: pair.kube.cluster.store.get(LEASES, "llm", "autoscaler"))


def test_a_leader_that_stops_hands_over_at_once(pair):
    """The other one does not wait for the Lease to run out, and goes on from where it was."""
    slow = CONFIGURATION.replace("duration: 3s", "duration: 30s")
    slow = slow.replace("timeout: 500ms", "timeout: 5s")
    first = pair.start("first", configuration=slow)
    leads(first)
    second = pair.start("second", configuration=slow)
    second.wait_event("stands by")
    pair.world.load = MUCH
    first.wait_event("cycle", lambda event: event["outcome"] == "scaled")
    assert first.stop() == 0
    asked = time.monotonic()
    leads(second)
    # It looks every six seconds, and would have to wait for thirty.
    assert time.monotonic() - asked < 15
    assert first.wait_event("lost the leadership")["message"] == "the daemon stops"
    second.wait_event("cycle", lambda event: event.get("from") == 5)
    assert "Conflict" not in reasons(first, second)
    assert second.stop() == 0


# --- frozen -------------------------------------------------------------------------------------


def test_a_frozen_leader_writes_no_more(restless):
    """At any moment, for longer than its Lease; and the other way round, and again."""
    random = Random(5)
    daemons = [restless.start("first")]
    leads(daemons[0])
    daemons.append(restless.start("second"))
    restless.wait_writes("first")
    for _ in range(3):
        leader, other = daemons
        before = len(other.events("leads"))
        time.sleep(random.uniform(0, 0.5))
        freeze(leader)
        leads(other, after=before)
        restless.wait_writes(other.name)
        thaw(leader)
        leader.wait_event("lost the leadership", after=len(leader.events("leads")) - 1)
        restless.wait_writes(other.name)
        daemons.reverse()
    writes = restless.assert_one_writer()
    assert len(writes) > 12
    assert restless.turns() == ["first", "second", "first", "second"]
    for daemon in daemons:
        assert daemon.stop() == 0
    assert "Conflict" not in reasons(*daemons)


@pytest.mark.parametrize(
    "place",
    [
        pytest.param(("/pods", BEFORE), id="while it reads"),
        pytest.param(("/pods", AFTER), id="before it decides"),
        pytest.param((f"PATCH {SCALE}", AFTER), id="before its write is answered"),
    ],
)
def test_a_leader_frozen_at_a_step_goes_no_further(restless, place):
    """It wakes up in the middle of a cycle that it began as the leader."""
    first = restless.start("first")
    leads(first)
    second = restless.start("second")
    restless.wait_writes("first")
    gate = restless.ways["first"].gate
    gate.close(*place)
    gate.wait_reached()
    freeze(first)
    leads(second)
    restless.wait_writes("second")
    gate.open()
    thaw(first)
    first.wait_event("lost the leadership")
    restless.wait_writes("second")
    restless.assert_one_writer()
    assert restless.turns() == ["first", "second"]
    assert first.stop() == second.stop() == 0
    assert "Conflict" not in reasons(first, second)


def test_a_write_that_arrives_late_changes_nothing(restless):
    """One that hung on its way until another leader had written starts from an old number."""
    first = restless.start("first")
    leads(first)
    second = restless.start("second")
    restless.wait_writes("first")
    gate = restless.ways["first"].gate
    gate.close(f"PATCH {SCALE}", BEFORE)
    gate.wait_reached()
    freeze(first)
    leads(second)
    restless.wait_writes("second", more=1)
    gate.open()
    thaw(first)
    first.wait_event("lost the leadership")
    restless.wait_writes("second")
    restless.assert_one_writer()
    assert restless.turns() == ["first", "second"]


def test_a_slow_api_makes_no_second_writer(restless):
    """Requests that take too long are given up and arrive all the same; Leases run out."""
    random = Random(7)
    daemons = [restless.start(name) for name in ("first", "second")]
    for way in restless.ways.values():
        way.delay = lambda: random.choice([0, 0, 0.1, 0.3, 0.6])
    time.sleep(12)
    for way in restless.ways.values():
        way.delay = lambda: 0.0
    seen = len(restless.writes())
    until = time.monotonic() + 20
    while len(restless.writes()) < seen + 3:
        assert time.monotonic() < until
        time.sleep(0.05)
    restless.assert_one_writer()
    for daemon in daemons:
        assert daemon.stop() == 0


# --- killed, and started again ------------------------------------------------------------------

COOL = CONFIGURATION.replace("scale_up: {", "scale_up: {cooldown: 1h, ") + (
    "    conflict_hold: 1h\n"
)


def cycles(daemon, outcome):
    """Return the cycles that ended so."""
    return [event for event in daemon.events("cycle") if event["outcome"] == outcome]


def kept(path):
    """Return the records in a file."""
    return [to_json(entry.record) for entry in read_files(path) if entry.record]


def test_windows_and_cooldowns_survive_a_kill(pair, tmp_path):
    """Killed some time after it has grown: whoever comes next knows when that was."""
    records = [tmp_path / name for name in ("first.jsonl", "second.jsonl")]
    pair.world.load = MUCH
    first = pair.start("first", configuration=COOL, AUTOSCALER_RECORDS__PATH=str(records[0]))
    first.wait_event("cycle", lambda event: event["outcome"] == "scaled")
    time.sleep(1.0)  # more than a renewal
    first.kill()
    pair.world.load = 2 * MUCH
    second = pair.start("second", configuration=COOL, AUTOSCALER_RECORDS__PATH=str(records[1]))
    second.wait_event("cycle", lambda event: event.get("reason") == "CoolingDown")
    assert second.stop() == 0
    assert pair.turns() == ["first"]
    assert second.events("state") == []
    before, after = (kept(path) for path in records)
    assert after[0]["state"]["last_up"] == before[-1]["state"]["last_up"]
    assert after[0]["state"]["recommendations"] != []
    assert reasons(second) == {"CoolingDown", "NotLeader"}


@pytest.mark.parametrize("moment", [BEFORE, AFTER])
def test_a_write_that_nobody_lived_to_remember(pair, moment):
    """Killed around its write: carried out or not, it is made once, and is nobody else's."""
    first = pair.start("first", configuration=COOL)
    first.wait_event("cycle", lambda event: event.get("reason") == "WithinTolerance")
    time.sleep(1.0)  # so that what is remembered says 2
    gate = pair.ways["first"].gate
    gate.close(f"PATCH {SCALE}", moment)
    pair.world.load = MUCH
    gate.wait_reached()
    first.kill()
    gate.tear_down()
    second = pair.start("second", configuration=COOL)
    second.wait_event("cycle", lambda event: event.get("from") == 5)
    pair.world.load = 2 * MUCH
    second.wait_event("cycle", lambda event: event.get("reason") == "CoolingDown")
    assert second.stop() == 0
    assert len(pair.writes()) == 1
    assert pair.kube.cluster.replicas("llm", "ollama") == 5
    assert "Conflict" not in reasons(first, second)


def test_what_cannot_be_read_is_told_of_once(pair):
    """Somebody has written something else where the memory stands: it begins afresh."""
    first = pair.start("first", configuration=COOL)
    leads(first)
    first.kill()

    def spoil(held):
        held["metadata"]["annotations"]["ollama-autoscaler/state"] = "eJw="

    pair.kube.call(lambda: pair.kube.cluster.store.change(LEASES, ("llm", "autoscaler"), spoil))
    second = pair.start("second", configuration=COOL)
    second.wait_event("cycle", lambda event: event.get("reason") == "WithinTolerance")
    (told,) = second.events("state")
    assert "begins afresh" in told["message"]
    assert second.stop() == 0


# --- without a Lease ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "configuration"),
    [
        ((), CONFIGURATION.replace("{duration: 3s}", "{enabled: false}")),
        ((), CONFIGURATION + "    mode: shadow\n"),
        (("--dry-run",), CONFIGURATION),
    ],
    ids=["leadership.enabled: false", "mode: shadow", "--dry-run"],
)
def test_where_there_is_nothing_to_agree_on_no_lease_is_touched(pair, arguments, configuration):
    """It works at once, and needs no right for it."""
    pair.world.load = MUCH
    daemon = pair.start("first", *arguments, configuration=configuration)
    daemon.wait_event("cycle", lambda event: event["outcome"] in ("scaled", "dry-run"))
    assert "\nautoscaler_leader 1.0" in daemon.get("/metrics")
    assert daemon.stop() == 0
    assert [each for each in pair.kube.cluster.accesses if each.resource == "leases"] == []
    assert daemon.events("leads") == []


# --- outages ------------------------------------------------------------------------------------


def test_a_lease_that_may_not_be_written_is_told_of(pair):
    """Nobody leads, which is counted and said; nothing is written."""
    pair.kube.call(lambda: pair.kube.cluster.deny("update", "leases"))
    pair.world.load = MUCH
    daemon = pair.start("first")
    told = daemon.wait_event("lease")
    assert "cannot update leases.coordination.k8s.io: HTTP 403" in told["message"]
    daemon.wait_cycles(3)
    assert "autoscaler_lease_renew_failures_total 0.0" not in daemon.get("/metrics")
    pair.kube.call(lambda: pair.kube.cluster.allow("update", "leases"))
    daemon.wait_event("cycle", lambda event: event["outcome"] == "scaled")
    assert daemon.stop() == 0


def test_an_api_that_is_gone_ends_the_leadership_and_not_the_daemon(pair):
    """It stops in time also then."""
    daemon = pair.start("first")
    leads(daemon)
    daemon.wait_event("cycle", lambda event: event.get("reason") == "WithinTolerance")
    pair.ways["first"].delay = lambda: 5.0
    told = daemon.wait_event("lost the leadership")
    assert "no answer within" in told["message"]
    assert daemon.get("/healthz") == "ok"
    asked = time.monotonic()
    assert daemon.stop() == 0
    assert time.monotonic() - asked < 10
