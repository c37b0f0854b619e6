"""Where the two numbers differ: since when, how, and what each side has to say."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from autoscaler.shadow.figures import waiting_for
from autoscaler.shadow.moments import Moment, Use


class Kind(StrEnum):
    """How a stretch came about and ended, seen from us."""

    GREW_LATER = "the other grew later"
    NEVER_GREW = "the other did not grow"
    SHRANK_EARLIER = "the other shrank earlier"
    GREW_MORE = "the other grew further"
    SHRANK_LATER = "the other shrank later"
    STAYED_HIGHER = "the other stayed higher"


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """The other side's number, and since when it stands."""

    at: datetime | None
    """None: it was there at the first cycle."""
    to: int
    writer: str | None
    """None: not known."""
    uses: tuple[Use, ...]
    """What the metrics said at the first cycle that saw it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """A stretch of cycles in which ours is always above, or always below.

    Where the other moves further away meanwhile, another one begins.
    """

    kind: Kind
    begin: datetime
    end: datetime
    theirs: tuple[int, ...]
    """Their numbers, in order, without repetition."""
    ours: tuple[int, ...]
    replica_hours: float
    """What lies between the two; negative where ours is below."""
    ours_because: str
    """What our decision said when it began."""
    widest: Moment
    """The first cycle at which they were furthest apart."""
    widest_because: str
    """What our decision said then; empty where that is the beginning."""
    write: Write
    """The other's number when it began."""
    later: tuple[Write, ...]
    """What the other wrote meanwhile, and the write that ended it, if one did."""
    waited: timedelta
    """How long requests waited for their replicas meanwhile."""
    most_waiting: float
    gone: int
    """Pods that the other side let go meanwhile."""
    gone_busy: int


@dataclass(slots=True)
class _Open:
    """One that is not over yet."""

    above: bool
    first: Moment
    before: Moment | None
    write: Write
    slots: int
    last: Moment = field(init=False)
    widest: Moment = field(init=False)
    widest_because: str = ""
    theirs: list[int] = field(default_factory=list)
    ours: list[int] = field(default_factory=list)
    area: float = 0.0
    waited: timedelta = timedelta(0)
    most: float = 0.0
    gone: list[int] = field(default_factory=lambda: [0, 0])
    later: list[Write] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.last = self.widest = self.first
        if self.before is not None and _known(self.first) < _known(self.before):
            # A cycle reads the number first and the pods then: who goes may be seen before the why.
            self.gone = list(self.before.gone)

    def add(self, moment: Moment, write: Write) -> None:
        theirs = _known(moment)
        if write not in (self.write, *self.later[-1:]):
            self.later.append(write)
        if self.theirs[-1:] != [theirs]:
            self.theirs.append(theirs)
        if self.ours[-1:] != [moment.ours]:
            self.ours.append(moment.ours)
        self.area += (moment.ours - theirs) * (moment.span / timedelta(hours=1))
        if _apart(moment) > _apart(self.widest):
            self.widest, self.widest_because = moment, moment.sentence
        if moment.requests is not None:
            waiting = waiting_for(moment.requests, moment.their_ready, self.slots)
            self.waited += moment.span if waiting else timedelta(0)
            self.most = max(self.most, waiting)
        self.gone = [old + new for old, new in zip(self.gone, moment.gone, strict=True)]
        self.last = moment

    def goes_on(self, moment: Moment, side: int) -> bool:
        """Tell whether a cycle belongs to it: ours on the same side, the other not further off."""
        own = 1 if self.above else -1
        return side == own and (_known(moment) - _known(self.last)) * own >= 0

    def closed(self, after: Moment | None, write: Write | None) -> Stretch:
        """Return it as it is, now that something else follows."""
        moved = 0 if after is None else _known(after) - _known(self.last)
        if moved and write is not None:
            self.later.append(write)
        return Stretch(
            kind=self._kind(moved),
            begin=self.first.at,
            end=self.last.at + self.last.span,
            theirs=tuple(self.theirs),
            ours=tuple(self.ours),
            replica_hours=self.area,
            ours_because=self.first.sentence,
            widest=self.widest,
            widest_because=self.widest_because,
            write=self.write,
            later=tuple(self.later),
            waited=self.waited,
            most_waiting=self.most,
            gone=self.gone[0],
            gone_busy=self.gone[1],
        )

    def _kind(self, moved: int) -> Kind:
        began = 0 if self.before is None else _known(self.first) - _known(self.before)
        if self.above:
            if began < 0:
                return Kind.SHRANK_EARLIER
            grew = moved > 0 or max(self.theirs) > self.theirs[0]
            return Kind.GREW_LATER if grew else Kind.NEVER_GREW
        if began > 0:
            return Kind.GREW_MORE
        shrank = moved < 0 or min(self.theirs) < self.theirs[0]
        return Kind.SHRANK_LATER if shrank else Kind.STAYED_HIGHER


@dataclass(slots=True)
class Finder:
    """Finds the stretches as the moments come."""

    slots: int
    writers: dict[str, None] = field(default_factory=dict)
    """Whoever wrote a number, as far as that is known."""
    _open: _Open | None = None
    _before: Moment | None = None
    _write: Write | None = None

    def add(self, moment: Moment) -> Iterator[Stretch]:
        """Take one more; yield the stretch that it ends."""
        before = self._before if moment.follows else None
        if moment.theirs is None:
            yield from self._close(None)
            self._before = None
            return
        write = self._written(moment)
        side = (moment.ours > moment.theirs) - (moment.ours < moment.theirs)
        if self._open is None or before is None or not self._open.goes_on(moment, side):
            yield from self._close(moment if before is not None else None, write)
            if side:
                self._open = _Open(
                    above=side > 0, first=moment, before=before, write=write, slots=self.slots
                )
        if self._open is not None:
            self._open.add(moment, write)
        self._before = moment

    def end(self) -> Iterator[Stretch]:
        """Yield the one that the records end in."""
        yield from self._close(None)

    def _close(self, after: Moment | None, write: Write | None = None) -> Iterator[Stretch]:
        if self._open is not None:
            yield self._open.closed(after, write)
        self._open = None

    def _written(self, moment: Moment) -> Write:
        """Return the write behind their number."""
        theirs, known = _known(moment), self._write
        if known is None or known.to != theirs:
            self._write = known = Write(
                at=None if known is None else moment.at,
                to=theirs,
                writer=moment.writer,
                uses=moment.uses,
            )
        if moment.writer is not None:
            self.writers[moment.writer] = None
        return known


def largest(stretches: Sequence[Stretch], count: int) -> list[Stretch]:
    """Return those with the most between the two numbers, in the order of time."""
    chosen = sorted(stretches, key=lambda each: -abs(each.replica_hours))[:count]
    return sorted(chosen, key=lambda each: each.begin)


def _known(moment: Moment) -> int:
    return moment.ours if moment.theirs is None else moment.theirs


def _apart(moment: Moment) -> int:
    return abs(moment.ours - _known(moment))
