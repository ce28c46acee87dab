"""`redisflow run import`: what was exported comes back, whatever else is in the file."""

from __future__ import annotations

import io
import json
import sys
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from redisflow import RedisFlow, codec
from redisflow.cli import import_runs
from redisflow.client.export import FORMAT
from redisflow.run_id import new_run_id
from tests.cli.conftest import Cli, Said


@pytest.fixture
async def staging(shop: RedisFlow, valkey_url: str, namespace: str) -> AsyncIterator[RedisFlow]:
    """Return another namespace, which is as it must be at the end."""
    async with RedisFlow(valkey_url, namespace=f"{namespace}-staging") as made:
        yield made
        assert (await made.audit()).is_clean


@pytest.fixture
async def run_ids(working: RedisFlow, cli: Cli) -> list[str]:
    """Return runs that have ended: one of them failed."""
    ids = [(await cli("run", "start", "order", "-i", total)).out.strip() for total in ("1", "2", "200")]
    for run_id in ids:
        await cli("run", "result", run_id)
    return ids


def importing(cli: Cli, staging: RedisFlow) -> Callable[..., Any]:
    async def bring(file: Path | str, *words: str) -> Said:
        return await cli("run", "import", str(file), "-n", staging.namespace, *words)

    return bring


async def test_runs_come_back_from_a_file_of_several(
    cli: Cli, run_ids: list[str], working: RedisFlow, staging: RedisFlow, tmp_path: Path
):
    file = tmp_path / "runs.jsonl"
    await cli("run", "export", *run_ids, "--to", str(file))
    bring = importing(cli, staging)
    dry = await bring(file, "--dry-run")
    assert (dry.code, dry.out, dry.err) == (0, "", "import: would import 3 runs\n")
    assert (await staging.count_runs()).succeeded == 0
    said = await bring(file)
    assert (said.code, said.out.split(), said.err) == (0, run_ids, "import: imported 3 runs\n")
    for run_id in run_ids:
        assert replace(await staging.get_run(run_id), imported_at=None) == await working.get_run(run_id)
        assert await staging.get_history(run_id) == await working.get_history(run_id)
    again = await bring(file)
    assert (again.code, again.out, again.err) == (0, "", "import: imported 0 runs, 3 here already\n")
    listed = await cli("run", "list", "-n", staging.namespace, "--status", "failed", "-o", "id")
    assert listed.out.split() == [run_ids[2]]
    shown = await cli("run", "show", run_ids[2], "-n", staging.namespace)
    assert "declined" in shown.out
    assert "imported" in shown.out
    # What was brought here is exported as it was there.
    lines = [await cli("run", "export", run_ids[0], "-n", name) for name in (working.namespace, staging.namespace)]
    assert lines[0].json == {**lines[1].json, "namespace": working.namespace}


async def test_one_run_over_several_lines_comes_from_standard_input(
    cli: Cli, run_ids: list[str], staging: RedisFlow, monkeypatch: pytest.MonkeyPatch
):
    first = (await cli("run", "export", run_ids[0])).out
    second = (await cli("run", "export", run_ids[1])).out
    assert first.count("\n") > 5
    stdin = io.TextIOWrapper(io.BytesIO((first + "\n" + second).encode()))
    monkeypatch.setattr(sys, "stdin", stdin)
    said = await importing(cli, staging)("-")
    assert (said.code, said.out.split()) == (0, run_ids[:2])


async def test_each_run_is_told_as_a_document(cli: Cli, run_ids: list[str], staging: RedisFlow, tmp_path: Path):
    file = tmp_path / "runs.jsonl"
    await cli("run", "export", *run_ids, "--to", str(file))
    bring = importing(cli, staging)
    told = (await bring(file, "--new-ids", "--json")).json
    assert [each["exported_id"] for each in told] == run_ids
    assert [(each["line"], each["outcome"], each["error"]) for each in told] == [
        (number, "imported", None) for number in (1, 2, 3)
    ]
    ids = [each["id"] for each in told]
    assert not set(ids) & set(run_ids)
    again = (await bring(file, "--new-ids", "--json")).json
    assert [(each["id"], each["outcome"]) for each in again] == [(run_id, "existing") for run_id in ids]
    assert (await bring(file, "-o", "id")).out.split() == run_ids


