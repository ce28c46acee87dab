from __future__ import annotations

import asyncio
import io

import pytest

from redisflow import RedisFlow
from redisflow.run_id import new_run_id
from tests.cli.conftest import Cli

MISSING = new_run_id(0)


async def test_a_run_is_started_awaited_and_shown(working: RedisFlow, cli: Cli):
    started = await cli("run", "start", "order", "--input", "5", "--tag", "customer=c1")
    run_id = started.out.strip()
    assert (started.code, len(run_id)) == (0, 32)
    assert (await cli("run", "result", run_id, "--timeout", "20s")).json == {"charged": 5}
    shown = (await cli("run", "show", run_id, "--json")).json
    assert (shown["id"], shown["status"], shown["input"], shown["tags"]) == (run_id, "succeeded", 5, {"customer": "c1"})
    assert [(step["key"], step["status"], step["output"]) for step in shown["steps"]] == [("charge", "succeeded", 5)]
    told = (await cli("run", "show", run_id)).out
    assert "order  succeeded" in told
    assert "✔ charge" in told


async def test_who_watches_a_run_in_a_pipe_reads_of_its_end_last(working: RedisFlow, cli: Cli):
    run_id = (await cli("run", "start", "order", "-i", "5")).out.strip()
    watched = await cli("run", "watch", run_id)
    *_, step, run = watched.out.splitlines()
    assert (watched.code, step.startswith("  charge: succeeded")) == (0, True)
    assert run.startswith(f"run {run_id} of order: succeeded")


async def test_exec_starts_a_run_and_prints_its_result(working: RedisFlow, cli: Cli):
    assert (await cli("run", "exec", "order", "-i", "7")).json == {"charged": 7}


async def test_a_failed_run_ends_exec_with_1_and_its_error_cannot_colour_the_terminal(working: RedisFlow, cli: Cli):
    failed = await cli("run", "exec", "order", "-i", "500")
    assert (failed.code, failed.out) == (1, "")
    assert [line.split()[:2] for line in failed.err.splitlines()] == [["run", failed.err[4:36]], ["redisflow:", "run"]]
    run_id = (await cli("run", "list", "-s", "failed", "-o", "id")).out.strip()
    told = (await cli("run", "show", run_id)).out
    assert "Traceback" in told
    as_json = (await cli("run", "show", run_id, "--json")).out
    assert not {"\x1b", "\x9b"} & set(failed.err + told + as_json)


async def test_runs_are_listed_by_what_they_are_and_in_each_form(working: RedisFlow, cli: Cli):
    for total in (1, 2, 500):
        await cli("run", "exec", "order", "-i", str(total), "-t", f"customer=c{total}")
    table = (await cli("run", "list")).out.splitlines()
    assert table[0].split("\t") == ["ID", "WORKFLOW", "STATUS", "CREATED", "TOOK", "TAGS"]
    assert len(table) == 4
    assert all(run["status"] == "succeeded" for run in (await cli("run", "list", "-s", "succeeded", "--json")).json)
    tagged = (await cli("run", "list", "-t", "customer=c2", "-o", "jsonl")).out.splitlines()
    assert len(tagged) == 1
    assert "customer: c2" in (await cli("run", "list", "-t", "customer=c2", "-o", "yaml")).out
    first = await cli("run", "list", "--limit", "2")
    assert len(first.out.splitlines()) == 3
    assert first.err == "the first 2; there are more: --limit 0 for all\n"
    assert "there are more" in (await cli("run", "list", "--limit", "2", "-o", "id")).err
    assert (await cli("run", "list", "--limit", "3")).err == ""
    assert (await cli("run", "list", "--created-after", "1h", "-o", "id")).out.count("\n") == 3
    assert (await cli("run", "list", "--created-before", "1h", "-o", "id")).out == ""


