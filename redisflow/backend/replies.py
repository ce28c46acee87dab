"""What the scripts answer, as values. Their words are in each script's header; here is the only other place."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from redisflow.contract import Answer, Claim, Conflict, Created, Hold, Mark, Place, RunEnd, Verdict
from redisflow.errors import BackendError, BackpressureError, CannotDecode, InvalidDuration, PayloadTooLarge, RecordGone
from redisflow.run_id import partition_of
from redisflow.runs import Ending

if TYPE_CHECKING:
    from redisflow.durations import When

_VERDICTS = {verdict.value.encode(): verdict for verdict in Verdict}


def verdict(reply: Any) -> Verdict:
    """Of a holder's call."""
    return _VERDICTS[reply[0]]


def verdict_of_row(reply: bytes) -> Verdict:
    """Of a holder's call among others."""
    known = _VERDICTS.get(reply)
    if known is None:
        msg = f"a run could not be written: the server answered {reply!r}"
        raise BackendError(msg)
    return known


def created(reply: Any) -> str | Created | Conflict:
    """Of one run of create_run; a new run's id is known to its caller."""
    word = reply[0]
    if word == b"created":
        return "created"
    if word == b"broken":
        msg = (
            "the run could not be created, and nothing was stored: a key of the namespace holds something else than"
            " redisflow wrote (`flow.audit()` names it), or the server's user may only read (`redisflow.acl_rule`)"
        )
        raise BackendError(msg)
    if word == b"unstaged":
        msg = (
            "the record with which the run was to begin is not there any more, and nothing was stored: it was put aside"
            " for a while only, or Redis lost it with its last writes. Fork again"
        )
        raise RecordGone(msg)
    if word == b"full":
        msg = (
            "as many runs wait to be claimed as max_pending allows, so this one was not started: start it again later,"
            " add workers, or look whether any works (`flow.workers()`, `flow.stranded()`)"
        )
        raise BackpressureError(msg)
    if word == b"beyond":
        msg = "available_at and deadline_at lie at most 10 years from now, by the server's clock"
        raise InvalidDuration(msg)
    if word == b"oversized":
        msg = "the run's stored input has more than 64 MiB: keep it elsewhere, and pass a reference to it"
        raise PayloadTooLarge(msg)
    run_id = reply[1].decode()
    return Created(run_id, existing=True) if word == b"existing" else Conflict(run_id)


def canceled(reply: Any) -> str | None:
    """The status after cancel_run."""
    match reply[0]:
        case b"missing":
            return None
        case b"already":
            return status_of(reply[1])
        case word:
            return str(word, "ascii")


def end(reply: Any) -> RunEnd | None:
    """Of await_run."""
    match reply:
        case [b"ended", workflow, status, output, error, cause]:
            return RunEnd(
                workflow.decode(), status_of(status), output, error, None if cause is None else cause.decode()
            )
        case [b"not yet", workflow, status]:
            return RunEnd(workflow.decode(), status_of(status), None, None, None)
        case _:
            return None


def told_end(message: bytes) -> RunEnd | None:
    """Of what is published when a run ends; None where it is not told how, or not by this version."""
    status, found, rest = message.partition(b"\n")
    workflow, found, payload = rest.partition(b"\n")
    if not found:
        return None
    if status == b"succeeded":
        return RunEnd(workflow.decode(), "succeeded", payload, None, None)
    return RunEnd(workflow.decode(), "failed", None, payload, None) if status == b"failed" else None


def status_of(stored: bytes) -> str:
    """The status without the reason of a wait."""
    return stored.decode().partition(":")[0]


def when_text(when: When | None) -> str:
    """An instant as scripts take it: `lua/lib/instant.lua`."""
    if when is None:
        return ""
    return f"+{when.ms}" if when.relative else str(when.ms)


def woken(reply: Any) -> tuple[int, int | None]:
    """How many, and the ms until the next one is due."""
    return reply[1], due_in(reply[2])


def due_in(ms: int) -> int | None:
    """None where nothing is due at all."""
    return None if ms < 0 else ms


def shown(name: bytes) -> str:
    """A name for people, whatever bytes it is made of."""
    return name.decode(errors="backslashreplace")


def named(reply: list[bytes]) -> dict[bytes, bytes]:
    """The fields of a hash, from a flat list."""
    parts = iter(reply)
    return dict(zip(parts, parts, strict=True))


def claimed(rows: list[list[bytes]]) -> list[tuple[str, dict[bytes, bytes]]]:
    """Run id and fields of each row of a claim's reply; the entry, which comes first, is a field like the others."""
    given: list[tuple[str, dict[bytes, bytes]]] = []
    for row in rows:
        fields = dict(zip(row[2::2], row[3::2], strict=True))
        fields[b"e"] = row[1]
        given.append((shown(row[0]), fields))
    return given


