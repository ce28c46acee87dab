"""Encryption with AES-256-GCM: one key writes, several read.

What a ciphertext is about (namespace, run, field) is authenticated with it, so that it opens in its own place alone.
The hard thing is the nonce: 96 random bits are safe for some four billion messages of a key, which a busy namespace
writes in days. So each run is encrypted under a key of its own, derived from the key that is named (HKDF-Expand, RFC
5869), and the bound is one of a run.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from redisflow.errors import CannotUnseal
from redisflow.sealing.extras import load

KEY_BYTES = 32
NONCE_BYTES = 12
_KEY_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_RUN_KEY = b"redisflow run key 1\0"
_FINGERPRINT = b"redisflow fingerprint 1\0"


@dataclass(frozen=True, slots=True, kw_only=True)
class AesGcm:
    """Encrypt with the key named `write`; read what any of `keys` wrote. Each key is 32 random bytes."""

    write: str
    keys: Mapping[str, bytes] = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse keys that are none, where they are given."""
        for key_id, key in self.keys.items():
            if _KEY_ID.fullmatch(key_id) is None:
                msg = f"the key id {key_id!r} is not allowed: 1 to 64 letters or digits (ASCII), or . _ : -"
                raise ValueError(msg)
            if not isinstance(key, bytes) or len(key) != KEY_BYTES:
                size = f"{len(key)} bytes" if isinstance(key, bytes) else f"a {type(key).__name__}"
                msg = f"the key {key_id!r} is {size}: a key is {KEY_BYTES} random bytes, os.urandom({KEY_BYTES})"
                raise ValueError(msg)
        if self.write not in self.keys:
            msg = f"the key to write with, {self.write!r}, is not among the keys ({', '.join(self.keys) or 'none'})"
            raise ValueError(msg)

    @classmethod
    def from_text(cls, text: str) -> Self:
        """From "new=<base64>,old=<base64>", as it stands in an environment variable: the first one writes."""
        keys: dict[str, bytes] = {}
        for number, item in enumerate(text.split(","), 1):
            key_id, found, encoded = item.strip().partition("=")
            key = _decode(encoded) if found and key_id not in keys else None
            if key is None:
                # Not even a part of it is shown: it may be a key that was pasted without its name.
                msg = f"item {number} of the keys is not a new <key id>=<{KEY_BYTES} bytes in base64>"
                raise ValueError(msg)
            keys[key_id] = key
        return cls(write=next(iter(keys)), keys=keys)


def _decode(encoded: str) -> bytes | None:
    try:
        return base64.b64decode(encoded, validate=True)
    except binascii.Error:
        return None


class Cipher:
    """Encrypts and decrypts what belongs to runs of one namespace."""

    def __init__(self, options: AesGcm, namespace: str) -> None:
        """MissingExtra where the library is not installed."""
        aead = load("cryptography.hazmat.primitives.ciphers.aead", extra="crypto", use="encryption")
        self._aes_gcm: Any = aead.AESGCM
        self._invalid: Any = load("cryptography.exceptions", extra="crypto", use="encryption").InvalidTag
        self._keys = dict(options.keys)
        self._namespace = namespace.encode()
        self.write = options.write

    def encrypt(self, data: bytes, run_id: str, about: bytes) -> bytes:
        """Nonce, ciphertext and tag; it opens only with the same run and the same `about`."""
        nonce = os.urandom(NONCE_BYTES)
        sealed: bytes = self._of(self.write, run_id).encrypt(nonce, data, about)
        return nonce + sealed

    def decrypt(self, key_id: str, sealed: bytes, run_id: str, about: bytes, where: str) -> bytes:
        """What was encrypted; CannotUnseal, which says `where`, if it was not, or not for this place."""
        if key_id not in self._keys:
            known = ", ".join(self._keys)
            msg = f"{where} is encrypted with key {key_id!r}, which is not among the keys here ({known}): add it"
            raise CannotUnseal(msg)
        try:
            opened: bytes = self._of(key_id, run_id).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], about)
        except (self._invalid, ValueError) as error:
            msg = (
                f"{where} does not open with key {key_id!r}: it was changed, it belongs somewhere else, or another key"
                " has this name"
            )
            raise CannotUnseal(msg) from error
        return opened

    def fingerprints(self, fingerprint: str) -> list[str]:
        """A fingerprint of plain data under each key, the writing one first: without a key nobody can test a guess."""
        key_ids = [self.write, *(key_id for key_id in self._keys if key_id != self.write)]
        text = _FINGERPRINT + self._namespace + b"\0" + fingerprint.encode()
        return [hmac.digest(self._keys[key_id], text, "sha256").hex()[: len(fingerprint)] for key_id in key_ids]

    def _of(self, key_id: str, run_id: str) -> Any:
        # HKDF-Expand where one block is enough: HMAC(key, info + 01).
        info = _RUN_KEY + self._namespace + b"\0" + run_id.encode()
        return self._aes_gcm(hmac.digest(self._keys[key_id], info + b"\x01", "sha256"))
