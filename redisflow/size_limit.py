"""How large what users store may be, said in one place for inputs, results, signals and events."""

from __future__ import annotations

from redisflow.errors import PayloadTooLarge


def check_size(data: bytes, limit: int, what: str, *, is_storable: bool = False) -> None:
    """Raise PayloadTooLarge if these bytes, of what is called `what`, are more than the limit.

    The message names the payload store only for what is storable: for all else a store does not raise the limit.
    """
    if len(data) > limit:
        ways = "RedisFlow(payloads=Payloads(store=...)) does, or pass" if is_storable else "pass"
        message = (
            f"{what} has {len(data):,} bytes, over the limit of {limit:,}: "
            f"store it elsewhere: {ways} a reference to where it is"
        )
        raise PayloadTooLarge(message)
