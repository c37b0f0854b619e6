"""A Lease in memory, and a world in which several contend for it: slow, frozen, on wrong clocks.

Nothing waits: a heap of events stands for time. The elector sees its own clock only.
"""

import heapq
from dataclasses import dataclass, field, replace
from datetime import timedelta
from random import Random

from autoscaler.adapters.kubernetes.elector import Elector, Timing, Write
from autoscaler.adapters.kubernetes.lease import Lease

TIMING = Timing(duration=timedelta(seconds=15), write=timedelta(seconds=5))
GIVEN_UP = 3.0
"""Seconds after which no answer is waited for any more; the request may still be carried out."""


class LeaseBox:
    """The API's side."""

    def __init__(self):
        self.lease = None
        self._version = 0

    def carry_out(self, request):
        """Return the Lease after the request; LookupError where it is refused."""
        if not isinstance(request, Write):
            return self.lease
        found, over = (each.version if each else None for each in (self.lease, request.over))
        if found != over:
            raise LookupError
        self.keep(request.claim)
        return self.lease

    def keep(self, claim):
        """Put this into the Lease, whoever asks."""
        self._version += 1
        self.lease = Lease(version=str(self._version), claim=claim)

    def touch(self):
        """Change something that is nobody's business."""
        if self.lease:
            self.keep(self.lease.claim)

    def rob(self):
        """Take the Lease from its holder, as a person may."""
        if self.lease:
            self.keep(replace(self.lease.claim, holder=""))


@dataclass
class Notes:
    """The memory of one contender: a text that names it."""

    name: str
    begun: list[str] = field(default_factory=list)
    count: int = 0

    def text(self):
        """Give a text that was never given before."""
        self.count += 1
        return f"{self.name} {self.count}"

    def begin(self, text):
        """Note what was found."""
        self.begun.append(text)


class Contender:
    """One elector on a machine of its own."""

    def __init__(self, name, random, timing=TIMING):
        self.name = name
        self.notes = Notes(name)
        self.elector = Elector(name, timing, self.notes, random.random)
        self.offset = random.uniform(-1e6, 1e6)
        self.rate = random.uniform(0.98, 1.02)
        self.frozen_until = 0.0
        self.ends = float("-inf")
        """When it counts itself as leading no more, in the world's time."""
        self.terms = []

    def clock(self, at):
        """Return its own clock's seconds."""
        return self.offset + self.rate * at

    def leads(self, at):
        """Tell whether it counts itself as leading."""
        return self.elector.term(self.clock(at)) is not None


class Election:
    """Contenders, a Lease, and what goes wrong between them."""

    def __init__(self, seed, *, contenders=2, trouble=1.0, timing=TIMING):
        self.random = Random(seed)
        self.trouble = trouble
        self.timing = timing
        self.box = LeaseBox()
        self.now = 0.0
        self.overlaps = []
        self._events = []
        self._number = 0
        self.contenders = []
        for _ in range(contenders):
            self.join()

    def join(self):
        """Let one more process contend."""
        contender = Contender(f"c{len(self.contenders)}", self.random, self.timing)
        self.contenders.append(contender)
        self.at(self.random.uniform(0, 5), self.look, contender)
        return contender

    def at(self, delay, act, *arguments):
        """Do something later."""
        self._number += 1
        heapq.heappush(self._events, (self.now + delay, self._number, act, arguments))

    def run(self, seconds):
        """Let time pass."""
        until = self.now + seconds
        while self._events and self._events[0][0] <= until:
            self.now, _, act, arguments = heapq.heappop(self._events)
            act(*arguments)
        self.now = until

    def of_process(self, contender, act, *arguments):
        """Do something in a process, once it runs again."""
        if contender.frozen_until > self.now:
            self.at(contender.frozen_until - self.now, self.of_process, contender, act, *arguments)
            return
        if self.chance(0.05):
            contender.frozen_until = self.now + self.random.choice([0.5, 4, 9, 14, 16, 40])
            self.of_process(contender, act, *arguments)
            return
        act(contender, *arguments)

    def chance(self, part):
        """Decide whether something goes wrong now."""
        return self.random.random() < part * self.trouble

    # --- one process ------------------------------------------------------------------------

    def look(self, contender):
        """Ask what is due, or wait until something is."""
        self.of_process(contender, self._look)

    def _look(self, contender):
        clock = contender.clock(self.now)
        if (pause := contender.elector.pause(clock, hurry=self.chance(0.1))) > 0:
            self.at(pause / contender.rate + 1e-9, self.look, contender)
            return
        request = contender.elector.due(clock)
        if request is not None:
            self.of_process(contender, self._send, request)

    def _send(self, contender, request):
        sent = contender.clock(self.now)
        there, back = (self._latency() for _ in range(2))
        if self.chance(0.05):  # lost on the way there
            self.at(GIVEN_UP, self.of_process, contender, self._failed)
            return
        answer = []
        self.at(there, self._carry_out, request, answer)
        if there + back > GIVEN_UP:
            self.at(GIVEN_UP, self.of_process, contender, self._failed)
        else:
            self.at(there + back, self.of_process, contender, self._answered, request, answer, sent)

    def _latency(self):
        return self.random.choice([2.0, 4.0, 30.0]) if self.chance(0.1) else 0.01

    def _carry_out(self, request, answer):
        try:
            answer.append(self.box.carry_out(request))
        except LookupError:
            return

    def _failed(self, contender):
        contender.elector.failed(contender.clock(self.now))
        self.look(contender)

    def _answered(self, contender, request, answer, sent):
        if not answer:
            self._failed(contender)
            return
        now = contender.clock(self.now)
        begun = len(contender.notes.begun)
        contender.elector.answered(request, answer[0], sent=sent, now=now)
        if len(contender.notes.begun) > begun:
            contender.terms.append(contender.elector._reign.term)
        self._watch(contender)
        self.look(contender)

    def _watch(self, contender):
        """Note where another one may still write."""
        if not contender.leads(self.now):
            return
        for other in self.contenders:
            may_write = other.ends + TIMING.write.total_seconds()
            if other is not contender and may_write > self.now:
                self.overlaps.append((self.now, contender.name, other.name, may_write))
        reign = contender.elector._reign
        contender.ends = (reign.until - contender.offset) / contender.rate

    def resign(self, contender):
        """Stop one: its last write has ended."""
        contender.elector.resign()
        contender.ends = self.now - TIMING.write.total_seconds()
        self.look(contender)
