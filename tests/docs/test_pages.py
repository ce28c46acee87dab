"""The pages as a whole: every one can be found, and every link leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md"))]
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)


def prose(page: Path) -> str:
    return FENCED.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """How a page's headings are named in links: small letters and digits, with dashes for blanks.

    What comes from a docstring is named after the object.
    """
    text = prose(page)
    headings = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in HEADING.findall(text)}
    return headings | set(re.findall(r"^::: ([\w.]+)$", text, re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_page_or_file_leads_somewhere(page: Path):
    for target in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", target):
            continue  # the network is not looked at
        name, _, anchor = target.partition("#")
        linked = (page.parent / name).resolve() if name else page
        assert linked.exists(), f"{target} leads nowhere"
        assert linked.is_relative_to(ROOT), f"{target} leads out of the project"
        assert not anchor or anchor in anchors(linked), f"{target}: there is no such heading"


def test_every_page_is_in_the_index_and_the_tutorial_comes_first():
    listed = LINK.findall(prose(DOCS / "README.md"))
    pages = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")}
    decisions = {page for page in pages if re.match(r"decisions/\d", page)}
    assert set(listed) == pages - decisions - {"README.md"}
    assert listed[0] == "tutorial.md"


def test_every_decision_is_in_their_index():
    listed = LINK.findall(prose(DOCS / "decisions" / "README.md"))
    assert listed == sorted(page.name for page in (DOCS / "decisions").glob("0*.md"))


def test_every_example_is_in_their_index_once():
    listed = [Path(target).name for target in LINK.findall(prose(DOCS / "examples.md"))]
    assert sorted(listed) == sorted({program.name for program in (ROOT / "examples").glob("*.py")} - {"__init__.py"})


def test_the_first_page_of_the_project_leads_to_the_tutorial_and_the_index():
    linked = LINK.findall(prose(ROOT / "README.md"))
    assert {"docs/tutorial.md", "docs/README.md"} <= set(linked)