async def test_what_is_refused_and_what_is_damaged_stop_no_other(
    cli: Cli, run_ids: list[str], working: RedisFlow, staging: RedisFlow, tmp_path: Path
):
    good, other, third = [await working.export_run(run_id) for run_id in run_ids]
    waiting = (await cli("run", "start", "approval")).out.strip()
    await staging.import_run({**other, "finished_at_ms": other["finished_at_ms"] - 1})
    lines = [
        json.dumps(good),
        json.dumps(other),
        json.dumps(await working.export_run(waiting)),
        "",
        json.dumps(third),
    ]
    file = tmp_path / "runs.jsonl"
    file.write_text("\n".join(lines))
    said = await importing(cli, staging)(file)
    assert (said.code, said.out.split()) == (5, [run_ids[0], run_ids[2]])
    assert "line 2: another run of the id" in said.err
    assert "line 3: run" in said.err
    assert "import: imported 2 runs, 2 refused" in said.err
    file.write_text("\n".join([lines[0][:-20], "{", lines[4], "[1]"]))
    said = await importing(cli, staging)(file)
    assert (said.code, said.out) == (1, "")
    assert "line 1: this is no JSON" in said.err
    assert "line 2: it has no end: the file was cut off" in said.err


async def test_a_file_that_is_none_and_a_namespace_that_is_not_there(cli: Cli, tmp_path: Path, staging: RedisFlow):
    bring = importing(cli, staging)
    missing = await bring(tmp_path / "missing.jsonl")
    assert (missing.code, "cannot be read: No such file" in missing.err) == (2, True)
    empty = tmp_path / "empty.jsonl"
    empty.write_text("\n\n")
    assert (await bring(empty)).err == "import: there is no run in it\n"
    assert (await cli("run", "import", str(empty), "-n", "nowhere")).code == 4


