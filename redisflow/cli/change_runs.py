"""What is done to runs: to some by their ids, or to all that match. Each is judged on its own."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from redisflow.cli.arguments import RunId, RunIds
from redisflow.cli.asking import is_meant, named
from redisflow.cli.exits import EXIT_CONFLICT, EXIT_FAILED
from redisflow.cli.filters import Filters
from redisflow.cli.given import PLAIN, Given
from redisflow.cli.output import note, write_line
from redisflow.cli.problems import look_or_key, tell_error, unsure
from redisflow.cli.progress import Tell, progress
from redisflow.cli.start_run import read_value
from redisflow.durations import read_instant
from redisflow.errors import InvalidName
from redisflow.run_id import check_run_id
from redisflow.words import counted

if TYPE_CHECKING:
    from redisflow.client.bulk import BulkJob, BulkOutcome
    from redisflow.client.finding import RunQuery
    from redisflow.flow import RedisFlow

GOES_ON = ("pending", "running", "waiting")
ENDED = ("succeeded", "failed", "canceled")
"""Those to which something can be done are meant, unless a status is given."""


@Parameter(name="*", group="Which runs")
@dataclass(frozen=True, kw_only=True)
class Which(Filters):
    """Runs by their ids, or all that match."""

    dry_run: Annotated[bool, Parameter(negative=(), help="say which, and do nothing")] = False
    yes: Annotated[bool, Parameter(alias="-y", negative=(), help="do not ask")] = False


BY_ID = Which()


async def cancel(run_ids: RunIds = (), /, *, which: Which = BY_ID, given: Given = PLAIN) -> int:
    """Cancel runs. What they have done is undone where they have compensations."""
    return await _change("cancel", run_ids, which, GOES_ON, given, lambda flow, ids: flow.bulk.cancel(ids))


async def retry(
    run_ids: RunIds = (),
    /,
    *,
    deadline: Annotated[str | None, Parameter(help="a new one, where the old one has passed")] = None,
    which: Which = BY_ID,
    given: Given = PLAIN,
) -> int:
    """Retry failed runs in place: they keep the steps that succeeded."""
    until = None if deadline is None else read_instant(deadline)
    return await _change(
        "retry", run_ids, which, ("failed",), given, lambda flow, ids: flow.bulk.retry(ids, deadline_at=until)
    )


async def rerun(run_ids: RunIds = (), /, *, which: Which = BY_ID, given: Given = PLAIN) -> int:
    """Start new runs with the inputs of these; prints the new ids."""
    look_first = unsure("others were started anew as well", "look first: `redisflow run list --created-after 5m`")
    return await _change(
        "rerun", run_ids, which, ENDED, given, lambda flow, ids: flow.bulk.rerun(ids), around=look_first
    )


async def pause(run_ids: RunIds = (), /, *, which: Which = BY_ID, given: Given = PLAIN) -> int:
    """Pause runs: they stop after the step that runs now."""
    return await _change("pause", run_ids, which, GOES_ON, given, lambda flow, ids: flow.bulk.pause(ids))


async def resume(run_ids: RunIds = (), /, *, which: Which = BY_ID, given: Given = PLAIN) -> int:
    """Let paused runs go on."""
    return await _change("resume", run_ids, which, ("waiting:paused",), given, lambda flow, ids: flow.bulk.resume(ids))


async def delete(run_ids: RunIds = (), /, *, which: Which = BY_ID, given: Given = PLAIN) -> int:
    """Delete finished runs with all that is kept of them."""
    return await _change("delete", run_ids, which, ENDED, given, lambda flow, ids: flow.bulk.delete(ids))


async def fork(
    run_id: RunId,
    /,
    *,
    from_step: Annotated[str | None, Parameter(help="the key of the first step that runs again")] = None,
    step: Annotated[list[str] | None, Parameter(help="KEY=JSON: another result of a step", negative=())] = None,
    value: Annotated[str | None, Parameter(name="--input", alias="-i", help="another input, as JSON")] = None,
    key: Annotated[str | None, Parameter(help="idempotency key: a second fork with it gives the same run")] = None,
    given: Given = PLAIN,
) -> None:
    """Start a new run that shares the beginning of this one; prints its id."""
    results: dict[str, Any] = {}
    for text in step or ():
        name, is_pair, result = text.partition("=")
        if not is_pair:
            msg = f"--step is written KEY=JSON, not {text!r}"
            raise ValueError(msg)
        results[name] = read_value(result)
    other = {} if value is None else {"input": read_value(value)}
    async with given.flow() as flow:
        handle = await flow.get_handle(run_id)
        with unsure("the run was started", look_or_key("`redisflow run list --created-after 5m`", key)):
            forked = await handle.fork(from_step, steps=results, idempotency_key=key, **other)
    given.out.one({"id": forked.id, "forked_from": run_id}, lambda: forked.id)


async def signal(
    name: Annotated[str, Parameter(help="that the run waits for")],
    data: Annotated[str | None, Parameter(help="JSON; @FILE, or @- for standard input")] = None,
    /,
    *,
    run: Annotated[str | None, Parameter(alias="-r", help="the run; by default all that wait for the name now")] = None,
    key: Annotated[str | None, Parameter(help="idempotency key: a second signal with it is not sent")] = None,
    given: Given = PLAIN,
) -> None:
    """Send a signal to a run, or broadcast it to all that wait for it."""
    if run is None:
        _refuse_run_as_name(name)
    read = read_value(data)
    async with given.flow() as flow:
        if run is not None:
            with unsure("the signal was sent", look_or_key(f"`redisflow run show {run}`", key)):
                await flow.signal(run, name, read, idempotency_key=key)
            given.out.one({"id": run, "signal": name}, lambda: f"sent {name} to {run}")
        else:
            with unsure("the signal was sent", look_or_key("`redisflow run list --status waiting:signal`", key)):
                reached = await flow.send_signal(name, read, idempotency_key=key)
            document = {"id": name, "count": reached.count, "run_ids": list(reached.run_ids)}
            given.out.one(document, lambda: f"sent {name} to {counted(reached.count, 'run')}")


def _refuse_run_as_name(name: str) -> None:
    """Other commands take the run first: here it would be a broadcast that reaches nobody."""
    try:
        check_run_id(name)
    except InvalidName:
        return
    msg = f"{name} is a run, and the name of the signal comes first: redisflow run signal NAME [DATA] --run {name}"
    raise ValueError(msg)


async def _change(
    verb: str,
    run_ids: tuple[str, ...],
    which: Which,
    statuses: tuple[str, ...],
    given: Given,
    begin: Callable[[RedisFlow, list[str]], BulkJob],
    *,
    around: AbstractContextManager[None] | None = None,
) -> int:
    if bool(run_ids) == bool(which.query):
        msg = f"say which runs to {verb}: their ids, or filters such as --workflow NAME"
        raise ValueError(msg)
    async with given.flow() as flow:
        if run_ids:
            ids = [check_run_id(run_id) for run_id in run_ids]
        else:
            query: RunQuery = {"status": statuses, **which.query}
            ids = [run.id async for run in flow.list_runs(**query)]
        if which.dry_run:
            if given.out.form != "table":
                given.out.rows((), [{"id": run_id} for run_id in ids])
            note(f"would {verb} {counted(len(ids), 'run')}{named(ids)}")
            return 0
        is_sure = which.yes or not (which.query and ids)
        if not is_meant(f"{verb} {counted(len(ids), 'run')}", ids, is_sure=is_sure):
            return EXIT_FAILED
        with around or nullcontext(), progress(verb, len(ids)) as tell:
            return await _carry_out(verb, begin(flow, ids), given, tell)


async def _carry_out(verb: str, job: BulkJob, given: Given, tell: Tell) -> int:
    form = given.out.form
    outcomes: list[dict[str, Any]] = []
    try:
        async for outcome in job:
            tell(job.progress.seen)
            if outcome.error is not None:
                tell_error(outcome.error, is_json=given.out.is_json)
            if form != "table":
                outcomes.append(_document(outcome))
            elif outcome.is_done:
                write_line(outcome.new_run_id or outcome.run_id)
    finally:
        # What was done is told, also where the server went away in between.
        if form != "table":
            given.out.rows((), outcomes)
    progress = job.progress
    if progress.seen > 1 or not progress.seen:
        left = f", {progress.refused} refused" if progress.refused else ""
        failed = f", {progress.failed} failed" if progress.failed else ""
        note(f"{verb}: {progress.done} done{left}{failed}")
    return EXIT_FAILED if progress.failed else EXIT_CONFLICT if progress.refused else 0


def _document(outcome: BulkOutcome) -> dict[str, Any]:
    return {
        "id": outcome.run_id,
        "is_done": outcome.is_done,
        "new_run_id": outcome.new_run_id,
        "error": None
        if outcome.error is None
        else {"type": type(outcome.error).__name__, "message": str(outcome.error)},
    }
