"""How a run's hash is read as what a person sees of it.

The hard thing is to tell what a step is doing from records that are written for replay: a running step has none yet,
so the progress that its holder notes is laid over them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from redisflow import codec
from redisflow.durations import from_ms
from redisflow.errors import CannotDecode
from redisflow.records import (
    AttemptFailed,
    ChildAsked,
    ChildEnded,
    ChildStarted,
    CompensationAsked,
    Record,
    RedisAsked,
    RunRecord,
    SignalAsked,
    SignalReceived,
    StepFailed,
    StepRecord,
    StepSucceeded,
    TimerAsked,
    TimerFired,
    WorkflowAttemptFailed,
    decode_record,
    kind_of,
)
from redisflow.runs import TERMINAL, Ending, StepAttempt, StepRun, WorkflowRun, began_at, child_failure, failure_of
from redisflow.tags import decode_tags


def view_run(run_id: str, fields: Mapping[bytes, bytes]) -> WorkflowRun:
    """The snapshot that a run's hash holds; `fields` is the whole hash. CannotDecode where it holds none."""
    try:
        return _view(run_id, fields)
    except CannotDecode:
        raise
    except (LookupError, TypeError, ValueError, OverflowError) as error:
        msg = f"run {run_id} cannot be read: it is damaged, or of a later version ({type(error).__name__})"
        raise CannotDecode(msg) from error


def _view(run_id: str, fields: Mapping[bytes, bytes]) -> WorkflowRun:
    text = {name: value.decode() for name, value in fields.items() if name in _TEXT}
    status, _, reason = text[b"s"].partition(":")
    base_ms = int(text.get(b"a", text[b"c"]))
    count = min(int(text[b"h"].partition(":")[0]), len(fields))
    records = [decode_record(fields[b"%d" % number], base_ms) for number in range(count) if b"%d" % number in fields]
    ended = status in TERMINAL
    steps = view_steps(records, _progress(fields.get(b"p")) if status == "running" else [])
    if ended:
        steps = tuple(step for step in steps if step.kind != "compensation" or step.finished_at is not None)
    ending = Ending.parse(fields[b"vd"]) if b"vd" in fields else None
    if status == "waiting" and reason == "suspended":
        error = failure_of(fields.get(b"er"), None)
    else:
        error = failure_of(fields.get(b"er"), text.get(b"ca")) if ended else None
    return WorkflowRun(
        id=run_id,
        workflow=text[b"w"],
        version=text.get(b"v"),
        queue=text.get(b"q", "default"),
        status=status,  # type: ignore[arg-type]  # the scripts write no other word
        waiting_for=reason or None,  # type: ignore[arg-type]  # the scripts write no other word
        continued=int(text.get(b"ct", 0)),
        ending=None if ending is None else ending.cause,
        input=codec.decode(fields[b"i"]),
        output=codec.decode(fields[b"o"]) if b"o" in fields else None,
        error=error,
        attempt=1 + sum(isinstance(record, WorkflowAttemptFailed) and not record.alone for record in records),
        claims=int(text.get(b"f", "0:").partition(":")[0]),
        crashes=int(text.get(b"x", 0)),
        created_at=from_ms(int(text[b"c"])),
        available_at=_instant(text.get(b"av")),
        started_at=began_at(text.get(b"a"), text[b"c"]),
        finished_at=_instant(text.get(b"t")),
        deadline_at=_instant(text.get(b"dl", None if ending is None else ending.deadline_at_ms)),
        parent=text.get(b"pa"),
        expires_at=_instant(text.get(b"xp")),
        steps=steps,
        tags=decode_tags(text.get(b"tg", "")),
        schedule=text.get(b"sc"),
        scheduled_at=_instant(text.get(b"sa")),
        retries=int(text.get(b"rt", 0)),
        forked_from=text.get(b"ff"),
        imported_at=_instant(text.get(b"im", "").partition(" ")[0] or None),
    )


_TEXT = frozenset(b"s w v q c a t h f x dl xp av ca pa tg sc sa rt ff ct im".split())


def _instant(text: str | int | None) -> datetime | None:
    return None if text is None else from_ms(int(float(text)))


@dataclass(frozen=True, slots=True)
class Progress:
    """A body that runs now, as its holder notes it."""

    key: str
    ordinal: int
    attempt: int
    started_at_ms: int
    details: Any = None


def encode_progress(running: list[Progress]) -> bytes:
    """As it is stored."""
    return codec.encode([[p.key, p.ordinal, p.attempt, p.started_at_ms, p.details] for p in running])


def _progress(data: bytes | None) -> list[Progress]:
    return [Progress(*item) for item in codec.decode(data)] if data else []


