"""Nothing of a payload leaves before the user's hook has seen it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from redisflow import RedisFlow, WorkflowFailed
from redisflow.dashboard.access.redact import HIDDEN, Path, Redactor
from redisflow.failure import Failure
from redisflow.run_history import HistoryEntry

V1 = "/api/v1"


def without_cards(path: Path, value: Any) -> Any:
    return "****" if path[-1] == "card" else value


async def test_each_place_where_a_payload_is_shown_is_redacted(make_client, working: RedisFlow):
    value = {"card": "4111", "items": [{"card": {"number": "4111"}}], "ok": 1}
    run = await working.run_workflow("echo", value)
    await run.result(10)
    async with make_client(redact=without_cards) as client:
        texts = [
            (await client.get(f"{V1}/runs/{run.id}")).text,
            (await client.get(f"{V1}/runs/{run.id}/events")).text,
            (await client.get(f"{V1}/runs/{run.id}/events", headers={"Accept": "text/event-stream"})).text,
        ]
        document = (await client.get(f"{V1}/runs/{run.id}")).json()
    assert [text for text in texts if "4111" in text] == []
    assert document["input"] == document["output"] == {"card": "****", "items": [{"card": "****"}], "ok": 1}


async def test_errors_and_steps_are_payloads_too(make_client, working: RedisFlow):
    run = await working.run_workflow("order", 101)
    while not (await run.get()).is_finished:
        await run.get()
    seen: list[Path] = []

    def hide_all(path: Path, value: Any) -> Any:
        seen.append(path)
        return None if path[-1] in {"message", "traceback"} else value

    async with make_client(redact=hide_all) as client:
        for path in ("", "/steps"):
            assert "declined" not in (await client.get(f"{V1}/runs/{run.id}{path}")).text
    expected: list[Path] = [
        ("input",),
        ("error", "message"),
        ("steps", "charge", "error", "traceback"),
        ("steps", "charge", "attempts", 0, "error", "message"),
    ]
    assert [each for each in expected if each not in seen] == []


def test_where_the_hook_fails_nothing_is_shown():
    def fails(path: Path, value: Any) -> Any:
        return {"a": 1}["b"] if path == ("input", "x") else value

    assert Redactor(fails).value(("input",), {"x": "secret", "y": 2}) == {"x": HIDDEN, "y": 2}


def test_what_the_hook_puts_in_is_not_gone_into_and_is_json():
    def hook(path: Path, value: Any) -> Any:
        return {"card": {1, 2}} if path == () else "****"

    assert Redactor(hook).value((), ["secret"]) == {"card": [1, 2]}


def test_without_a_hook_all_is_shown():
    assert Redactor().value(("input",), {"a": b"x"}) == {"a": "eA=="}


async def test_an_error_in_the_history_is_hidden_by_the_path_of_its_attempt_and_of_its_step(
    make_client, working: RedisFlow
):
    run = await working.run_workflow("order", 101)
    with pytest.raises(WorkflowFailed):
        await run.result(10)
    (entry,) = [entry for entry in await working.get_history(run.id) if entry.error]
    of_attempt: Path = ("steps", "charge", "attempts", 0, "error", "message")
    of_step: Path = ("steps", "charge", "error", "message")
    for hidden in (of_attempt, of_step):

        def hook(path: Path, value: Any, hidden: Path = hidden) -> Any:
            return "****" if path == hidden else value

        assert Redactor(hook).history(entry)["message"] == "****"
    assert Redactor().history(entry)["message"] == "declined"


def entry_of(error: Failure | None) -> HistoryEntry:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return HistoryEntry(
        number=0,
        at=at,
        what="attempt failed",
        step=None,
        attempt=1,
        due_at=None,
        child_id=None,
        error=error,
        counts=True,
    )


def test_an_error_of_the_run_in_its_history_is_hidden_as_that_of_the_run():
    def hook(path: Path, value: Any) -> Any:
        return "****" if path == ("error", "message") else value

    failure = Failure(error_type="ValueError", message="secret", traceback="")
    assert Redactor(hook).history(entry_of(failure))["message"] == "****"


def test_an_entry_without_an_error_is_not_asked_about():
    def fails(path: Path, value: Any) -> Any:
        raise AssertionError(path)

    assert Redactor(fails).history(entry_of(None)) is None


def test_what_the_hook_puts_in_and_cannot_be_shown_is_not():
    endless: list[Any] = []
    endless.append(endless)
    assert Redactor(lambda _path, _value: endless).value(("input",), "secret") == HIDDEN
