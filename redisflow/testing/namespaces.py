"""`fresh_namespace`: the flow of an application, as it is, on a test's server, in a namespace that nobody else has."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncGenerator
from dataclasses import replace

from redisflow.backend.location import Location
from redisflow.backend.options import BackendOptions
from redisflow.flow import RedisFlow
from redisflow.testing.clock_keys import ClockKeys


@contextlib.asynccontextmanager
async def fresh_namespace(
    flow: RedisFlow, url: str | None = None, *, name: str = "test", keep: bool = False
) -> AsyncGenerator[str]:
    """Inside, the flow, its workflows and the workers that are made there are at `url`, in a namespace of their own.

    That is `name` with a random end, which is what it gives. At the end everything in it is deleted, but with `keep`.
    Without `url` the flow stays on its server. Handles from before go on where they were, and so do workers.
    """
    namespace = f"{name[:100]}:{secrets.token_hex(4)}"
    location = replace(flow.location, url=url or flow.location.url, namespace=namespace)
    try:
        async with flow.moved_to(location):
            yield namespace
    finally:
        if not keep:
            await _delete(location)


async def _delete(location: Location) -> None:
    keys = ClockKeys(location.url, **BackendOptions(namespace=location.namespace, partitions=location.partitions))
    try:
        await keys.open()
        await keys.delete_everything()
    finally:
        await keys.close()
