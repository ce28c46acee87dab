"""What steps of redisflow's own do through a client: start child runs, send signals. See authoring/outside.py."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

from redisflow.authoring.limits import NO_QUEUE_LIMITS, QueueLimits, limits_for
from redisflow.authoring.outside import Broadcast, ChildOrder
from redisflow.client.rules import NO_RULES
from redisflow.client.signals import broadcast, hash_signal_key
from redisflow.client.start import Beginning, Prepared, StartOptions, start_prepared
from redisflow.contract import Backend, Delivery
from redisflow.errors import MailboxFull

DAY_MS = 86_400_000
"""A step that has not been recorded a day after it sent its signal may send it again."""


class ClientOutside:
    """Of one RedisFlow: its workers' steps act through it."""

    def __init__(self, connect: Callable[[], Awaitable[Backend]], queue_limits: QueueLimits = NO_QUEUE_LIMITS) -> None:
        """`connect` opens the backend."""
        self._connect = connect
        self._queue_limits = queue_limits

    async def start_child(self, order: ChildOrder) -> None:
        """Create the child run; one that exists is left as it is."""
        deadline = None if order.deadline_ms is None else timedelta(milliseconds=order.deadline_ms)
        options = StartOptions(version=order.version, queue=order.queue, deadline_at=deadline, tags=order.tags)
        backend, spec, queue = await self._connect(), order.spec, order.queue or order.spec.queue
        value = spec.input.decode(order.data)
        limits = limits_for(spec.control, spec.name, queue, value, self._queue_limits)
        prepared = Prepared(order.data, NO_RULES, limits)
        begin = Beginning(order.run_id, parent=order.parent, fields={"dp": order.depth} if order.depth else {})
        await start_prepared(backend, spec, prepared, options, begin)

    async def send_signal(self, run_id: str, name: str, payload: bytes, once: str) -> bool:
        """Put a signal into a run's mailbox, once for each `once`; False where the run has ended or is not stored."""
        backend = await self._connect()
        key = hash_signal_key(run_id, once)
        delivery = await backend.mail.signal_run(run_id, name, payload, once=key, keep_ms=DAY_MS)
        if delivery is Delivery.FULL:
            msg = f"the mailbox of run {run_id} is full: signal {name!r} is sent again later"
            raise MailboxFull(msg)
        return delivery is Delivery.OK

    async def broadcast(self, name: str, payload: bytes, retain_ms: int | None, once: str) -> Broadcast:
        """Give a signal to every run that waits for it, once for each `once`."""
        key = hash_signal_key(f"\0{name}", once)
        return await broadcast(await self._connect(), name, payload, retain_ms=retain_ms, once=key, keep_ms=DAY_MS)
