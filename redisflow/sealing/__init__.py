"""How payloads are stored: compressed, encrypted, or large ones in a store. See docs/payloads.md."""

from redisflow.sealing.aes_gcm import AesGcm
from redisflow.sealing.file_store import FileStore
from redisflow.sealing.payloads import Payloads
from redisflow.sealing.s3_store import S3Store
from redisflow.sealing.seals import PLAIN_LIMIT, Part, Seals, numbered, object_limit
from redisflow.sealing.store import PayloadStore
from redisflow.sealing.stored import Stored, check_store
from redisflow.sealing.zstd import Zstd

__all__ = [
    "PLAIN_LIMIT",
    "AesGcm",
    "FileStore",
    "Part",
    "PayloadStore",
    "Payloads",
    "S3Store",
    "Seals",
    "Stored",
    "Zstd",
    "check_store",
    "numbered",
    "object_limit",
]
