"""Every link leads somewhere, and every page is reached."""

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.docs.pages import ROOT, Page, page, pages, read

INDEX = "docs/index.md"
_MENTION = re.compile(r"(?<![\w/.-])((?:docs|deploy|tests)/[\w/-]+\.md)(?:#([\w-]+))?")
_TEXTS = ("*.py", "*.sh", "*.ts", "*.yaml", "*.yml", "*.json", "*.cfg", "*.toml", "*.txt", "*.css")
_FOLDERS = ("autoscaler", "bench", "config", "deploy", "scripts", "tests")


def broken(page: Page, link: str) -> str:
    """Return what is wrong with a link; nothing where it leads somewhere."""
    if re.match(r"[a-z]+:", link):
        return ""
    path, _, anchor = unquote(link).partition("#")
    if not path:
        return _no_anchor(page, anchor)
    target = (page.path.parent / path).resolve()
    if not target.is_relative_to(ROOT) or not target.exists():
        return f"{link}: no such file"
    if anchor and target.suffix != ".md":
        return f"#{anchor}: {target.name} has no headings"
    return _no_anchor(read(target, target.read_text()), anchor) if anchor else ""


def _no_anchor(page: Page, anchor: str) -> str:
    return "" if anchor in page.anchors else f"#{anchor}: no such heading in {page.path.name}"


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
    """A file that exists, and where it names a heading, that one."""
    assert [told for link in page.links if (told := broken(page, link))] == []


@pytest.mark.parametrize(
    ("link", "told"),
    [
        ("two.md", "two.md: no such file"),
        ("../README.md", ""),
        ("../../../etc/passwd", "../../../etc/passwd: no such file"),
        ("#first-one", ""),
        ("#first-one-1", ""),
        ("#first-one-2", "#first-one-2: no such heading in one.md"),
        ("#what-code-does-and-why", ""),
        ("../Makefile#demo", "#demo: Makefile has no headings"),
        ("../README.md#two-commands", ""),
        ("../README.md#three-commands", "#three-commands: no such heading in README.md"),
        ("https://example.com/nowhere", ""),
    ],
)
def test_a_link_that_leads_nowhere_is_found(link, told):
    """By GitHub's rules: punctuation goes, and what stands twice is numbered."""
    text = "# First one\n\n## First one\n\n## What `code` does, and *why*\n"
    assert broken(read(ROOT / "docs" / "one.md", text), link) == told


def test_every_page_is_reached_from_the_index_at_once():
    """It has a line for each; whoever is on a page gets to the index by the README."""
    start = page(INDEX)
    linked = {(start.path.parent / link.partition("#")[0]).resolve() for link in start.links}
    assert [other.name for other in pages() if other.path not in {*linked, start.path}] == []
    assert INDEX in page("README.md").links


def mentions():
    """Yield each mention of a page in a file that is no page, with its heading."""
    found = [p for folder in _FOLDERS for kind in _TEXTS for p in (ROOT / folder).rglob(kind)]
    for path in [*found, ROOT / "Makefile", ROOT / "Dockerfile", ROOT / "pyproject.toml"]:
        if "node_modules" not in path.parts and path.parent != Path(__file__).parent:
            for name, anchor in _MENTION.findall(path.read_text()):
                yield path.relative_to(ROOT), name, anchor


def test_what_alerts_events_and_boards_name_is_there():
    """A page that a manifest, a dashboard or the code names exists, with its heading."""
    seen, wrong = 0, []
    for where, name, anchor in mentions():
        seen += 1
        if told := broken(page("README.md"), f"{name}#{anchor}".rstrip("#")):
            wrong.append(f"{where}: {told}")
    assert wrong == []
    assert seen > 60
