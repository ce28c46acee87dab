"""The structural auditor: looks at every key of a namespace and says what does not belong, or does not agree.

It knows the layout from the outside (ARCHITECTURE.md) and shares no code with the scripts. Between two calls of a
quiet namespace everything that it checks must hold:

T1  pending: one stream entry that nobody has read; running: one pending entry of the group; waiting: a timer, a
    place among the stuck or behind another run of its schedule, as its reason says; terminal: none of them
T2  a run stands in exactly one listing, the one of its status
T3  no key without a run
T4  nothing that a run needs has a time to live
T5  the group's pending entries are entries of the stream
T6  a unique key names a run that has it and has not ended, and each such run has its key
T7  a run is registered for the signals that it says it waits for; one that has ended may still be
T8  children are told of: a parent that has ended and left some behind has an entry in the outbox, which is all of it
    that may be there
and a run's record has no gap, and is as long as its mark says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import redis

from redisflow.backend.connect import read_url
from redisflow.backend.memory import store_named

Raw = Callable[..., Any]
TERMINAL = {"succeeded", "failed", "canceled"}
STARTS = ("debounce:", "joined:", "throttle:")
SIGNALS = ("cast:", "kept:")
# Of the whole partition: they outlive runs, or are no run's.
SHARED = (
    "meta",
    "workers",
    "worker:",
    "workflows",
    "queues",
    "idem:",
    "turn:",
    "upkeep",
    "bell:",
    "alarm",
    "schedule",
    "control",
    "fork:",
    "lanes",
    "u:",
    *STARTS,
    *SIGNALS,
)
# These run out by themselves: nobody's run depends on them. What a rate has counted does, too, long after its period.
PASSING = ("idem:", "turn:", "fork:", "limit:", *STARTS, *SIGNALS)
# Slots, lines and windows of limits and fair keys: sorted sets of runs.
LINES = ("limit:", "blocked:", "fair:")


def raw_calls(url: str) -> tuple[Raw, Callable[[], None]]:
    """Bare commands to a server, past everything of ours; and what ends them."""
    target = read_url(url)
    if target.kind == "memory":
        store = store_named(target.name)
        return (lambda *command: store.run(command)), (lambda: None)
    client = redis.Redis.from_url(url, protocol=2)
    # No helpers that turn replies into something else: the same bytes from every kind of server.
    client.response_callbacks.clear()
    return client.execute_command, client.close


@dataclass
class Audit:
    """Of one partition."""

    raw: Raw
    prefix: str
    problems: list[str] = field(default_factory=list)
    _entries: dict[str, tuple[str, bool]] = field(default_factory=dict)
    """By "<queue>/<entry>": run id, and whether it is pending in the group."""

    def check(self) -> list[str]:
        """Everything that is wrong."""
        names = sorted(key.decode().removeprefix(self.prefix) for key in self.raw("KEYS", glob(self.prefix)))
        runs = {name[4:]: self._hash(name) for name in names if name.startswith("run:")}
        for name in names:
            self._check_key(name, runs)
        for name in names:
            if name.startswith("q:"):
                self._read_stream(name)
        delayed = self._scores("delayed")
        for run_id, run in runs.items():
            self._check_run(run_id, run, delayed)
            self._check_record(run_id, run)
        owned = {f"{run.get('q', 'default')}/{run['e']}" for run in runs.values() if "e" in run}
        self._expect(not self._entries.keys() - owned, f"entries of nobody: {self._entries.keys() - owned}")
        ours = {name for name in delayed if not name.startswith("line:")}
        self._expect(not ours - runs.keys(), f"timers of nobody: {ours - runs.keys()}")
        return self.problems

    def _expect(self, holds: object, problem: str) -> None:
        if not holds:
            self.problems.append(problem)

    def _hash(self, name: str) -> dict[str, str]:
        flat = self.raw("HGETALL", self.prefix + name)
        return {key.decode(): value.decode("latin-1") for key, value in zip(flat[::2], flat[1::2], strict=True)}

    def _scores(self, name: str) -> dict[str, float]:
        flat = self.raw("ZRANGE", self.prefix + name, 0, -1, "WITHSCORES")
        return {key.decode(): float(score) for key, score in zip(flat[::2], flat[1::2], strict=True)}

    def _check_key(self, name: str, runs: dict[str, dict[str, str]]) -> None:
        if not name.startswith(PASSING):
            self._expect(self.raw("TTL", self.prefix + name) == -1, f"{name} has a time to live")
        if name.startswith(("runs:", "done:", "stuck:", "held:", "tag:")):
            for run_id in self._scores(name):
                self._expect(run_id in runs, f"{name} lists {run_id}, which is not stored")
                self._expect(run_id not in runs or self._is_listed_in(runs[run_id], name), f"{name} lists {run_id}")
        elif name.startswith(("events:", "state:", "fx:")):
            self._expect(name.partition(":")[2] in runs, f"{name} is of a run that is not stored")
        elif name.startswith(("mail:", "kids:", "signal:", "outbox")):
            self._check_mail(name, runs)
        elif name.startswith("unique:"):
            holder = runs.get(self.raw("GET", self.prefix + name).decode(), {})
            mine = holder.get("uq") == name.removeprefix("unique:") and holder["s"] not in TERMINAL
            self._expect(mine, f"{name} is of a run that has ended or does not have it")
        elif name.startswith("queued:"):
            for item in self.raw("LRANGE", self.prefix + name, 0, -1):
                run = runs.get(item.decode(), {})
                # Those that ended while they waited are passed over later.
                self._expect(run.get("s") in TERMINAL | {"waiting:overlap"}, f"{name}: {item} is {run}")
        elif name.startswith(LINES):
            # What a run has used of a rate outlives it.
            permits = {holder for holder in self._scores(name) if "/" in holder}
            known = name.startswith("limit:") or self._scores(name).keys() - permits <= runs.keys()
            self._expect(known, f"{name} holds runs that are not stored")
        elif not name.startswith(("run:", "q:", "delayed", *SHARED)):
            self.problems.append(f"{name} is no key of the layout, or says that something was broken")

    def _check_mail(self, name: str, runs: dict[str, dict[str, str]]) -> None:
        """Mailboxes, children, those who wait for signals, and what is to be done elsewhere."""
        kind, _, run_id = name.partition(":")
        if kind == "outbox":
            unknown = {do for do, _ in self._posts()} - {"give_end", "cancel", "end_kids", "look_kids", "broadcast"}
            unknown -= {"ask_permit", "give_permit", "hold_permit", "return_permit"}
            self._expect(self._posts() and not unknown, f"the outbox is empty, or has {unknown}")
            return
        for owner in self._scores(name) if kind == "signal" else [run_id]:
            # The children of a deleted run are looked after by what was posted when it ended.
            is_left = kind == "kids" and ("end_kids", owner) in self._posts()
            self._expect(owner in runs or is_left, f"{name} is of run {owner}, which is not stored")
        if kind == "kids" and run_id in runs and runs[run_id]["s"] in TERMINAL:
            self._expect(("end_kids", run_id) in self._posts(), f"{name} is of a run that has ended")

    def _posts(self) -> list[tuple[str, str]]:
        """What is to be done, and the run that it is about."""
        found = []
        for _, flat in self.raw("XRANGE", f"{self.prefix}outbox", "-", "+"):
            post = {key.decode(): value.decode("latin-1") for key, value in zip(flat[::2], flat[1::2], strict=True)}
            found.append((post["do"], post.get("run", "")))
        return found

    def _is_listed_in(self, run: dict[str, str], name: str) -> bool:
        workflow, status = run["w"], run["s"]
        stuck = status in {"waiting:stranded", "waiting:suspended"}
        listed = {f"done:{workflow}:{status}"} if status in TERMINAL else {f"runs:{workflow}"}
        listed |= {f"tag:{tag}" for tag in run.get("tg", "").partition("\n")[0].split()}
        if status == "waiting:held":
            listed.add(f"held:{workflow}")
        return name in (listed | {f"stuck:{workflow}"} if stuck else listed)

    def _read_stream(self, name: str) -> None:
        _, queue, lane = name.split(":")
        key = self.prefix + name
        pending = self.raw("XPENDING", key, "workers", "-", "+", 100_000) if self.raw("XINFO", "GROUPS", key) else []
        pending_ids = {item[0] for item in pending}
        for entry, fields in self.raw("XRANGE", key, "-", "+"):
            where = f"{queue}/{lane}:{entry.decode()}"
            self._entries[where] = (fields[1].decode(), entry in pending_ids)
            pending_ids.discard(entry)
        self._expect(not pending_ids, f"pending in {name}, but not in the stream: {pending_ids}")

    def _check_run(self, run_id: str, run: dict[str, str], delayed: dict[str, float]) -> None:
        status, workflow = run["s"], run["w"]
        word, _, reason = status.partition(":")
        listing = f"done:{workflow}:{status}" if word in TERMINAL else f"runs:{workflow}"
        self._expect(self.raw("ZSCORE", self.prefix + listing, run_id), f"{run_id} ({status}) is not in {listing}")
        entry = self._entries.get(f"{run.get('q', 'default')}/{run['e']}") if "e" in run else None
        if word in {"pending", "running"}:
            self._expect(entry == (run_id, word == "running"), f"{run_id} is {status}, its entry is {entry}")
        else:
            # A run that has ended may remember its entry; what counts is that the stream has forgotten it.
            self._expect(entry is None, f"{run_id} is {status} and has an entry")
        if word == "waiting" and reason not in {"suspended", "signal", "child", "overlap", "limited", "paused", "held"}:
            self._expect("d" in run, f"{run_id} is {status} without a due time")
        if reason == "overlap":
            queue = self.raw("LRANGE", f"{self.prefix}queued:{run['sc']}", 0, -1)
            self._expect(queue.count(run_id.encode()) == 1, f"{run_id} is in the queue of its schedule: {queue}")
        if reason == "held":
            self._expect(self.raw("ZSCORE", f"{self.prefix}held:{workflow}", run_id), f"{run_id}: not among the held")
        is_spread = "@" in run.get("lk", "")
        if reason == "limited" and not (is_spread and "ls" not in run):
            self._expect(run_id in self._scores(f"blocked:{run['ls']}"), f"{run_id} waits in no line")
        for limit in (part.split(":") for part in ("" if is_spread else run.get("lk", "")).split()):
            holds = run_id in self._scores(f"limit:{limit[0]}")
            self._expect(
                word == "pending" or limit[2] != "0" or holds == (word == "running"), f"{run_id}: slot {limit}"
            )
        if reason in {"stranded", "suspended"}:
            self._expect(self.raw("ZSCORE", f"{self.prefix}stuck:{workflow}", run_id), f"{run_id}: not among the stuck")
        if word in TERMINAL:
            self._expect(not {"d", "p"} & run.keys(), f"{run_id} is {status} and keeps {sorted(run)}")
            self._expect("t" in run, f"{run_id} is {status} without its end")
        elif "uq" in run:
            holder = self.raw("GET", f"{self.prefix}unique:{run['uq']}")
            self._expect(holder == run_id.encode(), f"{run_id} is {status}, its unique key is {holder}'s")
        if word not in TERMINAL:
            for name in run.get("sg", "").split():
                registered = self.raw("ZSCORE", f"{self.prefix}signal:{name}", run_id)
                self._expect(registered, f"{run_id} is not registered for {name}")
        due = float(run["d"]) if "d" in run else None
        self._expect(delayed.get(run_id) == due, f"{run_id} is due at {due}, its timer at {delayed.get(run_id)}")

    def _check_record(self, run_id: str, run: dict[str, str]) -> None:
        records, _, size = run["h"].partition(":")
        numbers = {int(name) for name in run if name.isdigit()}
        self._expect(numbers == set(range(int(records))), f"{run_id}: records {sorted(numbers)}, its mark {run['h']}")
        length = len(run["i"]) + sum(len(run[str(number)]) for number in numbers)
        self._expect(length == int(size), f"{run_id}: input and records have {length} bytes, its mark is {run['h']}")


def glob(prefix: str) -> str:
    """A pattern for KEYS: braces are plain there, brackets are not in our names."""
    return f"{prefix}*"


def audit(raw: Raw, namespace: str, partitions: int = 1) -> list[str]:
    """What is wrong in a namespace."""
    found: list[str] = []
    for partition in range(partitions):
        found += Audit(raw, f"rf:{{{namespace}:{partition}}}:").check()
    return found


def leftovers(raw: Raw, namespace: str, partitions: int = 1) -> list[str]:
    """What must not be left once every run has ended: entries, pending entries, timers."""
    found: list[str] = []
    for partition in range(partitions):
        prefix = f"rf:{{{namespace}:{partition}}}:"
        for key in raw("KEYS", glob(f"{prefix}q:")):
            if raw("XLEN", key):
                found.append(f"{key.decode()} has {raw('XLEN', key)} entries")
            if raw("XINFO", "GROUPS", key) and raw("XPENDING", key, "workers")[0]:
                found.append(f"{key.decode()} has pending entries")
        lines = (key for name in ("blocked:", "fair:") for key in raw("KEYS", glob(f"{prefix}{name}")))
        found += [f"{key.decode()} has members" for key in lines]
        if raw("EXISTS", f"{prefix}outbox"):
            found.append(f"{prefix}outbox has {raw('XLEN', f'{prefix}outbox')} entries")
        if raw("ZCARD", f"{prefix}delayed"):
            found.append(f"{prefix}delayed has {raw('ZCARD', f'{prefix}delayed')} members")
    return found
