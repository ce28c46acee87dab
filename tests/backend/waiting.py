from __future__ import annotations

import asyncio
from collections.abc import Callable


async def until(condition: Callable[..., object]) -> None:
    """Wait for something that has no event of its own: it happens in another process, or inside a library."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0)
