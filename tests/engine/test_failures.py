"""Steps that fail: retries before the workflow hears of it, and the same StepError on every pass after it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from redisflow.authoring.body import current_body
from redisflow.authoring.options import StepOptions
from redisflow.authoring.step import Step
from redisflow.engine.commands import Park, Raised, RunBody
from redisflow.errors import NonRetryableError, RetryAfter, StepError, StepTimeout
from redisflow.records import AttemptFailed, StepFailed
from redisflow.retry import NO_RETRY, RetryPolicy
from tests.engine.director import Director
from tests.engine.stage import Stage, define, replay, saw

POLICY = RetryPolicy(initial_interval=1, backoff_coefficient=3, maximum_attempts=4, jitter=0)


class CardDeclined(Exception):
    pass


def attempt() -> int:
    body = current_body.get()
    assert body is not None
    return body.attempt


def decline() -> None:
    raise CardDeclined("no money")


def succeed_on(number: int) -> int:
    if attempt() < number:
        raise CardDeclined(f"attempt {attempt()}")
    return attempt()


def echo(value: Any) -> Any:
    return value


def failed_attempts(stage: Stage) -> list[AttemptFailed]:
    return [record for record in stage.store.history() if isinstance(record, AttemptFailed)]


def test_a_caught_failure_is_the_same_step_error_on_every_pass():
    async def workflow(step: Step) -> str:
        try:
            await step.run(StepOptions("charge", retry=NO_RETRY), decline)
        except StepError as error:
            saw((type(error), str(error), error.step, error.attempts, error.error_type, error.message))
            saw((error.traceback, error.__cause__, error.failure))
        await step.sleep("pause", "1h")
        return "went on"

    stage = Stage(define(workflow)).play()
    assert stage.output == "went on"
    first, second = stage.passes
    assert first.saw == second.saw
    kind, text, step, attempts, error_type, message = first.saw[0]
    assert (kind, step, attempts, message) == (StepError, "charge", 1, "no money")
    assert error_type.endswith("test_failures.CardDeclined")
    assert text == f"step 'charge' failed after 1 attempt(s): {error_type}: no money"
    traceback, cause, _ = first.saw[1]
    assert cause is None
    assert 'raise CardDeclined("no money")' in traceback
    assert stage.counts["charge"] == 1


def test_a_failure_that_is_not_caught_fails_the_run():
    async def workflow(step: Step) -> None:
        await step.run(StepOptions("charge", retry=NO_RETRY), decline)

    stage = Stage(define(workflow)).play()
    assert stage.store.status == "failed"
    assert stage.failure is not None
    assert stage.failure.error_type == "redisflow.errors.StepError"
    assert "no money" in stage.failure.message


def test_retries_are_numbered_and_due_after_the_policy():
    async def workflow(step: Step) -> int:
        return await step.run(StepOptions("charge", retry=POLICY), succeed_on, 4)

    stage = Stage(define(workflow)).play()
    assert stage.output == 4
    assert [start.attempt for start in stage.starts] == [1, 2, 3, 4]
    failed = failed_attempts(stage)
    assert [record.attempt for record in failed] == [1, 2, 3]
    assert [record.due_at_ms - record.at_ms for record in failed] == [1_000, 3_000, 9_000]
    assert len({start.idempotency_key for start in stage.starts}) == 1
    parks = [commit.then for commit in stage.commits if isinstance(commit.then, Park)]
    assert [(park.reason, park.due_at_ms) for park in parks] == [("retry", record.due_at_ms) for record in failed]


def test_a_retry_is_due_later_by_what_the_clock_may_lag():
    async def workflow(step: Step) -> int:
        return await step.run(StepOptions("charge", retry=POLICY), succeed_on, 2)

    stage = Stage(define(workflow), slack_ms=40).play()
    [record] = failed_attempts(stage)
    assert record.due_at_ms - record.at_ms == 1_040


def test_when_the_policy_is_spent_the_last_failure_is_raised():
    async def workflow(step: Step) -> Any:
        try:
            await step.run(StepOptions("charge", retry=POLICY), succeed_on, 99)
        except StepError as error:
            return error.attempts, error.message

    stage = Stage(define(workflow)).play()
    assert stage.output == (4, "attempt 4")
    assert isinstance(stage.store.history()[-1], StepFailed)


def test_a_crash_spends_no_attempt():
    class CrashesInTheFirstBodies(Director):
        left = 3

        def choose(self, stage: Stage) -> None:
            if stage.running() and self.left:
                self.left -= 1
                stage.crash()
            else:
                super().choose(stage)

    async def workflow(step: Step) -> int:
        return await step.run(StepOptions("charge", retry=POLICY), succeed_on, 2)

    stage = Stage(define(workflow), director=CrashesInTheFirstBodies()).play()
    assert stage.output == 2
    assert [start.attempt for start in stage.starts] == [1, 1, 1, 1, 2]


def test_non_retryable_errors_end_the_attempts():
    def refuse() -> None:
        raise NonRetryableError("never")

    async def workflow(step: Step) -> None:
        with pytest.raises(StepError, match="never"):
            await step.run("charge", refuse)
        with pytest.raises(StepError, match="no money"):
            await step.run(StepOptions("pay", retry=RetryPolicy(non_retryable=(CardDeclined,))), decline)

    stage = Stage(define(workflow)).play()
    assert stage.store.status == "succeeded", stage.failure
    assert stage.counts == {"charge": 1, "pay": 1}


def test_retry_after_chooses_when_to_try_again():
    def busy() -> str:
        if attempt() == 1:
            raise RetryAfter("42s")
        return "done"

    async def workflow(step: Step) -> str:
        return await step.run("call", busy)

    stage = Stage(define(workflow)).play()
    assert stage.output == "done"
    [record] = failed_attempts(stage)
    assert record.due_at_ms - record.at_ms == 42_000


def test_a_timeout_is_retried_and_then_raised_as_step_timeout():
    class TimesOut(Director):
        def choose(self, stage: Stage) -> None:
            if stage.running() and not stage.can_store and not stage.can_acknowledge:
                stage.end_body("slow", Raised(TimeoutError("too slow"), timed_out=True))
            else:
                super().choose(stage)

    async def workflow(step: Step) -> Any:
        try:
            await step.run(StepOptions("slow", timeout="5s", retry=RetryPolicy(maximum_attempts=2)), echo, 1)
        except StepTimeout as error:
            saw(str(error))
        await step.sleep("pause", 1)
        return "went on"

    stage = Stage(define(workflow), director=TimesOut()).play()
    assert stage.output == "went on"
    assert stage.counts["slow"] == 2
    [first, last] = [one.saw for one in stage.passes if one.saw]
    assert first == last == ["step 'slow' failed after 2 attempt(s): TimeoutError: too slow"]


def test_a_timeout_is_told_to_whoever_runs_the_body():
    async def workflow(step: Step) -> None:
        await asyncio.gather(
            step.run(StepOptions("given", timeout="5s"), echo, 1),
            step.run("not given", echo, 2),
            return_exceptions=True,
        )

    stage = Stage(define(workflow))
    execution_commands = replay(stage).commands
    assert [command.timeout_ms for command in execution_commands if isinstance(command, RunBody)] == [5_000, None]


def test_a_body_that_cancels_itself_or_exits_only_fails_its_attempt():
    def cancel() -> None:
        raise asyncio.CancelledError("by myself")

    def leave() -> None:
        raise SystemExit(3)

    async def workflow(step: Step) -> list[str]:
        results = await asyncio.gather(
            step.run(StepOptions("cancel", retry=NO_RETRY), cancel),
            step.run(StepOptions("leave", retry=NO_RETRY), leave),
            return_exceptions=True,
        )
        return [result.error_type for result in results if isinstance(result, StepError)]

    assert Stage(define(workflow)).play().output == ["asyncio.exceptions.CancelledError", "SystemExit"]


def test_a_saga_compensates_in_reverse_order_and_raises_again():
    def book(name: str) -> None:
        if name == "car":
            raise NonRetryableError("none left")

    async def workflow(step: Step) -> None:
        undo: list[str] = []
        try:
            for name in ("flight", "hotel", "car"):
                await step.run(f"book {name}", book, name)
                undo.append(name)
        except StepError:
            for name in reversed(undo):
                await step.run(f"cancel {name}", echo, name)
            raise

    stage = Stage(define(workflow)).play()
    assert stage.started == ["book flight", "book hotel", "book car", "cancel hotel", "cancel flight"]
    assert stage.failure is not None
    assert "book car" in stage.failure.message


def test_one_failure_of_many_is_handled_where_it_happens():
    def send(address: str) -> str:
        if address == "bad":
            raise NonRetryableError("no such address")
        return f"sent to {address}"

    async def workflow(step: Step) -> list[str]:
        results = []
        for address in ("a", "bad", "c"):
            try:
                results.append(await step.run("send", send, address))
            except StepError as error:
                results.append(error.message)
            await step.sleep("pause", 1)
        return results

    stage = Stage(define(workflow)).play()
    assert stage.output == ["sent to a", "no such address", "sent to c"]
    assert stage.counts == {"send": 1, "send#1": 1, "send#2": 1}
