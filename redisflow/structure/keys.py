"""From every key to the runs that it names: what is there, and should not be."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from redisflow.run_id import partition_of
from redisflow.structure.breach import Breach, Remedy, Rule
from redisflow.structure.lines import check_limit, check_line, check_window
from redisflow.structure.places import LISTINGS, OF_ONE_RUN, PASSING, is_of_layout, type_of
from redisflow.structure.schedules import check_queue, check_schedule, check_schedules
from redisflow.structure.snapshot import Post, Snapshot, StoredRun

_SHOWN: Final = 80
GRACE: Final = 10
"""Consumers of a stream that may be more than there are live workers: upkeep removes those of dead ones by and by."""

_POSTS: Final[Mapping[str, frozenset[str]]] = {
    do: frozenset({"do", *fields})
    for do, fields in {
        "give_end": ("run", "child", "item"),
        "cancel": ("run",),
        "end_kids": ("run", "rt"),
        "look_kids": ("run",),
        "broadcast": ("name", "hash", "item", "once", "ms", "until"),
        "ask_permit": ("run", "to", "hash", "permit", "priority", "created"),
        "give_permit": ("run", "home", "hash", "permit"),
        "hold_permit": ("run", "to", "hash", "permit"),
        "return_permit": ("run", "to", "hash", "permit"),
    }.items()
}
_LATER: Final = frozenset({"rt"})
"""What earlier versions did not say."""


def check_key(space: Snapshot, name: str) -> Iterator[Breach]:
    """Everything in a key that does not belong there."""
    kind, colon, rest = name.partition(":")
    check, wanted = _CHECKS.get(kind + colon), type_of(name)
    # What is not known here may be of a later version, whose workers run beside: it is told, and left alone.
    is_known = check is not None or is_of_layout(name)
    if is_known and not name.startswith((*PASSING, "u:", "run:")):
        yield from check_expiry(space, name, rest if name.startswith(OF_ONE_RUN) else "")
    if wanted is not None and space.kinds[name] not in (wanted, name):
        yield Breach(Rule.DAMAGE, space.prefix + name, "", f"it is a {space.kinds[name]}, not a {wanted}")
    elif name in space.torn:
        yield Breach(Rule.DAMAGE, space.prefix + name, "", "keys that it is compared with are of a wrong type")
    elif check is not None:
        yield from check(space, name)
    elif not is_known:
        yield Breach(Rule.STRANGER, space.prefix + name, "", "it is no key of the layout")


def check_expiry(space: Snapshot, name: str, run_id: str) -> Iterator[Breach]:
    """Whether a key that runs need will be gone by itself."""
    if name in space.expiries:
        what = f"it has a time to live, and will be gone in {space.expiries[name] / 1000:,.0f} s"
        yield Breach(Rule.EXPIRY, space.prefix + name, run_id, what, Remedy("keep", name))


def _check_listing(space: Snapshot, name: str) -> Iterator[Breach]:
    for run_id in space.sets.get(name, {}):
        run = space.runs.get(run_id)
        if run is None:
            yield _stranger(space, name, run_id)
        elif run.is_readable and not _is_listed_in(run, name):
            what = f"{run_id} ({run.status} {run.fields['w']}) is listed"
            yield Breach(Rule.LISTING, space.prefix + name, run_id, what, Remedy("unlist", name, run_id))


def _is_listed_in(run: StoredRun, name: str) -> bool:
    kind, _, rest = name.partition(":")
    workflow = run.fields["w"]
    match kind:
        case "runs":
            return rest == workflow and not run.is_terminal
        case "done":
            return run.is_terminal and rest == f"{workflow}:{run.status}"
        case "stuck":
            return rest == workflow and run.reason in ("stranded", "suspended")
        case "held":
            return rest == workflow and run.reason == "held"
        case _:
            return rest in run.fields.get("tg", "").partition("\n")[0].split()


def _stranger(space: Snapshot, name: str, run_id: str) -> Breach:
    what = f"{run_id} is not stored"
    return Breach(Rule.STRANGER, space.prefix + name, run_id, what, Remedy("unlist", name, run_id))


def _check_timers(space: Snapshot, name: str) -> Iterator[Breach]:
    # Whether the timer of a run is right is asked of the run.
    for member in space.sets.get(name, {}):
        kind, colon, line = member.partition(":")
        if colon and kind != "line":
            yield Breach(Rule.STRANGER, space.prefix + name, "", f"nobody here knows what {member} is the timer of")
        elif kind == "line":
            if not space.size(f"blocked:{line}"):
                what = f"{member} is the timer of a line in which nobody waits"
                yield Breach(Rule.STRANGER, space.prefix + name, "", what, Remedy("unlist", name, member))
        elif member not in space.runs:
            yield _stranger(space, name, member)


def _check_owned(space: Snapshot, name: str) -> Iterator[Breach]:
    kind, _, run_id = name.partition(":")
    if run_id in space.runs:
        return
    # Whoever empties the outbox looks after children that were left behind, and deletes their key.
    is_left = kind == "kids" and any(post.do == "end_kids" and post.run_id == run_id for post in space.posts)
    if not is_left and (kind != "kids" or space.knows_outbox):
        what = f"run {run_id} is not stored"
        yield Breach(Rule.STRANGER, space.prefix + name, run_id, what, Remedy("forget", name))


def _check_signal(space: Snapshot, name: str) -> Iterator[Breach]:
    # One that has ended may stay until a broadcast meets it.
    for run_id in space.sets.get(name, {}):
        run = space.runs.get(run_id)
        if run is None:
            yield _stranger(space, name, run_id)
        elif run.is_readable and not run.is_terminal and not _waits_for(run, name.partition(":")[2]):
            what = f"{run_id} ({run.status}) is registered, and does not wait for it"
            yield Breach(Rule.REACH, space.prefix + name, run_id, what, Remedy("unlist", name, run_id))


def _waits_for(run: StoredRun, signal: str) -> bool:
    return signal in run.fields.get("sg", "").split()


def _check_unique(space: Snapshot, name: str) -> Iterator[Breach]:
    holder = space.strings.get(name, "")
    run = space.runs.get(holder)
    if run is None:
        what = f"it names {holder}, which is not stored"
        yield Breach(Rule.STRANGER, space.prefix + name, holder, what, Remedy("forget", name))
    elif run.is_readable and (run.is_terminal or run.fields.get("uq") != name.partition(":")[2]):
        what = f"it names {holder} ({run.status}), which has ended, or does not have it"
        yield Breach(Rule.REACH, space.prefix + name, holder, what, Remedy("forget", name))


def _check_stream(space: Snapshot, name: str) -> Iterator[Breach]:
    stream = space.streams[name]
    queue, _, lane = name.removeprefix("q:").rpartition(":")
    for entry, run_id in stream.entries.items():
        run, mine = space.runs.get(run_id), f"{lane}:{entry}"
        remedy = Remedy("leave", name, mine)
        if run is None:
            yield Breach(Rule.STRANGER, space.prefix + name, run_id, f"{entry}: {run_id} is not stored", remedy)
        elif run.is_readable and not _is_current(run, queue, mine):
            what = f"{entry} is not the entry of {run_id} ({run.status} {run.fields.get('e')})"
            yield Breach(Rule.STATUS, space.prefix + name, run_id, what, remedy)
    for entry in stream.pending - stream.entries.keys():
        what = f"{entry} is pending, and not in the stream"
        yield Breach(Rule.PENDING, space.prefix + name, "", what, Remedy("leave", name, f"{lane}:{entry}"))
    alive = sum(until_ms > space.now_ms for until_ms in space.sets.get("workers", {}).values())
    if len(stream.consumers) > alive + GRACE:
        what = f"its group has {len(stream.consumers)} consumers, {alive} workers are alive"
        yield Breach(Rule.CONSUMERS, space.prefix + name, "", what, Remedy("sweep", name))


def _is_current(run: StoredRun, queue: str, entry: str) -> bool:
    return run.word in ("pending", "running") and run.queue == queue and run.fields.get("e") == entry


def _check_outbox(space: Snapshot, name: str) -> Iterator[Breach]:
    if not space.size(name):
        yield Breach(Rule.STRANGER, space.prefix + name, "", "it is empty, and was left")
    for post in space.posts:
        known = _POSTS.get(post.do)
        if known is None or post.fields not in (known, known - _LATER):
            what = f"nobody here knows what to do with {post.do!r} of {sorted(post.fields)}"
            yield Breach(Rule.STRANGER, space.prefix + name, post.run_id, what)


def check_posts(space: Snapshot, partitions: int) -> Iterator[Breach]:
    """What the outbox has for a partition that the namespace does not have: nobody can carry it out."""
    for post in space.posts:
        if "run" in post.fields and not 0 <= _partition_of(post, partitions) < partitions:
            whose = f"run {post.run_id[:_SHOWN]!r}, partition {post.to[:_SHOWN]!r}"
            what = f"{post.do[:_SHOWN]!r} is for what there cannot be ({whose})"
            yield Breach(Rule.STRANGER, f"{space.prefix}outbox", "", what)


def _partition_of(post: Post, partitions: int) -> int:
    if "to" not in post.fields and partitions == 1:
        return 0  # nobody asks where the run lives
    try:
        return int(post.to) if "to" in post.fields else partition_of(post.run_id)
    except ValueError:
        return -1


def _check_broken(space: Snapshot, name: str) -> Iterator[Breach]:
    for member in space.sets.get(name, {}):
        run = space.runs.get(member)
        is_mended = run is None or run.is_readable
        what = f"{member} could not be read by a claim or a purge"
        remedy = Remedy("unlist", name, member) if is_mended else None
        yield Breach(Rule.DAMAGE, space.prefix + name, member if run else "", what, remedy)


_CHECKS: Final[Mapping[str, Callable[[Snapshot, str], Iterator[Breach]]]] = {
    **dict.fromkeys(LISTINGS, _check_listing),
    **dict.fromkeys(OF_ONE_RUN, _check_owned),
    "delayed": _check_timers,
    "signal:": _check_signal,
    "unique:": _check_unique,
    "q:": _check_stream,
    "outbox": _check_outbox,
    "broken": _check_broken,
    "limit:": check_limit,
    "blocked:": check_line,
    "fair:": check_window,
    "queued:": check_queue,
    "schedule:": check_schedule,
    "schedules": check_schedules,
}
