"""Sealing and opening: compress, encrypt, store; and back. One pair of functions for all that a run stores.

Small values are sealed and opened where they are, which takes microseconds; large ones in a thread, and those above a
threshold through the store. What cannot be opened is told in words that name run, field and key, and never the data.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, TypeAlias

from redisflow.errors import CannotUnseal, PayloadStoreUnavailable
from redisflow.sealing.aes_gcm import Cipher
from redisflow.sealing.envelope import (
    COMPRESSED,
    ENCRYPTED,
    SHARED,
    STORED,
    Envelope,
    Reference,
    header_of,
    is_sealed,
    is_stored,
)
from redisflow.sealing.payloads import Payloads
from redisflow.sealing.sizes import to_bytes
from redisflow.sealing.stored import Stored
from redisflow.sealing.zstd import Compressor

Part: TypeAlias = tuple[str, bytes]
"""A field of a run, and what is in it."""

PLAIN_LIMIT = 1 << 20
"""Bytes of an input, a result or an output where there is no store."""
_AROUND_BYTES = 128 * 1024
"""What a record holds besides a result: its header, or a failure with its traceback."""
INLINE_BYTES = 64 * 1024
"""A larger value is sealed in a thread: at 300 MB/s this one keeps the loop for 0.2 ms."""
_SHARED_BY = "shared by "
_SHARED_FIELDS = ("input", "signal ")
"""What may be bound to something else than its run."""
_LENGTH = struct.Struct(">I")


def numbered(first: int, records: Sequence[bytes]) -> list[Part]:
    """Records of a run, each with its field."""
    return [(f"record {number}", data) for number, data in enumerate(records, first)]


class Seals:
    """The codec chain of one namespace. With `Payloads()` it gives back what it is given."""

    def __init__(self, payloads: Payloads, namespace: str) -> None:
        """MissingExtra where a library is not installed."""
        self.payload_limit = limit_of(payloads)
        self._compressor = Compressor(payloads.zstd, self.payload_limit + _AROUND_BYTES)
        self._cipher = None if payloads.encrypt is None else Cipher(payloads.encrypt, namespace)
        self._accept_plain = payloads.accept_plain
        self._namespace = namespace.encode()
        self._stored: Stored | None = None
        self._above = self.payload_limit
        if payloads.store is not None:
            self._above = to_bytes(payloads.store_above, what="store_above")
        self._quick = min(INLINE_BYTES, self._above)

    def use_store(self, stored: Stored) -> None:
        """From now on large values are written there, and read; before, they are not."""
        self._stored = stored

    # -- sealing --------------------------------------------------------------------------------------------------

    async def seal(self, data: bytes, run_id: str, field: str, *, within_s: float | None = None) -> bytes:
        """As it is stored in the run's `field`. PayloadStoreUnavailable where a store cannot take it `within_s`."""
        if self.is_quick(data):
            return self.seal_now(data, run_id, field)
        sealed = await asyncio.to_thread(self.seal_now, data, run_id, field)
        if self._stored is None or len(data) <= self._above or len(sealed) <= self._above:
            return sealed
        reference = await self._stored.put(run_id, sealed, _where(run_id, field), within_s)
        return reference.to_bytes()

    async def discard(self, sealed: bytes, run_id: str) -> None:
        """What was sealed for a run that did not come to be leaves the store. What is left there, a sweep finds."""
        if self._stored is not None and is_stored(sealed):
            with contextlib.suppress(PayloadStoreUnavailable):
                await self._stored.delete_run(run_id)

    def is_quick(self, data: bytes) -> bool:
        """Whether `seal_now` is all that it takes."""
        return len(data) <= self._quick

    def seal_now(self, data: bytes, run_id: str, field: str, *, shared: str | None = None) -> bytes:
        """The same without the store: for what is small, or of no use later. Nothing stays nothing.

        An input that may become that of another run, or a signal for many, is `shared`: bound to this text instead of
        a run.
        """
        if not data:
            return data
        packed = self._compressor.compress(data)
        flags = 0 if packed is None else COMPRESSED
        body = data if packed is None else packed
        if self._cipher is not None:
            if shared is None:
                header = header_of(flags | ENCRYPTED, self._cipher.write)
            else:
                header, run_id = header_of(flags | ENCRYPTED | SHARED, self._cipher.write, shared), _SHARED_BY + shared
            return header + self._cipher.encrypt(body, run_id, self._about(header, run_id, field))
        return header_of(flags) + body if flags else data

    def fingerprints(self, fingerprint: str) -> list[str]:
        """What may stand for this fingerprint of plain data, the one to write first."""
        return [fingerprint] if self._cipher is None else [*self._cipher.fingerprints(fingerprint), fingerprint]

    async def seal_all(self, parts: Sequence[Part], run_id: str, *, within_s: float) -> list[bytes]:
        """Several values of one run; those that take time at once."""
        return await self._all(self.is_quick, self.seal_now, partial(self.seal, within_s=within_s), parts, run_id)

    # -- opening --------------------------------------------------------------------------------------------------

    async def open(self, data: bytes, run_id: str, field: str, *, within_s: float) -> bytes:
        """What was sealed. CannotUnseal where it cannot be opened here, PayloadStoreUnavailable where not now."""
        if self.opens_now(data):
            return self.open_now(data, run_id, field)
        where = _where(run_id, field)
        if is_stored(data):
            reference = Reference.of(Envelope.parse(data, where), where)
            if self._stored is None:
                msg = f"{where} is in a store, and none is given here: RedisFlow(payloads=Payloads(store=...))"
                raise CannotUnseal(msg)
            data = await self._stored.get(run_id, reference, where, within_s)
        return await asyncio.to_thread(self.open_now, data, run_id, field)

    async def open_all(self, parts: Sequence[Part], run_id: str, *, within_s: float) -> list[bytes]:
        """The same for several values of one run; those that take time at once."""
        return await self._all(self.opens_now, self.open_now, partial(self.open, within_s=within_s), parts, run_id)

    async def _all(
        self,
        is_quick: Callable[[bytes], bool],
        now: Callable[[bytes, str, str], bytes],
        later: Callable[[bytes, str, str], Coroutine[Any, Any, bytes]],
        parts: Sequence[Part],
        run_id: str,
    ) -> list[bytes]:
        slow = [asyncio.ensure_future(later(data, run_id, field)) for field, data in parts if not is_quick(data)]
        try:
            waited = iter(await asyncio.gather(*slow))
        finally:
            for one in slow:
                one.cancel()
        return [now(data, run_id, field) if is_quick(data) else next(waited) for field, data in parts]

    def opens_now(self, data: bytes) -> bool:
        """Whether `open_now` is all that it takes."""
        return not is_sealed(data) or (len(data) <= INLINE_BYTES and not is_stored(data))

    def open_now(self, data: bytes, run_id: str, field: str) -> bytes:
        """The same without the store."""
        if not data:
            return data
        where = _where(run_id, field)
        if not is_sealed(data):
            return self._plain(data, where)
        envelope = Envelope.parse(data, where)
        if envelope.flags & STORED:
            msg = f"{where} is damaged: an object of a store refers to another one"
            raise CannotUnseal(msg)
        body = envelope.body
        if envelope.key_id is not None:
            if self._cipher is None:
                msg = (
                    f"{where} is encrypted with key {envelope.key_id!r}, and no keys are given here:"
                    " RedisFlow(payloads=Payloads(encrypt=...))"
                )
                raise CannotUnseal(msg)
            if envelope.shared is not None and field.startswith(_SHARED_FIELDS):
                run_id = _SHARED_BY + envelope.shared
            body = self._cipher.decrypt(
                envelope.key_id, body, run_id, self._about(envelope.header, run_id, field), where
            )
        else:
            self._plain(data, where)
        return self._compressor.decompress(body, where) if envelope.flags & COMPRESSED else body

    def _plain(self, data: bytes, where: str) -> bytes:
        if not self._accept_plain:
            msg = f"{where} is not encrypted, and accept_plain is False: it was written before, or by somebody else"
            raise CannotUnseal(msg)
        return data

    def _about(self, header: bytes, run_id: str, field: str) -> bytes:
        """What a ciphertext belongs to: each part with its length, so that no two of them read alike."""
        parts = (header, self._namespace, run_id.encode(), field.encode())
        return b"".join(_LENGTH.pack(len(part)) + part for part in parts)


def limit_of(payloads: Payloads) -> int:
    """Bytes of the largest input, result or output."""
    return PLAIN_LIMIT if payloads.store is None else to_bytes(payloads.max_size, what="max_size")


def object_limit(payloads: Payloads) -> int:
    """Bytes of the largest object: what does not get smaller, and its envelope."""
    return limit_of(payloads) + _AROUND_BYTES


def _where(owner: str, field: str) -> str:
    return f"the {field} of {owner}" if " " in owner else f"the {field} of run {owner}"
