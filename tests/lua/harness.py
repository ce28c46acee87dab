"""The scripts alone, at an instant that the test chooses, and the structure that each of them must leave.

`Lua` sends scripts as the backend does, but for one partition and one server, and raw: replies are words and bytes.
`audit` reads the whole keyspace and compares it with what the run hashes say.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from redis.exceptions import ResponseError

from redisflow.tags import decode_tags, tag_listing
from tests.lua.lines_audit import audit_lines, is_permit

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import redis

    from redisflow.backend.scripts import Scripts

# An instant with many zeros: where a script lets a number become "1.7e+12", it shows.
T0 = 1_700_000_000_000
LEASE_MS = 30_000
# Only then is it known of a worker that is present still whether it has crashed.
OVER_MS = LEASE_MS * 5 // 4
PREFIX = "rf:{shop:0}:"
NEVER = 2**53 - 1
TERMINAL = ("succeeded", "failed", "canceled")
# These run out by themselves: nobody's run depends on them.
PASSING = ("idem:", "turn:", "fork:", "limit:", "debounce:", "joined:", "throttle:", "cast:", "kept:")


@dataclass
class Held:
    """A run as its holder sees it; `mark` follows what was acknowledged."""

    run_id: str
    queue: str
    fence: str
    entry: str
    mark: str
    worker: str
    fields: dict[str, bytes]

    def shown(self, *records: bytes) -> dict[str, Any]:
        """The arguments that commit, park and finish share."""
        count, size = (int(part) for part in self.mark.split(":"))
        after = f"{count + len(records)}:{size + sum(map(len, records))}"
        return {
            "run_id": self.run_id,
            "fence": self.fence,
            "entry": self.entry,
            "before": self.mark,
            "after": after,
        }

    @property
    def stream(self) -> str:
        """The stream where its entry is pending."""
        return f"{PREFIX}q:{self.queue}:{self.entry[0]}"

    @property
    def entry_id(self) -> str:
        """The entry's id within that stream."""
        return self.entry[2:]


