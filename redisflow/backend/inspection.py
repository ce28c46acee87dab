"""What is found out about servers before anybody works with them: rights, versions, settings.

In a cluster each node may be another server with other users, so each is looked at. One that is away keeps nobody from
working for the others: whatever has not answered after `LOOK_S` is left out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from redisflow.backend.access import refuse_if_denied
from redisflow.backend.servers import ServerReport, read_info, report_on
from redisflow.errors import BackendError

if TYPE_CHECKING:
    from redisflow.backend.patience import Patience
    from redisflow.backend.scripts import Scripts
    from redisflow.backend.transport import Transport

LOOK_S = 2.0

T = TypeVar("T")


async def look_at_rights(
    transport: Transport,
    scripts: Scripts,
    patience: Patience,
    prefixes: Sequence[str],
    namespace: str,
    *,
    is_optional: bool,
) -> bool:
    """Whether we may write in all of these partitions; UnsuitableServer where half of it is denied in one.

    With `is_optional` those whose node is away are left out.
    """
    looks = (refuse_if_denied(transport, scripts, patience, [prefix], namespace) for prefix in prefixes)
    return all(await _answered(looks, LOOK_S if is_optional else None))


async def look_at_server(transport: Transport, patience: Patience, prefix: str) -> ServerReport:
    """Version, eviction policy and persistence of the server that has this partition."""
    info = read_info(await patience.give(transport.send(prefix, ("INFO",))))
    try:
        save = await patience.give(transport.send(prefix, ("CONFIG", "GET", "save")))
    except BackendError:  # not everybody may ask; the report says what INFO alone can tell
        save = None
    return report_on(info, save)


async def look_at_others(transport: Transport, patience: Patience, prefixes: Sequence[str]) -> list[ServerReport]:
    """The same of those that have these partitions, as far as they answer."""
    return await _answered((look_at_server(transport, patience, prefix) for prefix in prefixes), LOOK_S)


async def _answered(looks: Iterable[Coroutine[Any, Any, T]], timeout_s: float | None) -> list[T]:
    """What has been found within this time; the first error where one of them found one."""
    tasks = [asyncio.ensure_future(look) for look in looks]
    if not tasks:
        return []
    try:
        done, _ = await asyncio.wait(tasks, timeout=timeout_s)
    finally:
        for task in tasks:
            task.cancel()  # those that are done are not affected
    errors = [error for task in done if (error := task.exception()) is not None]
    if errors:
        raise errors[0]
    return [task.result() for task in done]
