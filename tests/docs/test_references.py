"""References lead somewhere: sections of protocol pages that code, tests and docs cite, and links between pages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROTOCOLS = ROOT / "docs" / "protocols"
_PARTS = ("app", "bench", "configs", "docs", "scripts", "strategies", "tests", "trainers")
_TEXT = frozenset({".py", ".js", ".md", ".html", ".yaml", ".toml", ".css"})

_CITED = re.compile(r"docs/protocols/([a-z-]+\.md)(?:, sections? (\d[\d.]*(?:(?:, and |, | and | to )\d[\d.]*)*))?")
_HEADING = re.compile(r"^#{2,} (\d+(?:\.\d+)*)\.? ", re.MULTILINE)
_LINK = re.compile(r"(?<!!)\[[^\]\n]*\]\(([^)\s]+)\)|!\[[^\]\n]*\]\(([^)\s]+)\)")
_PATH = re.compile(rf"`((?:{'|'.join(_PARTS)})/[\w./-]+)`")
_FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_BREAK = re.compile(r"\s*\n\s*(?:#|//|\*)?\s*")


def files(suffixes: frozenset[str]) -> Iterator[Path]:
    """The project's own files, of which some lie at the top."""
    yield from (file for file in ROOT.iterdir() if file.suffix in suffixes)
    for part in _PARTS:
        for file in (ROOT / part).rglob("*"):
            if file.suffix in suffixes and "vendor" not in file.parts and file != Path(__file__):
                yield file


def cited(text: str) -> Iterator[tuple[str, str]]:
    """`(page, section)` of each citation; the section is "" where a page is cited as a whole."""
    for page, sections in _CITED.findall(_BREAK.sub(" ", text)):
        for section in re.findall(r"\d+(?:\.\d+)*", sections) or [""]:
            yield page, section


def slugs(page: str) -> set[str]:
    """What GitHub makes of the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.fixture(scope="module")
def sections() -> dict[str, set[str]]:
    return {page.name: set(_HEADING.findall(page.read_text())) for page in PROTOCOLS.glob("*.md")}


def test_citations_in_comments_may_be_broken_over_lines() -> None:
    text = "# as docs/protocols/itksnap.md,\n    # sections 2.4 and 3, says; docs/protocols/itkit.md"
    assert list(cited(text)) == [("itksnap.md", "2.4"), ("itksnap.md", "3"), ("itkit.md", "")]


def test_every_section_that_is_cited_exists(sections: dict[str, set[str]]) -> None:
    known = {(page, section) for page, found in sections.items() for section in {*found, ""}}
    wrong = [
        f"{file.relative_to(ROOT)}: {page}, section {section}"
        for file in files(_TEXT)
        for page, section in cited(file.read_text())
        if (page, section) not in known
    ]
    assert not wrong


@pytest.mark.parametrize("name", ["monailabel", "nninteractive", "slicer-legacy", "itksnap", "itkit"])
def test_every_protocol_is_cited_by_its_dialect(name: str) -> None:
    folder = ROOT / "app" / "dialects" / name.replace("-", "_")
    pages = {page for file in folder.glob("*.py") for page, _ in cited(file.read_text())}
    assert f"{name}.md" in pages


def test_sections_are_numbered_without_gaps(sections: dict[str, set[str]]) -> None:
    for page, found in sections.items():
        for section in found:
            head, _, last = section.rpartition(".")
            before = f"{head}.{int(last) - 1}" if head else str(int(last) - 1)
            assert int(last) == 1 or before in found, f"{page}: {section} without {before}"
            assert not head or head in found, f"{page}: {section} without {head}"


def test_links_between_pages_lead_somewhere() -> None:
    wrong = []
    for page in files(frozenset({".md"})):
        for link in filter(None, (a or b for a, b in _LINK.findall(page.read_text()))):
            if re.match(r"[a-z]+:", link):
                continue
            target, _, anchor = link.partition("#")
            file = page.parent / target if target else page
            if not file.exists() or (anchor and file.suffix == ".md" and anchor not in slugs(file.read_text())):
                wrong.append(f"{page.relative_to(ROOT)}: {link}")
    assert not wrong


def test_files_that_pages_name_are_there() -> None:
    """How-tos also name the files that their reader makes, and the changelog those that once were."""
    wrong = []
    for page in files(frozenset({".md"})):
        text = page.read_text()
        made = set(re.findall(r'^```\w+ title="([^"]+)"', text, re.MULTILINE))
        named = set(_PATH.findall(_FENCED.sub("", text))) - made
        if page.name != "CHANGELOG.md":
            wrong += [f"{page.relative_to(ROOT)}: {name}" for name in sorted(named) if not (ROOT / name).exists()]
    assert not wrong