class Lua:
    """One partition of a server, and the scripts that act on it."""

    def __init__(self, client: redis.Redis, scripts: Scripts) -> None:
        self.redis: Any = client
        self.scripts = scripts
        self.operations = 0
        self.at(T0)

    # -- the clock --------------------------------------------------------------------------------------------------

    def at(self, ms: int) -> None:
        """Let it be this instant."""
        self.now = ms
        self.redis.set(f"{PREFIX}clock", ms)

    def later(self, ms: int) -> None:
        """Let so much time pass."""
        self.at(self.now + ms)

    # -- calls ------------------------------------------------------------------------------------------------------

    def call(self, script: str, /, *tails: Iterable[Any], **arguments: Any) -> list[Any]:
        """Send a script; its first word as text, the rest of its reply as it came."""
        if script == "commit_run":
            tails, arguments = _with_terms(tails, arguments)
        text = getattr(self.scripts, script)
        reply = self.redis.execute_command(*text.call(PREFIX, *map(list, tails), **arguments))
        if text.rows:
            # One run among none: its own reply, which is a word alone or with what follows it.
            (reply,) = reply
            reply = reply if isinstance(reply, list) else [reply]
        return [reply[0].decode(), *reply[1:]]

    def twice(self, script: str, /, *tails: Iterable[Any], **arguments: Any) -> list[Any]:
        """Send a script again after its reply was lost: it must answer the same and change nothing."""
        given = [list(tail) for tail in tails]
        first = self.call(script, *given, **arguments)
        before = self.dump()
        again = self.call(script, *given, **arguments)
        if script == "claim_runs":
            same = [_held(reply, arguments["operation"]) for reply in (first, again)]
        else:
            same = [first, again]
        assert same[0] == same[1], f"{script} answered {first}, and then {again}"
        assert self.dump() == before, f"{script} changed something when it was sent again"
        return first

    def create(self, run_id: str = "run-1", fields: Any = None, **changes: Any) -> list[Any]:
        """Create a run of workflow `order` with input b'in'; `fields` are further fields of its hash."""
        return self.call("create_run", chain.from_iterable((fields or {}).items()), **new_run(run_id, **changes))

    def start(self, run_id: str = "run-1", *rules: Any, **changes: Any) -> list[str]:
        """Start a run under rules, each as its words; in the reply all is text."""
        reply = self.call("start_runs", *started(*rules), **new_run(run_id, **changes))
        return [part.decode() if isinstance(part, bytes) else part for part in reply]

    def claim(self, worker: str = "w1", **changes: Any) -> list[Held]:
        """Claim up to 10 runs of the queue `default`."""
        reply = self.claim_reply(worker, **changes)
        operation = changes.get("operation", f"op{self.operations}")
        return [held_of(worker, item, operation, reply[1]) for item in reply[4:]]

    def claim_reply(self, worker: str = "w1", *, queues: Sequence[str] = ("default",), **changes: Any) -> list[Any]:
        """The raw reply of a claim."""
        return self.call("claim_runs", queues, **self.claim_arguments(worker, **changes))

    def claim_arguments(self, worker: str = "w1", **changes: Any) -> dict[str, Any]:
        """What a claim sends: a new operation unless the test repeats one."""
        self.operations += 1
        wanted = {"operation": f"op{self.operations}", "limit": 10, "run_bytes": 262_144, "all_bytes": 1_048_576}
        return {"worker": worker, **wanted, **changes}

    def take(self, run_id: str = "run-1", worker: str = "w1", **changes: Any) -> Held:
        """Create a run and claim it."""
        self.create(run_id, **changes)
        return self.claim_only(worker)

    def claim_only(self, worker: str = "w1", **changes: Any) -> Held:
        """Claim the one run that there is to claim."""
        claims = self.claim(worker, **changes)
        assert len(claims) == 1, f"expected one claim, got {[held.run_id for held in claims]}"
        return claims[0]

    def commit(self, held: Held, *records: bytes, effects: Sequence[Any] = (), **changes: Any) -> str:
        """Append records; the holder goes on."""
        shown = {**held.shown(*records), "renew": "", "forget": "", "seen": "", **changes}
        word: str = self.call("commit_run", records, effects, **shown)[0]
        if word in ("ok", "mail"):
            held.mark = shown["after"]
        return word

    def park(
        self,
        held: Held,
        *records: bytes,
        due: int | str = "",
        reason: str = "timer",
        effects: Sequence[Any] = (),
        **changes: Any,
    ) -> str:
        """Append records and let the run wait."""
        shown = {**held.shown(*records), "reason": reason, "due": due, "seen": "", "wants": "", **changes}
        word: str = self.call("park_run", records, effects, **shown)[0]
        if word == "mail":
            held.mark = shown["after"]
        return word

    def finish(
        self,
        held: Held,
        *records: bytes,
        status: str = "succeeded",
        payload: bytes = b"out",
        effects: Sequence[Any] = (),
        **changes: Any,
    ) -> str:
        """Append records and end the run."""
        shown = {**held.shown(*records), "status": status, "payload": payload, **changes}
        word: str = self.call("finish_run", records, effects, **shown)[0]
        return word

    def release(self, held: Held) -> str:
        """Hand the run back."""
        word: str = self.call("release_run", run_id=held.run_id, fence=held.fence, entry=held.entry)[0]
        return word

    def shelve(self, held: Held, reason: str = "stranded", **changes: Any) -> str:
        """Let the run wait for code."""
        word: str = self.call("shelve_run", **shelved(held, reason, **changes))[0]
        return word

    def note(self, held: Held, progress: bytes = b"half") -> str:
        """Show progress."""
        word: str = self.call("note_progress", run_id=held.run_id, fence=held.fence, progress=progress)[0]
        return word

    def renew(
        self, *holds: Held, worker: str = "w1", presence_ms: int = LEASE_MS, about: bytes = b"", serves: str = ""
    ) -> list[str]:
        """A heartbeat; the ids of the runs that the worker no longer holds."""
        tail = [part for held in holds for part in (held.run_id, held.queue, held.fence, held.entry)]
        reply = self.call("renew_runs", tail, worker=worker, presence_ms=presence_ms, about=about, serves=serves)
        return [run_id.decode() for run_id in reply[1:]]

    def cancel(self, run_id: str = "run-1") -> list[Any]:
        """Cancel a run."""
        return [part.decode() if isinstance(part, bytes) else part for part in self.call("cancel_run", run_id=run_id)]

    def pause(self, run_id: str = "run-1") -> list[Any]:
        """Pause a run."""
        return [part.decode() if isinstance(part, bytes) else part for part in self.call("pause_run", run_id=run_id)]

    def resume(self, run_id: str = "run-1") -> list[Any]:
        """Let a paused run go on."""
        return [part.decode() if isinstance(part, bytes) else part for part in self.call("resume_run", run_id=run_id)]

    def wake(self, limit: int = 100) -> tuple[int, int]:
        """Wake what is due: how many, and the ms until the next."""
        _, woken, next_due = self.call("wake_runs", limit=limit)
        return woken, next_due

    def wake_stuck(self, workflow: str = "order", limit: int = 100, until_ms: Any = "") -> tuple[int, int]:
        """Offer stuck runs again: how many, and the bound for the next step."""
        _, woken, until = self.call("wake_stuck", workflow=workflow, limit=limit, until_ms=until_ms)
        return woken, int(until)

    def reclaim(self, lane: str = "0", queue: str = "default", step: int = 100, crash_limit: int = 3) -> list[Any]:
        """One step of upkeep: the next cursor, then how many were reclaimed, poisoned and lost."""
        arguments = {"queue": queue, "lane": lane, "lease_ms": LEASE_MS, "step": step, "crash_limit": crash_limit}
        _, cursor, *counts = self.call("reclaim_runs", **arguments)
        return [cursor.decode(), *counts]

    def reconcile(self, workflow: str = "order", first: int = 0, step: int = 100) -> tuple[int, int]:
        """One step of rebuilding hints: how many were looked at, and how many repaired."""
        _, seen, repaired = self.call("reconcile_runs", workflow=workflow, first=first, step=step)
        return seen, repaired

    def expire(self, held: Held, owner: str | None = None, idle_ms: int = OVER_MS) -> None:
        """Let the lease of a run be over: its entry has been idle for as long, and it is certain."""
        owner = owner or held.worker
        self.redis.xclaim(held.stream, "workers", owner, 0, [held.entry_id], idle=idle_ms, justid=True)

    def expire_all(self, lane: str = "0", queue: str = "default") -> None:
        """Let every lease of a stream be over."""
        stream = f"{PREFIX}q:{queue}:{lane}"
        if not self.redis.exists(stream) or not self.redis.xinfo_groups(stream):
            return
        for item in self.redis.xpending_range(stream, "workers", "-", "+", 100_000):
            entry, owner = item["message_id"], item["consumer"]
            self.redis.xclaim(stream, "workers", owner, 0, [entry], idle=OVER_MS, justid=True)

    def holder_calls(self, held: Held) -> dict[str, str]:
        """Send every call that a holder can make, and give the word that each was answered with."""
        return {
            "commit": self.commit(held, b"late"),
            "commit nothing": self.commit(held),
            "park": self.park(held, b"late", due=self.now + 1),
            "finish": self.finish(held, b"late"),
            "release": self.release(held),
            "shelve": self.shelve(held),
            "note": self.note(held),
            "renew": "fenced" if self.renew(held, worker=held.worker) == [held.run_id] else "ok",
        }

    # -- what is stored -----------------------------------------------------------------------------------------------

    def fields(self, run_id: str = "run-1") -> dict[str, bytes]:
        """The run's hash."""
        return {name.decode(): value for name, value in self.redis.hgetall(f"{PREFIX}run:{run_id}").items()}

    def status(self, run_id: str = "run-1") -> str:
        """The run's status, with the reason where it waits."""
        return self.fields(run_id)["s"].decode()

    def records(self, run_id: str = "run-1") -> list[bytes]:
        """The run's record."""
        fields = self.fields(run_id)
        return [fields[str(number)] for number in range(int(fields["h"].split(b":")[0]))]

    def due(self, run_id: str = "run-1") -> int | None:
        """When the run is looked at next."""
        score = self.redis.zscore(f"{PREFIX}delayed", run_id)
        return None if score is None else int(score)

    def listed(self, key: str) -> list[str]:
        """The members of a sorted set, in order."""
        return [member.decode() for member in self.redis.zrange(PREFIX + key, 0, -1)]

    def entries(self, lane: str = "0", queue: str = "default") -> list[str]:
        """The run ids in a stream, in order."""
        return [fields[b"r"].decode() for _, fields in self.redis.xrange(f"{PREFIX}q:{queue}:{lane}")]

    def posted(self) -> list[dict[str, bytes]]:
        """What is in the outbox, in order."""
        entries = self.redis.xrange(f"{PREFIX}outbox")
        return [{name.decode(): value for name, value in fields.items()} for _, fields in entries]

    def length(self, key: str) -> int:
        """The length of a list."""
        return int(self.redis.llen(PREFIX + key))

    def pending(self, held: Held) -> dict[str, Any] | None:
        """The pending entry of a held run: its consumer, idle time and delivery count."""
        found = self.redis.xpending_range(held.stream, "workers", held.entry_id, held.entry_id, 1)
        return found[0] if found else None

    def delete(self, *keys: str) -> None:
        """Lose keys."""
        self.redis.delete(*(PREFIX + key for key in keys))

    def dump(self) -> dict[bytes, Any]:
        """Every key, byte by byte; of hashes the fields, whose order changes by itself in a large one."""
        keys = sorted(self.redis.keys("*"))
        pipe = self.redis.pipeline(transaction=False)
        for key in keys:
            pipe.dump(key)
            pipe.type(key)
        answers = pipe.execute()
        dumped = dict(zip(keys, answers[::2], strict=True))
        for key in (key for key, kind in zip(keys, answers[1::2], strict=True) if kind == b"hash"):
            dumped[key] = self.redis.hgetall(key)
        return dumped

    def dump_without_leases(self) -> dict[bytes, Any]:
        """Every key but the streams, whose pending lists know how long ago each entry was renewed."""
        return {key: value for key, value in self.dump().items() if b":q:" not in key}


