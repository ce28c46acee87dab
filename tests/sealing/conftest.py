"""Stores of each kind, each in a place of its own."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from redisflow import FileStore, PayloadStore, S3Store


@pytest.fixture(params=["files", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PayloadStore]:
    """Return an empty store of each kind in turn."""
    if request.param == "files":
        yield FileStore(tmp_path / "payloads")
        return
    make: Callable[..., Any] = request.getfixturevalue("make_s3_store")
    made: S3Store = make(bucket=f"bucket-{secrets.token_hex(6)}")
    yield made
    made.close()
