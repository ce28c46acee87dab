"""`redisflow run start`, `exec` and `result`."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

from cyclopts import Parameter

from redisflow import documents
from redisflow.authoring.definition import WorkflowSpec, untyped
from redisflow.cli.arguments import RunId, WorkflowName
from redisflow.cli.filters import read_tags
from redisflow.cli.find_runs import as_duration
from redisflow.cli.given import PLAIN, Given
from redisflow.cli.output import note, to_json, write_line
from redisflow.cli.problems import look_or_key, unsure
from redisflow.client.handle import WorkflowHandle
from redisflow.client.start import RunOptions
from redisflow.durations import read_instant, to_ms
from redisflow.errors import BackendError

if TYPE_CHECKING:
    from redisflow.flow import RedisFlow

Value = Annotated[str | None, Parameter(name="--input", alias="-i", help="JSON; @FILE, or @- for standard input")]


@Parameter(name="*", group="Options of the start")
class Start:
    """Which run is started, and when."""

    def __init__(
        self,
        *,
        version: Annotated[str | None, Parameter(help="of the workflow; by default that of the app, or none")] = None,
        queue: Annotated[str | None, Parameter(help="by default that of the workflow (--app), or `default`")] = None,
        key: Annotated[str | None, Parameter(help="idempotency key: a second start with it gives the same run")] = None,
        unique: Annotated[str | None, Parameter(help="unique key: one run of it at a time")] = None,
        at: Annotated[str | None, Parameter(help="not before: a duration from now (`2h`), or an instant")] = None,
        deadline: Annotated[str | None, Parameter(help="failed when not done by then")] = None,
        tag: Annotated[list[str] | None, Parameter(alias="-t", help="NAME=VALUE", negative=())] = None,
        priority: Annotated[int | None, Parameter(help="0 to 9, the most urgent")] = None,
    ) -> None:
        """As typed."""
        options: dict[str, Any] = {
            "version": version,
            "queue": queue,
            "idempotency_key": key,
            "unique_key": unique,
            "available_at": None if at is None else read_instant(at),
            "deadline_at": None if deadline is None else read_instant(deadline),
            "tags": read_tags(tag) if tag else None,
            "priority": priority,
        }
        self.options = cast("RunOptions", {name: value for name, value in options.items() if value is not None})


DEFAULT = Start()


async def start(
    workflow: WorkflowName, /, value: Value = None, *, start: Start = DEFAULT, given: Given = PLAIN
) -> None:
    """Start a run of a workflow; prints its id."""
    async with given.flow() as flow:
        started = (await _start(flow, workflow, value, start)).workflow_run
        document = {
            "id": started.id,
            "workflow": started.workflow,
            "version": started.version,
            "existing": started.existing,
        }
        # First of all: the run is there, and whoever does not learn its id would start it again.
        given.out.one(document, lambda: started.id)
        with contextlib.suppress(BackendError):
            if not any(worker.serves(started.workflow, started.version) for worker in await flow.workers()):
                note(f"no live worker serves {workflow}: it waits for one")


async def execute(
    workflow: WorkflowName,
    /,
    value: Value = None,
    *,
    wait: Annotated[str | None, Parameter(name="--timeout", help="how long to wait; the run goes on")] = None,
    start: Start = DEFAULT,
    given: Given = PLAIN,
) -> None:
    """Start a run, tell its id on standard error, wait for its end, and print its result."""
    within = _within(wait)
    async with given.flow() as flow:
        run = await _start(flow, workflow, value, start)
        # Before anything can end the wait: the run goes on, and whoever does not know its id would start it again.
        note(to_json({"id": run.id}) if given.out.is_json else f"run {run.id}")
        _print_result(await run.result(within))


async def result(
    run_id: RunId,
    /,
    *,
    wait: Annotated[str | None, Parameter(name="--timeout", help="how long to wait; the run goes on")] = None,
    given: Given = PLAIN,
) -> None:
    """Wait for a run's end and print its result as JSON; exit code 1 where it failed or was canceled."""
    async with given.flow() as flow:
        _print_result(await (await flow.get_handle(run_id)).result(_within(wait)))


async def _start(flow: RedisFlow, workflow: str, value: str | None, start: Start) -> WorkflowHandle[Any]:
    read = read_value(value)
    look = f"`redisflow run list --workflow {workflow} --created-after 5m`"
    with unsure("the run was started", look_or_key(look, start.options.get("idempotency_key"))):
        return await flow.run_workflow(wanted_of(flow, workflow), read, **start.options)


def wanted_of(flow: RedisFlow, workflow: str) -> str | WorkflowSpec[Any, Any]:
    """The workflow of this name: that of the app, or one of which nothing is known."""
    if flow.served().workflows:
        return workflow
    # There is no code of it here: its input is taken as it is, and checked where it runs.
    return untyped(workflow)


def read_value(text: str | None) -> Any:
    """A JSON value from the command line, a file (`@orders.json`) or standard input (`@-`)."""
    if text is None:
        return None
    try:
        if text == "@-":
            return json.load(sys.stdin)
        return json.loads(Path(text[1:]).read_text(encoding="utf-8") if text.startswith("@") else text)
    except OSError as error:
        msg = f"the input cannot be read: {error}"
        raise ValueError(msg) from error
    except json.JSONDecodeError as error:
        msg = f"the input is no JSON ({error}); a text is written with quotes: '\"text\"'"
        raise ValueError(msg) from error


def _within(wait: str | None) -> str | float | None:
    """Known to be a duration before a run is started that nobody would wait for."""
    within = as_duration(wait)
    if within is not None:
        to_ms(within, what="--timeout")
    return within


def _print_result(value: Any) -> None:
    write_line(to_json(documents.jsonable(value), indent=2))
