"""Replays of stored runs with the code that is here, as a gate for deploys."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from redisflow import RedisFlow
from redisflow.cli.dev.running import Running, claim
from tests.cli.conftest import Cli

CODE = """
from redisflow import RedisFlow, Step, StepOptions
flow = RedisFlow(namespace={namespace!r})

async def charge(total: int) -> int:
    raise AssertionError("a replay runs no step")

@flow.define_workflow("order")
async def order(total: int, step: Step) -> dict[str, int]:
    return {{"charged": await step.run(StepOptions({key!r}), charge, total)}}
"""


@pytest.fixture
def write_code(tmp_path: Path, namespace: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)

    def write(name: str, key: str) -> str:
        (tmp_path / f"{name}.py").write_text(CODE.format(namespace=namespace, key=key))
        return f"{name}.py:flow"

    return write


async def test_code_that_does_the_same_replays(working: RedisFlow, cli: Cli, write_code, tmp_path: Path):
    same = write_code("replay_same", "charge")
    ids = [(await cli("run", "start", "order", "-i", str(total))).out.strip() for total in (1, 2)]
    for run_id in ids:
        await cli("run", "result", run_id)
    await cli("run", "export", ids[0], "--to", "run.json")
    said = await cli("run", "replay", "run.json", ids[1], "--code", same, "--json")
    assert (said.code, [(row["id"], row["outcome"], row["difference"]) for row in said.json]) == (
        0,
        [(ids[0], "replays", None), (ids[1], "replays", None)],
    )
    gate = await cli("run", "replay", "-w", "order", "-s", "succeeded", "--limit", "1", "--code", same)
    assert (gate.code, len(gate.out.splitlines())) == (0, 2)
    assert gate.err == "the first 1; there are more: --limit 0 for all\nreplay: 1 replays\n"
    whole = await cli("run", "replay", "-w", "order", "--limit", "2", "--code", same)
    assert (whole.code, whole.err) == (0, "replay: 2 replays\n")
    nothing = await cli("run", "replay", "-w", "other", "--code", same)
    assert (nothing.code, nothing.err) == (0, "no run matches\n")


async def test_drift_ends_with_1_and_tells_the_difference(working: RedisFlow, cli: Cli, write_code):
    other = write_code("replay_other", "charge-card")
    run_id = (await cli("run", "start", "order", "-i", "1")).out.strip()
    await cli("run", "result", run_id)
    said = await cli("run", "replay", run_id, "--code", other)
    assert (said.code, said.err) == (1, "replay: 1 drifts\n")
    assert "- record: step.run('charge')" in said.out
    assert "+ code:   step.run('charge-card')" in said.out
    unserved = (await cli("run", "start", "approval")).out.strip()
    (row,) = (await cli("run", "replay", unserved, "--code", other, "--json")).json
    assert row["outcome"] == "no_code"


async def test_where_redisflow_dev_runs_runs_are_those_of_its_server(
    working: RedisFlow, cli: Cli, write_code, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write_code("replay_dev", "charge")
    run_id = (await cli("run", "start", "order", "-i", "1")).out.strip()
    await cli("run", "result", run_id)
    monkeypatch.delenv("REDISFLOW_URL")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("REDISFLOW_APP", "replay_dev:flow")
    running = claim(tmp_path)
    assert running is not None
    running.say(Running(1, working.location.url))
    try:
        said = await cli("run", "replay", run_id)
    finally:
        running.release()
    assert (said.code, said.err) == (0, "replay: 1 replays\n")


async def test_a_file_needs_no_server_and_a_broken_one_is_told_of(
    working: RedisFlow, cli: Cli, write_code, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    same = write_code("replay_files", "charge")
    run_id = (await cli("run", "start", "order", "-i", "1")).out.strip()
    await cli("run", "result", run_id)
    history = (await cli("run", "export", run_id)).json
    (tmp_path / "fine.json").write_text(json.dumps(history))
    (tmp_path / "later.json").write_text(json.dumps({**history, "format": "redisflow run 9"}))
    monkeypatch.setenv("REDISFLOW_URL", "redis://127.0.0.1:1")
    assert (await cli("run", "replay", "fine.json", "--code", same)).code == 0
    mixed = await cli("run", "replay", "fine.json", "later.json", "--code", same, "--json")
    assert (mixed.code, [row["outcome"] for row in mixed.json]) == (1, ["replays", "unreadable"])
    (tmp_path / "none.json").write_text("{}")
    wrong = await cli("run", "replay", "none.json", "--code", same)
    assert (wrong.code, "no exported run" in wrong.err) == (2, True)


async def test_all_runs_that_match_are_exported_and_a_gate_that_looks_at_some_says_so(
    shop: RedisFlow, cli: Cli, write_code, monkeypatch: pytest.MonkeyPatch
):
    same = write_code("replay_many", "charge")
    for total in range(60):
        await shop.run_workflow("order", total)
    said = await cli("run", "export", "-w", "order", "--to", "runs.jsonl")
    assert (said.code, said.err) == (0, "wrote 60 runs to runs.jsonl\n")
    for form, told in ([], "replay: 50 replays\n"), (["--json"], ""):
        gate = await cli("run", "replay", "-w", "order", "--code", same, *form)
        assert (gate.code, gate.err) == (0, f"the first 50; there are more: --limit 0 for all\n{told}")
    assert (await cli("run", "replay", "-w", "order", "-l", "0", "--code", same)).err == "replay: 60 replays\n"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "say which runs"),
        (["a", "-w", "order"], "say which runs"),
        (["-w", "order", "--limit", "-1"], "from 0"),
        (["-w", "order"], "say with which code"),
        (["-w", "order", "--code", "nope"], "does not name"),
    ],
)
async def test_a_replay_says_what_it_needs(shop: RedisFlow, cli: Cli, words: list[str], says: str):
    said = await cli("run", "replay", *words)
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert says in said.err


async def test_several_runs_are_exported_as_lines_and_replayed_from_one_file(
    working: RedisFlow, cli: Cli, write_code, tmp_path: Path
):
    same = write_code("replay_lines", "charge")
    for total in (1, 2, 500):
        await cli("run", "exec", "order", "-i", str(total))
    said = await cli("run", "export", "-w", "order", "-s", "succeeded", "--to", "runs.jsonl")
    assert (said.code, said.out, said.err) == (0, "", "wrote 2 runs to runs.jsonl\n")
    lines = [json.loads(line) for line in (tmp_path / "runs.jsonl").read_text().splitlines()]
    assert [line["status"] for line in lines] == ["succeeded", "succeeded"]
    assert [row["id"] for row in (await cli("run", "replay", "runs.jsonl", "--code", same, "--json")).json] == [
        line["id"] for line in lines
    ]
    first = await cli("run", "export", "-w", "order", "--limit", "1")
    assert (len(first.out.splitlines()), first.err) == (1, "the first 1; there are more: --limit 0 for all\n")
    before = (tmp_path / "runs.jsonl").read_text()
    nothing = await cli("run", "export", "-w", "other", "--to", "runs.jsonl")
    assert (nothing.code, nothing.err) == (0, "no run matches\n")
    assert (tmp_path / "runs.jsonl").read_text() == before
    assert (await cli("run", "export")).code == 2
