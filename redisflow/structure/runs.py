"""From a run's hash to everything that points to it: what must be there, and is not, or says something else."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from redisflow.structure.breach import Breach, Remedy, Rule
from redisflow.structure.lines import check_slots
from redisflow.structure.snapshot import Post, Snapshot, StoredRun
from redisflow.tags import decode_tags, tag_listing

REBUILD = Remedy("rebuild")
# Their due time is that of their deadline, or of their start-by time, and wakes nothing.
_UNHURRIED = frozenset({"pending", "running", "waiting:overlap", "waiting:paused", "waiting:held", "waiting:limited"})


def check_run(space: Snapshot, run: StoredRun) -> Iterator[Breach]:
    """Everything that should point to a run, and does not."""
    yield from _check_listings(space, run)
    yield from _check_entry(space, run)
    yield from _check_timer(space, run)
    if run.is_terminal:
        yield from _check_left_behind(space, run)
        return
    if run.word == "waiting":
        yield from _check_place(space, run)
    yield from _check_reach(space, run)
    yield from check_slots(space, run)


def _rebuilt(space: Snapshot, rule: Rule, name: str, run: StoredRun, what: str) -> Breach:
    return Breach(rule, space.prefix + name, run.run_id, f"{run.run_id} ({run.status}) {what}", REBUILD)


def _clock(ms: float | None) -> str:
    """An instant of the server's clock, for people; a number that is none stays one."""
    if ms is None:
        return "never"
    try:
        return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + " UTC"
    except (OverflowError, ValueError, OSError):
        return f"{ms:.0f} ms"


def _check_listings(space: Snapshot, run: StoredRun) -> Iterator[Breach]:
    fields, workflow = run.fields, run.fields["w"]
    if run.is_terminal:
        wanted = {f"done:{workflow}:{run.status}": fields.get("t")}
    else:
        wanted = {f"runs:{workflow}": fields["c"]}
    if "tg" in fields:
        tags = decode_tags(fields["tg"])
        wanted.update((tag_listing(*tag), fields["c"]) for tag in tags.items())
    for name, score in wanted.items():
        found = space.score(name, run.run_id)
        if found is None:
            yield _rebuilt(space, Rule.LISTING, name, run, "is not listed")
        elif score is not None and found != float(score):
            yield _rebuilt(
                space, Rule.LISTING, name, run, f"is listed at {_clock(found)}, not at {_clock(float(score))}"
            )
    if workflow not in space.groups.get("workflows", ()):
        yield _rebuilt(space, Rule.LISTING, "workflows", run, f"is of workflow {workflow}, which is not known")
    is_named = run.is_terminal or "q" not in fields or run.queue == "default"
    if not is_named and run.queue not in space.groups.get("queues", ()):
        yield _rebuilt(space, Rule.LISTING, "queues", run, f"is in queue {run.queue}, which is not known")


def _check_entry(space: Snapshot, run: StoredRun) -> Iterator[Breach]:
    if run.word not in ("pending", "running"):
        return
    lane, _, entry = run.fields.get("e", "").partition(":")
    name = f"q:{run.queue}:{lane}"
    stream = space.streams.get(name)
    if stream is None or stream.entries.get(entry) != run.run_id:
        yield _rebuilt(space, Rule.STATUS, name, run, f"has no entry in the stream ({run.fields.get('e')})")
    elif run.word == "running" and entry not in stream.pending:
        yield _rebuilt(space, Rule.STATUS, name, run, f"has an entry that nobody holds ({entry})")
    elif run.word == "pending" and entry in stream.pending:
        what = f"{run.run_id} (pending) has an entry that somebody has read ({entry}): upkeep gives it back"
        yield Breach(Rule.STATUS, space.prefix + name, run.run_id, what)
    if lane not in "0w" and lane not in space.hashes.get("lanes", {}).get(run.queue, ""):
        yield _rebuilt(space, Rule.LISTING, "lanes", run, f"is in lane {lane}, which claims do not read")