def view_steps(records: list[Record], running: list[Progress]) -> tuple[StepRun, ...]:
    """The steps that these records tell of, in the order in which the code asked for them."""
    said: dict[tuple[int, str], dict[str, Any]] = {}
    for record in live_records(records):
        if not isinstance(record, RunRecord):
            place = (record.call.ordinal, record.call.key)
            step = said.get(place)
            if step is None:
                step = said[place] = _of_call(record)
            step.update(_CHANGES[type(record)](record))
            if isinstance(record, AttemptFailed | StepSucceeded | StepFailed):
                step["attempts"].append(_attempt(record))
    for body in running:
        known = said.get((body.ordinal, body.key))
        if known is None or known["status"] == "waiting":
            said[body.ordinal, body.key] = {
                "key": body.key,
                "kind": "run",
                "status": "running",
                "attempt": body.attempt,
                "started_at": from_ms(body.started_at_ms),
                "error": known.get("error") if known else None,
                "progress": body.details,
                "attempts": known["attempts"] if known else [],
            }
    # Each is made once: a run may have thousands.
    return tuple(_view_step(said[place]) for place in sorted(said))


def live_records(records: list[Record]) -> list[Record]:
    """The records that still count: what a failed workflow attempt archived is left out."""
    return [record for _, record in numbered_live_records(records)]


def numbered_live_records(records: list[Record]) -> list[tuple[int, Record]]:
    """The same with each record's number."""
    live: list[tuple[int, Record]] = []
    for number, record in enumerate(records):
        if isinstance(record, WorkflowAttemptFailed) and record.archived_from is not None:
            first = record.archived_from
            failed = _key_of(dict(live).get(first))
            live = [
                (n, r)
                for n, r in live
                if isinstance(r, RunRecord) or (r.call.key != failed and (record.alone or r.call.mark < first))
            ]
        live.append((number, record))
    return live


def _key_of(record: Record | None) -> str | None:
    return None if record is None or isinstance(record, RunRecord) else record.call.key


def _of_call(record: StepRecord) -> dict[str, Any]:
    return {"key": record.call.key, "kind": kind_of(record), "status": "waiting", "attempts": []}


def _view_step(said: dict[str, Any]) -> StepRun:
    said["attempts"] = tuple(said["attempts"])
    return StepRun(**said)


def _attempt(record: AttemptFailed | StepSucceeded | StepFailed) -> StepAttempt:
    return StepAttempt(
        attempt=record.attempt,
        started_at=from_ms(record.started_at_ms),
        finished_at=from_ms(record.at_ms),
        error=None if isinstance(record, StepSucceeded) else record.failure,
    )


def _ended(record: StepSucceeded | StepFailed) -> dict[str, Any]:
    return {
        "attempt": record.attempt,
        "started_at": from_ms(record.started_at_ms),
        "finished_at": from_ms(record.at_ms),
        "next_attempt_at": None,
    }


def _child_ended(record: ChildEnded) -> dict[str, Any]:
    changes: dict[str, Any] = {"finished_at": from_ms(record.at_ms), "next_attempt_at": None, "error": None}
    if record.status == "succeeded":
        return {**changes, "status": "succeeded", "output": codec.decode(record.payload)}
    return {**changes, "status": "failed", "error": child_failure(record)}


def _due(at_ms: int | None) -> datetime | None:
    return None if at_ms is None else from_ms(at_ms)


_CHANGES: dict[type, Callable[[Any], dict[str, Any]]] = {
    StepSucceeded: lambda r: {**_ended(r), "status": "succeeded", "output": codec.decode(r.payload), "error": None},
    StepFailed: lambda r: {**_ended(r), "status": "failed", "error": r.failure},
    AttemptFailed: lambda r: {
        "attempt": r.attempt,
        "started_at": from_ms(r.started_at_ms),
        "next_attempt_at": from_ms(r.due_at_ms),
        "error": r.failure,
    },
    TimerAsked: lambda r: {"started_at": from_ms(r.at_ms), "next_attempt_at": _due(r.due_at_ms)},
    SignalAsked: lambda r: {"started_at": from_ms(r.at_ms), "next_attempt_at": _due(r.due_at_ms)},
    TimerFired: lambda r: {"status": "succeeded", "finished_at": from_ms(r.at_ms)},
    SignalReceived: lambda r: {
        "status": "succeeded",
        "finished_at": from_ms(r.at_ms),
        "next_attempt_at": None,
        "output": codec.decode(r.payload),
    },
    RedisAsked: lambda r: {"started_at": from_ms(r.at_ms)},
    ChildAsked: lambda r: {"started_at": from_ms(r.at_ms), "child_id": r.run_id},
    ChildStarted: lambda _: {"next_attempt_at": None, "error": None},
    ChildEnded: _child_ended,
    CompensationAsked: lambda _: {},
}
"""What each kind of record says of its step that was not known before."""
