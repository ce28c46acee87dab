"""Large payloads as objects in a bucket, over the S3 protocol: Amazon's, MinIO, Ceph, R2 and the like.

boto3 is synchronous, so its calls run in threads of the store's own. Its checksums are off, which not every service
knows: each payload is checked against the SHA-256 that Redis holds.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from redisflow.durations import Duration, to_ms
from redisflow.sealing.extras import load

T = TypeVar("T")
THREADS = 16
PAGE = 1000


@dataclass(frozen=True, kw_only=True)
class S3Store:
    """Objects in `bucket`, under `prefix`. What is not given is found as boto3 finds it: environment, profile, role.

    `endpoint_url` names another service than Amazon's. `timeout` is for one connection or read; what fails is tried
    again.
    """

    bucket: str
    prefix: str = "redisflow/"
    endpoint_url: str | None = None
    region: str | None = None
    access_key_id: str | None = field(default=None, repr=False)
    secret_access_key: str | None = field(default=None, repr=False)
    timeout: Duration = 10
    _connection: _Connection = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """MissingExtra where boto3 is not installed. Nothing is connected yet."""
        load("boto3", extra="s3", use="an S3Store")
        object.__setattr__(self, "_connection", _Connection(self))

    def close(self) -> None:
        """Close its connections; a later use opens them again."""
        self._connection.close()

    async def check(self) -> None:
        """An error of botocore's where the bucket is not there, or not for us."""
        await self._call(lambda client: client.head_bucket(Bucket=self.bucket))

    async def put(self, folder: str, run_id: str, name: str, data: bytes) -> None:
        """Write the object."""
        key = f"{self.prefix}{folder}/{run_id}/{name}"
        await self._call(lambda client: client.put_object(Bucket=self.bucket, Key=key, Body=data))

    async def get(self, folder: str, run_id: str, name: str, size: int) -> bytes | None:
        """Read the object; None where it is not there."""
        key = f"{self.prefix}{folder}/{run_id}/{name}"

        def read(client: Any) -> bytes | None:
            try:
                found = client.get_object(Bucket=self.bucket, Key=key)
            except client.exceptions.NoSuchKey:
                return None
            with found["Body"] as body:
                data: bytes = body.read(size + 1)
                return data

        return await self._call(read)

    async def delete_run(self, folder: str, run_id: str) -> None:
        """Delete the objects of a run, one by one: not every service knows how to delete many."""

        def delete(client: Any) -> None:
            for page in _pages(client, Bucket=self.bucket, Prefix=f"{self.prefix}{folder}/{run_id}/"):
                for found in page.get("Contents", ()):
                    client.delete_object(Bucket=self.bucket, Key=found["Key"])

        await self._call(delete)

    async def list_runs(self, folder: str) -> AsyncIterator[Sequence[str]]:
        """The ids of runs with objects, as one listing of the folder tells them."""
        start = f"{self.prefix}{folder}/"
        more: dict[str, str] = {}
        while True:
            where = {"Bucket": self.bucket, "Prefix": start, "Delimiter": "/", **more}
            page: Any = await self._call(partial(_list, **where))
            yield [found["Prefix"][len(start) : -1] for found in page.get("CommonPrefixes", ())]
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}

    async def _call(self, call: Callable[[Any], T]) -> T:
        connection = self._connection
        client, threads = connection.get()
        return await asyncio.get_running_loop().run_in_executor(threads, call, client)


def _list(client: Any, **where: str) -> Any:
    return client.list_objects_v2(MaxKeys=PAGE, **where)


def _pages(client: Any, **where: str) -> Any:
    return client.get_paginator("list_objects_v2").paginate(**where)


class _Connection:
    """A client and its threads: made at the first use, since making a client takes 0.1 s."""

    def __init__(self, store: S3Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._made: tuple[Any, ThreadPoolExecutor] | None = None
        self._pid = 0

    def get(self) -> tuple[Any, ThreadPoolExecutor]:
        with self._lock:
            if self._pid != os.getpid():  # a forked child has none of its parent's threads
                self._made, self._pid = None, os.getpid()
            if self._made is None:
                self._made = self._make(), ThreadPoolExecutor(THREADS, thread_name_prefix="redisflow-s3")
            return self._made

    def _make(self) -> Any:
        store, timeout_s = self._store, to_ms(self._store.timeout, what="timeout") / 1000
        boto3 = load("boto3", extra="s3", use="an S3Store")
        config = load("botocore.config", extra="s3", use="an S3Store").Config(
            connect_timeout=timeout_s,
            read_timeout=timeout_s,
            max_pool_connections=THREADS,
            retries={"total_max_attempts": 2, "mode": "standard"},
            # Other services are often one host, without a name for each bucket.
            s3={"addressing_style": "path" if store.endpoint_url else "auto"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        # A session of its own: the default one is not made for threads.
        return boto3.session.Session().client(
            "s3",
            endpoint_url=store.endpoint_url,
            region_name=store.region,
            aws_access_key_id=store.access_key_id,
            aws_secret_access_key=store.secret_access_key,
            config=config,
        )

    def close(self) -> None:
        with self._lock:
            made, self._made = self._made, None
        if made is not None:
            client, threads = made
            threads.shutdown()
            client.close()
