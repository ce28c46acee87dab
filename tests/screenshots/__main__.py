"""Take the pictures of the dashboard: a shop works for some minutes, then each page is taken, light and dark.

python -m tests.screenshots [--minutes 4] [--folder docs/images]
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import socket
from pathlib import Path
from typing import Any

import uvicorn
from playwright.async_api import Browser, async_playwright

from redisflow import RedisFlow
from redisflow.dashboard.app import dashboard_app
from redisflow.testing import ServerOptions, start_server
from tests.screenshots.shop import define_shop, trade

ROOT = Path(__file__).parents[2]
WIDTH, HEIGHT = 1360, 850
SETTLE_MS = 1_500


async def _first(flow: RedisFlow, **query: str) -> str:
    page = await flow.list_page(page_size=1, **query)  # type: ignore[arg-type]  # the words of RunQuery
    return page.runs[0].id


async def _most_tried(flow: RedisFlow) -> str:
    """The order whose timeline has most to show."""
    page = await flow.list_page(page_size=200, workflow="order", status="succeeded")
    runs = [await flow.get_run(each.id) for each in page.runs]
    return max(runs, key=lambda run: sum(step.attempt for step in run.steps)).id


async def _addresses(flow: RedisFlow) -> dict[str, str]:
    return {
        "runs": "/runs",
        "run": f"/runs/{await _most_tried(flow)}?step=charge-card",
        "run-failed": f"/runs/{await _first(flow, workflow='order', status='failed')}?step=charge-card",
        "run-sleeping": f"/runs/{await _first(flow, workflow='order', status='waiting:timer')}",
        "run-many-steps": f"/runs/{await _first(flow, workflow='import-catalogue')}",
        "run-tree": f"/runs/{await _first(flow, workflow='fulfil-batch')}?tab=children",
        "workflows": "/workflows",
        "workflow": "/workflows/order",
        "queues": "/queues",
        "workers": "/workers",
        "schedules": "/schedules",
        "signals": "/signals",
        "metrics": "/metrics",
        "system": "/system",
        "new-run": "/runs/new?workflow=order",
    }


async def _take(browser: Browser, base: str, addresses: dict[str, str], folder: Path) -> None:
    for theme in ("light", "dark"):
        context = await browser.new_context(
            viewport={"width": WIDTH, "height": HEIGHT},
            color_scheme=theme,
        )
        page = await context.new_page()
        for name, address in addresses.items():
            await page.goto(base + address)
            await page.wait_for_timeout(SETTLE_MS)
            target = folder / f"{name}-{theme}.png"
            await page.screenshot(path=target)
            print(target)
        await context.close()


def _without_folder(_path: object, value: Any) -> Any:
    """Nobody's folders stand in the pictures."""
    return value.replace(str(ROOT), "/srv/shop") if isinstance(value, str) else value


async def _main(minutes: float, folder: Path) -> None:
    chance = random.Random(7)
    with start_server(ServerOptions()) as server, socket.create_server(("127.0.0.1", 0)) as listening:
        flow = RedisFlow(server.url, namespace="shop")
        define_shop(flow, chance)
        shown = uvicorn.Server(uvicorn.Config(dashboard_app(flow, redact=_without_folder), log_level="warning"))
        base = f"http://127.0.0.1:{listening.getsockname()[1]}"
        async with flow, flow.new_worker(concurrency=80), flow.new_worker(concurrency=40, queues=["default"]):
            serving = asyncio.create_task(shown.serve([listening]))
            await trade(flow, minutes * 60, chance)
            async with async_playwright() as driver:
                browser = await driver.chromium.launch(executable_path=shutil.which("chromium"))
                await _take(browser, base, await _addresses(flow), folder)
                await browser.close()
            shown.should_exit = True
            await serving


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.screenshots", description=__doc__)
    parser.add_argument("--minutes", type=float, default=4)
    parser.add_argument("--folder", type=Path, default=Path("docs/images"))
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    asyncio.run(_main(given.minutes, given.folder))
