"""All targets' memories as one text of bounded size, and back."""

import base64
import json
import zlib
from collections.abc import Callable, Iterable, Mapping
from threading import Lock
from typing import Any

from autoscaler.decision.record import from_json, to_json
from autoscaler.ports import Memory

VERSION = 1
LONGEST_TEXT = 200_000
"""Kubernetes takes 256 KiB of annotations for one object, and others may have some, too."""
_LONGEST_PLAIN = 32 * 2**20


class Memories:
    """A StateStore that lives in a text which somebody else carries away and brings back."""

    def __init__(
        self,
        targets: Iterable[str],
        *,
        term: Callable[[], int | None],
        on_loss: Callable[[str], None],
        on_write: Callable[[], None],
    ) -> None:
        """Keep the memories of these targets.

        `term` gives the present term; `on_loss` is told of what could not be kept or read;
        `on_write` is called where a memory should not wait long before it is carried away.
        """
        self._targets = frozenset(targets)
        self._term = term
        self._on_loss = on_loss
        self._on_write = on_write
        self._lock = Lock()
        self._kept: dict[str, Memory] = {}
        self._loaded: dict[str, int | None] = {}
        self._pieces: dict[str, tuple[Memory, str]] = {}
        self._too_long = False

    def keep_only(self, targets: Iterable[str]) -> None:
        """Forget all other targets, and take these from now on."""
        with self._lock:
            self._targets = frozenset(targets)
            for memories in (self._kept, self._loaded, self._pieces):
                for gone in set(memories) - self._targets:
                    memories.pop(gone, None)

    def load(self, target: str) -> Memory | None:
        """Return what was kept of a target; to be called once a term, before anything is saved."""
        with self._lock:
            self._loaded[target] = self._term()
            return self._kept.get(target)

    def save(self, target: str, memory: Memory) -> None:
        """Keep it; what belongs to another term than was loaded last is let go."""
        with self._lock:
            term = self._term()
            if term is None or self._loaded.get(target) != term or target not in self._targets:
                return
            before = self._kept.get(target)
            self._kept[target] = memory
        if before is None or _written(before) != _written(memory):
            self._on_write()

    def begin(self, text: str) -> None:
        """Go on from a text, whatever it is: what cannot be read counts as never seen."""
        read, lost = _read(text)
        with self._lock:
            self._kept = {name: kept for name, kept in read.items() if name in self._targets}
        if lost:
            self._on_loss(f"the state of the leader before cannot be read: {lost}; begins afresh")

    def text(self) -> str:
        """Return all that is kept; where that is too long, without the longest."""
        with self._lock:
            kept = dict(self._kept)
        pieces = {name: self._piece(name, memory) for name, memory in sorted(kept.items())}
        self._pieces = {name: (kept[name], piece) for name, piece in pieces.items()}
        text, left_out = _packed(pieces), 0
        while len(text) > LONGEST_TEXT and pieces:
            share = LONGEST_TEXT / len(text)
            left_out += _drop_longest(pieces, share)
            text = _packed(pieces)
        if left_out and not self._too_long:
            told = f"the state of {left_out} of {len(kept)} targets does not fit into the Lease"
            self._on_loss(f"{told}; over a restart they begin afresh")
        self._too_long = left_out > 0
        return text

    def _piece(self, name: str, memory: Memory) -> str:
        known = self._pieces.get(name)
        if known is not None and known[0] is memory:
            return known[1]
        return json.dumps(to_json(memory), separators=(",", ":"), allow_nan=False)


def _written(memory: Memory) -> tuple[object, ...]:
    """Return what changes with a write."""
    return memory.expected, memory.state.last_up, memory.state.last_down


def _drop_longest(pieces: dict[str, str], share: float) -> int:
    """Take out the longest until this share of the characters is left; tell how many."""
    left = share * sum(map(len, pieces.values()))
    total, dropped = sum(map(len, pieces.values())), 0
    for name in sorted(pieces, key=lambda name: (-len(pieces[name]), name)):
        total -= len(pieces.pop(name))
        dropped += 1
        if total <= left:
            break
    return dropped


def _packed(pieces: Mapping[str, str]) -> str:
    targets = ",".join(f"{json.dumps(name)}:{piece}" for name, piece in pieces.items())
    plain = f'{{"version":{VERSION},"targets":{{{targets}}}}}'
    return base64.b64encode(zlib.compress(plain.encode())).decode()


def _read(text: str) -> tuple[Mapping[str, Memory], str]:
    """Return the memories in a text, and what was wrong; empty where nothing was."""
    if not text:
        return {}, ""
    try:
        whole = json.loads(_unpacked(text))
        if not isinstance(whole, dict) or not isinstance(whole.get("targets"), dict):
            return {}, "it has another shape"
        if whole.get("version") != VERSION:
            return {}, f"its version is {str(whole.get('version'))[:20]}, not {VERSION}"
        return _memories(whole["targets"])
    except (ValueError, zlib.error, RecursionError) as error:
        return {}, f"{type(error).__name__}"


def _unpacked(text: str) -> bytes:
    unpacking = zlib.decompressobj()
    plain = unpacking.decompress(base64.b64decode(text, validate=True), _LONGEST_PLAIN)
    if not unpacking.eof:
        raise ValueError("cut short or too long")
    return plain


def _memories(targets: Mapping[str, Any]) -> tuple[Mapping[str, Memory], str]:
    read, damaged = {}, ""
    for name, data in targets.items():
        try:
            read[name] = from_json(Memory, data)
        except (ValueError, TypeError, RecursionError) as error:
            damaged = damaged or f"{name[:100]}: {str(error)[:200]}"
    return read, damaged
