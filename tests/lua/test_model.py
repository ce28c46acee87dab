"""Random sequences of every call, on a small model of what each must answer and leave.

The model knows no keys: it holds what a run is (status, fence, record, times) and derives the answer to each call. Any
call may be sent twice, and holders that lost their run go on calling. The structure is audited after each step.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from tests.lua.harness import PREFIX, T0, TERMINAL, Held, Lua, audit, held_of, new_run, shelved, started

EXAMPLES = int(os.environ.get("REDISFLOW_MODEL_EXAMPLES", "40"))
NAMES = ("a", "b", "c")
WORKERS = ("w1", "w2")
CRASH_LIMIT = 3
FIRST_MS, LAST_MS = 1_000, 3_000


@dataclass
class Run:
    """A run as the promises describe it."""

    status: str
    deadline: int | None
    due: int | None
    fence: str = ""
    claims: int = 0
    records: list[bytes] = field(default_factory=list)
    crashes: int = 0
    strandings: int = 0
    lane: str = "0"
    expired: bool = False
    owner: str = ""
    cause: str | None = None
    outcome: bytes | None = None
    expires: int | None = None
    available: int | None = None
    unique: bool = False
    compensable: bool = False
    verdict: tuple[str, str] | None = None
    """Status and cause, while its compensations run."""
    input: bytes = b"in"
    paused: tuple[str, int | None] = ("", None)
    """What it was before it was paused, and the due time of its own wait."""
    retries: int = 0

    @property
    def ended(self) -> bool:
        return self.status in TERMINAL

    @property
    def mark(self) -> str:
        return f"{len(self.records)}:{len(self.input) + sum(map(len, self.records))}"

    @property
    def limit(self) -> int | None:
        """When somebody else than its holder ends it: its deadline, and until its first claim its start-by time."""
        limits = (self.deadline, None if self.claims else self.expires)
        return min((at for at in limits if at is not None), default=None)

    def end(self, status: str, cause: str | None = None) -> None:
        if cause:
            self.fence = f"{self.claims}:-"
        self.status, self.cause, self.due = status, cause, None

    def give_back(self, fence: str) -> None:
        self.status, self.fence, self.due, self.lane, self.expired = "pending", fence, self.limit, "w", False


class Model(RuleBasedStateMachine):
    """The scripts beside the model."""

    def __init__(self, lua: Lua) -> None:
        super().__init__()
        lua.redis.flushall()
        self.lua = lua
        self.runs: dict[str, Run] = {}
        self.queues: dict[str, list[str]] = {"w": [], "0": []}
        self.holds: list[Held] = []
        self.claimed: dict[str, tuple[str, list[str]]] = {}
        self.alive: dict[str, int] = {}
        self.caller: Held | None = None
        """Who makes the next call of a holder, where that is no matter of chance."""
        self.joined: dict[str, list[str]] = {}
        """What starts were answered that only put another run off."""
        self.debounced: tuple[str, int] | None = None
        """The run that waited last for starts of the key to cease, and until when it could be put off."""
        lua.at(T0)

    # -- what the model says ----------------------------------------------------------------------------------------

    def enter(self, name: str) -> None:
        self.queues[self.runs[name].lane].append(name)

    def leave(self, name: str) -> None:
        for queue in self.queues.values():
            if name in queue:
                queue.remove(name)

    def end(self, name: str, status: str, cause: str | None = None) -> None:
        run = self.runs[name]
        if cause in ("canceled", "deadline", "replaced") and run.compensable:
            run.unique = run.unique and cause != "replaced"
            if run.verdict is None:
                self.leave(name)
                run.verdict, run.deadline, run.strandings = (status, cause), None, 0
                run.give_back(f"{run.claims}:-")
                self.enter(name)
            return
        self.leave(name)
        run.end(status, cause)

    def wake_due(self) -> None:
        due = [(run.due, name) for name, run in self.runs.items() if run.due is not None and run.due <= self.lua.now]
        for _, name in sorted(due):
            run = self.runs[name]
            if run.limit is None or run.limit > self.lua.now:
                self.awake(name)
            elif run.limit == run.deadline and (run.claims or run.deadline != run.expires):
                self.end(name, "failed", "deadline")
            else:
                self.end(name, "canceled", "expired")

    def awake(self, name: str) -> None:
        run = self.runs[name]
        run.lane = "0" if run.status == "waiting:start" else "w"
        run.status, run.due = "pending", run.limit
        self.enter(name)

    def opening(self, held: Held, before: str, after: str) -> str:
        """The word of commit, park and finish before they do what they are for."""
        run = self.runs[held.run_id]
        if run.fence != held.fence:
            return "ended" if run.ended else "fenced"
        if run.status != "running" or run.mark != before:
            return "repeat" if run.mark == after else "behind"
        if run.deadline is not None and run.deadline <= self.lua.now:
            self.end(held.run_id, "failed", "deadline")
            return "ended" if run.ended else "fenced"
        return "ok"

    def giving_back(self, held: Held) -> str:
        """The word of release and shelve."""
        run = self.runs[held.run_id]
        if run.fence == held.fence + "-":
            return "repeat"
        if run.fence != held.fence:
            return "ended" if run.ended else "fenced"
        return "ok" if run.status == "running" else "fenced"

    # -- sending ----------------------------------------------------------------------------------------------------

    def send(self, twice: bool, script: str, tail: Any = (), /, **arguments: Any) -> list[Any]:
        call: Callable[..., list[Any]] = self.lua.twice if twice else self.lua.call
        return call(script, tail, **arguments)

    def check(self) -> None:
        audit(self.lua)
        for name, run in self.runs.items():
            fields = self.lua.fields(name)
            stored = (fields["s"].decode(), fields.get("f", b"").decode(), self.lua.records(name))
            assert stored == (run.status, run.fence, run.records), name
            assert int(fields.get("x", 0)) == run.crashes, name
            assert (self.lua.due(name), fields.get("ca", b"").decode() or None) == (run.due, run.cause), name
            assert (fields["i"], fields["h"].decode()) == (run.input, run.mark), name
            verdict = fields["vd"].decode().split(" ")[:2] if "vd" in fields else None
            assert (None if run.ended or run.verdict is None else [*run.verdict]) == verdict, name
        assert {lane: self.lua.entries(lane) for lane in ("w", "0")} == {
            lane: [*(n for n in self.in_hand(lane)), *queue] for lane, queue in self.queues.items()
        }

    def in_hand(self, lane: str) -> list[str]:
        """Running runs keep their entry, before those that nobody has read."""
        held = {name for name, run in self.runs.items() if run.status == "running" and run.lane == lane}
        return [name for name in self.lua.entries(lane) if name in held]

    # -- calls ------------------------------------------------------------------------------------------------------

    @initialize(held=st.integers(0, len(NAMES)), deadline=st.sampled_from([None, 700]))
    def start(self, held: int, deadline: int | None) -> None:
        """Some runs are held from the beginning: what holders and those before them call is the most of it."""
        for name in NAMES[:held]:
            self.create(name, 0, deadline, None, twice=False)
        self.claim("w1", 3, repeat=False, twice=False, stray=None)

    @rule(
        name=st.sampled_from(NAMES),
        wait=st.sampled_from([0, 0, 500]),
        deadline=st.sampled_from([None, None, 700, 5_000]),
        expires=st.sampled_from([None, None, 400, 700]),
        twice=st.booleans(),
    )
    def create(self, name: str, wait: int, deadline: int | None, expires: int | None, twice: bool) -> None:
        changes = {"available": f"+{wait}" if wait else "", "deadline": f"+{deadline}" if deadline else ""}
        fields = ["xp", f"+{expires}"] if expires else []
        reply = self.send(twice, "create_run", fields, **new_run(name, **changes))
        assert reply == ["created"]
        if name not in self.runs:
            self.make(name, wait, deadline, expires)
        self.check()

    @rule(
        name=st.sampled_from(NAMES),
        on_conflict=st.sampled_from(["existing", "reject", "cancel_older"]),
        deadline=st.sampled_from([None, 700]),
        twice=st.booleans(),
    )
    def start_unique(self, name: str, on_conflict: str, deadline: int | None, twice: bool) -> None:
        demands = started(("unique", "k", on_conflict))
        row = new_run(name, deadline=f"+{deadline}" if deadline else "")
        reply = self.start_run(twice, demands, row)
        active = next((other for other, run in self.runs.items() if run.unique and not run.ended), None)
        if (known := self.known(name)) is not None:
            assert reply == known
        elif active is not None and on_conflict != "cancel_older":
            assert reply == ["existing" if on_conflict == "existing" else "active", active]
        else:
            assert reply == ["created", name, ""]
            if active is not None:
                self.end(active, "canceled", "replaced")
            self.make(name, 0, deadline, None).unique = True
        self.check()

    @rule(name=st.sampled_from(NAMES), twice=st.booleans(), size=st.integers(1, 5))
    def start_debounced(self, name: str, twice: bool, size: int) -> None:
        demands = started(("debounce", "k", 500, 800))
        reply = self.start_run(twice, demands, new_run(name, input=b"x" * size))
        waiting, last = self.debounced or ("", 0)
        run = self.runs.get(waiting)
        if (known := self.known(name)) is not None:
            assert reply == known
        elif run is not None and run.status == "waiting:start" and (run.available or 0) > self.lua.now:
            due = min(self.lua.now + 500, last)
            assert reply == ["debounced", waiting, str(due)]
            self.joined[name] = reply
            run.available, run.input = due, b"x" * size
            run.due = min(at for at in (due, run.limit) if at is not None)
        else:
            assert reply == ["created", name, str(self.lua.now + 500)]
            self.make(name, 500, None, None).input = b"x" * size
            self.debounced = (name, self.lua.now + 800)
        self.check()

    def start_run(self, twice: bool, demands: tuple[list[Any], list[Any]], row: dict[str, Any]) -> list[str]:
        call = self.lua.twice if twice else self.lua.call
        return [part.decode() if isinstance(part, bytes) else part for part in call("start_runs", *demands, **row)]

    def known(self, name: str) -> list[str] | None:
        """What a start was answered that was made before."""
        if name in self.runs:
            available = self.runs[name].available
            return ["created", name, "" if available is None else str(available)]
        return self.joined.get(name)

    def make(self, name: str, wait: int, deadline: int | None, expires: int | None) -> Run:
        start, last, by = (self.lua.now + ms if ms else None for ms in (wait, deadline, expires))
        due = min((at for at in (start, last, by) if at is not None), default=None)
        run = Run("waiting:start" if wait else "pending", last, due, expires=by, available=start)
        self.runs[name] = run
        if not wait:
            self.enter(name)
        return run

    @rule(
        worker=st.sampled_from(WORKERS),
        limit=st.integers(1, 3),
        repeat=st.booleans(),
        twice=st.booleans(),
        stray=st.sampled_from([None, *NAMES]),
    )
    def claim(self, worker: str, limit: int, repeat: bool, twice: bool, stray: str | None) -> None:
        operation, earlier = self.claimed.get(worker, ("", []))
        if repeat and operation:
            expected = [name for name in earlier if self.runs[name].fence.endswith(f":{operation}")]
            expected = [name for name in expected if self.runs[name].status == "running"]
        else:
            self.lua.operations += 1
            operation = f"op{self.lua.operations}"
            self.wake_due()
            offered: list[str | None] = [*self.queues["w"]]
            if stray in self.runs and len(offered) < limit:
                # An entry that is not the run's own, as hints that were rebuilt leave them: it is dropped.
                self.lua.redis.xadd(f"{PREFIX}q:default:w", {"r": stray})
                offered.append(None)
            expected = [name for name in [*offered, *self.queues["0"]][:limit] if name is not None]
            for name in expected:
                run = self.runs[name]
                run.claims += 1
                run.due = run.limit
                self.leave(name)
                run.status, run.fence, run.owner = "running", f"{run.claims}:{operation}", worker
            if expected:
                self.claimed[worker] = (operation, expected)
        arguments = {"worker": worker, "operation": operation, "limit": limit}
        # A claim that found nothing reads again, and the server notes when a consumer last asked.
        twice = twice and bool(expected)
        reply = self.send(twice, "claim_runs", ["default"], **arguments, run_bytes=9_999, all_bytes=9_999)
        claims = [held_of(worker, item, operation, reply[1]) for item in reply[4:]]
        assert [held.run_id for held in claims] == expected
        assert [held.fence for held in claims] == [self.runs[name].fence for name in expected]
        assert [held.mark for held in claims] == [self.runs[name].mark for name in expected]
        assert reply[3] == 0
        self.holds = [*self.holds, *claims][-8:]
        self.check()

    @precondition(lambda self: self.holds)
    @rule(
        data=st.data(),
        size=st.integers(0, 2),
        twice=st.booleans(),
        forget=st.booleans(),
        renew=st.booleans(),
        compensable=st.booleans(),
    )
    def commit(self, data: st.DataObject, size: int, twice: bool, forget: bool, renew: bool, compensable: bool) -> None:
        held, records = self.holder(data, size)
        shown = held.shown(*records)
        word = self.opening(held, shown["before"], shown["after"])
        if word == "ok":
            run = self.runs[held.run_id]
            run.records += records
            run.crashes = 0 if forget else run.crashes
            run.compensable = run.compensable or compensable
            run.expired = run.expired and not renew
        more = {"renew": held.worker if renew else "", "forget": "crashes" if forget else "", "seen": ""}
        effects = ["compensable"] if compensable else []
        # Sent again it would renew again, and a lease is the one thing that may change then.
        call = self.lua.twice if twice and not renew else self.lua.call
        said = call("commit_run", records, effects, **shown, **more)[0]
        assert said == {"repeat": "ok"}.get(word, word)
        if word == "ok":
            held.mark = shown["after"]
        self.check()

    @precondition(lambda self: self.holds)
    @rule(data=st.data(), size=st.integers(0, 1), wait=st.sampled_from([-5, 300, 900]), twice=st.booleans())
    def park(self, data: st.DataObject, size: int, wait: int, twice: bool) -> None:
        held, records = self.holder(data, size)
        shown = held.shown(*records)
        word = self.opening(held, shown["before"], shown["after"])
        run = self.runs[held.run_id]
        # A holder whose record stands already, and who still has the run, was told of mail the first time.
        repeated = "mail" if run.status == "running" else "ok"
        if word == "ok":
            run.records += records
            run.crashes = run.strandings = 0
            run.status, run.expired = "waiting:timer", False
            run.due = min(at for at in (self.lua.now + wait, run.deadline) if at is not None)
        due = self.lua.now + wait
        said = self.send(twice, "park_run", records, **shown, reason="timer", due=due, seen="", wants="")[0]
        assert said == {"repeat": repeated}.get(word, word)
        self.check()

    @precondition(lambda self: self.holds)
    @rule(data=st.data(), size=st.integers(0, 1), status=st.sampled_from(["succeeded", "failed"]), twice=st.booleans())
    def finish(self, data: st.DataObject, size: int, status: str, twice: bool) -> None:
        held, records = self.holder(data, size)
        shown = held.shown(*records)
        word = self.opening(held, shown["before"], shown["after"])
        run = self.runs[held.run_id]
        if word == "repeat":
            word = "ok" if run.ended else "behind"
        elif word == "ok":
            run.records += records
            status, run.cause = run.verdict or (status, None)
            self.leave(held.run_id)
            run.status, run.due = status, None
        arguments = {**shown, "status": status, "payload": status.encode()}
        effects = ["release", "k"] if run.unique else []
        effects += ["verdict", run.verdict[1]] if run.verdict else []
        call = self.lua.twice if twice else self.lua.call
        assert call("finish_run", records, effects, **arguments)[0] == word
        self.check()

    @precondition(lambda self: self.holds)
    @rule(data=st.data(), twice=st.booleans())
    def release(self, data: st.DataObject, twice: bool) -> None:
        held, _ = self.holder(data, 0)
        word = self.giving_back(held)
        if word == "ok":
            self.runs[held.run_id].give_back(held.fence + "-")
            self.enter(held.run_id)
        mine = {"run_id": held.run_id, "fence": held.fence, "entry": held.entry}
        assert self.send(twice, "release_run", **mine)[0] == {"repeat": "ok"}.get(word, word)
        self.check()

    @precondition(lambda self: self.holds)
    @rule(data=st.data(), reason=st.sampled_from(["stranded", "suspended"]), twice=st.booleans())
    def shelve(self, data: st.DataObject, reason: str, twice: bool) -> None:
        held, _ = self.holder(data, 0)
        word = self.giving_back(held)
        if word == "ok":
            run = self.runs[held.run_id]
            offered = self.lua.now + min(LAST_MS, FIRST_MS * 2**run.strandings)
            run.strandings += 1
            run.due = min(offered, run.deadline) if run.deadline is not None else offered
            run.status, run.fence, run.expired = f"waiting:{reason}", held.fence + "-", False
        changes = {"first_ms": FIRST_MS, "last_ms": LAST_MS, "problem": b"why" if reason == "suspended" else b""}
        said = self.send(twice, "shelve_run", **shelved(held, reason, **changes))[0]
        assert said == {"repeat": "ok"}.get(word, word)
        self.check()

    @precondition(lambda self: self.holds)
    @rule(data=st.data())
    def heartbeat(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from(WORKERS))
        mine = [held for held in self.holds if held.worker == worker]
        lost = [held.run_id for held in mine if self.runs[held.run_id].fence != held.fence or not self.is_running(held)]
        assert self.lua.renew(*mine, worker=worker, presence_ms=1_000) == lost
        self.alive[worker] = self.lua.now + 1_000
        for held in mine:
            run = self.runs[held.run_id]
            run.expired = run.expired and run.fence != held.fence
        self.check()

    @precondition(lambda self: self.holds)
    @rule(data=st.data())
    def note(self, data: st.DataObject) -> None:
        held, _ = self.holder(data, 0)
        mine = self.runs[held.run_id].fence == held.fence and self.is_running(held)
        assert self.lua.note(held) == ("ok" if mine else "fenced")
        self.check()

    @rule(name=st.sampled_from(NAMES), twice=st.booleans())
    def cancel(self, name: str, twice: bool) -> None:
        run = self.runs.get(name)
        if run is None:
            expected = ["missing"]
        elif run.ended:
            expected = ["canceled"] if run.status == "canceled" else ["already", run.status]
        elif run.verdict is not None and run.verdict[0] == "failed":
            expected = ["already", "failed"]
        elif run.compensable:
            expected = ["canceling"]
            self.end(name, "canceled", "canceled")
        else:
            expected = ["canceled"]
            self.end(name, "canceled", "canceled")
        reply = self.send(twice, "cancel_run", run_id=name)
        assert [part.decode() if isinstance(part, bytes) else part for part in reply] == expected
        self.check()

    @precondition(lambda self: self.has_unique_in_hand() and any(name not in self.runs for name in NAMES))
    @rule(data=st.data(), twice=st.booleans())
    def cancel_and_replace(self, data: st.DataObject, twice: bool) -> None:
        """One that is being undone is replaced: its verdict is fixed, and its key is another's."""
        self.caller = next(held for held in self.holds if self.holds_it(held) and self.runs[held.run_id].unique)
        self.commit(data, 1, twice, forget=False, renew=False, compensable=True)
        self.cancel(self.caller.run_id, twice)
        self.caller = None
        name = next(name for name in NAMES if name not in self.runs)
        self.start_unique(name, "cancel_older", None, twice)

    @rule(name=st.sampled_from(NAMES), twice=st.booleans())
    def pause(self, name: str, twice: bool) -> None:
        run = self.runs.get(name)
        expected = ["missing"] if run is None else ["already", run.status] if run.ended else ["paused"]
        if run is not None and not run.ended and run.status != "waiting:paused":
            self.leave(name)
            run.paused = run.status, None if run.due == run.limit else run.due
            run.status, run.fence, run.due, run.expired = "waiting:paused", f"{run.claims}:-", run.limit, False
        assert words(self.send(twice, "pause_run", run_id=name)) == expected
        self.check()

    @rule(name=st.sampled_from(NAMES), twice=st.booleans())
    def resume(self, name: str, twice: bool) -> None:
        run = self.runs.get(name)
        if run is not None and run.status == "waiting:paused":
            was, due = run.paused
            if due is not None and due > self.lua.now and was not in {"waiting:stranded", "waiting:suspended"}:
                run.status, run.due = was, due if run.limit is None else min(due, run.limit)
            else:
                run.give_back(run.fence)
                self.enter(name)
        expected = ["missing"] if run is None else ["already" if run.ended else "resumed", run.status]
        assert words(self.send(twice, "resume_run", run_id=name)) == expected
        self.check()

    @rule(name=st.sampled_from(NAMES), fresh=st.booleans(), moot=st.integers(0, 1), twice=st.booleans())
    def retry(self, name: str, fresh: bool, moot: int, twice: bool) -> None:
        run = self.runs.get(name, Run("missing", None, None))
        deadline = self.lua.now + 700 if fresh else run.deadline
        before, records = run.mark, [b"m"] * moot
        after = f"{len(run.records) + moot}:{int(before.partition(':')[2]) + moot}"
        expected, count = ["already", run.status], run.retries + 1
        active = next((other for other, one in self.runs.items() if one.unique and not one.ended), None)
        if run.status == "missing":
            expected = ["missing"]
        elif run.status == "failed" and run.unique and active is not None:
            expected = ["taken", active]
        elif run.status == "failed" and deadline is not None and deadline <= self.lua.now:
            expected = ["late"]
        elif run.status == "failed":
            expected = ["retried"]
            run.records += records
            run.expires = None
            run.deadline, run.cause, run.crashes, run.strandings, run.retries = deadline, None, 0, 0, count
            run.give_back(f"{run.claims}:-")
            self.enter(name)
        arguments = {"run_id": name, "retry": count, "before": before, "after": after}
        reply = self.send(twice, "retry_run", records, **arguments, deadline="+700" if fresh else "")
        assert words(reply) == expected
        self.check()

    @rule(ms=st.sampled_from([1, 299, 300, 700, 2_000]))
    def later(self, ms: int) -> None:
        self.lua.later(ms)

    @rule()
    def wake(self) -> None:
        count = sum(run.due is not None and run.due <= self.lua.now for run in self.runs.values())
        self.wake_due()
        dues = [run.due for run in self.runs.values() if run.due is not None]
        assert self.lua.wake() == (count, min(dues) - self.lua.now if dues else -1)
        self.check()

    @rule()
    def wake_stuck(self) -> None:
        stuck = [name for name in self.lua.listed("stuck:order") if self.runs[name].status.startswith("waiting:s")]
        for name in stuck:
            self.awake(name)
        assert self.lua.wake_stuck() == (len(stuck), self.lua.now)
        self.check()

    @precondition(lambda self: self.holds)
    @rule(data=st.data())
    def expire(self, data: st.DataObject) -> None:
        held, _ = self.holder(data, 0)
        run = self.runs[held.run_id]
        if run.fence == held.fence and self.is_running(held):
            self.lua.expire(held)
            run.expired = True

    @rule(lane=st.sampled_from(["w", "0"]))
    def reclaim(self, lane: str) -> None:
        counts = {"reclaimed": 0, "poisoned": 0}
        for name in self.in_hand(lane):
            run = self.runs[name]
            if not run.expired:
                continue
            crashed = self.alive.get(run.owner, 0) <= self.lua.now
            run.crashes += crashed
            if crashed and run.crashes >= CRASH_LIMIT:
                counts["poisoned"] += 1
                self.end(name, "failed", "poisoned")
                run.expired = False
            else:
                counts["reclaimed"] += 1
                run.give_back(f"{run.claims}:-")
                self.enter(name)
        assert self.lua.reclaim(lane, crash_limit=CRASH_LIMIT) == ["end", *counts.values(), 0]
        self.check()

    @precondition(lambda self: any(self.holds_it(held) for held in self.holds))
    @rule(data=st.data(), worker=st.sampled_from(WORKERS))
    def change_hands(self, data: st.DataObject, worker: str) -> None:
        """What one holder loses another has at once: calls of the first are what fences are for."""
        held = data.draw(st.sampled_from([held for held in self.holds if self.holds_it(held)]), label="loser")
        self.lua.expire(held)
        self.runs[held.run_id].expired = True
        for lane in ("w", "0"):
            self.reclaim(lane)
        self.claim(worker, 3, repeat=False, twice=False, stray=None)

    @precondition(lambda self: self.may_be_late())
    @rule(data=st.data(), worker=st.sampled_from(WORKERS))
    def claim_late(self, data: st.DataObject, worker: str) -> None:
        """The timer of a run was lost, and its deadline passes before it is claimed."""
        name = data.draw(st.sampled_from(self.may_be_late()), label="late")
        self.lua.later(max(0, (self.runs[name].deadline or 0) - self.lua.now))
        self.lua.redis.zrem(f"{PREFIX}delayed", name)
        self.claim(worker, 100, repeat=False, twice=False, stray=None)

    @precondition(lambda self: self.held_until_a_deadline())
    @rule(data=st.data(), call=st.sampled_from(["commit", "park", "finish"]), twice=st.booleans())
    def call_late(self, data: st.DataObject, call: str, twice: bool) -> None:
        """A holder calls when its deadline has passed, before any timer has said so."""
        self.caller = data.draw(st.sampled_from(self.held_until_a_deadline()), label="late holder")
        self.lua.later(max(0, (self.runs[self.caller.run_id].deadline or 0) - self.lua.now))
        if call == "commit":
            self.commit(data, 1, twice, forget=False, renew=False, compensable=False)
        elif call == "park":
            self.park(data, 1, 300, twice)
        else:
            self.finish(data, 0, "succeeded", twice)
        self.caller = None

    @precondition(lambda self: self.runs and not self.queues["w"])
    @rule(data=st.data())
    def read_by_a_stranger(self, data: st.DataObject) -> None:
        """An entry that is not the run's own has been read by something that is no claim, and is let lie."""
        name = data.draw(st.sampled_from(sorted(self.runs)), label="name")
        stream = f"{PREFIX}q:default:w"
        entry = self.lua.redis.xadd(stream, {"r": name})
        if not any(group["name"] == b"workers" for group in self.lua.redis.xinfo_groups(stream)):
            self.lua.redis.xgroup_create(stream, "workers", "0")
        self.lua.redis.xreadgroup("workers", "stranger", {stream: ">"})
        self.lua.redis.xclaim(stream, "workers", "stranger", 0, [entry], idle=10**9, justid=True)
        self.reclaim("w")

    @rule(lane=st.sampled_from(["w", "0"]))
    def sweep(self, lane: str) -> None:
        assert self.lua.call("sweep_workers", queue="default", lane=lane)[0] == "ok"
        for worker in WORKERS:
            # One that never said that it lives, and holds nothing: its last claim is not known any more.
            if not self.lua.redis.exists(f"{PREFIX}worker:{worker}"):
                self.claimed.pop(worker, None)
        self.check()

    @rule(loss=st.sampled_from(["nothing", "nothing", "delayed", "stuck:order", "bell:default", "alarm"]))
    def reconcile(self, loss: str) -> None:
        unfinished = {name: run for name, run in self.runs.items() if not run.ended}
        lost = {
            "delayed": [name for name, run in unfinished.items() if run.due is not None],
            "stuck:order": [name for name, run in unfinished.items() if run.status.startswith("waiting:su")]
            + [name for name, run in unfinished.items() if run.status == "waiting:stranded"],
        }.get(loss, [])
        if loss != "nothing":
            self.lua.delete(loss)
        before = self.lua.dump()
        assert self.lua.reconcile() == (len(unfinished), len(lost))
        if not lost:
            assert self.lua.dump() == before
        self.check()

    @precondition(lambda self: any(not run.ended for run in self.runs.values()))
    @rule(data=st.data())
    def lose_an_entry(self, data: st.DataObject) -> None:
        alive = [name for name, run in self.runs.items() if run.status in ("pending", "running")]
        if not alive:
            return
        name = data.draw(st.sampled_from(sorted(alive)))
        run = self.runs[name]
        lane, entry = self.lua.fields(name)["e"].decode().split(":")
        self.lua.redis.xdel(f"{PREFIX}q:default:{lane}", entry)
        self.leave(name)
        run.give_back(f"{run.claims}:-")
        self.enter(name)
        assert self.lua.reconcile()[1] == 1
        self.check()

    # -- parts ------------------------------------------------------------------------------------------------------

    def may_be_late(self) -> list[str]:
        """Runs that a claim which finds them late ends; one with compensations it gives back, for a later claim."""
        pending = {name: run for name, run in self.runs.items() if run.status == "pending"}
        return sorted(name for name, run in pending.items() if run.deadline and not run.compensable)

    def is_running(self, held: Held) -> bool:
        return self.runs[held.run_id].status == "running"

    def has_unique_in_hand(self) -> bool:
        return any(self.holds_it(held) and self.runs[held.run_id].unique for held in self.holds)

    def held_until_a_deadline(self) -> list[Held]:
        return [held for held in self.holds if self.holds_it(held) and self.runs[held.run_id].deadline]

    def holds_it(self, held: Held) -> bool:
        return self.is_running(held) and self.runs[held.run_id].fence == held.fence

    def holder(self, data: st.DataObject, size: int) -> tuple[Held, list[bytes]]:
        """One that holds a run or held it once, sometimes with a mark or a fence that it never had."""
        if self.caller is not None:
            return self.caller, [b"r"] * size
        held = data.draw(st.sampled_from(self.holds), label="holder")
        wrong = data.draw(st.sampled_from(["", "", "", "", "mark", "fence"]), label="wrong")
        if wrong == "mark":
            held = Held(**{**held.__dict__, "mark": data.draw(st.sampled_from(["0:2", "1:3", "7:9"]))})
        elif wrong == "fence":
            held = Held(**{**held.__dict__, "fence": held.fence.partition(":")[0] + ":forged"})
        return held, [b"r"] * size


def words(reply: list[Any]) -> list[Any]:
    """A reply as text."""
    return [part.decode() if isinstance(part, bytes) else part for part in reply]


def test_random_sequences_of_calls_do_what_the_model_says(lua: Lua) -> None:
    run_state_machine_as_test(
        lambda: Model(lua),  # type: ignore[arg-type]  # it takes a factory as well
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=40,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
