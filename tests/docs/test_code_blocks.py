"""Every Python block of the documentation runs as it stands.

A block is fenced with ```python. A page may have one block marked ```python {.preamble}, which stands before each other
block of the page. A block marked ```python {.shown} is only compiled: it needs what a test machine does not have.
Without the braces the site would not see that these are blocks.
"""

from __future__ import annotations

import logging
import re
import runpy
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```python(?: \{\.(?P<mark>[a-z]+)\})?\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    page: Path
    line: int
    mark: str
    code: str
    preamble: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def program(self) -> str:
        """As it is run, with its lines numbered as on the page."""
        first = self.preamble + "\n" if self.mark != "preamble" else ""
        return first + "\n" * max(0, self.line - first.count("\n") - 1) + self.code


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found = [
        (text.count("\n", 0, match.start("code")) + 1, match["mark"] or "", match["code"])
        for match in FENCE.finditer(text)
    ]
    preamble = next((code for _, mark, code in found if mark == "preamble"), "")
    return [Block(page, line, mark, code, preamble) for line, mark, code in found]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_python_block_is_one_that_the_tests_and_the_site_can_read(page: Path):
    fences = re.findall(r"^```python.*$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(fences) == len(blocks_of(page)), f"write ```python or ```python {{.mark}}: {fences}"


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_a_block_of_the_documentation_runs_as_it_stands(block: Block, tmp_path: Path, monkeypatch, caplog):
    assert block.mark in {"", "preamble", "shown"}
    compile(block.program, str(block), "exec")
    if block.mark == "shown":
        return
    script = tmp_path / f"{block.page.stem}.py"
    # A server of its own: what one block leaves there (a queue that is paused) is not seen by the next.
    url = f"memory://docs-{block.page.parent.name}-{block.page.stem}-{block.line}"
    script.write_text(block.program.replace('"memory://"', f'"{url}"'), encoding="utf-8")
    monkeypatch.setenv("REDISFLOW_URL", url)
    runpy.run_path(str(script), run_name="__main__")
    # A block may show an error on purpose, and then says so; what no code of the block's caused is never right.
    assert not [record for record in caplog.records if record.levelno >= logging.CRITICAL]


def test_there_is_documentation_to_run():
    assert BLOCKS
