"""Which Python files change, for commands that begin anew then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection
from pathlib import Path

TOGETHER_MS = 400
"""What changes within so long is one change: editors write a file in several steps, and a checkout many files."""


async def changes_below(folders: Collection[Path], no_more: asyncio.Event) -> AsyncGenerator[str]:
    """Each change as one says it: `shop.py and 2 more changed`. OSError where a folder cannot be watched.

    Set `no_more` at the end: the thread that looks for changes does not hear of a cancellation.
    """
    from watchfiles import (  # noqa: PLC0415  # an extra
        PythonFilter,
        awatch,  # pyright: ignore[reportUnknownVariableType]  # its event may be one of trio
    )

    seen = awatch(*folders, watch_filter=PythonFilter(), step=50, debounce=TOGETHER_MS, stop_event=no_more)
    async for changes in seen:
        names = sorted({Path(path).name for _, path in changes})
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        yield f"{names[0]}{more} changed"
