"""S18 where runs are lent slots by messages that come late, twice, in any order, or are lost: no limit is exceeded, and
in the end every run has ended and no slot is held.

One partition is both: where the runs live, and where their limits are decided. The scripts cannot tell.
"""

from __future__ import annotations

from typing import Any

import pytest

from redisflow.structure import check_permits
from tests.lua.harness import PREFIX, Lua
from tests.lua.test_lines_model import Storm

SPREAD = ("aa:2:0@0 bb:1:0@0", "aa:2:0@0", "bb:1:0@0", "aa:2:0", "aa:2:0 bb:1:0", "bb:1:0@0 cc:2:300@0")
RATES = ("cc:2:300@0", "aa:2:0@0 dd:1:50@0", "dd:1:50")
HEARD = {"ask_permit": ("priority", "created"), "give_permit": ("home",), "hold_permit": (), "return_permit": ()}


class SpreadStorm(Storm):
    """Random calls, and messages between them."""

    def __init__(self, lua: Lua, seed: int, *, loses: bool) -> None:
        super().__init__(lua, seed)
        self.loses = loses
        self.said: list[tuple[str, dict[str, str]]] = []
        """The messages so far."""
        self.limits = SPREAD[:5] if loses else SPREAD + RATES

    def calls(self) -> dict[Any, float]:
        # What was said of a rate must not be lost: nobody could tell any more what was used.
        more: dict[Any, float] = {self.lose: 0.5 if self.loses else 0, self.deliver: 12}
        return super().calls() | more | {self.pause: 1, self.resume: 2, self.forget: 0.5}

    def some(self) -> str:
        """The id of a run, or of one that is gone."""
        return f"r{self.chance.randint(1, max(1, self.created)):03}"

    def pause(self) -> None:
        self.send("pause_run", run_id=self.some())

    def resume(self) -> None:
        self.send("resume_run", run_id=self.some())

    def forget(self) -> None:
        self.send("delete_run", run_id=self.some())

    def lose(self) -> None:
        self.lua.delete(self.chance.choice(["outbox", "blocked:aa", "delayed"]))
        self.lua.reconcile(step=1000)

    def deliver(self) -> None:
        """Carry out one of the messages, whichever; it may be that it comes again."""
        posted = self.lua.redis.xrange(f"{PREFIX}outbox")
        if not posted:
            return
        entry, fields = self.chance.choice(posted)
        post = {name.decode(): value.decode() for name, value in fields.items()}
        arguments = {name: post[name] for name in ("hash", "permit", *HEARD[post["do"]])}
        if post["do"] == "give_permit":
            arguments["run_id"] = post["run"]
        self.said.append((post["do"], arguments))
        if self.chance.random() < 0.2:  # an earlier one had been on its way all the time
            script, again = self.chance.choice(self.said[-20:])
            self.lua.call(script, **again)
        self.lua.call(post["do"], **arguments)
        if self.chance.random() < 0.8:
            self.lua.call("clear_outbox", [entry])

    def settle(self) -> None:
        self.loses = False
        for number in range(1, self.created + 1):
            self.send("resume_run", run_id=f"r{number:03}")
        super().settle()

    def take_up(self) -> None:
        for _ in range(60):
            self.deliver()
        if self.chance.random() < 0.2:
            # Keys that expire do so by real time, of which little passes here.
            self.lua.delete(*(f"turn:line:{name}" for name in ("aa", "bb", "cc", "dd")))
            self.lua.reconcile(step=1000)
        super().take_up()


@pytest.mark.parametrize("loses", [False, True], ids=["", "loses"])
@pytest.mark.parametrize("seed", range(4))
def test_no_limit_is_exceeded_by_runs_of_other_partitions(lua: Lua, seed: int, loses: bool) -> None:
    storm = SpreadStorm(lua, seed, loses=loses)
    for _ in range(200):
        storm.step()
    storm.settle()
    for _ in range(10):  # what came twice and too late waits, is given, and goes back
        while lua.redis.exists(f"{PREFIX}outbox"):
            storm.deliver()
        lua.later(301)
        lua.wake()
    found = {name: dict(lua.redis.zrange(PREFIX + name, 0, -1, withscores=True)) for name in ("limit:aa", "limit:bb")}
    sets = {name: {member.decode(): int(score) for member, score in held.items()} for name, held in found.items()}
    problems = [*check_permits({}, sets), *(name for name in ("blocked:aa", "blocked:cc") if lua.listed(name))]
    # A slot that nobody gave back is found by whoever waits for it: here nobody does any more.
    assert not problems or loses, problems
