"""The page on reliability names tests that exist, leaves no row out, and no page promises more than is kept."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`([\w/]+\.py)::(test_\w+)`", PAGE)))
ROWS = [
    *(f"A{n}" for n in range(1, 19)),
    *(f"B{n}" for n in range(1, 7)),
    *(f"C{n}" for n in range(1, 13)),
    *(f"D{n}" for n in range(1, 7)),
    *(f"E{n}" for n in range(1, 7)),
    *(f"F{n}" for n in range(1, 6)),
    *(f"G{n}" for n in range(1, 3)),
    *(f"S{n}" for n in range(1, 24)),
    *(f"T{n}" for n in range(1, 7)),
    *(f"L{n}" for n in range(1, 6)),
]
# What may be promised: of records, of scripts that run with a record, of lists, and what others say of themselves.
KEPT = re.compile(r"record|same Redis|step\.redis|\.lua|script|listed|commit")


@cache
def _tests_in(file: str) -> set[str]:
    tree = ast.parse((ROOT / "tests" / file).read_text(encoding="utf-8"))
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return {function.name for function in functions}


@pytest.mark.parametrize(("file", "test"), NAMED)
def test_each_test_that_is_named_exists(file: str, test: str) -> None:
    assert test in _tests_in(file)


def test_each_row_of_the_tables_is_there_once() -> None:
    labels = re.findall(r"^\| ([A-GSTL]\d+) \|", PAGE, re.MULTILINE)
    assert sorted(labels) == sorted(ROWS)


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_page_promises_more_than_is_kept(page: Path) -> None:
    for paragraph in page.read_text(encoding="utf-8").split("\n\n"):
        if re.search(r"exactly[- ]once", paragraph, re.IGNORECASE):
            assert KEPT.search(paragraph), paragraph
