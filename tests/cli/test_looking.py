"""What lies in queues, how a workflow is doing, and what a schedule will do."""

from __future__ import annotations

import pytest

from redisflow import RedisFlow
from tests.cli.conftest import Cli


async def test_the_next_runs_of_a_queue_come_by_priority_and_then_by_age(shop: RedisFlow, cli: Cli):
    first = (await cli("run", "start", "approval", "-t", "customer=c1")).out.strip()
    urgent = (await cli("run", "start", "approval", "--priority", "7")).out.strip()
    last = (await cli("run", "start", "approval")).out.strip()
    assert (await cli("queue", "peek", "default", "-o", "id")).out.split() == [urgent, first, last]
    (only,) = (await cli("queue", "peek", "default", "--limit", "1", "--json")).json
    assert (only["id"], only["priority"], only["status"]) == (urgent, 7, "pending")
    told = await cli("queue", "peek", "default")
    assert [line.split("\t")[2] for line in told.out.splitlines()] == ["PRIORITY", "7", "0", "0"]
    assert told.err == ""
    await cli("queue", "pause", "default")
    assert "queue default is paused" in (await cli("queue", "peek", "default")).err
    assert "nothing is to be claimed" in (await cli("queue", "peek", "other")).err


async def test_queues_are_listed_with_what_lies_in_them(shop: RedisFlow, cli: Cli):
    for queue in ("mail", "mail", "slow"):
        await cli("run", "start", "approval", "--queue", queue)
    await cli("queue", "pause", "slow")
    found = {row.pop("id"): row for row in (await cli("queue", "list", "--json")).json}
    assert {name: (row["ready"], row["held"], row["is_paused"]) for name, row in found.items()} == {
        "default": (0, 0, False),
        "mail": (2, 0, False),
        "slow": (1, 0, True),
    }
    assert found["default"]["oldest_at"] is None
    rows = [line.split("\t") for line in (await cli("queue", "list")).out.splitlines()]
    assert [(row[0], row[1], row[4]) for row in rows[1:]] == [
        ("default", "0", ""),
        ("mail", "2", ""),
        ("slow", "1", "paused"),
    ]


@pytest.mark.parametrize("limit", ["0", "1001"])
async def test_a_look_at_a_queue_is_bounded(shop: RedisFlow, cli: Cli, limit: str):
    said = await cli("queue", "peek", "default", "--limit", limit)
    assert (said.code, "from 1 to 1000" in said.err) == (2, True)


async def test_a_workflow_is_shown_with_its_versions_and_how_its_last_runs_went(working: RedisFlow, cli: Cli):
    for total in (1, 2, 3, 500):
        await cli("run", "exec", "order", "-i", str(total))
    served = (await cli("workflow", "show", "order", "--json")).json
    assert (served["succeeded"], served["failed"], served["queues"]) == (3, 1, ["default"])
    assert served["by_status"] == {"pending": 0, "running": 0, "waiting": 0}
    assert (served["finished"]["runs"], served["finished"]["failure_ratio"]) == (4, 0.25)
    assert 0 <= served["finished"]["p50_ms"] <= served["finished"]["p95_ms"] < 20_000
    assert served["last_runs"][0]["status"] == "failed"
    (worker,) = await working.workers()
    assert served["versions"] == [{"version": None, "unfinished": 0, "workers": [worker.name]}]
    told = (await cli("workflow", "show", "order")).out
    assert "3 succeeded, 1 failed" in told
    assert "(none): 0 unfinished, served by 1 worker" in told
    assert "last 4 finished: 1 failed (25.0%), p50 " in told


async def test_a_version_that_nobody_serves_is_named(working: RedisFlow, cli: Cli):
    await cli("run", "start", "elsewhere", "--version", "v2")
    await cli("run", "start", "elsewhere", "--queue", "unread")
    told = (await cli("workflow", "show", "elsewhere")).out
    assert "v2: 1 unfinished, no live worker serves it" in told
    assert "(none): 1 unfinished, no live worker serves it" in told
    assert "none has ended yet" in told
    missing = await cli("workflow", "show", "nope")
    assert (missing.code, missing.err.count("\n")) == (4, 1)


async def test_a_schedule_is_created_changed_and_shown(shop: RedisFlow, cli: Cli):
    words = ("schedule", "create", "nightly", "order", "--cron", "0 3 * * 1-5", "--timezone", "Europe/Paris")
    created = await cli(*words, "-i", "40")
    assert created.code == 0
    assert "At 03:00 on Monday through Friday (Europe/Paris)" in created.out
    for _ in range(2):
        await cli("schedule", "trigger", "nightly")
    await cli("run", "start", "order", "-i", "1")
    shown = (await cli("schedule", "show", "nightly", "--json")).json
    assert (shown["ticks"], len(shown["next_fire_times"])) == ("0 3 * * 1-5 (Europe/Paris)", 5)
    (run,) = shown["last_runs"]
    assert (run["schedule"], (await shop.get_run(run["id"])).input) == ("nightly", 40)
    told = (await cli("schedule", "show", "nightly", "--utc")).out
    assert "overlap: skip; ticks that were missed: last" in told
    assert run["id"] in told
    changed = await cli("schedule", "create", "nightly", "order", "--every", "15m", "--overlap", "queue", "--json")
    assert (changed.json["ticks"], changed.json["overlap"]) == ("every 15m", "queue")
    assert (await cli("schedule", "pause", "nightly")).code == 0
    assert "\npaused" in (await cli("schedule", "show", "nightly")).out


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["show", "nope"], 4, "not stored"),
        (["create", "s", "order"], 2, "either --cron"),
        (["create", "s", "order", "--cron", "61 * * * *"], 2, "cannot be understood"),
        (["create", "s", "order", "--every", "1h", "--overlap", "nope"], 2, "overlap"),
        (["create", "s", "order", "--every", "soon"], 2, "every"),
    ],
)
async def test_a_schedule_that_cannot_be_is_refused(shop: RedisFlow, cli: Cli, words: list[str], code: int, says: str):
    said = await cli("schedule", *words)
    assert (said.code, said.out, said.err.count("\n")) == (code, "", 1)
    assert says in said.err