def _with_terms(tails: Sequence[Iterable[Any]], arguments: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """A commit, its terms put before its effects; of those that are empty there are none."""
    records, effects = ([*map(list, tails), [], []])[:2]
    rest = dict(arguments)
    seen, renew, forget = (rest.pop(name, "") for name in ("seen", "renew", "forget"))
    terms = [
        *(["seen", seen] if seen != "" else []),
        *(["renew", renew] if renew else []),
        *(["forget"] if forget else []),
    ]
    return (records, [*terms, *effects]), rest


def new_run(run_id: str = "run-1", **changes: Any) -> dict[str, Any]:
    """The arguments of create_run."""
    defaults = {
        "run_id": run_id,
        "workflow": "order",
        "version": "",
        "queue": "",
        "input": b"in",
        "available": "",
        "deadline": "",
        "idem": "",
        "idem_ms": "",
        "fingerprint": "",
    }
    assert changes.keys() <= defaults.keys()
    return {**defaults, **changes}


def started(*rules: Any, fields: Sequence[Any] = ()) -> tuple[list[Any], list[Any]]:
    """The open ends of start_runs: further fields, and the rules. The unique key is a field, too."""
    keys = [part for rule in rules if rule[0] == "unique" for part in ("uq", rule[1])]
    return [*keys, *fields], [part for rule in rules for part in rule]


def shelved(held: Held, reason: str = "stranded", **changes: Any) -> dict[str, Any]:
    """The arguments of shelve_run: 1 s the first time, at most 10 s."""
    identity = {"run_id": held.run_id, "fence": held.fence, "entry": held.entry}
    return {
        **identity,
        "reason": reason,
        "problem": b"",
        "first_ms": 1_000,
        "last_ms": 10_000,
        "again_ms": "",
        **changes,
    }


def held_of(worker: str, row: Sequence[Any], operation: str, now_ms: int) -> Held:
    """A claim of a reply; what a first claim does not say follows from the operation and the time."""
    run_id, entry, *flat = row
    fields = {flat[place].decode(): flat[place + 1] for place in range(0, len(flat), 2)}
    fields |= {"s": b"running", "e": entry}
    if "f" not in fields:
        first = {"f": f"1:{operation}".encode(), "a": b"%d" % now_ms}
        fields |= {**first, "h": b"0:%d" % len(fields["i"])} if "i" in fields else first
    text = {name: fields[name].decode() for name in ("f", "h") if name in fields}
    queue = fields.get("q", b"default").decode()
    return Held(run_id.decode(), queue, text["f"], entry.decode(), text.get("h", ""), worker, fields)


def _held(reply: list[Any], operation: str) -> list[Any]:
    """What a claim's reply means. A holder does not ask when its run is looked at next: a first claim may change it."""
    claims = [held_of("", row, operation, reply[1]) for row in reply[4:]]
    for held in claims:
        held.fields.pop("d", None)
    return [*reply[:4], *claims]


# -- the audit --------------------------------------------------------------------------------------------------------


@dataclass
class _Keyspace:
    """Everything under the prefix, by what it means."""

    runs: dict[str, dict[str, bytes]]
    sets: dict[str, dict[str, int]]
    lists: dict[str, int]
    uniques: dict[str, str]
    """Unique keys, and the run that each names."""
    entries: dict[str, list[tuple[str, str]]]
    """Queue and entry of each stream entry, by run id."""
    held: Counter[tuple[str, str]]
    """Queue and entry of each pending entry."""
    schedules: dict[str, dict[str, bytes]]
    queued: dict[str, list[str]]
    """By schedule, the runs that wait for another run of it to end."""
    told: list[str]
    """The keys of what runs have said, and of their mail."""
    mail: dict[str, set[int]]
    """Numbers of the items in each mailbox, by run id."""
    kids: dict[str, set[str]]
    """Children whose end is to be told, by their parent's id."""
    outbox: list[dict[str, str]]


def audit(lua: Lua) -> None:
    """Fail where a hint and a run hash differ (T1-T5), or where a key is not what its name says."""
    space = _read(lua)
    problems = [f"{name} is of no run" for name in space.told if name.partition(":")[2] not in space.runs]
    _audit_streams(space, problems)
    for run_id, fields in space.runs.items():
        status = fields.get("s", b"?").decode()
        found = [
            *_audit_record(fields),
            *_audit_entry(space, run_id, status, fields),
            *_audit_timer(space, run_id, status, fields),
            *_audit_listings(space, run_id, status, fields),
            *_audit_unique(space, run_id, status, fields),
            *_audit_verdict(status, fields),
            *_audit_signals(space, run_id, status, fields),
            *_audit_family(space, run_id, status, fields),
        ]
        problems += [f"{run_id} ({status}): {problem}" for problem in found]
    problems += audit_lines(space.runs, space.sets, lua.now)
    for name, members in space.sets.items():
        # What a run has used of a rate outlives it.
        if name not in ("workers", "served", "broken", "schedules") and not name.startswith("limit:"):
            strangers = [member for member in members if member not in space.runs and not _is_of_line(space, member)]
            problems += [f"{name} has {member}, which is no run" for member in strangers]
    problems += [
        f"unique:{key} names {run_id}, which is no run"
        for key, run_id in space.uniques.items()
        if run_id not in space.runs
    ]
    _audit_schedules(space, problems)
    # Whose children are to be looked after by whoever empties the outbox.
    orphaned = {post["run"] for post in space.outbox if post["do"] == "end_kids"}
    problems += [
        f"{run_id} has mail or children, and is no run"
        for run_id in {*space.mail, *(space.kids.keys() - orphaned)} - {*space.runs}
    ]
    problems += [
        f"{parent} has ended, and its children are left to nobody"
        for parent in space.kids.keys() - orphaned
        if space.runs.get(parent, {}).get("s") in (b"succeeded", b"failed", b"canceled")
    ]
    problems += [f"nobody knows what to do with {post}" for post in space.outbox if not _is_known(post)]
    problems += [
        f"{name} holds {count} tokens"
        for name, count in space.lists.items()
        if count > 1 and not name.startswith("throttle:")
    ]
    assert not problems, "the keyspace is not what the runs say:\n" + "\n".join(sorted(problems))


def _is_of_line(space: _Keyspace, member: str) -> bool:
    """Whether this is the timer of a line in which somebody waits, or a permit, whose run may live anywhere."""
    if is_permit(member):
        return True
    kind, _, name = member.partition(":")
    return kind == "line" and bool(space.sets.get(f"blocked:{name}"))


def _read(lua: Lua) -> _Keyspace:
    client = lua.redis
    keys = [key.decode() for key in client.keys("*")]
    strangers = [key for key in keys if not key.startswith(PREFIX)]
    assert not strangers, f"keys outside the partition: {strangers}"
    # What scripts of `step.redis` write is the user's own.
    keys = [key for key in keys if not key.startswith(f"{PREFIX}u:")]
    names = [key.removeprefix(PREFIX) for key in keys]
    pipe = client.pipeline(transaction=False)
    for key in keys:
        pipe.type(key)
        pipe.pttl(key)
    answers = pipe.execute()
    kinds = dict(zip(names, (kind.decode() for kind in answers[::2]), strict=True))
    mortal = [name for name, ttl in zip(names, answers[1::2], strict=True) if ttl != -1]
    assert all(name.startswith(PASSING) for name in mortal), f"live keys that expire: {mortal}"
    told = [name for name in names if name.startswith(("events:", "state:", "mail:", "fx:"))]
    values, streams = _read_values(client, kinds), _read_streams(client, kinds)
    return _Keyspace(*values, *streams, *_read_schedules(client, kinds), told, *_read_owned(client, kinds))


def _read_owned(client: Any, kinds: dict[str, str]) -> tuple[Any, Any, Any]:
    """Mailboxes, children, and the outbox, which holds at least one entry where it is there."""
    mail = {name[5:]: set(map(int, client.hkeys(PREFIX + name))) for name in kinds if name.startswith("mail:")}
    kids = {name[5:]: {kid.decode() for kid in client.hkeys(PREFIX + name)} for name in kinds if name[:5] == "kids:"}
    found = client.xrange(f"{PREFIX}outbox") if "outbox" in kinds else []
    assert found or "outbox" not in kinds, "an empty outbox was left"
    return mail, kids, [{key.decode(): value.decode("latin-1") for key, value in post.items()} for _, post in found]


def _read_values(client: Any, kinds: dict[str, str]) -> tuple[Any, Any, Any, Any]:
    pipe = client.pipeline(transaction=False)
    runs = [name for name, kind in kinds.items() if name.startswith("run:") and kind == "hash"]
    sets = [name for name, kind in kinds.items() if kind == "zset"]
    lists = [name for name, kind in kinds.items() if kind == "list" and not name.startswith("queued:")]
    uniques = [name for name in kinds if name.startswith("unique:")]
    for name in runs:
        pipe.hgetall(PREFIX + name)
    for name in sets:
        pipe.zrange(PREFIX + name, 0, -1, withscores=True)
    for name in lists:
        pipe.llen(PREFIX + name)
    for name in uniques:
        pipe.get(PREFIX + name)
    answers = iter(pipe.execute())
    return (
        {name[4:]: {field.decode(): value for field, value in next(answers).items()} for name in runs},
        {name: {member.decode(): _exact(score) for member, score in next(answers)} for name in sets},
        {name: next(answers) for name in lists},
        {name.removeprefix("unique:"): next(answers).decode() for name in uniques},
    )


def _read_streams(client: Any, kinds: dict[str, str]) -> tuple[Any, Any]:
    streams = [name for name, kind in kinds.items() if kind == "stream" and name.startswith("q:")]
    pipe = client.pipeline(transaction=False)
    for name in streams:
        pipe.xrange(PREFIX + name)
        pipe.xpending_range(PREFIX + name, "workers", "-", "+", 100_000)
    answers = pipe.execute(raise_on_error=False)
    entries: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    held: Counter[tuple[str, str]] = Counter()
    for name, found, pending in zip(streams, answers[::2], answers[1::2], strict=True):
        _, queue, lane = re.fullmatch(r"(q):(.+):(.)", name).groups()  # type: ignore[union-attr]  # it is a stream
        for entry, fields in found:
            entries[fields[b"r"].decode()].append((queue, f"{lane}:{entry.decode()}"))
        if not isinstance(pending, ResponseError):  # a stream without a group: nobody has claimed from it yet
            held.update((queue, f"{lane}:{item['message_id'].decode()}") for item in pending)
    return entries, held


def _read_schedules(client: Any, kinds: dict[str, str]) -> tuple[Any, Any]:
    stored = [name for name, kind in kinds.items() if name.startswith("schedule:") and kind == "hash"]
    queues = [name for name in kinds if name.startswith("queued:")]
    return (
        {
            name[9:]: {field.decode(): value for field, value in client.hgetall(PREFIX + name).items()}
            for name in stored
        },
        {name[7:]: [run_id.decode() for run_id in client.lrange(PREFIX + name, 0, -1)] for name in queues},
    )


def _exact(score: float) -> int:
    assert score == int(score), f"{score} is not a whole number of ms"
    assert abs(score) < 2**53
    return int(score)


def _audit_streams(space: _Keyspace, problems: list[str]) -> None:
    there = {entry for entries in space.entries.values() for entry in entries}
    problems += [f"pending, but not in the stream: {held}" for held in space.held if held not in there]
    for run_id, entries in space.entries.items():
        fields = space.runs.get(run_id, {})
        mine = (fields.get("q", b"default").decode(), fields.get("e", b"").decode())
        problems += [f"{entry} is not the current entry of {run_id}" for entry in entries if entry != mine]


def _audit_schedules(space: _Keyspace, problems: list[str]) -> None:
    listed = space.sets.get("schedules", {})
    wanted = {
        schedule: NEVER if "pz" in fields or not fields["n"] else int(fields["n"])
        for schedule, fields in space.schedules.items()
    }
    # One that was told of the end of a run is listed at 0 until it is looked at.
    if {**listed, **{name: wanted.get(name) for name, at_ms in listed.items() if at_ms == 0}} != wanted:
        problems.append(f"schedules are listed as {listed}, they say {wanted}")
    waiting = {run_id for run_id, fields in space.runs.items() if fields.get("s") == b"waiting:overlap"}
    queued = [run_id for runs in space.queued.values() for run_id in runs]
    # Those that ended while they waited are passed over later.
    if sorted(set(queued)) != sorted(queued) or not waiting <= set(queued):
        problems.append(f"runs that wait for their turn: {sorted(waiting)}, queued are {queued}")
    for schedule in space.queued:
        on = space.runs.get(space.schedules[schedule].get("on", b"").decode(), {})
        if on.get("s", b"succeeded").decode() in TERMINAL and listed.get(schedule) != 0:
            problems.append(f"runs of {schedule} wait for one that has ended")


def _audit_record(fields: dict[str, bytes]) -> list[str]:
    problems = [
        f"{name} is {value!r}, not an instant"
        for name, value in fields.items()
        if name in {"c", "a", "t", "d", "dl", "av", "xp"} and not re.fullmatch(rb"[0-9]{1,15}", value)
    ]
    count, size = (int(part) for part in fields["h"].split(b":"))
    records = {name for name in fields if name.isdigit()}
    if records != {str(number) for number in range(count)}:
        problems.append(f"the mark says {count} records, there are {sorted(records)}")
    elif size != len(fields["i"]) + sum(len(fields[name]) for name in records):
        problems.append(f"the mark says {size} bytes")
    if not re.fullmatch(rb"[0-9]+:.+", fields.get("f", b"0:-")):
        problems.append(f"the fence is {fields['f']!r}")
    return problems


def _audit_entry(space: _Keyspace, run_id: str, status: str, fields: dict[str, bytes]) -> list[str]:
    queue = fields.get("q", b"default").decode()
    mine = space.entries.get(run_id, [])
    if status not in ("pending", "running"):
        # A finished run keeps the name of its last entry: to delete the field would be one command more for each run.
        ended = status in ("succeeded", "failed")
        problems = ["it has an entry"] if mine or ("e" in fields and not ended) else []
        return [*problems, *(["it still shows progress"] if "p" in fields else [])]
    if mine != [(queue, fields.get("e", b"").decode())]:
        return [f"its entries are {mine}, its own field says {fields.get('e')!r}"]
    held = space.held[mine[0]]
    if held != (1 if status == "running" else 0):
        return [f"its entry is {'not ' if not held else ''}pending in the group"]
    return ["progress of nobody"] if status == "pending" and "p" in fields else []


def _audit_timer(space: _Keyspace, run_id: str, status: str, fields: dict[str, bytes]) -> list[str]:
    due = int(fields["d"]) if "d" in fields else None
    limits = [int(fields[name]) for name in ("dl", "xp") if name in fields and (name == "dl" or "a" not in fields)]
    deadline = min(limits, default=None)
    score = space.sets.get("delayed", {}).get(run_id)
    if score != due:
        return [f"its timer is set to {score}, its own field says {due}"]
    if status in TERMINAL:
        return [] if due is None else [f"it is due at {due}"]
    unhurried = (
        *("pending", "running", "waiting:suspended", "waiting:overlap", "waiting:paused", "waiting:held"),
        "waiting:limited",
    )
    if status in unhurried:
        return [] if due == deadline else [f"it is due at {due}, its deadline is {deadline}"]
    if due is None and status in ("waiting:signal", "waiting:child"):
        return [] if deadline is None else [f"it is due never, its deadline is {deadline}"]
    if due is None or (deadline is not None and due > deadline):
        return [f"it waits until {due}, its deadline is {deadline}"]
    return []


def _audit_listings(space: _Keyspace, run_id: str, status: str, fields: dict[str, bytes]) -> list[str]:
    workflow = fields["w"].decode()
    wanted = {f"done:{workflow}:{status}": int(fields["t"])} if status in TERMINAL and "t" in fields else {}
    if status not in TERMINAL:
        wanted = {f"runs:{workflow}": int(fields["c"])}
    found = {
        name: members[run_id]
        for name, members in space.sets.items()
        if name.startswith(("runs:", "done:")) and run_id in members
    }
    problems = [] if found == wanted else [f"it is listed in {found} instead of {wanted}"]
    tags = {tag_listing(*tag) for tag in decode_tags(fields.get("tg", b"").decode()).items()}
    tagged = {name: of[run_id] for name, of in space.sets.items() if name.startswith("tag:") and run_id in of}
    if tagged != dict.fromkeys(tags, int(fields["c"])):
        problems.append(f"it is tagged in {tagged} instead of {tags}")
    stuck = [name for name, members in space.sets.items() if name.startswith("stuck:") and run_id in members]
    if stuck != ([f"stuck:{workflow}"] if status in ("waiting:stranded", "waiting:suspended") else []):
        problems.append(f"it is listed in {stuck}")
    held = [name for name, members in space.sets.items() if name.startswith("held:") and run_id in members]
    if held != ([f"held:{workflow}"] if status == "waiting:held" else []):
        problems.append(f"it is held in {held}")
    if ("pz" in fields) != (status == "waiting:paused"):
        problems.append(f"what it was before its pause is {fields.get('pz')!r}")
    return problems


def _audit_verdict(status: str, fields: dict[str, bytes]) -> list[str]:
    if "vd" not in fields:
        return []
    problems = [] if "cp" in fields else ["its verdict waits for nothing"]
    if status in TERMINAL or fields.keys() & {"dl", "ca"}:
        problems.append(f"its verdict is not carried out, and it has {sorted(fields)}")
    if not re.fullmatch(rb"(failed|canceled) [a-z]+ \d*", fields["vd"]):
        problems.append(f"its verdict is {fields['vd']!r}")
    return problems


def _audit_unique(space: _Keyspace, run_id: str, status: str, fields: dict[str, bytes]) -> list[str]:
    key = fields.get("uq", b"").decode()
    holds = space.uniques.get(key) == run_id
    if key and status not in TERMINAL and not holds:
        return [f"its unique key names {space.uniques.get(key)}"]
    return ["it has ended and holds its unique key"] if holds and status in TERMINAL else []


def _audit_signals(space: _Keyspace, run_id: str, status: str, fields: dict[str, bytes]) -> list[str]:
    """Registered is who says so himself; who has ended may stay until a broadcast meets him."""
    names = set(fields.get("sg", b"").decode().split())
    listed = {name[7:] for name, members in space.sets.items() if name.startswith("signal:") and run_id in members}
    if status in TERMINAL:
        return []
    return [] if names == listed else [f"it is registered for {listed}, its own field says {names}"]


def _audit_family(space: _Keyspace, run_id: str, status: str, fields: dict[str, bytes]) -> list[str]:
    """A run that ended has told its parent, and what it leaves behind will be looked after."""
    problems = []
    if space.mail.get(run_id) and max(space.mail[run_id]) > int(fields.get("m", 0)):
        problems.append(f"its mail has the numbers {space.mail[run_id]}, the last is {fields.get('m')!r}")
    if status not in TERMINAL:
        return problems
    if run_id in space.kids and {"do": "end_kids", "run": run_id} not in space.outbox:
        problems.append("it left children behind, and nobody is to look after them")
    parent = fields.get("pa", b"").decode()
    told = [post for post in space.outbox if post["do"] == "give_end" and post["child"] == run_id]
    if parent in space.runs and run_id in space.kids.get(parent, ()) and not told:
        problems.append(f"its end was not told to {parent}")
    return problems


def _is_known(post: dict[str, str]) -> bool:
    wanted = {
        "give_end": {"run", "child", "item"},
        "cancel": {"run"},
        "end_kids": {"run"},
        "broadcast": {"name", "hash", "item", "once", "ms", "until"},
        "ask_permit": {"run", "to", "hash", "permit", "priority", "created"},
        "give_permit": {"run", "home", "hash", "permit"},
        "hold_permit": {"run", "to", "hash", "permit"},
        "return_permit": {"run", "to", "hash", "permit"},
    }
    return post.keys() == {"do"} | wanted[post["do"]]
