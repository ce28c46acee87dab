"""Every Python block of the documentation runs as it stands.

A block is fenced with ```python. A page may have one block marked ```python preamble, which stands before each other
block of the page. A block marked ```python shown is only compiled: it needs what a test machine does not have.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [path for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))) if path.exists()]
FENCE = re.compile(r"^```python(?: (?P<mark>[a-z]+))?\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    page: Path
    line: int
    mark: str
    code: str
    preamble: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"

    @property
    def program(self) -> str:
        """As it is run, with its lines numbered as on the page."""
        first = self.preamble + "\n" if self.mark != "preamble" else ""
        return first + "\n" * max(0, self.line - first.count("\n") - 1) + self.code


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found = [(text.count("\n", 0, match.start("code")) + 1, match["mark"] or "", match["code"]) for match in FENCE.finditer(text)]
    preamble = next((code for _, mark, code in found if mark == "preamble"), "")
    return [Block(page, line, mark, code, preamble) for line, mark, code in found]


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_a_block_of_the_documentation_runs_as_it_stands(block: Block, tmp_path: Path):
    assert block.mark in {"", "preamble", "shown"}
    compile(block.program, str(block), "exec")
    if block.mark == "shown":
        return
    script = tmp_path / f"{block.page.stem}.py"
    script.write_text(block.program, encoding="utf-8")
    result = subprocess.run(
        [sys.executable, str(script)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "REDISFLOW_URL": "memory://"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr


def test_there_is_documentation_to_run():
    assert BLOCKS
