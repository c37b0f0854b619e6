"""One run: requests, the gateway's queue, replicas that come and go, and a policy's clock.

Event by event, in virtual time. Where several things happen at one moment, replicas go first (who
gets ready, ends, is cut off), then who gives up, then who arrives, then the policy. The gateway is
HAProxy with `leastconn` and `maxconn` = slots: a free slot is taken on the replica with the fewest
requests, among several on the one that was used least recently; else the request waits in the one
queue, first come, first served. The same arguments give the same bytes.
"""

import random
from array import array
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from math import inf, nan

from autoscaler.backtest.figures import Run, Status, Visit
from autoscaler.backtest.replica import Replica
from autoscaler.backtest.requests import Requests
from autoscaler.backtest.scaler import ChoosesVictims, ReplicaView, Scaler, Truth
from autoscaler.backtest.service import Service

_READY, _END, _CUT = range(3)
_REPORTS = 200
"""How often a run says how far it is."""

Progress = Callable[[float], None]
"""Told which part of a run is done."""


def simulate(  # noqa: PLR0913 - a run is made of so much
    requests: Requests,
    service: Service,
    scaler: Scaler,
    *,
    seed: int = 0,
    initial: int = 1,
    progress: Progress | None = None,
) -> Run:
    """Run a policy over requests, `initial` replicas being ready at second 0.

    It ends with the requests' span, or when the last of them has left. The first replicas count as
    created a start-up time before, so that no run has them for nothing.
    """
    return _Simulation(requests, service, scaler, seed).run(initial, progress)


class _Now(Truth):
    """The present moment of a run; replicas are looked at only by who asks for them."""

    def __init__(self, simulation: "_Simulation") -> None:
        self._simulation = simulation
        self._replicas: tuple[ReplicaView, ...] | None = None

    def become(self, now: float) -> None:
        """Move to a moment."""
        simulation = self._simulation
        self.now = now
        self.wanted = simulation.wanted
        self.waiting = len(simulation.queue)
        self.running = simulation.in_system - self.waiting
        self._replicas = None

    @property
    def in_system_seconds(self) -> float:  # type: ignore[override]  # a field of Truth
        """Return the integral up to now."""
        return self._simulation.integral(self.now)

    @property
    def replicas(self) -> tuple[ReplicaView, ...]:  # type: ignore[override]  # a field of Truth
        """Return the views, made once per moment."""
        if self._replicas is None:
            now = self.now
            self._replicas = tuple([each.view(now) for each in self._simulation.fleet])
        return self._replicas


