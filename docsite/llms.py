"""`llms.txt`: all pages of the site for programs that read: a list in Markdown, and each page as it was written.

See llmstxt.org: a title, a summary, and under headings a link with a line about each page.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROW = re.compile(r"^\| \[[^\]]+\]\(([^)]+)\) \| (.+?) \|$", re.MULTILINE)
"""Of the table of pages: the page, and what it answers."""
LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")


def write_index(project: dict[str, Any], docs: Path, site: Path) -> None:
    """Write `llms.txt` into the site, and beside each page its Markdown. `project` is the table of zensical.toml."""
    said = dict(ROW.findall((docs / "README.md").read_text(encoding="utf-8")))
    lines = [f"# {project['site_name']}", "", f"> {project['site_description']}"]
    for section in project["nav"]:
        ((title, entries),) = section.items()
        lines += ["", f"## {title}", ""]
        for name in pages_of(entries):
            text = (docs / name).read_text(encoding="utf-8")
            # A page of the API has nothing to read before it is built.
            target = f"{name.removesuffix('.md')}/index.html" if "\n::: " in text else name
            if target == name:
                copy = site / name
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(docs / name, copy)
            heading = text.partition("\n")[0].removeprefix("# ").replace("`", "")
            lines.append(f"- [{heading}]({target}): {said.get(name) or _first_sentence(text)}")
    (site / "llms.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def pages_of(entries: list[Any]) -> Iterator[str]:
    """The pages of a part of the navigation, in its order."""
    for entry in entries:
        if isinstance(entry, str):
            yield entry
        else:
            for children in entry.values():
                yield from pages_of(children)


def _first_sentence(text: str) -> str:
    """Of the page's first paragraph, without its links."""
    paragraph = " ".join(LINK.sub(r"\1", text.split("\n\n")[1]).split())
    return re.split(r"(?<=\.) (?=[A-Z\[`])", paragraph)[0]