async def test_who_looks_creates_nothing(cli: Cli, namespace: str):
    missing = await cli("run", "list")
    assert missing.code == 4
    assert f"there is no namespace {namespace!r}" in missing.err


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["run", "list", "-s", "nope"], 2, "no status"),
        (["run", "list", "-t", "nope"], 2, "NAME=VALUE"),
        (["run", "list", "--limit", "-1"], 2, "from 0"),
        (["run", "list", "--limit", "x"], 2, "limit"),
        (["run", "nope"], 2, "nope"),
        (["run", "show", "nope"], 2, "run id"),
        (["run", "show", MISSING], 4, "not stored"),
        (["run", "start", "order", "-i", "{"], 2, "JSON"),
        (["run", "cancel"], 2, "say which"),
        (["run", "cancel", MISSING], 5, "not stored"),
        (["schedule", "pause", "nope"], 4, "nope"),
    ],
)
async def test_what_is_wrong_is_said_in_a_line_with_an_exit_code(shop, cli: Cli, words, code: int, says: str):
    said = await cli(*words)
    assert (said.code, said.out) == (code, "")
    assert says in said.err
    assert said.err.startswith("redisflow: ")
    assert len(said.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["run", "list", "--created-after", "1x"], "--created-after: 'x' in '1x' is not a unit"),
        (["run", "cancel", "--finished-before", "1x"], "--finished-before: 'x' in '1x' is not a unit"),
        (["run", "start", "order", "--at", "1x"], "--at: 'x' in '1x' is not a unit"),
        (["run", "start", "order", "--key", ""], "the one of --key has 0"),
        (["run", "show", "nope"], "32 hexadecimal digits as `redisflow run list` prints it"),
        (["run", "fork", MISSING], "after edited results: --from-step KEY or --step KEY=JSON"),
        (["run", "exec", "order", "--timeout", "1x"], "--timeout: 'x' in '1x' is not a unit"),
        (["schedule", "create", "s", "order"], 'give either --cron "0 3 * * *" or --every 15m'),
        (["schedule", "create", "s", "order", "--every", "soon"], "--every: 'soon' is not a duration"),
        (["workers", "runs", "--limit", "0"], "--limit is a whole number from 1"),
    ],
)
async def test_messages_name_options_and_commands(shop: RedisFlow, cli: Cli, words: list[str], says: str):
    said = await cli(*words)
    assert (said.code, said.out) == (2, "")
    assert says in said.err
    assert (await shop.count_runs()).pending == 0


async def test_what_is_said_of_runs_names_commands_and_counts(working: RedisFlow, cli: Cli):
    failed = await cli("run", "exec", "order", "-i", "500")
    assert "step 'charge' failed after 1 attempt: ValueError" in failed.err
    run_id = (await cli("run", "start", "order", "-i", "5")).out.strip()
    await cli("run", "result", run_id)
    assert "`redisflow run rerun` or `redisflow run fork` makes a new run" in (await cli("run", "retry", run_id)).err


async def test_errors_are_json_where_results_are(shop: RedisFlow, cli: Cli):
    said = await cli("run", "show", MISSING, "--json")
    assert '"title": "RunNotFound"' in said.err
    assert said.err.startswith("{")


@pytest.mark.parametrize(
    ("words", "is_json"),
    [
        (("-o", "json"), True),
        (("-ojson",), True),
        (("--output", "json"), True),
        (("--output=jsonl",), True),
        (("-o", "yaml"), False),
        (("--", "--json"), False),
        ((), False),
    ],
)
async def test_errors_are_json_only_where_an_option_says_so(
    shop: RedisFlow, cli: Cli, words: tuple[str, ...], is_json: bool
):
    said = await cli("run", "exec", "json", "--timeout", "nonsense", *words)
    assert said.code == 2
    assert said.err.startswith("{") == is_json


async def test_an_unreachable_server_ends_with_3(cli: Cli):
    said = await cli("run", "list", "--url", "redis://:secret@127.0.0.1:1", "-n", "default")
    assert said.code == 3
    assert "no answer from" in said.err
    assert "secret" not in said.err
    assert said.err.endswith("the URL is right (rediss:// where it speaks TLS).\n")


async def test_a_result_that_does_not_come_in_time_ends_with_6_and_the_run_goes_on(shop: RedisFlow, cli: Cli):
    started = await cli("run", "start", "approval")
    assert "no live worker serves approval" in started.err
    run_id = started.out.strip()
    said = await cli("run", "result", run_id, "--timeout", "100ms")
    assert said.code == 6
    assert (await shop.get_run(run_id)).status == "pending"


