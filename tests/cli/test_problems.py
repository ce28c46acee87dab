"""What is in the way is told in a line or as a document, with what is known of what was done."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import redis.asyncio

from redisflow import RedisFlow
from redisflow.testing.faults import call, open_proxy
from tests.cli.conftest import Cli
from tests.stories.world import eventually

COMMAND = f"{sys.executable} -m redisflow"


def shell(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(line, shell=True, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("words", "lost", "says", "hint"),
    [
        (["run", "start", "order", "-i", "1"], "create_run", "the run was started", "run list --workflow order"),
        (["run", "start", "order", "--key", "k"], "create_run", "the run was started", "with the same --key"),
        (["run", "exec", "order", "-i", "1"], "create_run", "the run was started", "with --key it could be"),
        (["run", "rerun", "RUN"], "create_run", "others were started anew as well", "run list --created-after"),
        (["run", "fork", "RUN", "--step", "charge=9"], "create_run", "the run was started", "run list --created-after"),
        (["run", "signal", "approved", "-r", "WAITS"], "signal_run", "the signal was sent", "run show"),
        (["run", "signal", "approved", "-r", "WAITS", "--key", "k"], "signal_run", "the signal was sent", "same --key"),
        (["run", "signal", "approved"], "send_signal", "the signal was sent", "--status waiting:signal"),
        (["schedule", "trigger", "nightly"], "trigger_schedule", "a run was started", "schedule show nightly"),
    ],
)
async def test_where_an_answer_is_lost_it_is_told_that_it_may_have_been_done(
    working: RedisFlow, cli: Cli, valkey_url: str, monkeypatch, words: list[str], lost: str, says: str, hint: str
):
    await working.schedules.create("nightly", "approval", cron="0 3 * * *")
    ended = await working.run_workflow("order", 7)
    await ended.result()
    waits = await working.run_workflow("approval")
    named = [{"RUN": ended.id, "WAITS": waits.id}.get(word, word) for word in words]
    monkeypatch.setattr("redisflow.cli.given.CALL_TIMEOUT_S", 0.3)
    async with open_proxy(valkey_url) as proxy:
        rule = proxy.on(call(lost)).drop_reply()
        said = await cli(*named, "--url", proxy.url)
        as_json = await cli(*named, "--url", proxy.url, "--json")
    assert rule.fired
    assert (said.code, said.out) == (3, "")
    assert said.err.startswith(f"redisflow: whether {says} is not known: no answer from")
    assert hint in said.err
    problem = json.loads(as_json.err.splitlines()[-1])
    assert (problem["title"], problem["exit_code"], hint in problem["hint"]) == ("OutcomeUnknown", 3, True)


async def test_what_was_never_sent_was_not_done(cli: Cli):
    said = await cli("run", "rerun", "0" * 12 + "7000800000000000" + "0000", "--url", "redis://127.0.0.1:1")
    assert "is not known" not in said.err


@pytest.mark.parametrize("form", [[], ["--json"]])
async def test_who_ends_the_wait_for_a_result_has_the_id_of_the_run(shop: RedisFlow, cli: Cli, form: list[str]):
    await shop.open()
    command = [sys.executable, "-m", "redisflow", "run", "exec", "approval", "--url", shop.location.url, *form]
    process = await asyncio.create_subprocess_exec(
        *command, "--namespace", shop.namespace, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        assert process.stderr is not None
        line = (await asyncio.wait_for(process.stderr.readline(), 60)).decode()
        process.send_signal(signal.SIGINT)
        out, _ = await asyncio.wait_for(process.communicate(), 60)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    run_id = json.loads(line)["id"] if form else line.removeprefix("run ").strip()
    assert (process.returncode, out) == (130, b"")
    assert (await shop.get_run(run_id)).workflow == "approval"


@pytest.mark.parametrize(
    ("words", "title", "code"),
    [
        (["run", "cancel", "-w", "approval"], "NotSure", 2),
        (["workers", "drain", "--all"], "NotSure", 2),
        (["namespace", "delete", "NAMESPACE"], "Refused", 5),
        (["namespace", "create", "NAMESPACE"], "Refused", 5),
        (["schedule", "trigger", "nightly"], "Refused", 5),
        (["run", "delete", "RUN"], "RunNotFinished", 5),
        (["run", "nope"], "Usage", 2),
        (["run", "start", "order", "-i", "{"], "ValueError", 2),
    ],
)
async def test_every_refusal_is_a_document_of_one_shape(
    working: RedisFlow, cli: Cli, namespace: str, words: list[str], title: str, code: int
):
    await eventually(working.workers)
    waits = await working.run_workflow("approval")
    await working.schedules.create("nightly", "approval", every="1h", overlap="skip")
    await working.schedules.trigger("nightly")
    named = [{"RUN": waits.id, "NAMESPACE": namespace}.get(word, word) for word in words]
    said = await cli(*named, "--json")
    problem = json.loads(said.err.splitlines()[0])
    assert problem.keys() == {"type", "title", "detail", "hint", "exit_code"}
    assert (problem["title"], problem["exit_code"], said.code) == (title, code, code)


@pytest.mark.parametrize("verb", ["show", "trace", "export"])
async def test_a_damaged_run_is_no_mistake_of_who_asks_and_leads_to_the_audit(
    shop: RedisFlow, cli: Cli, valkey_url: str, verb: str
):
    run_id = (await shop.run_workflow("order", 1)).id
    async with redis.asyncio.Redis.from_url(valkey_url) as raw:
        await raw.hset(f"rf:{{{shop.namespace}:0}}:run:{run_id}", "h", "nonsense")
    said = await cli("run", verb, run_id, "--json")
    problem = json.loads(said.err)
    assert (said.code, said.out, problem["title"]) == (1, "", "RunDamaged")
    assert f"run {run_id} cannot be read" in problem["detail"]
    assert "`redisflow audit`" in problem["detail"]


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("import os\nflow = (\n", "broken_app.py:2: SyntaxError: '(' was never closed"),
        ("import os\nimport nowhere_to_be_found\n", "broken_app.py:2: ModuleNotFoundError: No module named 'nowhere_"),
        ("import json\n\njson.loads('{')\n", "broken_app.py:3: JSONDecodeError: Expecting property name"),
        ("import sys\nsys.exit('not here')\n", "broken_app.py:2: SystemExit: not here"),
        ("from redisflow import RedisFlow\nflow = RedisFlow(namespace='a b')\n", "broken_app.py:2: InvalidName: "),
    ],
)
async def test_an_app_that_cannot_be_imported_is_told_in_a_line_with_its_place(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, says: str
):
    (tmp_path / "broken_app.py").write_text(code)
    monkeypatch.delenv("REDISFLOW_NAMESPACE")
    monkeypatch.setenv("REDISFLOW_APP", "broken_app.py:flow")
    said = await cli("run", "list")
    assert (said.code, said.out, said.err.count("\n")) == (1, "", 1)
    assert said.err.startswith(f"redisflow: broken_app.py:flow cannot be imported: {says}")
    assert said.err.endswith("(--debug has the traceback; --url URL -n NAMESPACE does without the app)\n")
    problem = json.loads((await cli("run", "show", "nope", "--json")).err)
    assert (problem["title"], problem["exit_code"], says in problem["detail"]) == ("AppBroken", 1, True)
    replayed = await cli("run", "replay", "-w", "order")
    assert (replayed.code, replayed.err[-28:]) == (1, "(--debug has the traceback)\n")


async def test_a_traceback_is_shown_to_who_asks_for_it(cli: Cli, tmp_path: Path):
    (tmp_path / "app_with_traceback.py").write_text("def load():\n    return 1 / 0\n\nload()\n")
    done = shell(f"{COMMAND} workflow list --app app_with_traceback:flow --debug", tmp_path)
    assert (done.returncode, "in load\n    return 1 / 0" in done.stderr) == (1, True)
    done = shell(f"{COMMAND} workflow list --app app_with_traceback:flow", tmp_path)
    assert done.stderr == (
        "redisflow: app_with_traceback:flow cannot be imported: app_with_traceback.py:2: ZeroDivisionError:"
        " division by zero (--debug has the traceback)\n"
    )


async def test_a_file_that_cannot_be_written_is_named(working: RedisFlow, cli: Cli, tmp_path: Path):
    run = await working.run_workflow("order", 1)
    await run.result()
    said = await cli("run", "export", run.id, "--to", str(tmp_path / "nowhere" / "run.json"))
    assert (said.code, said.out) == (1, "")
    assert said.err == f"redisflow: {tmp_path}/nowhere/run.json: No such file or directory\n"
    as_json = await cli("run", "export", run.id, "--to", str(tmp_path), "--json")
    assert json.loads(as_json.err)["detail"] == f"{tmp_path}: Is a directory"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full disk to write to")
@pytest.mark.parametrize(("where", "says"), [(">/dev/full", "No space left on device"), (">&-", "Bad file descriptor")])
@pytest.mark.parametrize(("words", "unbuffered"), [("config show", ""), ("completion bash", "1")])
def test_results_that_cannot_be_written_are_an_error(
    tmp_path: Path, words: str, unbuffered: str, where: str, says: str
):
    done = shell(f"PYTHONUNBUFFERED={unbuffered} {COMMAND} {words} {where}", tmp_path)
    assert (done.returncode, done.stderr) == (1, f"redisflow: standard output: {says}\n")


@pytest.mark.parametrize("line", ["config show 2>&- <&-", "config show --json 2>/dev/full"])
def test_results_come_where_nothing_else_can_be_written(tmp_path: Path, line: str):
    done = shell(f"{COMMAND} {line}", tmp_path)
    assert done.returncode == 0
    assert "namespace" in done.stdout


def test_an_exit_code_is_right_where_nobody_reads_the_error(tmp_path: Path):
    done = shell(f"{COMMAND} run nope 2>/dev/full", tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "")
