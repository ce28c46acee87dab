"""`redisflow doctor`: what it finds on real servers, what it says to do, and how it ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from redisflow import RedisFlow, acl_rule
from redisflow.testing import ServerOptions, start_server
from tests.acl import user_with
from tests.cli.conftest import Cli, Said


def found(said: Said) -> dict[str, dict[str, str]]:
    return {check["name"]: check for check in said.json["checks"]}


def statuses(said: Said) -> dict[str, str]:
    return {name: check["status"] for name, check in found(said).items() if check["status"] != "ok"}


async def test_where_all_is_well_it_says_so_and_ends_with_0(working: RedisFlow, cli: Cli, namespace: str, one_server):
    await cli("run", "exec", "order", "-i", "1")
    said = await cli("doctor", "--json", "--strict")
    assert (said.code, statuses(said)) == (0, {})
    checks = found(said)
    assert checks["eviction"]["says"] == "noeviction"
    assert checks["append-only file"]["says"] == "on, fsync everysec"
    assert checks["there"]["says"] == f"{namespace}, 1 partition"
    assert "1 worker alive" in checks["workers"]["says"]
    assert "PINGs" in checks["round trip"]["says"]
    assert said.json["counts"] == {"ok": len(said.json["checks"]), "warn": 0, "fail": 0}


async def test_what_is_held_back_is_a_warning(shop: RedisFlow, cli: Cli, one_server):
    await cli("run", "start", "approval")
    for number in range(6):
        await shop.controls.pause(queue=f"queue-{number}")
    await shop.controls.pause(workflow="approval")
    said = await cli("doctor", "--json")
    held = [check for check in said.json["checks"] if check["name"] == "held back"]
    assert [check["status"] for check in held] == ["warn"] * 6
    assert held[0]["says"].startswith("queue queue-0 is paused, since 20")
    assert held[0]["fix"] == "`redisflow queue resume queue-0`"
    assert held[-1]["says"] == "and 2 more: `redisflow queue list`, `redisflow workflow list`"


async def test_its_report_is_plain_lines_with_a_last_one_that_sums_up(shop, cli: Cli, one_server):
    said = await cli("doctor")
    lines = said.out.splitlines()
    assert lines[0] == "this machine"
    assert lines[-1].endswith(" ok, 0 warnings, 0 failed")
    columns = {line.index(line[7:].split()[0], 7) for line in lines if line.startswith("  ok")}
    assert columns == {7}
    assert "\x1b" not in said.out
    assert said.out.isascii()


async def test_a_server_that_is_away_ends_it_with_3(cli: Cli):
    said = await cli("doctor", "--url", "redis://:secret@127.0.0.1:1/0")
    assert said.code == 3
    assert "fail reachable" in said.out
    assert "`redisflow dev` brings one" in said.out
    assert "secret" not in said.out + said.err


async def test_a_namespace_that_is_not_there_is_not_made_and_is_a_warning(
    cli: Cli, valkey_url: str, namespace: str, one_server
):
    assert (await cli("doctor")).code == 0
    strict = await cli("doctor", "--strict", "--json")
    assert (strict.code, statuses(strict)) == (7, {"there": "warn"})
    assert (await cli("run", "list")).code == 4


async def test_what_loses_runs_is_told_with_what_to_do(cli: Cli, tmp_path: Path):
    options = ServerOptions(appendonly=False, config={"maxmemory-policy": "allkeys-lru", "maxmemory": "2mb"})
    with start_server(options) as server:
        said = await cli("doctor", "--json", "--url", server.url, "-n", "shop")
        assert said.code == 1
        checks = found(said)
        assert checks["eviction"]["status"] == "fail"
        assert "maxmemory-policy noeviction" in checks["eviction"]["fix"]
        assert checks["append-only file"]["status"] == "warn"
        assert "a restart loses every run" in checks["append-only file"]["says"]
        assert "of 2 MiB" in checks["memory"]["says"]


async def test_work_that_nobody_does_is_told(shop: RedisFlow, cli: Cli, one_server):
    await cli("run", "start", "order", "-i", "1")
    said = await cli("doctor", "--json")
    assert said.code == 1
    checks = found(said)
    assert checks["workers"]["says"] == "none is alive, and runs wait"
    assert "redisflow worker" in checks["workers"]["fix"]
    assert checks["unserved"]["says"].startswith("order: 1 unfinished")
    assert checks["unread queue"]["says"].startswith("queue default: 1 run")


async def test_a_user_with_too_few_rights_is_told_and_a_reader_is_warned(
    shop: RedisFlow, cli: Cli, valkey_url: str, namespace: str, one_server
):
    await cli("run", "start", "approval")
    half = " ".join(part for part in acl_rule(namespace).split() if part != "+zadd")
    with user_with(valkey_url, half) as url:
        said = await cli("doctor", "--json", "--url", url)
        assert said.code == 1
        assert "ZADD" in found(said)["open"]["says"]
        assert "acl_rule" in found(said)["open"]["says"]
    with user_with(valkey_url, acl_rule(namespace, read_only=True)) as url:
        said = await cli("doctor", "--json", "--url", url)
        assert found(said)["rights"]["status"] == "warn"


async def test_an_app_is_imported_and_what_is_wrong_with_it_is_told(
    shop: RedisFlow, cli: Cli, tmp_path: Path, namespace: str, monkeypatch: pytest.MonkeyPatch, one_server
):
    text = (
        "from redisflow import RedisFlow, Step\n"
        f"flow = RedisFlow(namespace={namespace!r})\n"
        "@flow.define_workflow('twice')\nasync def one(step: Step) -> None: ...\n"
    )
    (tmp_path / "doctored_fine.py").write_text(text)
    (tmp_path / "doctored_twice.py").write_text(
        text + "@flow.define_workflow('twice')\nasync def two(step: Step) -> None: ...\n"
    )
    (tmp_path / "doctored_elsewhere.py").write_text(text.replace(namespace, "another"))
    monkeypatch.syspath_prepend(str(tmp_path))
    fine = await cli("doctor", "--json", "--app", "doctored_fine:flow")
    assert (fine.code, statuses(fine)) == (0, {})
    assert found(fine)["import"]["says"] == "doctored_fine:flow (twice)"
    twice = await cli("doctor", "--json", "--app", "doctored_twice:flow")
    assert twice.code == 1
    assert "registered twice" in found(twice)["import"]["says"]
    elsewhere = await cli("doctor", "--json", "--app", "doctored_elsewhere:flow")
    namespaces = [check for check in elsewhere.json["checks"] if check["name"] == "namespace"]
    assert [check["status"] for check in namespaces] == ["ok", "warn"]
    assert "says another namespace than the app has, which is another" in namespaces[1]["says"]


async def test_without_an_app_that_is_named_workflows_py_is_looked_at(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_server
):
    (tmp_path / "workflows.py").write_text("raise RuntimeError('not today')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    said = await cli("doctor", "--json")
    assert said.code == 1
    assert found(said)["import"]["says"] == "workflows cannot be imported: RuntimeError: not today"


@pytest.mark.timeout(180)
async def test_a_cluster_is_told_node_by_node(cli: Cli, cluster_url: str, namespace: str):
    async with RedisFlow(cluster_url, namespace=namespace, partitions=4):
        pass
    said = await cli("doctor", "--json", "--url", cluster_url)
    assert (said.code, statuses(said)) == (0, {})
    groups = {check["group"] for check in said.json["checks"] if check["name"] == "version"}
    assert len(groups) == 3
    assert found(said)["slots"]["says"] == "16,384 of 16,384 on 3 nodes"
    assert found(said)["there"]["says"] == f"{namespace}, 4 partitions"
