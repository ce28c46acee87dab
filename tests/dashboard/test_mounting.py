"""The dashboard below a prefix: inside other applications and behind proxies, every address keeps it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import Receive, Scope, Send

from redisflow import RedisFlow
from redisflow.dashboard.app import dashboard_app
from tests.dashboard.browsing import Html, browsing, crawl
from tests.dashboard.test_live import Watcher
from tests.dashboard.world import define_world, finish, start
from tests.stories.world import eventually


@pytest.fixture
async def flow(valkey_url: str, namespace: str) -> AsyncIterator[RedisFlow]:
    async with RedisFlow(valkey_url, namespace=namespace) as flow:
        define_world(flow)
        async with flow.new_worker(grace=0):
            await finish(flow, "parent", 1)
        await start(flow, "echo", 1, tags={"a": "b"})
        yield flow


def in_starlette(app: Any) -> Any:
    return Starlette(routes=[Mount("/a/b", app=app)])


def in_fastapi(app: Any) -> Any:
    outer = FastAPI()
    outer.mount("/a/b", app)
    return outer


def by_hand(app: Any) -> Any:
    """As beside Django's `get_asgi_application()`: the path is looked at, and the prefix told as `root_path`."""

    async def route(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["path"].startswith("/a/b/")
        await app({**scope, "root_path": "/a/b"}, receive, send)

    return route


def client_of(app: Any, **options: Any) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://localhost", **options)


@pytest.mark.parametrize("mount", [in_starlette, in_fastapi, by_hand])
async def test_inside_another_application_every_link_keeps_the_prefix(flow: RedisFlow, mount: Any):
    async with client_of(mount(dashboard_app(flow))) as client:
        entry = await client.get("/a/b/")
        assert (entry.status_code, entry.headers["location"]) == (302, "/a/b/runs")
        seen = await crawl(client, "/a/b/runs", "/a/b")
        assert len(seen) > 50
        page = seen["/a/b/runs"]
        assert page is not None
        assert page.one("meta", name="redisflow-base").attributes["content"] == "/a/b"
        (live,) = [each.attributes["hx-sse:connect"] for each in page.all("main")]
        assert live == "/a/b/live/runs"
        assert (await client.get("/a/b/api/v1/runs")).json()["runs"]
        missing = Html((await client.get("/a/b/nowhere")).text)
        assert missing.one("a", data_name="Runs").attributes["href"] == "/a/b/runs"
        cookie = (await client.get("/a/b/runs")).headers.get_list("set-cookie")
        assert cookie == [] or "Path=/a/b" in cookie[0]


@pytest.mark.parametrize("mount", [in_starlette, in_fastapi, by_hand])
async def test_live_updates_find_the_same_page_below_a_prefix(flow: RedisFlow, mount: Any):
    app = mount(dashboard_app(flow))
    watcher = Watcher(app, "/a/b/live/runs?q=tag:a%3Db")
    frame = (await watcher.frame())["data"]
    page = Html(frame)
    assert len(page.rows()) == 1
    assert all(each.attributes["href"].startswith(("?", "/a/b/")) for each in page.all("a"))
    await watcher.leave()


async def test_a_prefix_that_a_proxy_took_off_is_put_back_only_where_it_is_trusted(flow: RedisFlow):
    headers = {"X-Forwarded-Prefix": "/proxied/flows"}
    async with client_of(dashboard_app(flow, trust_prefix=True), headers=headers) as client:
        page = Html((await client.get("/runs")).text)
        links = [link for link in page.links() if not link.startswith(("?", "#", "api/v1"))]
        assert links
        assert [link for link in links if not link.startswith("/proxied/flows/")] == []
        # The proxy takes it off again.
        for link in links:
            if "/live/" not in link:
                assert (await client.get(link.removeprefix("/proxied/flows"))).status_code == 200
    async with client_of(dashboard_app(flow), headers=headers) as client:
        assert "/proxied" not in (await client.get("/runs")).text


async def test_a_name_with_odd_signs_keeps_them_in_the_address_of_live_updates(flow: RedisFlow):
    async with browsing(flow) as browser:
        page = await browser.see("/runs", params={"q": 'tag:"a=b c"', "x": '<&">'})
        live = page.one("main").attributes["hx-sse:connect"]
        assert re.fullmatch(r"/live/runs\?[!-~]*", live)
        assert '"' not in live


async def test_static_files_have_their_types_and_are_kept(flow: RedisFlow):
    types = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
    async with browsing(flow) as browser:
        pages = [await browser.see("/runs"), await browser.see("/metrics")]
        files = {link.partition("#")[0] for page in pages for link in page.links() if link.startswith("/static/")}
        assert {path.rpartition(".")[2] for path in files} == types.keys()
        for path in files:
            answer = await browser.ask(path)
            assert answer.headers["content-type"].partition(";")[0] == types[path.rpartition(".")[2]], path
            assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
            assert answer.headers["x-content-type-options"] == "nosniff"
            again = await browser.ask(path, headers={"If-None-Match": answer.headers["etag"]})
            assert again.status_code == 304
        version = next(iter(files)).split("/")[2]
        for wrong in (f"/static/{version}/../../app.py", f"/static/{version}/%2e%2e/app.py", f"/static/{version}/js"):
            answer = await browser.ask(wrong)
            assert answer.status_code == 404
            assert answer.headers["cache-control"] == "no-store"
        assert (await browser.ask(next(iter(files)).replace(version, "000000000000"))).status_code == 404


BESIDE_DJANGO = """
import asyncio, json, os
import httpx2
from django.core.asgi import get_asgi_application
django = get_asgi_application()
from redisflow.dashboard import dashboard_app
from shop.workflows import flow

dashboard = dashboard_app(flow)

async def application(scope, receive, send):
    if scope["path"].startswith("/flows/"):
        await dashboard({**scope, "root_path": "/flows"}, receive, send)
    else:
        await django(scope, receive, send)

async def main():
    transport = httpx2.ASGITransport(app=application)
    async with flow, httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
        page = await client.get("/flows/", follow_redirects=True)
        said = [part.split('"')[0] for part in page.text.replace("src=", "href=").split('href="')[1:]]
        links = [link for link in said if link.startswith("/")]
        answers = {(await client.get(link)).status_code for link in links if "/live/" not in link}
        print(json.dumps({
            "page": page.status_code,
            "of django": (await client.get("/nowhere")).status_code,
            "leave": [link for link in links if not link.startswith("/flows/")],
            "answers": sorted(answers),
        }))

asyncio.run(main())
"""


def test_beside_a_django_application_every_link_keeps_the_prefix(valkey_url: str, namespace: str, tmp_path: Path):
    environment = {
        **os.environ,
        "REDISFLOW_URL": valkey_url,
        "SHOP_NAMESPACE": namespace,
        "SHOP_DATABASE": str(tmp_path / "shop.sqlite3"),
        "DJANGO_SETTINGS_MODULE": "project.settings",
    }
    done = subprocess.run(
        [sys.executable, "-c", BESIDE_DJANGO],
        cwd=Path(__file__).parents[2] / "examples" / "django_app",
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"page": 200, "of django": 404, "leave": [], "answers": [200]}


@pytest.mark.parametrize("mount", [in_starlette, in_fastapi, by_hand])
async def test_a_bulk_goes_on_inside_another_application_which_runs_its_own_lifespan_alone(flow: RedisFlow, mount: Any):
    async with client_of(mount(dashboard_app(flow))) as client:
        answer = await client.post("/a/b/api/v1/bulk", json={"verb": "cancel", "q": "tag:a=b"})
        place = answer.headers["location"]
        assert place.startswith("/a/b/api/v1/bulk/")

        async def over() -> Any:
            job = (await client.get(place)).json()
            return job if job["state"] != "running" else None

        job = await eventually(over)
        assert (job["state"], job["done"]) == ("done", 1)
        page = Html((await client.get(place.replace("/api/v1", ""))).text)
        assert page.one("h1").text == "Cancel tag:a=b"
