"""Sending signals to runs: the data is encoded here, in the caller, before anything is stored."""

from __future__ import annotations

import hashlib
import secrets
from typing import Any

from redisflow.authoring.inputs import encode_signal_data
from redisflow.authoring.outside import Broadcast
from redisflow.client.rules import KEY_LIMIT
from redisflow.contract import Backend, Delivery
from redisflow.durations import Duration, to_ms
from redisflow.errors import MailboxFull, RunEnded, RunNotFound
from redisflow.names import check_text, key_size

"""Bytes of an idempotency key before it is hashed."""
KEPT_MS = 60_000
"""Without a key of the caller's, a signal has one of its own for as long as its call may be sent again."""


async def signal_run(
    backend: Backend, run_id: str, name: str, data: Any, *, idempotency_key: str | None, idempotency_ttl: Duration
) -> None:
    """Put a signal into a run's mailbox. See `WorkflowHandle.signal`."""
    check_text("signal", name)
    payload = encode_signal_data(name, data)
    if idempotency_key is None:
        once, keep_ms = secrets.token_hex(16), KEPT_MS
    else:
        once, keep_ms = hash_signal_key(f"{run_id}\0{name}", idempotency_key), to_ms(idempotency_ttl, what="ttl")
    delivery = await backend.mail.signal_run(run_id, name, payload, once=once, keep_ms=max(1, keep_ms))
    match delivery:
        case Delivery.MISSING:
            msg = f"run {run_id} is not stored in namespace {backend.namespace!r}"
            raise RunNotFound(msg)
        case Delivery.ENDED:
            msg = f"run {run_id} has ended: signal {name!r} was not delivered, and nobody would read it"
            raise RunEnded(msg)
        case Delivery.FULL:
            msg = (
                f"the mailbox of run {run_id} is full (1,000 items): signal {name!r} was not delivered, try again later"
            )
            raise MailboxFull(msg)
        case Delivery.OK:
            return


async def send_signal(
    backend: Backend,
    name: str,
    data: Any,
    *,
    retain: Duration | None,
    idempotency_key: str | None,
    idempotency_ttl: Duration,
) -> Broadcast:
    """Give a signal to every run that waits for it. See `RedisFlow.send_signal`."""
    check_text("signal", name)
    payload = encode_signal_data(name, data)
    retain_ms = None if retain is None else to_ms(retain, what="retain")
    if idempotency_key is None:
        once, keep_ms = secrets.token_hex(16), KEPT_MS
    else:
        once, keep_ms = hash_signal_key(f"\0{name}", idempotency_key), to_ms(idempotency_ttl, what="ttl")
    return await broadcast(backend, name, payload, retain_ms=retain_ms, once=once, keep_ms=max(1, keep_ms))


async def broadcast(
    backend: Backend, name: str, payload: bytes, *, retain_ms: int | None, once: str, keep_ms: int
) -> Broadcast:
    """The same for data that is encoded."""
    reached = await backend.broadcasts.send(name, payload, once=once, keep_ms=keep_ms, retain_ms=retain_ms or None)
    if reached is None:
        msg = (
            f"so many broadcasts of signal {name!r} are still retained (100, or 2 MiB of data) that this one was not "
            "sent: send it later, or without retain"
        )
        raise MailboxFull(msg)
    return Broadcast(tuple(reached.run_ids), reached.count)


def hash_signal_key(scope: str, key: str) -> str:
    """The hash of an idempotency key; ValueError where it is none."""
    if not 1 <= (size := key_size(key)) <= KEY_LIMIT:
        msg = f"an idempotency key has 1 to {KEY_LIMIT} bytes, this one has {size}"
        raise ValueError(msg)
    return hashlib.sha256(f"signal\0{scope}\0{key}".encode()).hexdigest()[:32]