class _Simulation:
    def __init__(self, requests: Requests, service: Service, scaler: Scaler, seed: int) -> None:
        self.requests = requests
        self.service = service
        self.scaler = scaler
        self.seed = seed
        self.wanted = 0
        self.queue: deque[int] = deque()
        self.in_system = 0
        self.fleet: dict[Replica, None] = {}
        """In the order of creation."""
        self._arrival = requests.arrival
        self._work = requests.work(service)
        self._wait = array("d", [nan]) * len(requests)
        self._end = array("d", [nan]) * len(requests)
        self._status = bytearray(len(requests))
        self._speeds = (1.0, *(service.speed(busy) for busy in range(1, service.slots + 1)))
        self._free: tuple[dict[Replica, None], ...] = tuple({} for _ in range(service.slots))
        """Replicas with a free slot by their requests, the least recently used first."""
        self._events: list[tuple[float, int, int, Replica, int]] = []
        self._order = 0
        self._draw = random.Random(f"start {seed}")  # noqa: S311 - seeded, and no secret
        self._created = 0
        self._placed = 0
        self._homeless: deque[Replica] = deque()
        self._area = self._area_at = 0.0
        self._visits: list[Visit] = []
        self._actions: list[tuple[float, int, int]] = []

    # --- the clock --------------------------------------------------------------------------------

    def run(self, initial: int, progress: Progress | None) -> Run:
        """Let everything happen, in order."""
        for _ in range(initial):
            replica = self._create(-self.service.start)
            replica.start = self.service.start
        while self._events and self._events[0][0] <= 0:
            self._happen()
        self.wanted = initial
        end = self._loop(progress)
        for replica in self.fleet:
            self._visits.append(_visit(replica, end))
        return Run(
            requests=self.requests,
            service=self.service,
            seed=self.seed,
            initial=initial,
            end=end,
            wait=self._wait,
            left=self._end,
            status=self._status,
            visits=tuple(self._visits),
            actions=tuple(self._actions),
        )

    def _loop(self, progress: Progress | None) -> float:
        arrivals, events, queue = self._arrival, self._events, self.queue
        patience, period = self.service.patience, self.scaler.period
        span, count = self.requests.span, len(arrivals)
        truth = _Now(self)
        coming, ticks, report = 0, 0, span / _REPORTS
        arriving = arrivals[0] if count else inf
        ticking = 0.0
        while True:
            happening = events[0][0] if events else inf
            expiring = arrivals[queue[0]] + patience if queue else inf
            moment = min(happening, expiring, arriving, ticking)
            if moment > span and coming == count and not self.in_system:
                return max(span, self._area_at)
            if happening == moment:
                self._happen()
            elif expiring == moment:
                self._leave(queue.popleft(), moment, Status.GAVE_UP)
            elif arriving == moment:
                self._arrive(coming, moment)
                coming += 1
                arriving = arrivals[coming] if coming < count else inf
            else:
                self._tick(truth, moment)
                ticks += 1
                ticking = ticks * period
                if progress is not None and moment >= report:
                    progress(min(1.0, moment / span) if span else 1.0)
                    report += span / _REPORTS

    def integral(self, now: float) -> float:
        """Return the requests in the system, integrated over time up to now."""
        return self._area + self.in_system * (now - self._area_at)

    def _count(self, change: int, now: float) -> None:
        self._area += self.in_system * (now - self._area_at)
        self._area_at = now
        self.in_system += change

    # --- requests ---------------------------------------------------------------------------------

    def _arrive(self, number: int, now: float) -> None:
        for level in self._free:
            if level:
                self._count(1, now)
                self._admit(number, next(iter(level)), now)
                return
        if len(self.queue) >= self.service.queue_limit:
            self._status[number] = Status.DROPPED
            self._end[number] = now
            return
        self._count(1, now)
        self.queue.append(number)

    def _admit(self, number: int, replica: Replica, now: float) -> None:
        self._wait[number] = now - self._arrival[number]
        busy = len(replica.jobs)
        del self._free[busy][replica]
        if busy + 1 < self.service.slots:
            self._free[busy + 1][replica] = None
        self._foretell(replica, replica.admit(number, self._work[number], now))

    def _foretell(self, replica: Replica, at: float) -> None:
        self._order += 1
        heappush(self._events, (at, _END, self._order, replica, replica.epoch))

    def _leave(self, number: int, now: float, status: Status) -> None:
        self._count(-1, now)
        self._end[number] = now
        self._status[number] = status
        if status is Status.GAVE_UP:
            self._wait[number] = self.service.patience

    def _fill(self, replica: Replica, now: float) -> None:
        """Let those that wait take what is free."""
        while self.queue and len(replica.jobs) < self.service.slots:
            self._admit(self.queue.popleft(), replica, now)

    # --- replicas ---------------------------------------------------------------------------------

    def _happen(self) -> None:
        now, kind, _, replica, epoch = heappop(self._events)
        if replica.ended is not None:
            return
        if kind == _END:
            if epoch == replica.epoch:
                self._finish(replica, now)
        elif kind == _READY:
            replica.become_ready(now)
            self._free[0][replica] = None
            self._fill(replica, now)
        else:
            for number in replica.cut(now):
                self._leave(number, now, Status.CUT)
            self._terminate(replica, now)

    def _finish(self, replica: Replica, now: float) -> None:
        busy = len(replica.jobs)
        number, then = replica.finish(now)
        self._leave(number, now, Status.SERVED)
        if then < inf:
            self._foretell(replica, then)
        if replica.draining:
            if busy == 1:
                self._terminate(replica, now)
            return
        if busy < self.service.slots:
            del self._free[busy][replica]
        self._free[busy - 1][replica] = None
        if self.queue:
            self._fill(replica, now)

    def _create(self, now: float) -> Replica:
        service = self.service
        replica = Replica(f"ollama-{self._created:05d}", service, self._speeds, now)
        self._created += 1
        self.fleet[replica] = None
        replica.start = service.start
        if now >= 0:  # the first ones have started already
            replica.start *= self._draw.lognormvariate(0.0, service.start_sigma)
        if service.capacity is None or self._placed < service.capacity:
            self._place(replica, now)
        else:
            self._homeless.append(replica)
        return replica

    def _place(self, replica: Replica, now: float) -> None:
        self._placed += 1
        self._order += 1
        heappush(self._events, (replica.place(now), _READY, self._order, replica, 0))

    def _remove(self, replica: Replica, now: float) -> None:
        if replica.ready_at is not None:
            if len(replica.jobs) < self.service.slots:
                del self._free[len(replica.jobs)][replica]
            if replica.jobs:
                replica.drain()
                self._order += 1
                at = now + self.service.grace
                heappush(self._events, (at, _CUT, self._order, replica, 0))
                return
        self._terminate(replica, now)

    def _terminate(self, replica: Replica, now: float) -> None:
        replica.ended = now
        del self.fleet[replica]
        self._visits.append(_visit(replica, now))
        if replica.placed is None:
            self._homeless.remove(replica)
            return
        self._placed -= 1
        if self._homeless:
            self._place(self._homeless.popleft(), now)

    # --- the policy -------------------------------------------------------------------------------

    def _tick(self, truth: _Now, now: float) -> None:
        truth.become(now)
        wanted = self.scaler.tick(truth)
        if wanted is None or wanted == self.wanted:
            return
        self._actions.append((now, self.wanted, wanted))
        if wanted > self.wanted:
            for _ in range(wanted - self.wanted):
                self._create(now)
        else:
            for replica in self._victims(truth, self.wanted - wanted):
                self._remove(replica, now)
        self.wanted = wanted

    def _victims(self, truth: Truth, count: int) -> list[Replica]:
        """Choose as a ReplicaSet does: not ready, then marked, then the last to become ready."""
        marked: frozenset[str] = frozenset()
        if isinstance(self.scaler, ChoosesVictims):
            marked = frozenset(self.scaler.victims(truth, count))
        staying = [replica for replica in self.fleet if not replica.draining]
        staying.sort(key=lambda replica: _rank(replica, replica.name in marked))
        return staying[:count]


def _rank(replica: Replica, marked: bool) -> tuple[bool, bool, bool, float, str]:  # noqa: FBT001
    """Rank lower who goes first."""
    ready_at = replica.ready_at
    born = replica.created if ready_at is None else ready_at
    return (replica.placed is not None, ready_at is not None, not marked, -born, replica.name)


def _visit(replica: Replica, end: float) -> Visit:
    return Visit(
        created=replica.created, placed=replica.placed, ready_at=replica.ready_at, ended=end
    )
