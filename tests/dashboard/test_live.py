"""Live updates: a frame for who comes, one for each change, none while nothing changes, and no page made twice."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import redis.asyncio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from redisflow import BackendUnavailable, RedisFlow
from redisflow.dashboard.app import dashboard_app
from redisflow.dashboard.live import Live, LiveOptions
from tests.dashboard.browsing import Html
from tests.dashboard.world import define_world, finish, start

QUICK_S = 0.02


class Watcher:
    """Somebody who has a page open: a request that goes on until they leave."""

    def __init__(self, app: Any, path: str, *, headers: dict[str, str] | None = None) -> None:
        given = {"host": "localhost", **(headers or {})}
        path, _, query = path.partition("?")
        self._scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in given.items()],
            "client": ("127.0.0.1", 1),
            "server": ("localhost", 80),
            "state": {},
        }
        self._app = app
        self._left = asyncio.Event()
        self._arrived: asyncio.Queue[bytes] = asyncio.Queue()
        self._started: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._is_asked = False
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        await self._app(self._scope, self._receive, self._send)

    async def _receive(self) -> dict[str, Any]:
        if not self._is_asked:
            self._is_asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self._started.set_result(message)
        elif message.get("body"):
            await self._arrived.put(message["body"])

    async def status(self) -> int:
        return int((await asyncio.wait_for(self._started, 10))["status"])

    async def header(self, name: str) -> str:
        headers = dict((await asyncio.wait_for(self._started, 10))["headers"])
        return str(headers[name.encode()].decode())

    async def frame(self, within_s: float = 10) -> dict[str, str]:
        """The next event, by field; its data as it was before it was cut into lines."""
        text = (await asyncio.wait_for(self._arrived.get(), within_s)).decode()
        found: dict[str, list[str]] = {}
        for line in text.splitlines():
            name, _, value = line.partition(": ")
            found.setdefault(name, []).append(value)
        return {name: "\n".join(lines) for name, lines in found.items() if name}

    @property
    def has_more(self) -> bool:
        return not self._arrived.empty()

    async def leave(self) -> None:
        self._left.set()
        await asyncio.wait_for(self.task, 10)


class Watched:
    """A page whose words can be changed, and that counts how often it is made."""

    def __init__(self) -> None:
        self.words = "one"
        self.made = 0
        self.again = asyncio.Event()
        self.error: Exception | None = None

    async def make(self) -> str:
        self.made += 1
        self.again.set()
        if self.error is not None:
            raise self.error
        return self.words

    async def looked_at(self, times: int) -> None:
        """Wait until it was made so often more."""
        for _ in range(times):
            self.again.clear()
            await asyncio.wait_for(self.again.wait(), 10)


Watch = Callable[..., Watcher]


@contextlib.asynccontextmanager
async def watching(page: Watched, **options: Any) -> AsyncIterator[Watch]:
    """Return what watches the page, and leave with all who do."""
    live = Live(LiveOptions(**{"interval_s": QUICK_S, **options}))

    async def follow(request: Request) -> Response:
        return live.respond(request, page.make)

    app = Starlette(routes=[Route("/live/{name}", follow)])
    watchers: list[Watcher] = []

    def watch(path: str = "/live/page", **more: Any) -> Watcher:
        watchers.append(Watcher(app, path, **more))
        return watchers[-1]

    yield watch
    for watcher in watchers:
        await watcher.leave()


async def test_who_comes_is_sent_the_page_and_then_only_what_changed():
    page = Watched()
    async with watching(page) as watch:
        watcher = watch()
        assert (await watcher.frame())["data"] == "one"
        assert await watcher.header("content-type") == "text/event-stream; charset=utf-8"
        await page.looked_at(5)
        assert not watcher.has_more
        page.words = "two\nlines"
        assert (await watcher.frame())["data"] == "two\nlines"
        page.words = "one"
        assert (await watcher.frame())["data"] == "one"


async def test_many_who_watch_the_same_page_cost_one():
    page = Watched()
    async with watching(page, interval_s=0.2) as watch:
        watchers = [watch() for _ in range(30)]
        for watcher in watchers:
            assert (await watcher.frame())["data"] == "one"
        assert page.made == 1
        await page.looked_at(2)
        assert page.made <= 4  # not 30 each time
        other = watch("/live/other")
        assert (await other.frame())["data"] == "one"


async def test_who_comes_back_is_sent_nothing_that_they_have():
    page = Watched()
    async with watching(page) as watch:
        seen = (await watch().frame())["id"]
        back = watch(headers={"last-event-id": seen})
        await page.looked_at(4)
        assert not back.has_more
        page.words = "two"
        assert (await back.frame())["data"] == "two"


async def test_no_more_may_watch_than_are_allowed_and_a_place_that_is_left_is_free():
    page = Watched()
    async with watching(page, most_watchers=4) as watch:
        first, second = watch(), watch("/live/other")
        await first.frame()
        await second.frame()
        refused = watch()
        assert (await refused.status(), await refused.header("retry-after")) == (503, "30")
        await first.leave()
        assert (await watch().frame())["data"] == "one"


async def test_a_stream_ends_after_its_time():
    page = Watched()
    async with watching(page, longest_s=0.1) as watch:
        watcher = watch()
        await watcher.frame()
        await asyncio.wait_for(watcher.task, 10)


async def test_while_the_server_is_away_it_says_so_once_and_then_goes_on():
    page = Watched()
    async with watching(page) as watch:
        watcher = watch()
        await watcher.frame()
        page.error = BackendUnavailable("away")
        assert (await watcher.frame())["event"] == "away"
        await page.looked_at(4)
        assert not watcher.has_more
        page.error = None
        assert (await watcher.frame())["data"] == "one"


async def test_a_page_that_nobody_watches_any_more_is_not_made():
    page = Watched()
    async with watching(page) as watch:
        watcher = watch()
        await watcher.frame()
        await watcher.leave()
        made = page.made
        await asyncio.sleep(5 * QUICK_S)
        assert page.made == made


# -- of the dashboard -------------------------------------------------------------------------------------------------


@pytest.fixture
async def flow(valkey_url: str, namespace: str) -> AsyncIterator[RedisFlow]:
    async with RedisFlow(valkey_url, namespace=namespace) as flow:
        define_world(flow)
        yield flow


async def read(watcher: Watcher, holds: Callable[[str], Awaitable[bool] | bool]) -> str:
    """Frames until one is as it should be."""
    while not holds(text := (await watcher.frame())["data"]):
        pass
    return text


async def test_a_page_is_sent_again_when_a_run_has_come_on(flow: RedisFlow):
    app = dashboard_app(flow)
    watcher = Watcher(app, "/live/runs?q=workflow:echo")
    assert "No run yet" in (await watcher.frame())["data"]
    await start(flow, "echo", "later")
    assert "pending" in await read(watcher, lambda text: "data-run" in text)
    async with flow.new_worker(grace=0):
        frame = await read(watcher, lambda text: "is-succeeded" in text)
    Html(frame)  # well-formed by itself
    assert "<html" not in frame
    await watcher.leave()


async def test_a_run_that_is_deleted_while_it_is_watched_is_told(flow: RedisFlow):
    async with flow.new_worker(grace=0):
        run_id = await finish(flow, "echo", 1)
    watcher = Watcher(dashboard_app(flow), f"/live/runs/{run_id}?tab=json")
    assert run_id in (await watcher.frame())["data"]
    await flow.delete_run(run_id)
    assert "404" in await read(watcher, lambda text: "empty" in text)
    await watcher.leave()


async def test_a_run_that_is_damaged_while_it_is_watched_is_told_and_the_server_is_not_away(
    flow: RedisFlow, valkey_url: str
):
    run_id = await start(flow, "echo", 1)
    watcher = Watcher(dashboard_app(flow), f"/live/runs/{run_id}")
    assert run_id in (await watcher.frame())["data"]
    async with redis.asyncio.Redis.from_url(valkey_url) as raw:
        await raw.hset(f"rf:{{{flow.namespace}:0}}:run:{run_id}", "h", "nonsense")
    frame = await watcher.frame()
    assert "event" not in frame
    assert "422" in frame["data"]
    assert f"run {run_id} cannot be read" in frame["data"]
    await watcher.leave()


async def test_what_is_redacted_is_in_no_frame(flow: RedisFlow):
    def hide(path: tuple[str | int, ...], value: Any) -> Any:
        return "[hidden]" if "card" in path else value

    async with flow.new_worker(grace=0):
        run_id = await finish(flow, "echo", {"card": "4111-1111"})
    app = dashboard_app(flow, redact=hide)
    for tab in ("", "?tab=events", "?tab=json", "?step=say"):
        watcher = Watcher(app, f"/live/runs/{run_id}{tab}")
        frame = (await watcher.frame())["data"]
        assert "[hidden]" in frame
        assert "4111" not in frame
        await watcher.leave()
