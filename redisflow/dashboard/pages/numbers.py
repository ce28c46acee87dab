"""Which page of a list is asked for."""

from __future__ import annotations


def page_of(text: str, items: int, size: int) -> tuple[int, int]:
    """The number of the page that is meant, or of the nearest that there is; and how many there are, one at least."""
    pages = max(1, -(-items // size))
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 1
    return min(max(1, number), pages), pages
