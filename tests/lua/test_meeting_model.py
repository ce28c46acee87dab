"""Where features meet, under random calls: limits, fair keys, schedules, pauses of runs and of workflows, retries.

The audit holds after each script, upkeep finds nothing to repair but hints that were lost, and in the end every run has
ended.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.lua.harness import PREFIX, TERMINAL, Held, Lua, new_run
from tests.lua.test_lines_model import Storm

EVERY_MS = 20
CONTROLS = ("w:order", "q:default")
HINTS = ("delayed", "blocked:", "fair:", "held:", "stuck:", "queued:", "lanes", "q:", "controls")


class Meeting(Storm):
    """Random calls of everybody who may have to do with a run."""

    def __init__(self, lua: Lua, seed: int) -> None:
        super().__init__(lua, seed)
        self.fired: dict[int, str] = {}
        """What came of each tick."""

    def step(self) -> None:
        super().step()
        of_runs = (self.pause, self.resume, self.retry)
        of_all = (self.schedule, self.tick, self.look, self.hold, self.let_go, self.release)
        self.chance.choice(of_runs + of_all)()

    def any_run(self) -> str | None:
        runs = sorted(key.decode().rpartition(":")[2] for key in self.lua.redis.keys(f"{PREFIX}run:*"))
        return self.chance.choice(runs) if runs else None

    def finish(self) -> None:
        held = self.take()
        if held:
            status = self.chance.choice(["succeeded", "failed"])
            shown = {**held.shown(b"r"), "status": status, "payload": b"out"}
            self.send("finish_run", [b"r"], _effects_of(held), **shown)

    def schedule(self) -> None:
        if not self.lua.redis.exists(f"{PREFIX}schedule:nightly"):
            fields = ("w", "order", "i", b"in", "ov", "queue")
            self.lua.call("put_schedule", fields, schedule="nightly", fingerprint="one", earlier="", next_ms="never")
        self.created += 1
        limits = self.chance.choice([[], ["lk", "bb:1:0"], ["lk", "cc:2:300", "pr", "5", "fp", "ee"]])
        row = [*new_run(f"r{self.created:03}").values(), 2 + len(limits), "sc", "nightly", *limits]
        self.send("trigger_schedule", row, schedule="nightly", revision=1)

    def tick(self) -> None:
        """A tick is fired by whoever has read the schedule, now or a while ago: what came of it stays so."""
        key = f"{PREFIX}schedule:often"
        if not self.lua.redis.exists(key):
            fields = ("w", "order", "i", b"in", "ov", "skip")
            first = {"fingerprint": "one", "earlier": "", "next_ms": self.lua.now + EVERY_MS}
            self.lua.call("put_schedule", fields, schedule="often", **first)
        is_late = bool(self.fired) and self.chance.random() < 0.5
        due = self.chance.choice(list(self.fired)[-3:]) if is_late else int(self.lua.redis.hget(key, "n"))
        self.fire(due)

    def fire(self, due: int) -> None:
        shown = {"meant": due, "tick": due, "next_ms": due + EVERY_MS}
        row = [*new_run(f"tick-{due}").values(), 2, "sc", "often"]
        word = self.send("fire_schedule", row, schedule="often", revision=1, **shown)[0]
        if word in ("created", "skipped"):
            assert self.fired.setdefault(due, word) == word, f"tick {due} was {self.fired[due]}, and is {word}"

    def look(self) -> None:
        self.lua.call("due_schedules", limit=10, bytes=1000)
        self.lua.call("drive_controls", limit=100)

    def pause(self) -> None:
        if (run_id := self.any_run()) is not None:
            self.send("pause_run", run_id=run_id)

    def resume(self) -> None:
        if (run_id := self.any_run()) is not None:
            self.send("resume_run", run_id=run_id)

    def retry(self) -> None:
        run_id = self.any_run()
        if run_id is not None and self.lua.status(run_id) == "failed":
            fields = self.lua.fields(run_id)
            mark, retry = fields["h"].decode(), int(fields.get("rt", b"0")) + 1
            deadline = "+300" if "dl" in fields else ""
            shown: dict[str, Any] = {"retry": retry, "before": mark, "after": mark, "deadline": deadline}
            self.send("retry_run", [], run_id=run_id, **shown)

    def hold(self) -> None:
        if self.chance.random() < 0.3:
            self.send("pause_control", control=self.chance.choice(CONTROLS), release="")

    def let_go(self) -> None:
        self.send("resume_control", control=self.chance.choice(CONTROLS))

    def release(self) -> None:
        shown = {"release": f"l{self.created}", "rate": 20_000, "ratio": 0, "least": 1, "phase": 0}
        self.lua.call("start_release", control=self.chance.choice(CONTROLS), **shown)

    def lose(self) -> None:
        """Any hint: upkeep rebuilds it, and the schedules are looked at."""
        names = [key.decode().removeprefix(PREFIX) for key in self.lua.redis.keys("*")]
        hints = sorted(name for name in names if name.startswith(HINTS))
        if hints:
            self.lua.delete(self.chance.choice(hints))
            self.reconcile()
            self.look()
            self.reconcile()
            assert self.lua.reconcile(step=1000)[1] == 0

    def reconcile(self) -> None:
        for lane in "w0123456789":
            self.lua.reclaim(lane)
        self.lua.reconcile(step=1000)

    def settle(self) -> None:
        """Nobody pauses anything any more."""
        for _ in range(400):
            for control in CONTROLS:
                self.lua.call("resume_control", control=control)
            self.look()
            for run_id in self.lua.listed("runs:order"):
                if self.lua.status(run_id) == "waiting:paused":
                    self.lua.resume(run_id)
            self.lua.wake_stuck()
            self.lua.later(41)
            self.lua.wake()
            self.claim()
            while self.holds:
                self.finish()
            self.kill()
            left = {name: self.lua.status(name) for name in self.lua.listed("runs:order")}
            if not left:
                return
        raise AssertionError(left)


def _effects_of(held: Held) -> list[Any]:
    schedule = held.fields.get("sc")
    return [*(["free"] if "lk" in held.fields else []), *(["leave", schedule] if schedule else [])]


@pytest.mark.parametrize("seed", range(3))
def test_no_run_is_stuck_wherever_features_meet(lua: Lua, seed: int) -> None:
    storm = Meeting(lua, seed)
    for number in range(80):
        storm.step()
        if number % 20 == 0:
            assert lua.reconcile(step=1000)[1] == 0
    storm.settle()
    for tick in list(storm.fired):  # where its schedule was busy then, it is not now
        storm.fire(tick)
    runs = [key.decode().rpartition(":")[2] for key in lua.redis.keys(f"{PREFIX}run:*")]
    assert {lua.status(run_id) for run_id in runs} <= set(TERMINAL)
