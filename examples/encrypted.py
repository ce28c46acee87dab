"""Payloads that only the holders of a key can read: compressed, encrypted, and large ones in a store.

Inputs, results, errors and step names leave this process sealed. Keys are rotated by adding a new one and writing with
it; what the old one wrote stays readable for as long as it is kept.
"""

import asyncio
import os
import tempfile
from pathlib import Path

from redisflow import AesGcm, CannotDecode, CannotUnseal, FileStore, Payloads, RedisFlow, Step

URL = os.environ.get("REDISFLOW_URL", "memory://")
FOLDER = Path(tempfile.mkdtemp())
OLD, NEW = os.urandom(32), os.urandom(32)  # from a secret store, as a rule: AesGcm.from_text(os.environ["..."])


def sealed(encrypt: AesGcm) -> RedisFlow:
    payloads = Payloads(compress=True, encrypt=encrypt, store=FileStore(FOLDER), store_above="16KB")
    return RedisFlow(URL, namespace="encrypted", payloads=payloads)


flow = sealed(AesGcm(write="2026-01", keys={"2026-01": OLD}))
rotated = sealed(AesGcm(write="2026-02", keys={"2026-02": NEW, "2026-01": OLD}))
too_soon = sealed(AesGcm(write="2026-02", keys={"2026-02": NEW}))


async def scan(document: str) -> str:
    return f"{len(document):,} characters, nothing found"


@flow.define_workflow("check-patient-file")
async def check(document: str, step: Step) -> str:
    return await step.run("scan", scan, document)


def count_objects() -> int:
    return sum(path.is_file() for path in FOLDER.rglob("*"))


async def main() -> None:
    # Noise, which no compression makes small: it goes to the store, and Redis keeps its name there.
    document = os.urandom(100_000).hex()
    async with flow, flow.new_worker():
        handle = await check.run(document)
        print("result:", await handle.result())
        print("in the store:", count_objects(), "object")

    async with RedisFlow(URL, namespace="encrypted") as stranger:
        try:
            await stranger.get_run(handle.id)
        except CannotDecode as error:
            print("without keys:", str(error).partition(",")[0])

    async with rotated:
        run = await rotated.get_run(handle.id)
        print("after a rotation:", run.output, "|", run.input == document)

    async with too_soon:
        try:
            await too_soon.get_run(handle.id)
        except CannotUnseal as error:
            print("the old key was dropped too soon:", error)


if __name__ == "__main__":
    asyncio.run(main())
