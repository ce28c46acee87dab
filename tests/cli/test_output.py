"""How durations are told, and what a table leaves out where the terminal is narrow."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from redisflow import RedisFlow, Step
from redisflow.cli.fitting import fit_columns
from redisflow.cli.output import Column, ago, took
from tests.cli.conftest import Cli
from tests.cli.terminal import on_terminal
from tests.stories.world import eventually

NOW = datetime(2026, 1, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "says"),
    [(0.0042, "4 ms"), (4.85, "4.8 s"), (59, "59 s"), (119, "1 min 59 s"), (7_200, "2 h"), (259_000, "2 d 23 h")],
)
def test_a_duration_is_told_in_its_two_largest_units(seconds: float, says: str):
    assert took(seconds) == says


@pytest.mark.parametrize(
    ("seconds", "says"),
    [
        (259_000, "in 2 d 23 h"),
        (0.5, "now"),
        (-0.5, "now"),
        (-4.85, "4 s ago"),
        (-119, "1 min ago"),
        (-259_000, "2 d ago"),
    ],
)
def test_what_is_left_is_told_in_two_units_and_what_is_past_in_one(seconds: float, says: str):
    assert ago(NOW + timedelta(seconds=seconds), NOW) == says


def column(title: str, **more: Any) -> Column:
    return Column(title, str, **more)


COLUMNS = (
    column("ID"),
    column("HOST", may_shrink=True, spare=1),
    column("TAGS", may_shrink=True),
    column("STATE"),
)
TEXTS = [["a" * 10], ["b" * 20], ["c" * 30], ["drains"]]


@pytest.mark.parametrize(
    ("room", "widths"),
    [
        (72, {0: 10, 1: 20, 2: 30, 3: 6}),
        (62, {0: 10, 1: 20, 2: 20, 3: 6}),
        (40, {0: 10, 1: 9, 2: 9, 3: 6}),
        (34, {0: 10, 1: 6, 2: 6, 3: 6}),
        (33, {0: 10, 2: 13, 3: 6}),
        (25, {0: 10, 2: 13}),
        (17, {0: 10}),
        (5, {0: 10}),
    ],
)
def test_long_texts_shrink_first_and_then_columns_go_but_never_the_first(room: int, widths: dict[int, int]):
    assert fit_columns(COLUMNS, TEXTS, room) == widths


async def test_a_narrow_terminal_shows_that_a_worker_drains(shop: RedisFlow, cli: Cli):
    async with shop.new_worker(lease="2m", grace=0) as worker:  # it hears of it within half a minute
        await eventually(shop.workers)
        await cli("workers", "drain", worker.name)
        said = await on_terminal(80, "workers", "list")
    title, row = said.out.splitlines()
    assert title.split()[-2:] == ["SEEN", "STATE"]
    assert row.startswith(worker.name)
    assert row.endswith("drains")
    assert len(row) <= 80
    if "PID" not in title:
        assert said.err.startswith("not shown for want of width: ")


@pytest.mark.parametrize("width", [60, 80])
async def test_the_steps_of_a_run_are_no_wider_than_the_terminal(shop: RedisFlow, cli: Cli, width: int):
    @shop.define_workflow("long")
    async def long(step: Step) -> str:
        for number in range(2):
            await step.run(f"a-step-with-a-name-that-is-longer-than-any-terminal-has-room-for-{number}", str)
        return "x" * 200

    async with shop.new_worker(grace=0):
        run = await shop.run_workflow("long")
        await run.result(20)
    shown = await on_terminal(width, "run", "show", run.id)
    steps = [line for line in shown.out.splitlines() if line.startswith("✔")]
    assert [(len(line) <= width, "…" in line, "━" in line, line.endswith(" ms")) for line in steps] == [(True,) * 4] * 2
    assert "x" * 200 in shown.out
    assert "room-for-1" in (await cli("run", "show", run.id)).out


async def test_what_a_narrow_terminal_has_no_room_for_is_named(shop: RedisFlow, cli: Cli):
    for number in range(2):
        await shop.run_workflow("order", 1, tags={"customer": f"customer-of-a-long-name-{number}"})
    narrow = await on_terminal(70, "run", "list")
    assert narrow.out.splitlines()[0].split() == ["ID", "WORKFLOW", "STATUS", "CREATED", "TOOK"]
    assert narrow.err == "not shown for want of width: TAGS (-o json)\n"
    narrower = await on_terminal(63, "run", "list")
    assert narrower.out.splitlines()[0].split() == ["ID", "WORKFLOW", "STATUS", "CREATED"]
    assert narrower.err == "not shown for want of width: TOOK, TAGS (-o json)\n"
    wide = await on_terminal(90, "run", "list")
    assert (wide.err, wide.out.count("customer=customer"), wide.out.count("…")) == ("", 2, 2)
