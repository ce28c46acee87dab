from __future__ import annotations

import subprocess
import sys

import pytest

from redisflow import RedisFlow
from tests.cli.conftest import Cli


async def test_a_name_that_was_mistyped_is_seen_when_it_is_paused(working: RedisFlow, cli: Cli):
    await cli("run", "exec", "order", "-i", "1")
    assert "no run" not in (await cli("queue", "pause", "default")).err + (await cli("workflow", "pause", "order")).err
    said = await cli("queue", "pause", "defaults")
    assert (said.code, said.err.splitlines()[0]) == (0, "queue defaults is paused")
    assert "no run is in queue defaults, and no live worker reads it" in said.err
    assert "no run of ordr is stored" in (await cli("workflow", "pause", "ordr")).err
    paused = {row["id"] for row in (await cli("queue", "list", "--json")).json if row["is_paused"]}
    assert paused == {"default", "defaults"}
    assert (await cli("workflow", "list")).err.splitlines() == ["workflow order is paused", "workflow ordr is paused"]


async def test_workflows_queues_and_schedules_are_listed_and_held_back(shop: RedisFlow, cli: Cli):
    await cli("run", "start", "approval")
    assert (await cli("workflow", "list")).out.splitlines()[1].split("\t")[:2] == ["approval", "1"]
    assert (await cli("workflow", "list", "--detailed", "--json")).json[0]["by_status"] == {
        "pending": 1,
        "running": 0,
        "waiting": 0,
    }
    for kind, name in (("workflow", "approval"), ("queue", "default")):
        assert (await cli(kind, "pause", name)).code == 0
        assert [(each.kind, each.name) for each in await shop.controls.list()] == [(kind, name)]
        assert (await cli(kind, "resume", name)).code == 0
        assert await shop.controls.list() == []
    await shop.schedules.create("nightly", "approval", cron="0 3 * * *")
    assert (await cli("schedule", "list", "--json")).json[0]["ticks"]
    run_id = (await cli("schedule", "trigger", "nightly")).out.strip()
    assert (await shop.get_run(run_id)).schedule == "nightly"
    assert (await cli("schedule", "pause", "nightly")).code == 0
    assert "paused" in (await cli("schedule", "list")).out
    assert (await cli("schedule", "resume", "nightly")).code == 0
    assert (await cli("schedule", "delete", "nightly", "--yes")).code == 0
    assert "there is no schedule" in (await cli("schedule", "list")).err


async def test_workers_and_what_they_do_not_serve(working: RedisFlow, cli: Cli):
    await cli("run", "exec", "order", "-i", "1")
    (worker,) = (await cli("workers", "list", "--json")).json
    assert {each["name"] for each in worker["workflows"]} == {"order", "approval"}
    assert "no run is stranded" in (await cli("stranded")).out
    await cli("run", "start", "nobody")
    assert (await cli("stranded", "--json")).json["workflows"][0]["workflow"] == "nobody"


async def test_a_schedule_is_deleted_only_where_somebody_is_sure(shop: RedisFlow, cli: Cli):
    await shop.schedules.create("nightly", "approval", every="1h")
    unsure = await cli("schedule", "delete", "nightly")
    assert (unsure.code, "would delete schedule nightly: add --yes" in unsure.err) == (2, True)
    dry = await cli("schedule", "delete", "nightly", "--dry-run")
    assert (dry.code, dry.err) == (0, "would delete schedule nightly: every 1h of approval\n")
    assert [each.id for each in await shop.schedules.list()] == ["nightly"]
    for _ in range(2):  # safe to repeat
        done = await cli("schedule", "delete", "nightly", "--yes")
        assert (done.code, done.err) == (0, "schedule nightly is deleted\n")
    assert await shop.schedules.list() == []


async def test_an_audit_ends_with_1_where_something_is_wrong(shop, cli: Cli, valkey_url: str, namespace: str):
    await cli("run", "start", "approval")
    assert (await cli("audit")).code == 0
    from tests.keyspace import raw_calls

    raw, close = raw_calls(valkey_url)
    raw("DEL", f"rf:{{{namespace}:0}}:q:default:0")
    close()
    found = await cli("audit", "--json")
    assert (found.code, found.json["is_clean"]) == (1, False)
    assert (await cli("audit", "--repair")).code == 0
    assert (await cli("audit")).code == 0


async def test_settings_come_from_flags_the_environment_and_the_nearest_file(cli: Cli, monkeypatch, tmp_path):
    monkeypatch.delenv("REDISFLOW_NAMESPACE")
    monkeypatch.setenv("REDISFLOW_URL", "redis://:secret@example:1/0")
    (tmp_path / "pyproject.toml").write_text('[tool.redisflow]\nnamespace = "from-file"\n')
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    said = await cli("config", "show")
    assert "secret" not in said.out
    rows = {line.split("\t")[0]: line.split("\t")[1:] for line in said.out.splitlines()[1:]}
    assert rows["url"][1] == "REDISFLOW_URL"
    assert rows["namespace"] == ["from-file", str(tmp_path / "pyproject.toml")]
    assert rows["app"] == ["-", "default"]
    assert (await cli("config", "show", "-n", "flag", "--json")).json[1]["source"] == "--namespace"
    (tmp_path / "sub" / "redisflow.toml").write_text("colour = 1\n")
    wrong = await cli("config", "show")
    assert (wrong.code, "no setting 'colour'" in wrong.err) == (2, True)


