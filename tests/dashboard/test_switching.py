"""Several namespaces in one dashboard: each has its own pages, and leads to each other one."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from redisflow import RedisFlow
from redisflow.dashboard.app import dashboard_app
from redisflow.dashboard.copies import has_to_be_said
from redisflow.dashboard.switching import Namespaces
from tests.dashboard.browsing import Html, crawl
from tests.dashboard.world import define_world, start


@pytest.fixture
async def two(valkey_url: str, namespace: str) -> AsyncIterator[tuple[RedisFlow, RedisFlow]]:
    async with (
        RedisFlow(valkey_url, namespace=namespace) as first,
        RedisFlow(valkey_url, namespace=f"{namespace}:b") as second,
    ):
        define_world(first)
        define_world(second)
        yield first, second


def client_of(app: Starlette) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://localhost")


@pytest.mark.parametrize("prefix", ["", "/ops"])
async def test_each_shows_its_own_runs_and_leads_to_the_others(two: tuple[RedisFlow, RedisFlow], prefix: str):
    first, second = two
    ids = [await start(flow, "echo", number) for number, flow in enumerate(two)]
    app = dashboard_app(first, others=[second])
    async with client_of(Starlette(routes=[Mount(prefix, app)]) if prefix else app) as client:
        below = f"{prefix}/ns/{second.namespace}"
        for base, own, other in ((prefix, *ids), (below, *reversed(ids))):
            page = (await client.get(f"{base}/runs")).text
            assert own in page
            assert other not in page
            assert {f"{prefix}/runs", f"{below}/runs"} <= set(Html(page).links())
            assert (await client.get(f"{base}/api/v1/runs/{own}")).json()["id"] == own
            assert (await client.get(f"{base}/api/v1/runs/{other}")).status_code == 404
        entry = await client.get(f"{below}/")
        assert (entry.status_code, entry.headers["location"]) == (302, f"{below}/runs")
        assert (await client.get(f"{prefix}/healthz")).status_code == 200


async def test_every_link_leads_somewhere(two: tuple[RedisFlow, RedisFlow]):
    first, second = two
    await start(second, "echo", 1)
    async with client_of(dashboard_app(first, others=[second])) as client:
        seen = await crawl(client, "/runs")
    assert {"/system", f"/ns/{second.namespace}/system"} <= set(seen)


async def test_a_namespace_alone_has_no_menu_and_none_is_shown_twice(two: tuple[RedisFlow, RedisFlow]):
    first, _ = two
    async with client_of(dashboard_app(first)) as client:
        assert "Namespaces" not in (await client.get("/runs")).text
    with pytest.raises(ValueError, match="shows a namespace once"):
        dashboard_app(first, others=[first])


async def commands_of(client: httpx2.AsyncClient, path: str) -> list[str]:
    """What the page of a run offers for a command line."""
    return re.findall(r"redisflow run [^<\"]+", (await client.get(path)).text)[::2]  # each is shown, and copied


async def test_a_command_that_is_copied_asks_the_namespace_of_its_page(two: tuple[RedisFlow, RedisFlow]):
    first, second = two
    ids = [await start(flow, "echo", 1) for flow in two]
    async with client_of(dashboard_app(first, others=[second])) as client:
        for command in await commands_of(client, f"/ns/{second.namespace}/runs/{ids[1]}"):
            assert command.endswith(f" -n {second.namespace}")
        # The app says its namespace; to name it beside it would be to look without the app's server and keys.
        own = await commands_of(client, f"/runs/{ids[0]}")
        assert (len(own), [command for command in own if " -n " in command]) == (2, [])
    # As `redisflow dashboard -n NAME` shows it, without an app.
    async with (
        RedisFlow(first.location.url, namespace=first.namespace, partitions=None) as bare,
        client_of(dashboard_app(bare)) as client,
    ):
        trace, export = await commands_of(client, f"/runs/{ids[0]}")
    assert trace == f"redisflow run trace {ids[0]} -n {first.namespace}"
    assert export == f"redisflow run export {ids[0]} --to echo-{ids[0][-8:]}.json -n {first.namespace}"


def test_nobody_is_told_to_name_the_namespace_that_is_asked_anyway():
    for namespace, names in (("default", None), ("default", Namespaces(("default", "b"), "default"))):
        assert not has_to_be_said(RedisFlow(namespace=namespace), names)
    assert has_to_be_said(RedisFlow(namespace="default"), Namespaces(("a", "default"), "default"))


def test_where_one_leads_does_not_depend_on_where_one_is():
    names = ("a", "b:1", "c")
    wanted = [("a", "/ops/runs"), ("b:1", "/ops/ns/b:1/runs"), ("c", "/ops/ns/c/runs")]
    for own, base in (("a", "/ops"), ("b:1", "/ops/ns/b:1"), ("c", "/ops/ns/c")):
        assert Namespaces(names, own).links(base) == wanted