def _check_timer(space: Snapshot, run: StoredRun) -> Iterator[Breach]:
    fields = run.fields
    due = float(fields["d"]) if "d" in fields else None
    score = space.score("delayed", run.run_id)
    if score != due:
        wanted = "is never due" if due is None else f"is due {_clock(due)}"
        found = "it has no timer" if score is None else f"its timer is set to {_clock(score)}"
        yield _rebuilt(space, Rule.STATUS, "delayed", run, f"{wanted}, {found}")
    if run.is_terminal:
        return
    limits = [float(fields["dl"])] if "dl" in fields else []
    if "xp" in fields and "a" not in fields:
        limits.append(float(fields["xp"]))
    deadline = min(limits, default=None)
    # Suspended without a time: it waits for a worker to start.
    if run.status in _UNHURRIED or (due is None and run.reason in ("signal", "child", "suspended")):
        is_right = due == deadline
    else:
        is_right = due is not None and (deadline is None or due <= deadline)
    if not is_right:
        what = f"{run.run_id} ({run.status}) is due {_clock(due)}, its deadline is {_clock(deadline)}"
        yield Breach(Rule.STATUS, f"{space.prefix}run:{run.run_id}", run.run_id, what)


def _check_place(space: Snapshot, run: StoredRun) -> Iterator[Breach]:
    """Where a run waits for something else than a time."""
    workflow, reason = run.fields["w"], run.reason
    if reason in ("stranded", "suspended") and space.score(f"stuck:{workflow}", run.run_id) is None:
        yield _rebuilt(space, Rule.STATUS, f"stuck:{workflow}", run, "is not among those that wait for code")
    elif reason == "held":
        if space.score(f"held:{workflow}", run.run_id) is None:
            yield _rebuilt(space, Rule.STATUS, f"held:{workflow}", run, "is not among the held")
        elif f"w:{workflow}" not in space.hashes.get("controls", {}):
            yield _rebuilt(space, Rule.STATUS, "controls", run, "is held, and its workflow is not paused")
    elif reason == "overlap":
        name = f"queued:{run.fields.get('sc')}"
        count = space.lists.get(name, []).count(run.run_id)
        if count != 1:
            remedy = None if count else REBUILD
            what = f"{run.run_id} ({run.status}) stands {count} times behind the others of its schedule"
            yield Breach(Rule.STATUS, space.prefix + name, run.run_id, what, remedy)
    elif reason == "limited" and "ls" in run.fields:
        name = f"blocked:{run.fields['ls']}"
        if space.score(name, run.run_id) is None:
            yield _rebuilt(space, Rule.STATUS, name, run, "is not in the line in which it waits")


def _check_reach(space: Snapshot, run: StoredRun) -> Iterator[Breach]:
    fields = run.fields
    if "uq" in fields:
        name = f"unique:{fields['uq']}"
        holder = space.strings.get(name)
        if holder != run.run_id:
            yield _rebuilt(space, Rule.REACH, name, run, f"has a unique key, which names {holder}")
    for signal in fields.get("sg", "").split():
        if space.score(f"signal:{signal}", run.run_id) is None:
            yield _rebuilt(space, Rule.REACH, f"signal:{signal}", run, "is not registered for a signal")
    mail = space.hashes.get(f"mail:{run.run_id}")
    last = int(fields.get("m", "0"))
    if mail and max(map(int, mail)) > last:
        what = f"{run.run_id} has mail with the numbers {sorted(map(int, mail))}, its last is {last}"
        yield Breach(Rule.REACH, f"{space.prefix}mail:{run.run_id}", run.run_id, what)


def _check_left_behind(space: Snapshot, run: StoredRun) -> Iterator[Breach]:
    """A run that ended has told its parent, and what it leaves behind will be looked after."""
    if not space.knows_outbox:
        return
    kids, parent = f"kids:{run.run_id}", run.fields.get("pa", "")
    if kids in space.kinds and not _is_posted(space, "end_kids", run.run_id):
        yield _rebuilt(space, Rule.REACH, kids, run, "left children behind, and nobody is to look after them")
    awaited = space.hashes.get(f"kids:{parent}", {})
    if run.run_id in awaited and parent in space.runs:
        posts = space.posts
        told = any(post.do == "give_end" and post.child == run.run_id for post in posts)
        if not told and not _is_posted(space, "look_kids", parent) and not _is_posted(space, "end_kids", parent):
            yield _rebuilt(space, Rule.REACH, f"kids:{parent}", run, f"has not told its end to {parent}")


def _is_posted(space: Snapshot, do: str, run_id: str) -> bool:
    return any(_is(post, do, run_id) for post in space.posts)


def _is(post: Post, do: str, run_id: str) -> bool:
    return post.do == do and post.run_id == run_id
