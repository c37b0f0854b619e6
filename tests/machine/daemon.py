"""One daemon with its loop, as the process that it would be."""

import json
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum

from autoscaler.decision.decide import decide
from autoscaler.decision.model import Missing, Policy
from autoscaler.decision.record import Outcome, from_json, to_json
from autoscaler.decision.words import ALIVE, Direction, MissingKind, Mode, Reason
from autoscaler.errors import (
    ConflictError,
    ForbiddenError,
    TargetReadError,
    TargetWriteError,
    UnknownWriteError,
)
from autoscaler.loop import Ports, TargetLoop
from autoscaler.ports import Memory, TargetState
from tests.machine.cluster import FIRST_COST, US
from tests.machine.ledger import (
    SKEW,
    Ledger,
    broken_by_replacing,
    broken_by_scaling,
    could_give_back,
    cut_for_nothing,
    look,
    too_fast,
)

LONGEST_SEEN = 30
"""Seconds after which nothing is written any more on what was seen."""


class Fault(Enum):
    """What may go wrong at a call."""

    DEATH = "the process ends here"
    ERROR = "the call fails as its port says that it may"
    LOSS = "the call has no answer"
    BUG = "the call fails as nobody expects"


class Death(BaseException):
    """The process ends here: no handler in it runs."""


@dataclass
class View:
    """What one cycle has been told."""

    now: datetime
    policy: Policy
    began: float
    seen: TargetState | None = None
    log_length: int = 0
    asked_gateway: bool = False
    requests: dict | None = None
    answers: dict | None = None
    looked: bool = False
    may_be_foreign: bool = True
    marked: set = field(default_factory=set)
    """Pods that carry a mark of an earlier call."""
    victims: tuple = ()
    stuck: set = field(default_factory=set)
    too_fast: list = field(default_factory=list)

    def in_flight(self, pod):
        """Return the requests of a pod, None where the gateway has not told them."""
        return (self.requests or {}).get(self.seen.addresses.get(pod.name))


