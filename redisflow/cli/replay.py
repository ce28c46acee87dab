"""`redisflow run replay`: does the code that is here still do what stored runs say? A gate for deploys."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from redisflow.cli.chosen import NONE, Chosen
from redisflow.cli.exits import EXIT_FAILED, BadTarget
from redisflow.cli.given import PLAIN, Given
from redisflow.cli.output import Column, Document, note, printable, write_line
from redisflow.cli.progress import progress
from redisflow.cli.settings import follow_dev
from redisflow.cli.target import load_for_command
from redisflow.errors import BackendError, RedisflowError, UnknownWorkflow
from redisflow.run_id import check_run_id
from redisflow.testing.replays import DoesNotReplay, assert_replays

if TYPE_CHECKING:
    from redisflow.flow import RedisFlow

OUTCOMES = ("replays", "drifts", "no_code", "unreadable")
"""`no_code`: a worker with this code would put the run aside."""
LATEST = 50
"""So many of the runs that match, unless --limit says otherwise; where there are more, that is told."""


async def replay(
    runs: Annotated[tuple[str, ...], Parameter(help="run ids, or files that `redisflow run export` wrote")] = (),
    /,
    *,
    code: Annotated[str | None, Parameter(help="MODULE:NAME of the RedisFlow object to replay with")] = None,
    chosen: Chosen = NONE,
    given: Given = PLAIN,
) -> int:
    """Replay stored runs with the code that is here; exit code 1 where it does something else. No step is run.

    Runs are looked for where the app has them, or where flags say. The code is that of --code, else of the app. Filters
    mean the latest 50 of those that match, unless --limit says otherwise.
    """
    if bool(runs) == bool(chosen.query):
        msg = "say which runs to replay: ids, files, or filters such as --workflow NAME"
        raise ValueError(msg)
    settings = given.settings()
    target = code or settings["app"].value
    if target is None:
        msg = "say with which code to replay: --code MODULE:NAME, or an app in redisflow.toml"
        raise BadTarget(msg)
    follow_dev(settings)
    flow = load_for_command(target, None)
    place = given if given.app or given.url or given.namespace else replace(given, app=target)
    found: list[Document] = []
    with progress("replay") as tell:
        async for history in _histories(place, runs, chosen):
            found.append(_judge(flow, history))
            tell(len(found))
    _tell(found, given)
    return EXIT_FAILED if any(each["outcome"] != "replays" for each in found) else 0


async def _histories(given: Given, runs: Sequence[str], chosen: Chosen) -> AsyncIterator[dict[str, Any]]:
    """Each as an exported document. Files alone need no server."""
    async with AsyncExitStack() as stack:
        stored: RedisFlow | None = None
        for name in runs:
            documents = _read_file(name)
            if documents is None:
                run_id = check_run_id(name)
                if stored is None:
                    stored = await stack.enter_async_context(given.flow())
                documents = [await stored.export_run(run_id, events=False)]
            for document in documents:
                yield document
        if chosen.query:
            listed = await stack.enter_async_context(given.flow())
            async for document in chosen.export(listed, most=LATEST, events=False):
                yield document


def _read_file(name: str) -> list[dict[str, Any]] | None:
    """One document, or one a line; None where there is no such file: then it is an id."""
    path = Path(name)
    if not path.is_file():
        return None
    try:
        text = path.read_text(encoding="utf-8")
        try:
            found = [json.loads(text)]
        except ValueError:
            found = [json.loads(line) for line in text.splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        msg = f"{path} is no exported run: {error}"
        raise ValueError(msg) from error
    if not all(isinstance(document, dict) and document.keys() >= _NEEDED for document in found):
        msg = f"{path} is no exported run: `redisflow run export` writes one"
        raise ValueError(msg)
    return found


_NEEDED = {"id", "workflow", "status", "records"}
"""`assert_replays` looks at the rest."""


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
        Column(
            "WORKFLOW",
            lambda row: row["workflow"] + (f" {row['version']}" if row["version"] else ""),
            may_shrink=True,
        ),
        Column("STATUS", lambda row: row["status"], spare=1),
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