async def test_a_signal_reaches_a_run_or_all_that_wait_for_it(working: RedisFlow, cli: Cli):
    ids = [(await cli("run", "start", "approval")).out.strip() for _ in range(3)]
    for run_id in ids:
        async with asyncio.timeout(20):
            while (await working.get_run(run_id)).status != "waiting":
                await asyncio.sleep(0.02)
    assert (await cli("run", "signal", "approved", '{"by": "me"}', "--run", ids[0])).code == 0
    assert (await cli("run", "result", ids[0])).json == {"by": "me"}
    assert "to 2 runs" in (await cli("run", "signal", "approved", "true")).out
    for run_id in ids[1:]:
        assert (await cli("run", "result", run_id)).json is True


async def test_many_runs_are_changed_only_where_somebody_is_sure(shop: RedisFlow, cli: Cli):
    for _ in range(3):
        await cli("run", "start", "approval")
    unsure = await cli("run", "cancel", "--workflow", "approval")
    assert unsure.code == 2
    assert "would cancel 3 runs: add --yes" in unsure.err
    assert "would cancel 3 runs" in (await cli("run", "cancel", "-w", "approval", "--dry-run")).err
    assert (await shop.count_runs()).canceled == 0
    done = await cli("run", "cancel", "-w", "approval", "--yes")
    assert (done.code, len(done.out.splitlines()), done.err) == (0, 3, "cancel: 3 done\n")
    assert (await shop.count_runs()).canceled == 3
    matching = {"created-after=1h": 3, "created-before=1h": 0, "finished-after=1h": 3, "finished-before=1h": 0}
    for option, count in {**matching, "version=v2": 0}.items():
        told = await cli("run", "delete", "-w", "approval", "--dry-run", f"--{option}")
        assert f"would delete {count} runs" in told.err
    assert "would cancel 0 runs" in (await cli("run", "cancel", "-w", "approval", "--dry-run")).err
    assert "would delete 3 runs" in (await cli("run", "delete", "-w", "approval", "--dry-run")).err
    again = await cli("run", "retry", *done.out.split())
    assert (again.code, again.out) == (5, "")
    assert "3 refused" in again.err


async def test_an_input_is_read_from_a_file_or_from_standard_input(working, cli: Cli, monkeypatch, tmp_path):
    (tmp_path / "total.json").write_text("8")
    assert (await cli("run", "exec", "order", "-i", "@total.json")).json == {"charged": 8}
    monkeypatch.setattr("sys.stdin", io.StringIO("9"))
    assert (await cli("run", "exec", "order", "-i", "@-")).json == {"charged": 9}
    assert (await cli("run", "start", "order", "-i", "@nowhere.json")).code == 2


async def test_a_failed_run_is_run_again_forked_paused_and_deleted(working: RedisFlow, cli: Cli):
    await cli("run", "exec", "order", "-i", "500")
    run_id = (await cli("run", "list", "-o", "id")).out.strip()
    again = (await cli("run", "rerun", run_id)).out.strip()
    assert (await cli("run", "result", again)).code == 1
    forked = (await cli("run", "fork", run_id, "--step", "charge=9")).out.strip()
    assert (await cli("run", "result", forked)).json == {"charged": 9}
    assert (await cli("run", "delete", run_id)).code == 0
    assert (await cli("run", "show", run_id)).code == 4
    waiting = (await cli("run", "start", "approval")).out.strip()
    assert (await cli("run", "pause", waiting)).code == 0
    assert (await working.get_run(waiting)).waiting_for == "paused"
    assert (await cli("run", "resume", waiting)).code == 0


async def test_watch_tells_each_change_until_the_end(working: RedisFlow, cli: Cli):
    run_id = (await cli("run", "start", "order", "-i", "5")).out.strip()
    watched = await cli("run", "watch", run_id)
    assert watched.code == 0
    assert "order: succeeded" in watched.out
    assert "  charge: succeeded" in watched.out


async def test_an_export_is_what_replays_are_made_of(working: RedisFlow, cli: Cli, tmp_path):
    run_id = (await cli("run", "start", "order", "-i", "5")).out.strip()
    await cli("run", "result", run_id)
    assert (await cli("run", "export", run_id)).json == await working.export_run(run_id)
    await cli("run", "export", run_id, "--to", str(tmp_path / "run.json"))
    assert (tmp_path / "run.json").read_text().startswith("{")
