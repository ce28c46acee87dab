"""Handled failures: what a workflow caught stays caught, and replays as the failure that it was."""

from __future__ import annotations

import pytest

from examples import failures, saga
from redisflow import NonRetryableError, Step, StepError, WorkflowFailed
from tests.stories.world import adopt


async def test_log_the_error_and_fall_back(flow, capsys):
    workflow = adopt(flow, failures.front_page)
    async with flow.new_worker(lease="30s"):
        handle = await workflow.run("ada")
        assert await handle.result(timeout="1m") == ["Dune", "Emma"]
    assert capsys.readouterr().out == "noted: recommend: no model is loaded for ada\n"
    assert [(each.key, each.status) for each in (await handle.get()).steps] == [
        ("recommend", "failed"),
        ("note-problem", "succeeded"),
        ("bestsellers", "succeeded"),
    ]


async def test_charge_then_reserve_fails_then_refund(flow):
    saga.ledger.clear()
    workflow = adopt(flow, saga.buy)
    async with flow.new_worker(lease="30s"):
        handle = await workflow.run("order-7")
        with pytest.raises(WorkflowFailed, match="refunded, because order-7: out of stock"):
            await handle.result(timeout="1m")
    assert list(saga.ledger.values()) == ["charged 4200 for order-7", "refunded 4200 of payment-order-7"]
    assert [(each.key, each.status) for each in (await handle.get()).steps] == [
        ("charge", "succeeded"),
        ("reserve", "failed"),
        ("refund", "succeeded"),
    ]


async def test_one_of_many_emails_fails_and_the_run_succeeds(flow):
    workflow = adopt(flow, failures.send_newsletter)
    addresses = [f"{number}@example.com" for number in range(30)]
    async with flow.new_worker(lease="30s"):
        handle = await workflow.run([*addresses[:10], "nobody", *addresses[10:]])
        report = await handle.result(timeout="1m")
    assert report == failures.Report(sent=addresses, failed={"nobody": "'nobody' is no address"})
    run = await handle.get()
    assert run.status == "succeeded"
    assert [each.key for each in run.steps if each.status == "failed"] == ["send-email#10"]


async def test_a_partial_failure_in_a_plain_loop(flow):
    async def send(number: int) -> int:
        if number == 2:
            raise NonRetryableError("two")
        return number

    @flow.define_workflow("loop")
    async def loop(step: Step) -> list[int | str]:
        results: list[int | str] = []
        for number in range(4):
            try:
                results.append(await step.run("send", send, number))
            except StepError as error:
                results.append(error.message)
        return results

    async with flow.new_worker(lease="30s"):
        assert await (await loop.run()).result(timeout="1m") == [0, 1, "two", 3]


async def test_a_caught_failure_is_the_same_failure_on_every_replay(flow):
    bodies: list[str] = []
    seen: list[tuple[object, ...]] = []

    async def broken() -> None:
        bodies.append("broken")
        raise NonRetryableError("once and for all")

    @flow.define_workflow("replayed")
    async def replayed(step: Step) -> int:
        try:
            await step.run("broken", broken)
        except StepError as error:
            seen.append((type(error), str(error), error.attempts, error.traceback, error.__cause__))
        for _ in range(3):
            await step.sleep("park", "10ms")
        return len(seen)

    async with flow.new_worker(lease="30s"):
        assert await (await replayed.run()).result(timeout="1m") >= 4
    assert bodies == ["broken"]
    assert len(set(seen)) == 1
