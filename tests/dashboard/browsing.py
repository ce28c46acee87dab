"""A dashboard as somebody with a browser meets it: each page is read strictly, and what it links to can be followed."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx2
from starlette.applications import Starlette

from redisflow import RedisFlow
from redisflow.dashboard.app import dashboard_app

VOID = frozenset({"br", "hr", "img", "input", "link", "meta", "wbr"})
LINKS = {"a": "href", "link": "href", "script": "src", "use": "href", "form": "action", "main": "hx-sse:connect"}


@dataclass(slots=True)
class Element:
    """A tag with what it says, its children's words included."""

    tag: str
    attributes: dict[str, str]
    parts: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return " ".join("".join(self.parts).split())


class Html(HTMLParser):
    """A page that is well-formed: everything that opens closes in its order, no attribute or id is there twice."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.source = text
        self.elements: list[Element] = []
        self._open: list[Element] = []
        self._words: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open, f"not closed: {[each.tag for each in self._open]}"
        ids = [each.attributes["id"] for each in self.elements if "id" in each.attributes]
        assert len(ids) == len(set(ids)), (
            f"ids that are there twice: {[each for each in set(ids) if ids.count(each) > 1]}"
        )

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"<{tag}> says an attribute twice: {names}"
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        raise AssertionError(f"<{tag}/> closes nothing in HTML")

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        assert self._open[-1].tag == tag, f"</{tag}> where {self._open[-1].tag} is open"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1].tag in {"script", "style"}:
            return
        self._words.append(data)
        for element in self._open:
            element.parts.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self._words).split())

    def all(self, tag: str, **attributes: str) -> list[Element]:
        """Elements of this tag with these attributes; `_` stands for `-`."""
        wanted = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
        return [each for each in self.elements if each.tag == tag and wanted.items() <= each.attributes.items()]

    def one(self, tag: str, **attributes: str) -> Element:
        (found,) = self.all(tag, **attributes)
        return found

    def rows(self) -> dict[str, str]:
        """What the rows of tables say, by what they are about."""
        return {each.attributes["data-row"]: each.text for each in self.elements if "data-row" in each.attributes}

    def buttons(self) -> set[str]:
        """What may be pressed that changes something."""
        return {
            each.attributes.get("data-post") or each.attributes.get("data-bulk") or each.attributes.get("data-key", "")
            for each in self.elements
            if each.attributes.keys() & {"data-post", "data-bulk"} or each.attributes.get("data-key") == "new"
        }

    def facts(self) -> dict[str, str]:
        """Lists of terms, and what they are."""
        terms = [each.text for each in self.all("dt")]
        return dict(zip(terms, [each.text for each in self.all("dd")], strict=True))

    def links(self) -> Iterator[str]:
        """Whatever a browser would ask for."""
        for each in self.elements:
            name = LINKS.get(each.tag)
            if name and each.attributes.get(name) is not None and (link := each.attributes[name]):
                yield link
            if each.tag == "a" and "hx-get" in each.attributes:
                assert each.attributes["hx-get"] == each.attributes["href"]
        for each in self.all("button"):
            if post := each.attributes.get("data-post"):
                yield post


class Browser:
    """A client of a dashboard."""

    def __init__(self, app: Starlette, client: httpx2.AsyncClient, base: str = "") -> None:
        self.app = app
        self.client = client
        self.base = base

    async def ask(self, path: str, **options: Any) -> httpx2.Response:
        return await self.client.get(self.base + path, **options)

    async def see(self, path: str, status: int = 200, **options: Any) -> Html:
        """A page, with this status."""
        answer = await self.ask(path, **options)
        assert answer.status_code == status, f"{path}: {answer.status_code}\n{answer.text[-6000:][:3000]}"
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        return Html(answer.text)


@asynccontextmanager
async def browsing(flow: RedisFlow, **options: Any) -> AsyncIterator[Browser]:
    """Of the dashboard of a flow, with these options."""
    app = dashboard_app(flow, **options)
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client,
    ):
        yield Browser(app, client)


async def crawl(client: httpx2.AsyncClient, start: str, base: str = "") -> dict[str, Html | None]:
    """Follow every link from a page on, and return what there is; None: what is no page.

    All of them have to stay below `base`, and to answer 200. Streams (the live updates) are collected, not followed.
    """
    seen: dict[str, Html | None] = {}
    ahead = [start]
    while ahead:
        url = ahead.pop()
        if url in seen:
            continue
        answer = await client.get(url, follow_redirects=False)
        assert answer.status_code == 200, f"{url}: {answer.status_code} {answer.text[:300]}"
        is_page = answer.headers["content-type"].startswith("text/html")
        page = seen[url] = Html(answer.text) if is_page else None
        if page is None:
            continue
        for link in page.links():
            if link.startswith(("#", "api/v1")):
                continue
            target = urlsplit(urljoin(f"http://localhost{url}", link))
            assert target.netloc == "localhost", f"{url} leads away: {link}"
            assert target.path.startswith(f"{base}/"), f"{url} leaves {base}: {link}"
            path = target.path + (f"?{target.query}" if target.query else "")
            is_again = "from=" in url and "from=" in path  # a part of a run's time, in as many ways as there are others
            if not re.match(rf"{base}(/ns/[^/]+)?/live/", target.path) and not is_again:
                ahead.append(path)
    return seen
