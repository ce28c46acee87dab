"""`Payloads`: what a user says about how inputs, results, records and errors are stored."""

from __future__ import annotations

from dataclasses import dataclass

from redisflow.sealing.aes_gcm import AesGcm
from redisflow.sealing.sizes import Size, to_bytes
from redisflow.sealing.store import PayloadStore
from redisflow.sealing.zstd import Zstd

SMALLEST_STORED = 1024
"""Bytes: below it, a reference and a call of the store cost more than they save."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Payloads:
    """How payloads are stored. Each part may be switched on for a namespace that has runs: plain ones stay readable.

    Every client and worker of the namespace is given the same, or workers leave runs waiting that they cannot read.
    """

    compress: bool | Zstd = False
    """With zstd; True is `Zstd()`. Needs `redisflow[zstd]` before Python 3.14."""
    encrypt: AesGcm | None = None
    """Needs `redisflow[crypto]`."""
    store: PayloadStore | None = None
    """Where values go that are larger than `store_above` in their stored form."""
    store_above: Size = "128KB"
    max_size: Size = "32MB"
    """Of an input, a result or an output, where there is a store; without one the limit is 1 MiB."""
    accept_plain: bool = True
    """Whether payloads that are not encrypted are read. False once all runs are encrypted: then nobody who can write
    to Redis can replace a payload by one of their own."""

    def __post_init__(self) -> None:
        """Refuse what does not fit together."""
        above = to_bytes(self.store_above, what="store_above")
        if above < SMALLEST_STORED:
            msg = f"store_above is at least {SMALLEST_STORED} bytes, not {self.store_above!r}"
            raise ValueError(msg)
        if to_bytes(self.max_size, what="max_size") < above:
            msg = f"max_size ({self.max_size!r}) is less than store_above ({self.store_above!r})"
            raise ValueError(msg)
        if not self.accept_plain and self.encrypt is None:
            msg = "accept_plain=False refuses what is not encrypted: give encrypt=AesGcm(...) with it"
            raise ValueError(msg)

    @property
    def zstd(self) -> Zstd | None:
        """How to compress."""
        return self.compress if isinstance(self.compress, Zstd) else Zstd() if self.compress else None
