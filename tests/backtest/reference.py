"""The same rules once more, as plainly as they can be written: slow, and shares nothing.

Nothing is foretold and nothing is kept in order: at each step everything is looked at, work left is
counted down, and the earliest thing that can happen happens.
"""

import random
from dataclasses import dataclass, field
from math import inf, nan


@dataclass
class Box:
    """A replica."""

    number: int
    created: float
    start: float
    placed: float | None = None
    ready_at: float | None = None
    ended: float | None = None
    going: float | None = None
    """When it was told to go."""
    used: int = 0
    """A count that rises whenever any replica's slots change: the lowest is the least recent."""
    free_since: float = 0.0
    loading: float = 0.0
    left: dict = field(default_factory=dict)

    def speed(self, service):
        """Return how fast each of its requests goes."""
        return 1 / (1 - service.phi + service.phi * len(self.left))


# One long function on purpose: it is to be read beside the rules, from top to bottom.
# ruff: noqa: B023, C901, PERF401, PLR0912, PLR0915


def reference(requests, service, orders, *, seed=0, initial=1, period=5.0, marks=()):
    """Return wait, left, status and (created, placed, ready, ended) of each replica."""
    work = list(requests.work(service))
    count = len(work)
    wait, gone, status = [nan] * count, [nan] * count, [0] * count
    draw = random.Random(f"start {seed}")
    boxes, queue, came, ticks, now, stamp = [], [], 0, 0, 0.0, 0
    wanted = initial
    last_left = 0.0
    for number in range(initial):
        box = Box(number, -service.start, service.start, -service.start, 0.0)
        box.used = stamp = stamp + 1
        boxes.append(box)
    while True:
        alive = [box for box in boxes if box.ended is None]
        # What may come next, as (time, rank at that time, what, of whom).
        options = []
        for box in alive:
            if box.placed is not None and box.ready_at is None:
                options.append((box.placed + box.start, 0, "ready", box))
            if box.going is not None:
                options.append((box.going + service.grace, 0, "cut", box))
            begin = max(now, box.loading)
            for number, left in box.left.items():
                options.append((begin + left / box.speed(service), 0, "end", (box, number)))
        for number in queue:
            options.append((requests.arrival[number] + service.patience, 1, "give up", number))
        if came < count:
            options.append((requests.arrival[came], 2, "come", came))
        options.append((ticks * period, 3, "tick", None))
        at, _, what, whom = min(options, key=lambda option: option[:2])
        inside = len(queue) + sum(len(box.left) for box in alive)
        if came == count and not inside and at > requests.span:
            now = max(requests.span, last_left)
            break
        for box in alive:  # let the time pass
            passed = max(0.0, at - max(now, box.loading))
            for number in box.left:
                box.left[number] -= passed * box.speed(service)
        now = at

        def leave(number, result):
            nonlocal last_left
            gone[number], status[number], last_left = now, result, now

        def end_of(box):
            box.ended = now

        if what == "ready":
            whom.ready_at = whom.free_since = now
            whom.used = stamp = stamp + 1
        elif what == "cut":
            for number in whom.left:
                leave(number, 3)
            whom.left.clear()
            end_of(whom)
        elif what == "end":
            box, number = whom
            del box.left[number]
            leave(number, 0)
            box.used = stamp = stamp + 1
            if not box.left:
                box.free_since = now
                if box.going is not None:
                    end_of(box)
        elif what == "give up":
            queue.remove(whom)
            wait[whom] = service.patience
            leave(whom, 2)
        elif what == "come":
            came += 1
            queue.append(whom)  # it may find a place below
        else:
            ticks += 1
            wish = orders.get(now, wanted)
            for _ in range(wanted, wish):
                start = service.start * draw.lognormvariate(0.0, service.start_sigma)
                boxes.append(Box(len(boxes), now, start))
            staying = [box for box in boxes if box.ended is None and box.going is None]
            for _ in range(wish, wanted):
                box = min(
                    staying,
                    key=lambda box: (
                        box.placed is not None,
                        box.ready_at is not None,
                        box.number not in marks,
                        -(box.created if box.ready_at is None else box.ready_at),
                        box.number,
                    ),
                )
                staying.remove(box)
                if box.left:
                    box.going = now
                else:
                    end_of(box)
            wanted = wish
        # Whoever waits takes what is free; whoever has no node takes what has room.
        while queue:
            free = [
                box
                for box in boxes
                if box.ended is None
                and box.going is None
                and box.ready_at is not None
                and len(box.left) < service.slots
            ]
            if not free:
                break
            box = min(free, key=lambda box: (len(box.left), box.used))
            number = queue.pop(0)
            if not box.left and now - box.free_since > service.idle_unload:
                box.loading = now + service.load
            box.left[number] = work[number]
            wait[number] = now - requests.arrival[number]
            box.used = stamp = stamp + 1
        if what == "come" and len(queue) > service.queue_limit:
            gone[queue.pop()], status[whom] = now, 1
        room = inf if service.capacity is None else service.capacity
        room -= sum(box.ended is None and box.placed is not None for box in boxes)
        for box in boxes:
            if box.ended is None and box.placed is None and room > 0:
                box.placed, room = now, room - 1
    lives = [(b.created, b.placed, b.ready_at, now if b.ended is None else b.ended) for b in boxes]
    return wait, gone, status, lives
