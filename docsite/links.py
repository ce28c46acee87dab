"""Every link of a built site: to a page, a file, a picture or a place on a page. The network is not looked at."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class _Page(HTMLParser):
    """The targets of a page's links, and what can be linked to on it."""

    def __init__(self) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value is None:
                continue
            if name == "id" or (name == "name" and tag == "a"):
                self.anchors.add(value)
            elif (name == "href" and tag in {"a", "link"}) or (name == "src" and tag in {"img", "script"}):
                self.targets.append(value)


@cache
def _read(page: Path) -> _Page:
    parsed = _Page()
    parsed.feed(page.read_text(encoding="utf-8"))
    return parsed


def broken_links(site: Path) -> Iterator[tuple[str, str]]:
    """Each link of each page below `site` that leads nowhere: the page, and what it links to."""
    for page in sorted(site.rglob("*.html")):
        if page.name == "404.html":  # it is served under any address, so its links begin at the site's root
            continue
        for target in _read(page).targets:
            if not _leads_somewhere(page, target, site):
                yield str(page.relative_to(site)), target


def _leads_somewhere(page: Path, target: str, site: Path) -> bool:
    parts = urlsplit(target)
    if parts.scheme or parts.netloc:
        return True
    linked = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if linked.is_dir():
        linked /= "index.html"
    if not linked.is_relative_to(site.resolve()) or not linked.is_file():
        return False
    if not parts.fragment or linked.suffix != ".html":
        return True
    return unquote(parts.fragment) in _read(linked).anchors
