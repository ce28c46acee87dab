"""One browser and one filled shop for all tests here; each test has pages of its own, and none of them may complain."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, TypeAlias

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.e2e.shop import Runs, define_shop, fill
from tests.e2e.stage import Stage, open_stage
from tests.e2e.watched import Watched

NAMES = ("chromium", "chromium-browser", "google-chrome")
WITHIN_MS = 15_000

expect.set_options(timeout=WITHIN_MS)

OpenPage: TypeAlias = Callable[..., Watched]


@pytest.fixture(scope="session")
def browser(missing: Callable[[str], NoReturn]) -> Iterator[Browser]:
    """The system's Chromium; none is downloaded."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        missing("no Chromium in PATH (Debian: apt-get install chromium)")
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def stage(valkey_url: str) -> Iterator[Stage]:
    with open_stage(valkey_url, f"e2e:{secrets.token_hex(4)}", define_shop) as stage:
        yield stage


@pytest.fixture(scope="session")
def runs(stage: Stage) -> Runs:
    """A run in each state. Tests that change something start runs of their own."""
    return fill(stage)


@pytest.fixture(scope="session")
def origin(stage: Stage) -> str:
    """Where the dashboard is that everybody may use for everything."""
    return stage.serve()


@pytest.fixture(scope="session")
def contexts(browser: Browser) -> Iterator[dict[str, BrowserContext]]:
    """By their options: a browser that was here before has the static files already."""
    made: dict[str, BrowserContext] = {}
    yield made
    for context in made.values():
        context.close()


@pytest.fixture
def open_page(browser: Browser, contexts: dict[str, BrowserContext], origin: str) -> Iterator[OpenPage]:
    """Return what opens a page: `open_page("/runs", color_scheme="dark")`.

    `at` is another dashboard's origin, `allow` what the browser may complain of. With `is_new` nobody has been there
    before: nothing is kept in that browser.
    """
    opened: list[Watched] = []
    new: list[BrowserContext] = []

    def open_it(path: str, *, at: str = origin, is_new: bool = False, allow: str = "", **options: Any) -> Watched:
        options = {"viewport": {"width": 1400, "height": 900}, **options}
        context = None if is_new else contexts.get(repr(options))
        if context is None:
            context = browser.new_context(**options)
            context.set_default_timeout(WITHIN_MS)
            if is_new:
                new.append(context)
            else:
                contexts[repr(options)] = context
        watched = Watched(context.new_page(), at)
        opened.append(watched)
        if allow:
            watched.allow(allow)
        watched.page.goto(f"{at}{path}")
        return watched

    yield open_it
    for each in opened:
        each.page.close()
    for context in new:
        context.close()
    for each in opened:
        each.check()


@pytest.fixture
def show(open_page: OpenPage) -> Callable[..., Page]:
    """The same, for tests that need the page alone."""
    return lambda path, **options: open_page(path, **options).page
