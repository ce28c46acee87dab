"""How payloads are stored: compressed, encrypted, or large ones in a store. See docs/payloads.md.

The stores that come along stand in modules of their own, which only their users import.
"""

from redisflow.sealing.aes_gcm import AesGcm
from redisflow.sealing.payloads import Payloads
from redisflow.sealing.seals import PLAIN_LIMIT, Part, Seals, numbered, object_limit
from redisflow.sealing.store import PayloadStore
from redisflow.sealing.stored import Stored, check_store
from redisflow.sealing.zstd import Zstd

__all__ = [
    "PLAIN_LIMIT",
    "AesGcm",
    "Part",
    "PayloadStore",
    "Payloads",
    "Seals",
    "Stored",
    "Zstd",
    "check_store",
    "numbered",
    "object_limit",
]
