"""An accessibility pass over a page: what axe-core finds against WCAG 2.1 AA."""

from __future__ import annotations

from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]
OPTIONS = {"runOnly": {"type": "tag", "values": TAGS}, "resultTypes": ["violations"]}


def violations(page: Page) -> list[Any]:
    """Which rules are broken, where."""
    found = Axe().run(page, options=OPTIONS).response["violations"]
    return [
        (rule["id"], [(node["html"][:200], node["failureSummary"]) for node in rule["nodes"][:3]]) for rule in found
    ]
