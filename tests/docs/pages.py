"""The Markdown files of this repository, read as GitHub reads them."""

import re
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
_MADE = {"build", "demo", "dist"}
"""Folders that commands make."""
_MARKDOWN = MarkdownIt("commonmark").enable("table")
_MARK = re.compile(r"\A<!-- (.*?) -->\s*\Z", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block."""

    language: str
    text: str
    line: int
    mark: str
    """What the comment right before it says."""


@dataclass(frozen=True, slots=True)
class Page:
    """One file."""

    path: Path
    anchors: frozenset[str]
    links: tuple[str, ...]
    """Targets of links and images, as they are written."""
    codes: tuple[str, ...]
    """What stands in backticks within a text."""
    blocks: tuple[Block, ...]

    @property
    def name(self) -> str:
        """Return its path from the top of the repository."""
        return str(self.path.relative_to(ROOT))


@cache
def pages() -> tuple[Page, ...]:
    """Return every page."""
    folders = [p for p in ROOT.iterdir() if p.is_dir() and p.name not in _MADE]
    seen = [p for folder in folders if folder.name[0] != "." for p in folder.rglob("*.md")]
    return tuple(read(path, path.read_text()) for path in sorted([*ROOT.glob("*.md"), *seen]))


@cache
def page(name: str) -> Page:
    """Return the page of that path."""
    return next(page for page in pages() if page.name == name)


@dataclass(slots=True)
class _Found:
    links: list[str] = field(default_factory=list)
    codes: list[str] = field(default_factory=list)


def read(path: Path, text: str) -> Page:
    """Read one page."""
    tokens = _MARKDOWN.parse(text)
    found, anchors, blocks = _Found(), [], []
    for before, token in zip([None, *tokens], tokens, strict=False):
        if token.type == "inline":
            _look_into(token, found)
            if before is not None and before.type == "heading_open":
                anchors.append(_slug(token))
        elif token.type == "fence":
            mark = _MARK.match(before.content) if before and before.type == "html_block" else None
            blocks.append(
                Block(
                    language=token.info.strip(),
                    text=token.content,
                    line=token.map[0] + 1,
                    mark=mark[1] if mark else "",
                )
            )
    return Page(
        path=path,
        anchors=frozenset(_numbered(anchors)),
        links=tuple(found.links),
        codes=tuple(found.codes),
        blocks=tuple(blocks),
    )


def _look_into(token, found) -> None:
    for child in token.children:
        if child.type in {"link_open", "image"}:
            found.links.append(child.attrs.get("href") or child.attrs["src"])
        elif child.type == "code_inline":
            found.codes.append(child.content)


def _slug(heading) -> str:
    """Return a heading's anchor by GitHub's rule: what is shown, lower case, punctuation gone."""
    shown = "".join(c.content for c in heading.children if c.type in {"text", "code_inline"})
    return re.sub(r"[^\w\- ]", "", shown.strip().lower()).replace(" ", "-")


def _numbered(anchors):
    """Give what stands twice a number, as GitHub does."""
    seen = Counter()
    for anchor in anchors:
        yield f"{anchor}-{seen[anchor]}" if seen[anchor] else anchor
        seen[anchor] += 1
