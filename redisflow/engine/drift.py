"""Drift, the code under a run has changed, and what a person is told of it.

Which call was expected, which one came, what that looks like, and what stands around both.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from redisflow.engine.calls import OpenCall
from redisflow.engine.history import History, Recorded
from redisflow.engine.refusals import calling_line
from redisflow.errors import NonDeterminismError
from redisflow.records import Call, CallKind

AROUND = 2
"""Calls before and after the one that differs."""

_CALLS = {"signal": "wait_for_signal", "child": "run_workflow", "compensation": "on_failure"}
"""How the calls of a kind are written, where it is not as their kind."""


def never_asked(
    known: Recorded, history: History, made: Iterable[OpenCall], patches: Collection[str]
) -> NonDeterminismError:
    """The record holds a call that the code has not made by the time at which it had made it."""
    return _report(
        _line(known.kind, known.call),
        "does not ask for it, or does not wait for it, at this point",
        "it is missing: the call was taken out of the code, moved behind something else, or is not awaited any more",
        [*_unasked(patches), *_around_record(known.call.ordinal, history), *_around_code(made)],
    )


def asked_for_another(
    known: Recorded, kind: CallKind, call: Call, history: History, made: Iterable[OpenCall], patches: Collection[str]
) -> NonDeterminismError:
    """The code makes a call where the record has another one."""
    around = [*_around_record(known.call.ordinal, history), *_around_code(made), _row("->", kind, call)]
    return _report(
        _line(known.kind, known.call),
        f"{_line(kind, call)}, {calling_line()}",
        _likeness(known, kind, call),
        [*_unasked(patches), *around],
    )


def without_marker(name: str) -> NonDeterminismError:
    """The record says that this run has come by a patch that the code does not ask for."""
    return _report(
        f"step.patched({name!r})",
        "does not ask for it",
        "it is missing: this is code from before the patch, or the patch was taken out while runs that have it go on",
        [],
    )


def _report(record: str, code: str, likeness: str, around: list[str]) -> NonDeterminismError:
    lines = [
        "the code no longer does what the record of this run says. Deploy code that matches, or start the run anew",
        f"  - record: {record}",
        f"  + code:   {code}",
        f"  {likeness}",
        *around,
    ]
    return NonDeterminismError("\n".join(lines))


def _likeness(known: Recorded, kind: CallKind, call: Call) -> str:
    was = known.call
    if was.key == call.key and known.kind != kind:
        return "it is of another kind: give the new call another name"
    if was.key == call.key and was.ordinal != call.ordinal:
        return f"it has moved: it was call number {was.ordinal}, and is number {call.ordinal}"
    if was.key == call.key:
        return f"it has moved: it was called {_after(was)}, and is called {_after(call)}"
    if known.kind == kind and was.mark == call.mark:
        return f"it looks renamed, from {was.key!r} to {call.key!r}; or a call was added before it"
    return "a call was added before it, or taken out"


def _unasked(patches: Collection[str]) -> list[str]:
    """Often the whole story: this is code from before them, in the middle of a deploy."""
    if not patches:
        return []
    return [f"  the record has patches that this code has not asked for so far: {', '.join(map(repr, patches))}"]


def _around_record(ordinal: int, history: History) -> list[str]:
    near = [history.by_ordinal.get(number) for number in range(ordinal - AROUND, ordinal + AROUND + 1)]
    rows = [_row("->" if one.call.ordinal == ordinal else "  ", one.kind, one.call) for one in near if one is not None]
    return ["  the record there:", *rows]


def _around_code(made: Iterable[OpenCall]) -> list[str]:
    last = list(made)[-AROUND:]
    return ["  the code so far:", *(_row("  ", call.kind, call.place) for call in last)]


def _row(mark: str, kind: CallKind, call: Call) -> str:
    return f"    {mark} {call.ordinal:>4}  {_written(kind, call.key)}"


def _line(kind: CallKind, call: Call) -> str:
    return f"{_written(kind, call.key)}, call number {call.ordinal}, {_after(call)}"


def _written(kind: CallKind, key: str) -> str:
    return f"step.{_CALLS.get(kind, kind)}({key!r})"


def _after(call: Call) -> str:
    return "at the start" if call.mark < 0 else f"after record {call.mark}"
