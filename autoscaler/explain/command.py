"""The options of `autoscaler explain`, put together: what is read, chosen and told."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from rich.text import Text

from autoscaler.decision.record import to_json
from autoscaler.errors import InputError
from autoscaler.explain import lines, proof, whatif
from autoscaler.explain.choose import (
    Chosen,
    Span,
    in_force,
    last_of_each,
    latest,
    of_target,
    refused_since,
    require_some,
)
from autoscaler.explain.layout import line
from autoscaler.explain.moments import parse_at, parse_since, shown
from autoscaler.explain.screen import Paper, tell, tell_gap
from autoscaler.explain.source import Found, Source, source_of

_FIRST_FEW = 5

Line = Text | str
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What was asked for."""

    files: Sequence[Path] = ()
    url: str | None = None
    target: str | None = None
    at: str | None = None
    since: str | None = None
    only_changes: bool = False
    as_json: bool = False
    verify: bool = False
    what_if: Sequence[str] = ()

    def __post_init__(self) -> None:
        together = {
            "--at and --since": self.at is not None and self.since is not None,
            "--at and --only-changes": self.at is not None and self.only_changes,
            "--at and --verify": self.at is not None and self.verify,
            "--verify and --only-changes": self.verify and self.only_changes,
            "--verify and --what-if": self.verify and self.what_if,
            "--what-if and --only-changes": self.what_if and self.only_changes,
        }
        for pair, given in together.items():
            if given:
                raise InputError(
                    f"{pair} cannot go together, must be one of both",
                    next_step="type it again without one of them",
                )


@dataclass(slots=True)
class Explaining:
    """One call of the command."""

    options: Options
    paper: Paper
    span: Span = field(default_factory=Span)
    code: int = 0
    """The exit code, after the last line."""

    def run(self) -> Iterator[Line]:
        """Yield what to write. Raises InputError."""
        options = self.options
        source = source_of(options.files, options.url)
        if options.verify:
            yield from self._verified(source)
        elif options.what_if:
            yield from self._supposed(source)
        elif options.since is not None or options.only_changes:
            yield from self._listed(source)
        else:
            yield from self._screens(source)
        require_some(self.span, source, options.target)

    # --- one cycle ------------------------------------------------------------------------------

    def _screens(self, source: Source) -> Iterator[Line]:
        for number, (chosen, at) in enumerate(self._chosen(source)):
            if self.options.as_json:
                yield _dumped(chosen.found)
                continue
            yield from [line("")] if number else []
            if at is not None:
                yield line(f"in force at {shown(at, self.paper.zone)}:", "dim")
            yield from self._screen(chosen)

    def _screen(self, chosen: Chosen) -> Iterator[Line]:
        found, before = chosen.found, chosen.before
        if found.gap is not None:
            yield from tell_gap(found.gap, found.place, self.paper)
            if before is None:
                return
            yield from (line(""), line("The last decision before that:", "dim"))
            found = before
        if found.record is not None:
            yield from tell(found.record, found.place, self.paper)

    def _chosen(self, source: Source) -> Sequence[tuple[Chosen, datetime | None]]:
        if self.options.at is None:
            chosen = last_of_each(source, self.options.target, self.span)
            return [(one, None) for one in chosen]
        return self._in_force(self._found(source), self.options.at)

    def _in_force(self, found: Iterator[Found], at: str) -> list[tuple[Chosen, datetime | None]]:
        return [*in_force(found, parse_at(at, self.paper.zone), self.span)]

    # --- many -----------------------------------------------------------------------------------

    def _listed(self, source: Source) -> Iterator[Line]:
        found = self._since((one.at, one) for one in self._found(source))
        for one in lines.changes(found) if self.options.only_changes else found:
            yield _dumped(one) if self.options.as_json else lines.told(one, self.paper.zone)

    def _found(self, source: Source) -> Iterator[Found]:
        return of_target(source.found(), self.options.target, self.span)

    def _since(self, items: Iterator[tuple[datetime, T]]) -> Iterator[T]:
        """Yield what is late enough. Raises InputError where nothing is."""
        given = self.options.since
        start = None if given is None else parse_since(given, self.paper.zone)
        empty = True
        for item in lines.since(items, start):
            empty = False
            yield item
        if empty and given is not None and self.span.first is not None:
            raise refused_since(given, self.span, self.paper.zone)

    # --- decided again --------------------------------------------------------------------------

    def _verified(self, source: Source) -> Iterator[Line]:
        prover = proof.Prover(self.paper.zone)
        tally = proof.Tally(self.paper.zone)
        found = self._found(source)
        for one, proved in self._since((one.at, (one, prover.prove(one))) for one in found):
            told = [] if proved is None else list(tally.add(proved))
            if not self.options.as_json:
                yield from told
                continue
            yield _dumped(one)
            if proved is not None and (proved.notes or not proved.holds):
                yield _json(proof.as_json(proved))
        self.code = 1 if tally.different else 0
        if tally.decisions:
            yield from [_json(tally.as_json())] if self.options.as_json else tally.end()

    # --- decided otherwise ----------------------------------------------------------------------

    def _supposed(self, source: Source) -> Iterator[Line]:
        supposing = whatif.Supposing(self.options.what_if)
        found = (replace(one, extra=supposing.suppose(one)) for one in self._found(source))
        if self.options.since is not None:
            yield from self._supposed_range(found)
            return
        if self.options.at is None:
            chosen = latest(found)
        else:
            chosen = [one for one, _ in self._in_force(found, self.options.at)]
        for number, one in enumerate(chosen):
            supposed = (one.found if one.found.record else one.before or one.found).extra
            if supposed is None:
                continue
            yield from [line("")] if number and not self.options.as_json else []
            yield from self._supposed_one(supposed)

    def _supposed_one(self, supposed: whatif.Supposed) -> Iterator[Line]:
        if self.options.as_json:
            yield _json(whatif.as_json(supposed))
        else:
            yield from whatif.tell_supposed(supposed, self.options.what_if, self.paper)

    def _supposed_range(self, found: Iterator[Found]) -> Iterator[Line]:
        counts = whatif.Counts()
        for one in self._since((one.at, one) for one in found):
            if one.extra is None:
                continue
            counts.add(one.extra)
            if self.options.as_json:
                yield _json(whatif.as_json(one.extra))
            elif one.extra.other_number and counts.numbers <= _FIRST_FEW:
                yield whatif.one_line(one.extra, self.paper)
        if counts.all and not self.options.as_json:
            more = counts.numbers - _FIRST_FEW
            yield from [f"... and {more} more"] if more > 0 else []
            yield counts.told(self.options.what_if)


def _dumped(found: Found) -> str:
    return _json(to_json(found.record or found.gap))


def _json(value: Any) -> str:  # noqa: ANN401 - JSON is anything
    return json.dumps(value, separators=(",", ":"), allow_nan=False)