class Daemon:
    """One process with its loop, and all the ports of that loop.

    A script says what happens at which call of the next cycle: a Fault, or a list of events that
    come to pass while the process waits there, be it frozen or only slow.
    """

    def __init__(self, world, *, skew, asks_gateway):
        self.world = world
        self.skew = timedelta(seconds=skew)
        self.asks_gateway = asks_gateway
        self.running = False
        self.script = {}
        self.start()

    def start(self):
        """Begin a new process."""
        ports = Ports(
            source=self,
            target=self,
            clock=self,
            reporters=(self,),
            busy=self if self.asks_gateway else None,
            leadership=self,
            store=self,
        )
        self.plan = self.world.plan
        self.loop = TargetLoop(self.plan, ports)
        self.ledger = Ledger()
        self.jumped = timedelta(0)
        self.has_run = False

    def cycle(self, script=None):
        """Run one cycle by a script, and look at what it has said of it."""
        if self.running:
            return
        if self.plan is not self.world.plan:
            self.plan = self.world.plan
            self.loop.adopt(self.plan)
        if self.has_run and abs(self.jumped) > SKEW:
            self.ledger.shift(self.jumped)
        self.jumped, self.has_run, self.running = timedelta(0), True, True
        self.script, self.scripted = dict(script or {}), dict(script or {})
        self.went_wrong, self.saved, self.written, self.reports = False, False, 0, []
        self.first_term, self.may_write = None, False
        self.view = View(self.now(), self.plan.policy, self.world.time.ticks)
        try:
            report = self.loop.run_once()
        except Death:
            self.start()
        except Exception as error:  # noqa: BLE001 - that is what must never happen
            self.world.object(f"run_once raised {error!r}")
        else:
            self._judge(report)
        finally:
            self.running = False

    def _moment(self, call):
        """Let happen what the script has for this call, or return the fault of it."""
        self.may_write = False
        thing = self.script.pop(call, None)
        if isinstance(thing, Fault):
            self.went_wrong = True
            if thing is Fault.DEATH:
                raise Death
            if thing is Fault.BUG:
                raise RuntimeError("as drawn")
            return thing
        for event in thing or ():
            self.world.happen(event)
        return None

    def _judge(self, report):
        """Object to a report that is not what happened."""
        if self.reports != [report]:
            self.world.object(f"{len(self.reports)} reports of one cycle")
        if report.outcome == Outcome.FAILED and not self.went_wrong:
            self.world.object(f"failed without a fault: {report.error}")
        if report.record is None:
            self._judge_nothing()
        else:
            self._judge_record(report.record)
            self._judge_rest()

    def _judge_nothing(self):
        if self.written:
            self.world.object("wrote, and left no record")
        if self.view.seen and self.scripted == {"unmark": Fault.ERROR}:
            self.world.object("a mark that cannot be taken back ends the cycle")

    def _judge_record(self, record):
        world, view = self.world, self.view
        gives_back = any(step.reason is Reason.GIVEN_BACK for step in record.steps)
        if view.too_fast and not (gives_back and could_give_back(view)):
            world.object(f"wrote {record.decision.to}: {view.too_fast}")
        again = decide(record.policy, record.state, record.observation)
        if (again.decision, again.steps) != (record.decision, record.steps):
            world.object("the record decides otherwise")
        if record.observation.foreign_write and not view.may_be_foreign:
            world.object("took an own write for a foreign one")

    def _judge_rest(self):
        """Object to what a cycle in which nothing happened has left behind, or not."""
        if self.scripted:
            return
        if not self.saved:
            self.world.object("nothing was saved")
        view = self.view
        staying = sum(not pod.deleting and pod.phase in ALIVE for pod in view.seen.pods)
        if self.plan.mode is Mode.ACT and staying <= view.seen.current:
            left = {pod.name for pod in self.world.cluster.pods if pod.marked and pod.alive}
            if left - set(view.victims):
                self.world.object(f"marks were left on {left}")

    # --- clock, leadership, store, reporter -----------------------------------------------------

    def now(self):
        """Tell the wall-clock time of this machine."""
        return self.world.time.wall + self.skew

    def monotonic(self):
        """Tell the seconds."""
        return self.world.time.ticks

    def term(self):
        """Tell the term, as it is when the answer comes."""
        decided = self.view.answers is not None
        if decided and not self.view.looked:
            self._look()
        self._moment("act" if decided else "tidy" if self.view.seen else "lead")
        term = self.world.term if self.world.leader is self else None
        if self.first_term is None:
            self.first_term = term
        self.may_write = term is not None and term == self.first_term
        return term

    def _look(self):
        self.view.looked = True
        self.view.may_be_foreign = look(
            self.ledger,
            self.view,
            self.world.cluster.log,
            told=self.world.tells_writers,
            shadow=self.plan.mode is Mode.SHADOW,
        )

    def load(self, target):
        """Return the last memory, through text; the ledger goes with it."""
        kept = self.world.kept[-1] if self._moment("load") is None and self.world.kept else None
        if kept is not None:
            self.ledger = deepcopy(kept[1])
        self.ledger.reloaded(self.now())
        return kept and from_json(Memory, json.loads(kept[0]))

    def save(self, target, memory):
        """Keep a memory, where nobody else leads; what is written can be read back."""
        if self._moment("save") is not None:
            return
        text = json.dumps(to_json(memory), allow_nan=False)
        if to_json(from_json(Memory, json.loads(text))) != to_json(memory):
            self.world.object("the memory cannot be read back")
        if self.world.leader is self and self.world.term == self.first_term:
            self.world.kept.append((text, deepcopy(self.ledger)))
            del self.world.kept[:-3]
        self.saved = True
        self._moment("saved")

    def report(self, report):
        """Keep a report."""
        self.reports.append(report)
        self._moment("report")

    # --- what is observed -----------------------------------------------------------------------

    def read(self):
        """Show the Deployment."""
        if self._moment("read") is not None:
            raise TargetReadError("no answer")
        cluster, annotation = self.world.cluster, self.world.annotation
        self.view.log_length = len(cluster.log)
        self.view.seen = TargetState(
            current=cluster.replicas,
            ready=sum(pod.serves for pod in cluster.pods),
            pods=tuple(pod.shown() for pod in cluster.pods),
            addresses={pod.name: pod.address for pod in cluster.pods if pod.address},
            marked=tuple(pod.name for pod in cluster.pods if pod.marked and not pod.deleting),
            paused=annotation == "both",
            paused_direction=Direction(annotation) if annotation in ("up", "down") else None,
            writer=cluster.writer,
        )
        self.view.marked = set(self.view.seen.marked)
        return self.view.seen

    def in_flight(self):
        """Tell the requests on each address, as far as the gateway is asked and answers."""
        self.view.asked_gateway = True
        if self._moment("busy") is not None or self.world.gateway == "none":
            return None
        pods = [pod for pod in self.world.cluster.pods if pod.address]
        known = pods[1:] if self.world.gateway == "some" else pods
        self.view.requests = {pod.address: pod.requests for pod in known}
        return self.view.requests

    def ask(self, queries, now):
        """Answer each metric as the load is."""
        failed = self._moment("ask") is not None
        metrics = self.plan.policy.metrics
        self.view.answers = {
            metric.name: Missing(missing=MissingKind.FAILED)
            if failed
            else self.world.answer(metric, now)
            for metric in metrics
        }
        return self.view.answers

    # --- what is written ------------------------------------------------------------------------

    def unmark(self, pods):
        """Take marks back."""
        self._allow("unmark")
        for pod in pods:
            if self._moment("unmark") is not None:
                raise TargetWriteError("not unmarked")
            self.world.cluster.mark(pod, 0)
            self.view.marked -= {pod}

    def scale(self, current, desired, victims=()):
        """Mark the victims and set the replicas, as KubernetesTarget does it."""
        world, cluster, view = self.world, self.world.cluster, self.view
        self._allow(f"scale from {current} to {desired}")
        for rule in broken_by_scaling(self.ledger, view, desired):
            world.object(f"wrote {desired} over {current}: {rule}")
        view.too_fast = list(too_fast(self.ledger, view, desired))
        view.victims = tuple(victims)
        if self.asks_gateway and not view.asked_gateway:
            world.object("did not ask for the requests in flight")
        marked, before = [], (len(cluster.log), cluster.costs())
        try:
            for rank, pod in enumerate(victims):
                if self._moment("mark") is not None:
                    raise ForbiddenError("may not mark")  # noqa: TRY301
                cluster.mark(pod, FIRST_COST + rank)
                if pod not in view.marked:
                    marked.append(pod)
            self._patch(current, desired)
        except (UnknownWriteError, RuntimeError):
            self.ledger.lost = (desired, view.now)
            raise
        except (ForbiddenError, TargetWriteError, ConflictError):
            for pod in marked:
                if self._moment("take back") is not None:
                    break
                cluster.mark(pod, 0)
            raise
        finally:
            world.remember_marks(*before)
        self.ledger.wrote(view, desired, self.written)

    def _patch(self, current, desired):
        cluster = self.world.cluster
        fault = self._moment("patch")
        if fault is Fault.ERROR:
            raise TargetWriteError("refused")
        if fault is Fault.LOSS:
            raise UnknownWriteError("timeout; it did not happen")
        if cluster.replicas != current:
            raise ConflictError(f"replicas is {cluster.replicas}, not {current}")
        late = self.world.leader is not self or self.world.term != self.first_term
        cluster.write(US, desired, late=late)
        self.written = len(cluster.log)
        self.world.doomed = (cluster.key(), cluster.going())
        for name in cut_for_nothing(cluster, self.view) if desired < current else ():
            self.world.object(f"{name} is busy and goes, while an idle one stays")
        if self._moment("patched") is not None:
            raise UnknownWriteError("timeout; it did happen")

    def replace(self, pod):
        """Delete a pod."""
        self._allow(f"replace {pod}")
        for rule in broken_by_replacing(self.ledger, self.view, pod):
            self.world.object(f"replaced {pod}: {rule}")
        if self._moment("replace") is not None:
            raise TargetWriteError("not deleted")
        self.world.cluster.pod(pod).deleting = True

    def _allow(self, what):
        """Object to a write that may not be made at all, whatever it says."""
        if not self.may_write:
            self.world.object(f"{what} without asking for the leadership just before")
        if self.plan.mode is Mode.SHADOW:
            self.world.object(f"{what} in shadow mode")
        if self.world.time.ticks - self.view.began > LONGEST_SEEN:
            self.world.object(f"{what} on what was seen long ago")
