"""`assert_replays`: whether code still does what a recorded run says. A gate for deploys: no server, no step is run."""

from __future__ import annotations

import json
import sys
from base64 import b64decode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from redisflow import codec
from redisflow.client.export import FORMAT
from redisflow.client.workflow import Workflow
from redisflow.contract import Claim, Hold, Mark
from redisflow.engine.commands import Command, Commit, Finish, RunBody, Suspend
from redisflow.engine.execution import Execution, Surroundings
from redisflow.errors import RedisflowError
from redisflow.failure import Failure
from redisflow.testing.inline import definition_of

_ALL_SAID = (sys.maxsize, 0)
"""What the code says to the outside is of no interest here."""
_AROUND = Surroundings(entropy=lambda: 0.5, cpu_seconds=lambda: 0.0)


class DoesNotReplay(RedisflowError, AssertionError):
    """The code does something else than the recorded run did."""


def assert_replays(history: Mapping[str, Any] | str | Path, workflow: Workflow[Any, Any]) -> None:
    """Play a run, as `flow.export_run` gave it, to this code. DoesNotReplay, with the difference, where it drifts.

    `history` is the document, or the path of a JSON file that holds it. A run that has ended must end in the same way;
    one that has not must come to where it was. Bodies of steps do not run.
    """
    document = json.loads(Path(history).read_text("utf-8")) if isinstance(history, (str, Path)) else history
    if document.get("format") != FORMAT:
        msg = f"this is no exported run of this version: its format is {document.get('format')!r}, not {FORMAT!r}"
        raise ValueError(msg)
    claim = _claim_of(document)
    execution = Execution(definition_of(workflow), claim, _AROUND)
    try:
        # Nothing that was waited for when it was recorded is due yet.
        commands = execution.start(claim.started_at_ms)
    finally:
        execution.evict()
    _judge(document, commands, workflow)


def _claim_of(document: Mapping[str, Any]) -> Claim:
    data, records = b64decode(document["input"]), [b64decode(record) for record in document["records"]]
    return Claim(
        hold=Hold(document["id"], document.get("queue", "default"), "1:replay", "0:1-1"),
        workflow=document["workflow"],
        version=document.get("version"),
        input=data,
        created_at_ms=document["created_at_ms"],
        started_at_ms=document.get("started_at_ms", document["created_at_ms"]),
        deadline_at_ms=document.get("deadline_at_ms"),
        mark=Mark(len(records), len(data) + sum(map(len, records))),
        records=records,
        crashes=0,
        parent=document.get("parent"),
        continued=document.get("continued", 0),
        said=_ALL_SAID,
        tags=document.get("tags", ""),
    )


def _judge(document: Mapping[str, Any], commands: list[Command], workflow: Workflow[Any, Any]) -> None:
    where = f"run {document['id']} does not replay with {workflow.spec}: "
    commits = [command for command in commands if isinstance(command, Commit)]
    for commit in commits:
        if isinstance(commit.then, Suspend):
            raise DoesNotReplay(where + commit.then.message)
    status = document["status"]
    if status not in ("succeeded", "failed") or "cause" in document:
        return
    ended = next((commit.then for commit in commits if isinstance(commit.then, Finish)), None)
    if ended is None:
        asked = ", ".join(repr(command.key) for command in commands if isinstance(command, RunBody))
        msg = f"{where}it ended, and this code goes on" + (f" with {asked}" if asked else "")
        raise DoesNotReplay(msg)
    if ended.status != status:
        msg = f"{where}it {_how(status)}, and this code {_how(ended.status)}"
        raise DoesNotReplay(msg)
    if not _same(document, ended):
        msg = f"{where}it {_how(status)} with another {'output' if status == 'succeeded' else 'error'}"
        raise DoesNotReplay(msg)


def _same(document: Mapping[str, Any], ended: Finish) -> bool:
    stored = b64decode(document["output" if ended.status == "succeeded" else "error"])
    if ended.status == "succeeded":
        return stored == ended.payload
    # Tracebacks tell of lines, and lines move.
    was, now = (Failure.from_wire(codec.decode(data)) for data in (stored, ended.payload))
    return (was.error_type, was.message) == (now.error_type, now.message)


def _how(status: str) -> str:
    return "succeeds" if status == "succeeded" else "fails"