async def test_a_line_without_end_is_not_read_into_memory(
    cli: Cli, run_ids: list[str], staging: RedisFlow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    line = (await cli("run", "export", *run_ids[:2])).out.splitlines()[0]
    monkeypatch.setattr(import_runs, "LINE_BYTES", len(line) + 10)
    file = tmp_path / "long.jsonl"
    file.write_text("[" * 100_000 + "\n" + line + "\n{\n" + '"a": 1,\n' * 10_000)
    said = await importing(cli, staging)(file)
    assert (said.code, said.out.split()) == (1, run_ids[:1])
    assert said.err.count("it has more than the") == 2


# -- hostile documents ------------------------------------------------------------------------------------------------


def _set(**changes: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda document: {**document, **changes}


def _without(name: str) -> Callable[[dict[str, Any]], Any]:
    return lambda document: {key: value for key, value in document.items() if key != name}


def _base64(data: bytes) -> str:
    return b64encode(data).decode()


def _record(value: Any, key: Any = "charge", at: Any = 1, attempt: Any = 1) -> str:
    """A step's result as it is stored, but for what is wrong with it."""
    header = codec.encode([0, key, 0, -1, at, 1, attempt])
    return _base64(bytes((len(header),)) + header + codec.encode(value))


_EVENT = {"id": "5-1", "kind": "data", "data": "AQ=="}
HOSTILE: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "a list": (lambda _: [], "no exported run"),
    "nothing": (lambda _: None, "no exported run"),
    "a later format": (_set(format="redisflow run 2"), f"reads '{FORMAT}'"),
    "no format": (_without("format"), "its format is None"),
    "no id": (_without("id"), "'id' is wrong"),
    "an id that names another key": (_set(id="x}:meta"), "is not a run id"),
    "an id of a partition that is not here": (_set(id=new_run_id(7)), "is of partition 7"),
    "an id that is a number": (_set(id=5), "is not a run id"),
    "a workflow that names another key": (_set(workflow="a b"), "'workflow' is wrong"),
    "no workflow": (_without("workflow"), "'workflow' is wrong"),
    "a version that is a list": (_set(version=["1"]), "'version' is wrong"),
    "a queue of nothing": (_set(queue=""), "'queue' is wrong"),
    "a status that nobody knows": (_set(status="done"), "no status: 'done'"),
    "a status that is none": (_set(status=True), "'status' is a bool"),
    "no end": (_without("finished_at_ms"), "'finished_at_ms' is not there"),
    "an end before all time": (_set(finished_at_ms=-1), "not a whole number"),
    "an end after all time": (_set(finished_at_ms=10**15), "not a whole number"),
    "an end that is text": (_set(finished_at_ms="now"), "not a whole number"),
    "an end that is no whole number": (_set(finished_at_ms=1.5), "not a whole number"),
    "a beginning that is true": (_set(started_at_ms=True), "not a whole number"),
    "counters below zero": (_set(retries=-1), "not a whole number"),
    "a priority of 10": (_set(priority=10), "not a whole number from 0 to 9"),
    "no input": (_without("input"), "'input' is not there"),
    "an input that is a number": (_set(input=5), "not text"),
    "an input that is not base64": (_set(input="a!"), "not base64"),
    "an input that is too large": (_set(input="A" * 1_500_000), "longer than the 1,048,576 bytes"),
    "an input that nobody has encoded": (_set(input=_base64(b"\xc1\xc1")), "cannot be read as a run"),
    "an input that is sealed": (_set(input=_base64(b"\xc1RF\x00abc")), "sealed"),
    "no output": (_without("output"), "the run succeeded"),
    "an output of great depth": (_set(output=_base64(b"\x91" * 100_000)), "cannot be read as a run"),
    "records that are text": (_set(records="AQ=="), "not a list"),
    "a record that is a number": (_set(records=[1]), "'records[0]' is a int"),
    "a record that is none": (_set(records=[_base64(b"\x00\x01")]), "cannot be read as a run"),
    "an empty record": (_set(records=[""]), "cannot be read as a run"),
    "a record whose step has no name": (_set(records=[_record("x", key=5)]), "its key is 5"),
    "a record whose step has an odd name": (_set(records=[_record("x", key="\x1b[31m")]), "is no name"),
    "a record of half an attempt": (_set(records=[_record("x", attempt=1.5)]), "its attempt is 1.5"),
    "a record of no time": (_set(records=[_record("x", at="x")]), "cannot be read as a run"),
    "tags that are none": (_set(tags="customer=c1"), "'tags' is not what is stored of tags"),
    "tags with hashes that are not theirs": (_set(tags="ffffffffffff\ncustomer=c1"), "'tags' is not"),
    "a parent that is none": (_set(parent="up"), "'parent' is wrong"),
    "limits in other digits": (_set(limits="ab:\u0663:0"), "'limits' is not"),
    "limits that are none": (_set(limits="all:of:them"), "'limits' is not"),
    "a unique key that names another": (_set(unique_key="a}:b"), "'unique_key' is not"),
    "a cause that is long": (_set(cause="a" * 100), "'cause' is not"),
    "a said that is none": (_set(said="1"), "'said' is not"),
    "a schedule that is none": (_set(schedule="\n"), "'schedule' is wrong"),
    "events that are none": (_set(events={}), "'events' is a dict, not a list"),
    "an event that is none": (_set(events=[5]), "'events[0]' is a int"),
    "events out of order": (_set(events=[_EVENT, _EVENT]), "after another one"),
    "an event of no time": (_set(events=[{**_EVENT, "id": "0-0"}]), "after another one"),
    "an event whose id asks for one": (_set(events=[{**_EVENT, "id": "*"}]), "its id is '*'"),
    "an event that nobody has encoded": (_set(events=[{**_EVENT, "data": _base64(b"\xc1")}]), "encoded"),
    "an event of an odd kind": (_set(events=[{**_EVENT, "kind": "a\nb"}]), "no name"),
    "an event of an odd step": (_set(events=[{**_EVENT, "step": "\x01"}]), "no name"),
    "too many events": (_set(events=[_EVENT] * 20_001), "20,000 are the most"),
    "a state that is none": (_set(state=[]), "not values by key"),
    "a state of too much": (_set(state={str(number): "AQ==" for number in range(101)}), "100 are the most"),
    "a state that nobody has encoded": (_set(state={"a": _base64(b"\xc1")}), "encoded"),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_document_that_nobody_exported_is_refused_and_leaves_nothing(
    working: RedisFlow, staging: RedisFlow, cli: Cli, tmp_path: Path, name: str
):
    change, why = HOSTILE[name]
    handle = await working.run_workflow("order", 1)
    await handle.result(timeout="1m")
    document = await working.export_run(handle.id)
    file = tmp_path / "hostile.jsonl"
    file.write_text(json.dumps(change(document)) + "\n" + json.dumps(document) + "\n")
    said = await importing(cli, staging)(file)
    assert (said.code, said.out.split()) == (1, [handle.id]), said.err
    assert "line 1: " in said.err
    assert why in said.err
    assert "Traceback" not in said.err
    assert (await staging.count_runs()).succeeded == 1


async def test_what_a_later_version_adds_is_passed_over(working: RedisFlow, staging: RedisFlow):
    handle = await working.run_workflow("order", 1)
    await handle.result(timeout="1m")
    document = await working.export_run(handle.id)
    earlier = {
        name: document[name]
        for name in (
            *("format", "id", "namespace", "workflow", "status", "created_at_ms", "started_at_ms", "finished_at_ms"),
            *("input", "output", "records"),
        )
    }
    assert (await staging.import_run({**earlier, "colour": "green"})).is_new
    run, original = await staging.get_run(handle.id), await working.get_run(handle.id)
    assert (run.output, run.steps, run.claims) == (original.output, original.steps, 0)
