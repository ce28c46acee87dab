"""What each store promises, on the file system and over the S3 protocol."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from pathlib import Path

import pytest

from redisflow import FileStore, MissingExtra, PayloadStore, PayloadStoreUnavailable, S3Store
from redisflow.sealing import check_store, extras

RUN, OTHER = "0" * 32, "1" * 32


async def listed(store: PayloadStore, folder: str) -> list[str]:
    return sorted([run_id async for page in store.list_runs(folder) for run_id in page])


def files_under(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def test_what_was_put_is_there_until_its_run_is_deleted(store: PayloadStore):
    await store.check()
    value = os.urandom(300_000)
    await store.put("shop-1", RUN, "aa", value)
    await store.put("shop-1", RUN, "bb", b"")
    await store.put("shop-1", OTHER, "aa", b"other")
    assert await store.get("shop-1", RUN, "aa", len(value)) == value
    assert await store.get("shop-1", RUN, "bb", 0) == b""
    assert await listed(store, "shop-1") == [RUN, OTHER]
    await store.delete_run("shop-1", RUN)
    await store.delete_run("shop-1", RUN)
    assert await store.get("shop-1", RUN, "aa", len(value)) is None
    assert await store.get("shop-1", OTHER, "aa", 5) == b"other"
    assert await listed(store, "shop-1") == [OTHER]


async def test_folders_know_nothing_of_each_other(store: PayloadStore):
    await store.put("shop-1", RUN, "aa", b"one")
    assert await store.get("shop", RUN, "aa", 3) is None
    await store.delete_run("shop", RUN)
    assert await listed(store, "shop") == []
    assert await listed(store, "shop-1") == [RUN]


async def test_putting_the_same_twice_and_at_once_is_putting_it_once(store: PayloadStore):
    await asyncio.gather(*(store.put("shop-1", RUN, "aa", b"value" * 1000) for _ in range(10)))
    assert await store.get("shop-1", RUN, "aa", 5000) == b"value" * 1000


async def test_no_more_is_read_than_was_asked_for(store: PayloadStore):
    await store.put("shop-1", RUN, "aa", bytes(1_000_000))
    got = await store.get("shop-1", RUN, "aa", 10)
    assert got is not None
    assert len(got) == 11


async def test_runs_are_listed_in_pages(store: PayloadStore, monkeypatch):
    monkeypatch.setattr("redisflow.sealing.file_store.PAGE", 7)
    monkeypatch.setattr("redisflow.sealing.s3_store.PAGE", 7)
    ids = [f"{number:032x}" for number in range(20)]
    await asyncio.gather(*(store.put("shop-1", run_id, "aa", b"x") for run_id in ids))
    assert await listed(store, "shop-1") == ids


@pytest.mark.skipif(os.name == "nt", reason="other permissions there")
async def test_files_are_for_their_user_alone_and_leave_no_parts(tmp_path: Path):
    store = FileStore(tmp_path / "made" / "here")
    await store.check()
    await store.put("shop-1", RUN, "aa", b"value")
    files = files_under(tmp_path)
    assert [path.name for path in files] == ["aa"]
    assert stat.S_IMODE(files[0].stat().st_mode) == 0o600


async def test_a_write_that_fails_leaves_nothing_under_its_name(tmp_path: Path, monkeypatch):
    store = FileStore(tmp_path)

    def full(_: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space left"):
        await store.put("shop-1", RUN, "aa", b"value")
    assert not files_under(tmp_path)


async def test_a_store_that_cannot_be_used_says_so_at_once(tmp_path: Path, make_s3_store):
    (tmp_path / "file").touch()
    with pytest.raises(PayloadStoreUnavailable, match=r"cannot be used: FileStore\(.*Error"):
        await check_store(FileStore(tmp_path / "file" / "below"), 5)
    store: S3Store = make_s3_store(bucket="there")
    nowhere = S3Store(
        bucket="not-there",
        endpoint_url=store.endpoint_url,
        region="us-east-1",
        access_key_id="an-id",
        secret_access_key="a-secret",
    )
    with pytest.raises(PayloadStoreUnavailable, match=r"S3Store\(bucket='not-there'.*Not Found") as caught:
        await check_store(nowhere, 5)
    assert "a-secret" not in str(caught.value)
    nowhere.close()
    store.close()


def test_a_missing_library_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(MissingExtra, match=r"an S3Store needs boto3, .*: pip install 'redisflow\[s3\]'"):
        S3Store(bucket="b")
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(MissingExtra, match=r"redisflow\[crypto\]"):
        extras.load("cryptography", extra="crypto", use="encryption")
