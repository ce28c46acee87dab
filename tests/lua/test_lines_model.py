"""S18 under random calls of several workers: whatever happens, in whichever order and sent again, no limit is exceeded,
nobody waits where there is room, and in the end every run has ended.

The audit after each script compares running runs, slots, lines and timers (redisflow/structure/lines.py).
"""

from __future__ import annotations

import random
from typing import Any

import pytest

from redisflow.structure.snapshot import parse_limits
from tests.lua.harness import T0, Held, Lua, audit, held_of, new_run, shelved

WORKERS = ("w1", "w2", "w3")
LIMITS = ("aa:2:0", "bb:1:0", "cc:2:300", "dd:1:50", "aa:2:0 bb:1:0", "bb:1:0 aa:2:0", "aa:2:0 cc:2:300", "")
LANES = "w0159"


class Storm:
    """Random calls, one after the other."""

    def __init__(self, lua: Lua, seed: int) -> None:
        self.lua = lua
        self.chance = random.Random(seed)
        self.created = 0
        self.holds: list[Held] = []
        self.began: dict[tuple[str, int, int], dict[tuple[str, bytes], int]] = {}
        """Under each rate, when each life of a run began."""
        self.limits: tuple[str, ...] = LIMITS
        lua.at(T0 + seed)

    def calls(self) -> dict[Any, float]:
        """What may happen, and how often."""
        return {
            self.create: 6,
            self.claim: 8,
            self.finish: 5,
            self.park: 3,
            self.give_back: 2,
            self.go_on_as_new: 4,
            self.cancel: 1,
            self.wake: 2,
            self.kill: 1,
            self.lose: 0.2,
        }

    def step(self) -> None:
        calls = self.calls()
        self.lua.later(self.chance.choice([0, 1, 7, 50]))
        self.chance.choices(list(calls), list(calls.values()))[0]()
        audit(self.lua)

    def send(self, script: str, /, *tails: Any, **arguments: Any) -> list[Any]:
        again = self.chance.random() < 0.3
        return (self.lua.twice if again else self.lua.call)(script, *tails, **arguments)

    def create(self) -> None:
        self.created += 1
        fields = {"lk": self.chance.choice(self.limits), "pr": self.chance.choice(["", "1", "5", "9"])}
        fields["fp"] = self.chance.choice(["", "", "ee", "ff"])
        tail = [part for name, value in fields.items() if value for part in (name, value)]
        changes = {
            "deadline": self.chance.choice(["", "", "", "+200"]),
            "available": self.chance.choice(["", "", "+40"]),
        }
        self.send("create_run", tail, **new_run(f"r{self.created:03}", **changes))

    def claim(self) -> None:
        worker = self.chance.choice(WORKERS)
        arguments = self.lua.claim_arguments(worker, limit=self.chance.choice([1, 2, 10]))
        reply = self.lua.call("claim_runs", ["default"], **arguments)
        claims = [held_of(worker, row, arguments["operation"], reply[1]) for row in reply[4:]]
        self.holds += claims
        for held in claims:
            self.note_begin(held)

    def note_begin(self, held: Held) -> None:
        """What runs remember is gone when they begin anew: it is counted here, too."""
        life = held.run_id, held.fields.get("ct", b"0")
        for name, count, period, _ in parse_limits(held.fields.get("lk", b"").decode()):
            lives = self.began.setdefault((name, count, period), {})
            lives[life] = int(held.fields["a"])
            began = sorted(lives.values())
            assert not period or all(
                later - first >= period for first, later in zip(began, began[count:], strict=False)
            ), f"{name}: more than {count} began in {period} ms: {began}"

    def take(self) -> Held | None:
        """A hold: most are still true."""
        if not self.holds:
            return None
        return self.holds.pop(self.chance.randrange(len(self.holds)))

    def finish(self) -> None:
        held = self.take()
        if held:
            shown = {**held.shown(b"r"), "status": "succeeded", "payload": b"out"}
            self.send("finish_run", [b"r"], effects_of(held), **shown)

    def park(self) -> None:
        held = self.take()
        if held:
            due = self.lua.now + self.chance.choice([0, 30, 100])
            shown = {**held.shown(b"r"), "reason": "timer", "due": due, "seen": "", "wants": ""}
            self.send("park_run", [b"r"], effects_of(held), **shown)

    def give_back(self) -> None:
        held = self.take()
        if held and self.chance.random() < 0.5:
            self.send("release_run", run_id=held.run_id, fence=held.fence, entry=held.entry)
        elif held:
            self.send("shelve_run", **shelved(held, first_ms=20, last_ms=100))

    def go_on_as_new(self) -> None:
        held = self.take()
        if held:
            about = {"run_id": held.run_id, "fence": held.fence, "entry": held.entry, "before": held.mark}
            self.send("continue_run", [], **about, input=b"again")

    def cancel(self) -> None:
        if self.created:
            self.send("cancel_run", run_id=f"r{self.chance.randint(1, self.created):03}")

    def wake(self) -> None:
        self.lua.wake()

    def kill(self) -> None:
        """A worker is gone: what it holds is given back, by whoever does the upkeep."""
        worker = self.chance.choice(WORKERS)
        self.holds = [held for held in self.holds if held.worker != worker]
        for lane in LANES:
            self.lua.expire_all(lane)
            audit(self.lua)
            self.lua.reclaim(lane)
            audit(self.lua)

    def lose(self) -> None:
        for name in self.chance.sample(["limit:aa", "blocked:aa", "blocked:cc", "blocked:ee", "fair:ee", "delayed"], 2):
            self.lua.delete(name)
        self.lua.reconcile(step=1000)

    def settle(self) -> None:
        """Nothing more comes: workers take what there is, and end it."""
        for _ in range(400):
            self.lua.later(41)
            self.take_up()
            while self.holds:
                self.finish()
                audit(self.lua)
            if not any(key.startswith(b"rf:{shop:0}:runs:") for key in self.lua.redis.keys("*")):
                return
        left = {name: self.lua.status(name) for name in self.lua.listed("runs:order")}
        raise AssertionError(left)

    def take_up(self) -> None:
        self.lua.wake()
        self.claim()


def effects_of(held: Held) -> list[str]:
    return ["free"] if "lk" in held.fields else []


@pytest.mark.parametrize("seed", range(4))
def test_no_limit_is_exceeded_and_nobody_waits_for_nothing(lua: Lua, seed: int) -> None:
    storm = Storm(lua, seed)
    for _ in range(150):
        storm.step()
    storm.settle()
    for key in ("limit:aa", "limit:bb", "blocked:aa", "blocked:cc", "fair:ee", "blocked:ff"):
        assert lua.listed(key) == []
