"""`redisflow run replay`: does the code that is here still do what stored runs say? A gate for deploys."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from redisflow.cli.exits import EXIT_FAILED, BadTarget
from redisflow.cli.find_runs import read_tags
from redisflow.cli.given import PLAIN, Given
from redisflow.cli.output import Column, Document, note, printable, write_line
from redisflow.cli.target import load_flow
from redisflow.durations import read_instant
from redisflow.errors import BackendError, RedisflowError, UnknownWorkflow
from redisflow.run_id import check_run_id
from redisflow.testing.replays import DoesNotReplay, assert_replays

if TYPE_CHECKING:
    from redisflow.flow import RedisFlow

OUTCOMES = ("replays", "drifts", "no_code", "unreadable")
"""`no_code`: a worker with this code would put the run aside."""


async def replay(  # most are filters
    runs: Annotated[tuple[str, ...], Parameter(help="run ids, or files that `redisflow run export` wrote")] = (),
    /,
    *,
    code: Annotated[str | None, Parameter(help="MODULE:NAME of the RedisFlow object to replay with")] = None,
    workflow: Annotated[str | None, Parameter(alias="-w", help="runs of this workflow")] = None,
    status: Annotated[list[str] | None, Parameter(alias="-s", help="in this status", negative=())] = None,
    tag: Annotated[list[str] | None, Parameter(alias="-t", help="with NAME=VALUE", negative=())] = None,
    created_after: Annotated[str | None, Parameter(help="so long ago at most (`1d`), or an instant")] = None,
    limit: Annotated[int, Parameter(alias="-l", help="of those that match, at most so many; 0: all")] = 50,
    given: Given = PLAIN,
) -> int:
    """Replay stored runs with the code that is here; exit code 1 where it does something else. No step is run.

    Runs are looked for where the app has them, or where flags say. The code is that of --code, else of the app.
    """
    query: dict[str, Any] = {"workflow": workflow, "status": status, "created_after": created_after}
    query = {name: said for name, said in query.items() if said is not None}
    if created_after is not None:
        query["created_after"] = read_instant(created_after)
    if tag:
        query["tags"] = read_tags(tag)
    if bool(runs) == bool(query) or limit < 0:
        msg = "say which runs to replay: ids, files, or filters such as --workflow NAME (and a --limit from 0)"
        raise ValueError(msg)
    target = code or given.settings()["app"].value
    if target is None:
        msg = "say with which code to replay: --code MODULE:NAME, or an app in redisflow.toml"
        raise BadTarget(msg)
    flow = load_flow(target)
    place = given if given.app or given.url or given.namespace else replace(given, app=target)
    found = [_judge(flow, history) async for history in _histories(place, runs, query, limit)]
    _tell(found, given)
    return EXIT_FAILED if any(each["outcome"] != "replays" for each in found) else 0


async def _histories(
    given: Given, runs: Sequence[str], query: dict[str, Any], limit: int
) -> AsyncIterator[dict[str, Any]]:
    """Each as an exported document, one at a time: a long one is not kept beside the others."""
    async with AsyncExitStack() as stack:
        stored: RedisFlow | None = None
        for name in runs:
            if (history := _read_file(name)) is not None:
                yield history
                continue
            run_id = check_run_id(name)
            if stored is None:
                stored = await stack.enter_async_context(given.flow())
            yield await stored.export_run(run_id)
        if query:
            listed = await stack.enter_async_context(given.flow())
            seen = 0
            async for run in listed.list_runs(**query):
                yield await listed.export_run(run.id)
                seen += 1
                if seen == limit:
                    break


def _read_file(name: str) -> dict[str, Any] | None:
    """None where there is no such file: then it is an id."""
    path = Path(name)
    if not path.is_file():
        return None
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        msg = f"{path} is no exported run: {error}"
        raise ValueError(msg) from error
    if not isinstance(document, dict) or not {"id", "workflow", "status", "records"} <= document.keys():
        msg = f"{path} is no exported run: `redisflow run export` writes one"
        raise ValueError(msg)
    return document  # pyright: ignore[reportUnknownVariableType]  # assert_replays looks at the rest


def _judge(flow: RedisFlow, history: dict[str, Any]) -> Document:
    outcome, difference = "replays", None
    try:
        assert_replays(history, flow.find_workflow(history["workflow"], history.get("version")))
    except UnknownWorkflow as error:
        outcome, difference = "no_code", str(error)
    except DoesNotReplay as error:
        outcome, difference = "drifts", str(error)
    except BackendError:
        raise
    except (RedisflowError, ValueError, LookupError, TypeError) as error:
        outcome, difference = "unreadable", f"{type(error).__name__}: {error}"
    return {
        "id": history["id"],
        "workflow": history["workflow"],
        "version": history.get("version"),
        "status": history["status"],
        "outcome": outcome,
        "difference": difference,
    }


def _tell(found: Sequence[Document], given: Given) -> None:
    columns = (
        Column("ID", lambda row: row["id"]),
        Column("WORKFLOW", lambda row: row["workflow"] + (f" {row['version']}" if row["version"] else "")),
        Column("STATUS", lambda row: row["status"]),
        Column("OUTCOME", lambda row: row["outcome"]),
    )
    given.out.rows(columns, found)
    if given.out.form != "table":
        return
    for each in found:
        if each["difference"]:
            write_line("")
            for line in each["difference"].splitlines():
                write_line(printable(line))
    counts = {outcome: sum(each["outcome"] == outcome for each in found) for outcome in OUTCOMES}
    said = ", ".join(f"{count:,} {outcome.replace('_', ' ')}" for outcome, count in counts.items() if count)
    note(f"replay: {said}" if found else "no run matches")
