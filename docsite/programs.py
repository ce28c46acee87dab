"""The programs of `examples/`, which stand beside the pages in the repository, become part of the site."""

from __future__ import annotations

import re
import shutil
from functools import partial
from pathlib import Path

HREF = re.compile(r'href="(?P<up>(?:\.\./)+)(?P<rest>examples/[^"]+)"')


def publish_programs(examples: Path, site: Path) -> None:
    """Copy them into the site, and lead the links of its pages there. Safe to repeat."""
    for program in examples.rglob("*.py"):
        if "__pycache__" not in program.parts:
            copy = site / "examples" / program.relative_to(examples)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(program, copy)
    for page in site.rglob("*.html"):
        before = page.read_text(encoding="utf-8")
        depth = len(page.relative_to(site).parts) - 1
        after = HREF.sub(partial(_into_the_site, depth=depth), before)
        if after != before:
            page.write_text(after, encoding="utf-8")


def _into_the_site(link: re.Match[str], depth: int) -> str:
    """A link that goes up beyond the site's root, as `docs/` does in the repository, goes up to the root instead."""
    steps = min(link["up"].count("../"), depth)
    return f'href="{"../" * steps}{link["rest"]}"'
