"""`redisflow namespace`: the namespaces of a server, and making and deleting one."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from redisflow.cli.arguments import NamespaceName
from redisflow.cli.asking import is_meant
from redisflow.cli.exits import EXIT_FAILED, Refused
from redisflow.cli.given import PLAIN, Given
from redisflow.cli.output import Column, Document, note
from redisflow.cli.progress import progress
from redisflow.client.namespaces import delete_namespace
from redisflow.errors import NamespaceNotFound
from redisflow.names import check_name
from redisflow.words import counted

if TYPE_CHECKING:
    from redisflow.backend.redis_backend import RedisBackend

PARTITIONS_AT_MOST = 1024


async def list_namespaces(*, given: Given = PLAIN) -> None:
    """List the namespaces of the server. It walks all keys there, some milliseconds at a time."""
    server = given.location().make_backend().server
    with progress("namespaces") as tell:
        found = await server.find_namespaces(tell)
    columns = (
        Column("NAME", lambda row: row["id"]),
        Column("PARTITIONS", lambda row: str(row["partitions"]), right=True),
        Column("LAYOUT", lambda row: str(row["layout"]), right=True),
    )
    given.out.rows(columns, [{"id": each.name, "partitions": each.partitions, "layout": each.layout} for each in found])
    if not found and given.out.form == "table":
        note("there is no namespace")


async def create(
    name: NamespaceName,
    /,
    *,
    partitions: Annotated[int, Parameter(help="1 for a single server, 16 or more for a cluster; fixed for good")] = 1,
    given: Given = PLAIN,
) -> None:
    """Create a namespace with so many partitions. Whoever opens one first would create it with their own number."""
    if not 1 <= partitions <= PARTITIONS_AT_MOST:
        msg = f"--partitions is a whole number from 1 to {PARTITIONS_AT_MOST}, not {partitions}"
        raise ValueError(msg)
    with contextlib.suppress(NamespaceNotFound):
        async with _opened(name, None, given) as backend:
            msg = f"namespace {name} is there already, with {counted(backend.partitions, 'partition')}"
            raise Refused(msg)
    async with _opened(name, partitions, given) as backend:
        count = backend.partitions
    given.out.one({"id": name, "partitions": count}, lambda: f"namespace {name} has {counted(count, 'partition')}")


async def delete(
    name: NamespaceName,
    /,
    *,
    force: Annotated[bool, Parameter(negative=(), help="although workers are alive that serve it")] = False,
    yes: Annotated[bool, Parameter(alias="-y", negative=(), help="do not ask")] = False,
    dry_run: Annotated[bool, Parameter(negative=(), help="say how much there is, and do nothing")] = False,
    given: Given = PLAIN,
) -> int:
    """Delete a namespace with all of its runs, schedules and records, for good."""
    async with _opened(name, None, given) as backend:
        counts = await backend.listings.count_runs(detailed=False)
        workers = [worker.name for worker in await backend.fleet.list_workers() if worker.is_alive]
        unfinished = counts.pending + counts.running + counts.waiting
        ended = counts.succeeded + counts.failed + counts.canceled
        what = f"delete namespace {name} with {counted(unfinished, 'unfinished run')} and {ended:,} finished"
        document: Document = {
            "id": name,
            "unfinished": unfinished,
            "finished": ended,
            "workers": workers,
            "deleted_keys": None,
        }
        if dry_run:
            note(f"would {what}; {counted(len(workers), 'worker')} alive")
            if given.out.form != "table":
                given.out.one(document, str)
            return 0
        if workers and not force:
            msg = f"{counted(len(workers), 'worker')} alive in namespace {name}: drain them first, or --force"
            raise Refused(msg)
        if not is_meant(what, is_sure=yes):
            return EXIT_FAILED
        with progress("delete") as tell:
            document["deleted_keys"] = await delete_namespace(backend, tell)
    given.out.one(document, lambda: f"deleted namespace {name}: {counted(document['deleted_keys'], 'key')}")
    return 0


@contextlib.asynccontextmanager
async def _opened(name: str, partitions: int | None, given: Given) -> AsyncGenerator[RedisBackend]:
    location = replace(given.location(), namespace=check_name("namespace", name), partitions=partitions, payloads=None)
    backend = location.make_backend()
    try:
        await backend.open()
        yield backend
    finally:
        await backend.close()
