"""`llms.txt`: all pages of the site for programs that read: a list in Markdown, and each page as it was written.

See llmstxt.org: a title, a summary, and under headings a link with a line about each page.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")


def write_index(project: dict[str, Any], docs: Path, site: Path) -> None:
    """Write `llms.txt` into the site, and beside each page its Markdown. `project` is the table of zensical.toml."""
    lines = [f"# {project['site_name']}", "", f"> {project['site_description']}"]
    for section in project["nav"]:
        ((title, entries),) = section.items()
        lines += ["", f"## {title}", ""]
        for name in pages_of(entries):
            text = (docs / name).read_text(encoding="utf-8")
            lines.append(_line(name, text, site))
            if "\n::: " not in text:
                copy = site / name
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(docs / name, copy)
    (site / "llms.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def pages_of(entries: list[Any]) -> Iterator[str]:
    """The pages of a part of the navigation, in its order."""
    for entry in entries:
        if isinstance(entry, str):
            yield entry
        else:
            for children in entry.values():
                yield from pages_of(children)


def _line(name: str, text: str, site: Path) -> str:
    """A link to the page's Markdown (to the built page, where that comes from docstrings), and its first sentence."""
    title = text.partition("\n")[0].removeprefix("# ").replace("`", "")
    target = name if "\n::: " not in text else f"{name.removesuffix('.md')}/index.html"
    if not (site / target).exists() and target.endswith(".html"):
        msg = f"{target} was not built"
        raise FileNotFoundError(msg)
    paragraphs = FENCED.sub("", text).split("\n\n")[1:]
    prose = next((each for each in paragraphs if re.match(r"[A-Z`*\[]", each)), "")
    first = re.split(r"(?<=[.:?]) ", " ".join(LINK.sub(r"\1", prose).split()))[0].rstrip(":")
    return f"- [{title}]({target}): {first}" if first else f"- [{title}]({target})"