def _claim(run_id: str, fields: dict[bytes, bytes], first_fence: str, now_ms: int) -> Claim:
    """A claimed run whose input and records have all come with it."""
    version, queue, deadline, fence = fields.get(b"v"), fields.get(b"q"), fields.get(b"dl"), fields.get(b"f")
    if fence is None:
        mark, started_at_ms = Mark(0, len(fields[b"i"])), now_ms
    else:
        count, _, size = fields[b"h"].partition(b":")
        mark, started_at_ms = Mark(int(count), int(size)), int(fields[b"a"])
    hold = Hold(
        run_id,
        queue.decode() if queue is not None else "default",
        first_fence if fence is None else fence.decode(),
        fields[b"e"].decode(),
    )
    # By place: with names, a value of many fields takes twice as long to make.
    claim = Claim(
        hold,
        fields[b"w"].decode(),
        version.decode() if version is not None else None,
        fields[b"i"],
        int(fields[b"c"]),
        started_at_ms,
        int(deadline) if deadline is not None else None,
        mark,
        [fields[b"%d" % number] for number in range(mark.records)] if mark.records else [],
        int(fields.get(b"x", 0)),
    )
    if not _SELDOM_NAMES.isdisjoint(fields):
        for name, note in _SELDOM.items():
            if name in fields:
                note(claim, fields)
    return claim


def _end_effects(fields: dict[bytes, bytes]) -> tuple[bytes, ...]:
    """What its fields say of the run's end."""
    released = (b"release", fields[b"uq"]) if b"uq" in fields else ()
    return (*released, b"leave", fields[b"sc"]) if b"sc" in fields else released


def _place(mark: bytes) -> Place:
    after, _, count = mark.partition(b":")
    return int(after), int(count)


def _note_ending(claim: Claim, fields: dict[bytes, bytes]) -> None:
    claim.ending = ending = Ending.parse(fields[b"vd"])
    if claim.deadline_at_ms is None:
        claim.deadline_at_ms = ending.deadline_at_ms


def _note_end_effects(claim: Claim, fields: dict[bytes, bytes]) -> None:
    claim.end_effects = _end_effects(fields)


def _noting(attribute: str, name: bytes, read: Callable[[bytes], Any]) -> Callable[[Claim, dict[bytes, bytes]], None]:
    return lambda claim, fields: setattr(claim, attribute, read(fields[name]))


_SELDOM: dict[bytes, Callable[[Claim, dict[bytes, bytes]], None]] = {
    b"pa": _noting("parent", b"pa", bytes.decode),
    b"m": _noting("mail_count", b"m", int),
    b"uq": _note_end_effects,
    b"sc": _note_end_effects,
    b"tg": _noting("tags", b"tg", bytes.decode),
    b"sa": _noting("scheduled_at_ms", b"sa", int),
    b"lk": _noting("is_limited", b"lk", bool),
    b"ev": _noting("said", b"ev", _place),
    b"sg": _noting("waits", b"sg", lambda names: names.decode().split()),
    b"vd": _note_ending,
    b"ct": _noting("continued", b"ct", int),
    b"dp": _noting("depth", b"dp", int),
    b"av": _noting("available_at_ms", b"av", int),
    b"tc": _noting("trace", b"tc", lambda text: text.decode(errors="replace")),
    b"tl": _noting("last_trace", b"tl", lambda text: text.decode(errors="replace")),
}
"""What a claim says of runs that use more than steps, by the fields that say it."""
_SELDOM_NAMES = frozenset(_SELDOM)
"""Looking for each takes longer than all the rest of a claim: most runs have none of them."""


_OF_A_HOLD: tuple[bytes, ...] = (b"w", b"v", b"q", b"e", b"f")
"""All that it takes to put a run aside."""


def claims_of(
    given: list[tuple[str, dict[bytes, bytes]]], operation: str, now_ms: int, partition: int
) -> tuple[list[Claim], int]:
    """Claimed runs, and how many are none: one that cannot be read must not keep the others from their worker.

    It says so itself, in its `opening`. What is no run comes back when its lease has ended, and is told of each time.
    """
    claims: list[Claim] = []
    first_fence = f"1:{operation}"
    for run_id, fields in given:
        with contextlib.suppress(KeyError, ValueError):
            # By its id it is looked for afterwards: by the heartbeat, in a store.
            if run_id.isalnum() and partition_of(run_id) == partition:
                claims.append(_claim_or_why(run_id, fields, first_fence, now_ms))
    return claims, len(given) - len(claims)


def _claim_or_why(run_id: str, fields: dict[bytes, bytes], first_fence: str, now_ms: int) -> Claim:
    try:
        return _claim(run_id, fields, first_fence, now_ms)
    except (KeyError, ValueError) as error:
        known = {name: fields[name] for name in _OF_A_HOLD if name in fields}
        bare = _claim(run_id, {b"i": b"", b"h": b"0:0", b"c": b"0", b"a": b"0"} | known, first_fence, now_ms)
        msg = f"it is damaged, or of a later version ({type(error).__name__}: {error})"
        bare.opening = cannot_open(CannotDecode(msg))
        return bare


def cannot_open(error: Exception) -> Answer[None]:
    """What a claim says in its `opening` where something of its run cannot be read here."""
    opening: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    opening.set_exception(error)
    opening.exception()  # whoever drops the claim need not look
    return opening


def expect_ok(reply: Any) -> list[Any]:
    """What follows `ok`."""
    if reply[0] != b"ok":
        msg = f"a script answered {reply[0]!r} instead of ok"
        raise BackendError(msg)
    rest: list[Any] = reply[1:]
    return rest