async def test_an_app_gives_types_to_what_is_started(cli: Cli, tmp_path, shop: RedisFlow, namespace: str, monkeypatch):
    (tmp_path / "cli_app.py").write_text(
        f"from redisflow import RedisFlow, Step\nflow = RedisFlow(namespace={namespace!r})\n"
        "@flow.define_workflow('typed', queue='special')\nasync def typed(n: int, step: Step) -> int:\n    return n\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    wrong = await cli("run", "start", "typed", "-i", '"text"', "--app", "cli_app:flow")
    assert wrong.code == 2
    right = await cli("run", "start", "typed", "-i", "3", "--app", "cli_app:flow")
    assert (await shop.get_run(right.out.strip())).queue == "special"
    unknown = await cli("run", "start", "other", "--app", "cli_app:flow")
    assert (unknown.code, "where it has versions, say which: --version (" in unknown.err) == (4, True)
    assert (await cli("run", "list", "--app", "nope")).code == 2
    same = shop.location.url.replace("redis://", "redis://:@").removesuffix("/0")
    assert same != shop.location.url
    assert (await cli("run", "list", "--app", "cli_app:flow", "--url", same)).code == 0
    for words in (["run", "list"], ["run", "cancel", "-w", "typed", "--yes"]):
        elsewhere = await cli(*words, "--app", "cli_app:flow", "-n", "another")
        assert (elsewhere.code, "another namespace" in elsewhere.err) == (2, True)


async def test_settings_are_shown_as_commands_follow_them(cli: Cli, tmp_path, monkeypatch):
    for name in ("NAMESPACE", "URL"):
        monkeypatch.delenv(f"REDISFLOW_{name}")
    (tmp_path / "placed_app.py").write_text(
        "from redisflow import RedisFlow\nflow = RedisFlow('redis://:secret@127.0.0.1:1/0', namespace='from-app')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("REDISFLOW_APP", "placed_app:flow")
    said = await cli("config", "show")
    rows = {line.split("\t")[0]: line.split("\t")[1:] for line in said.out.splitlines()[1:]}
    assert rows["url"] == ["redis://***@127.0.0.1:1/0", "placed_app:flow"]
    assert rows["namespace"] == ["from-app", "placed_app:flow"]
    checks = {check["name"]: check["says"] for check in (await cli("doctor", "--json")).json["checks"]}
    assert (checks["url"], checks["namespace"]) == (
        "redis://***@127.0.0.1:1/0 (placed_app:flow)",
        "from-app (placed_app:flow)",
    )
    other = (await cli("config", "show", "-n", "other", "--json")).json
    assert [row["value"] for row in other] == ["redis://localhost:6379/0", "other", "placed_app:flow"]
    monkeypatch.setenv("REDISFLOW_NAMESPACE", "another")
    unclear = await cli("config", "show")
    assert (unclear.code, "says another namespace" in unclear.err, "another\tREDIS" in unclear.out) == (0, True, True)


async def test_a_list_asks_an_app_only_where_it_is_needed_to_know_the_place(
    cli: Cli, tmp_path, shop: RedisFlow, namespace: str, monkeypatch
):
    (tmp_path / "asked_app.py").write_text(
        f"from redisflow import RedisFlow\nprint('asked')\nflow = RedisFlow(namespace={namespace!r})\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("REDISFLOW_APP", "asked_app:flow")
    run_id = (await cli("run", "start", "approval", "-n", namespace)).out.strip()
    assert (await cli("run", "list", "-o", "id")).out == f"{run_id}\n"
    monkeypatch.delenv("REDISFLOW_NAMESPACE")
    assert (await cli("run", "list", "-o", "id")).out == f"asked\n{run_id}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
async def test_shells_can_complete_every_command(cli: Cli, shell: str):
    said = await cli("completion", shell)
    assert said.code == 0
    for word in ("peek", "drain", "replay", "created-before"):
        assert word in said.out


def test_what_bash_is_given_completes():
    code = (
        f"source <({sys.executable} -m redisflow completion bash)\n"
        'COMP_WORDS=(redisflow queue pe) COMP_CWORD=2; _redisflow; echo "${COMPREPLY[@]}"'
    )
    said = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert (said.stdout.split(), said.stderr) == (["peek"], "")


def test_a_reader_that_has_seen_enough_ends_a_command_quietly():
    said = subprocess.run(
        f"{sys.executable} -m redisflow --help | head -1; {sys.executable} -m redisflow --version",
        shell=True,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert said.stdout.splitlines()[-1].startswith("redisflow 0")
    assert said.stderr == ""


def test_without_its_extra_the_command_line_says_what_to_install_and_a_worker_works():
    code = (
        "import sys, importlib.util as u; real = u.find_spec;\n"
        "import redisflow.cli.main as m; m.find_spec = lambda name: None if name == 'rich' else real(name)\n"
        "print(m.main(['run', 'list'])); m.main(['worker', '--help'])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert said.stdout.startswith("2\nusage: redisflow worker")
    assert "redisflow[cli]" in said.stderr


def test_a_list_imports_neither_types_nor_workers():
    code = (
        "import sys; from redisflow.cli.main import main; main(['run', 'list', '--url', 'redis://127.0.0.1:1'])\n"
        "print([name for name in ('pydantic', 'rich.console', 'redisflow.flow', 'jinja2') if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert said.stdout == "[]\n"
