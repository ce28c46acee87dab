"""The scripts alone, at an instant that the test chooses, and the structure that each of them must leave.

`Lua` sends scripts as the backend does, but for one partition and one server, and raw: replies are words and bytes.
`audit` gives the whole keyspace to the checker.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from redisflow.structure import check_keys, check_rates, check_runs
from tests.keyspace import read_partition

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

    def reconcile(self, workflow: str = "order", before: int = -1, step: int = 100) -> tuple[int, int]:
        """One step of rebuilding hints: how many were looked at, and how many repaired."""
        _, _, seen, repaired = self.call("reconcile_runs", workflow=workflow, before=before, step=step)
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


def audit(lua: Lua) -> None:
    """Fail where anything in the partition is not what the run hashes say, or a key is elsewhere."""
    strangers = [key.decode() for key in lua.redis.keys("*") if not key.startswith(PREFIX.encode())]
    assert not strangers, f"keys outside the partition: {strangers}"
    space = read_partition(lua.redis.execute_command, PREFIX)
    # What a test breaks on purpose is noted there.
    names = [name for name in space.kinds if name != "broken"]
    found = [*check_keys(space, names), *check_runs(space, space.runs), *check_rates(space)]
    assert not found, "the keyspace is not what the runs say:\n" + "\n".join(sorted(map(str, found)))
    # A worker that was interrupted gives a token back, beside another that came meanwhile; scripts give one.
    tokens = {name: space.size(name) for name in space.kinds if name.startswith(("bell:", "alarm"))}
    assert all(count == 1 for count in tokens.values()), f"bells hold {tokens}"
