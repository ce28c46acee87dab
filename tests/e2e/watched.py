"""A page of the browser, and all that it should not have done."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from playwright.sync_api import ConsoleMessage, Page, Request, Response


class Watched:
    """Collects errors and warnings of the console, requests that failed, and those to other origins.

    The browser says on the console what a content security policy refused. A stream is aborted whenever its page is
    left, and that is no failure.
    """

    def __init__(self, page: Page, origin: str) -> None:
        """From now on."""
        self.page = page
        self.origin = origin
        self.faults: list[str] = []
        self._allowed: list[re.Pattern[str]] = []
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        page.on("request", self._asked)
        page.on("requestfailed", self._failed)
        page.on("response", self._answered)

    def allow(self, pattern: str) -> None:
        """This test is about it."""
        self._allowed.append(re.compile(pattern))

    def check(self) -> None:
        """Nothing was wrong."""
        unexpected = [fault for fault in self.faults if not any(each.search(fault) for each in self._allowed)]
        assert not unexpected, unexpected

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.faults.append(f"console: {message.text} ({message.location.get('url')})")

    def _asked(self, request: Request) -> None:
        if not request.url.startswith((f"{self.origin}/", "data:")):
            self.faults.append(f"another origin: {request.url}")

    def _failed(self, request: Request) -> None:
        if request.failure != "net::ERR_ABORTED":
            self.faults.append(f"failed: {request.url} {request.failure}")

    def _answered(self, response: Response) -> None:
        if response.status >= 400:
            self.faults.append(f"status: {response.status} {urlsplit(response.url).path}")
