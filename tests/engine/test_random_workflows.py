"""Random workflows, random orders, random crashes: what one pass saw, every later pass sees."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from redisflow.authoring.step import Step
from redisflow.engine.commands import Commit, Finish
from redisflow.records import AttemptFailed, StepFailed, StepSucceeded, TimerFired, WorkflowAttemptFailed
from redisflow.retry import RetryPolicy
from redisflow.run_views import live_records
from tests.engine.director import Chance
from tests.engine.programs import Interpreter, Op, programs
from tests.engine.stage import T0, Stage, define, replay, saw

if TYPE_CHECKING:
    from redisflow.engine.commands import RunBody

EXAMPLES = int(os.environ.get("REDISFLOW_ENGINE_EXAMPLES", "300"))

retries = st.sampled_from([None, None, None, RetryPolicy(initial_interval="50ms", maximum_attempts=2)])
seeds = st.integers(0, 2**32)


class ExplainingStage(Stage):
    """Whatever starts must follow from what is stored: a replay of it, alone, would start it too."""

    def _start(self, command: RunBody) -> None:
        super()._start(command)
        # A retry starts only once it is due; by now other things may be due too.
        dues = [
            record.due_at_ms
            for record in live_records(self.store.history())
            if isinstance(record, AttemptFailed) and record.call.key == command.key
        ]
        again = replay(self, at_ms=max(dues, default=T0))
        assert command.key in again.starts, "the body of a call that the stored record does not lead to"


def staged(program: Op, seed: int, retry: RetryPolicy | None) -> Stage:
    async def workflow(step: Step) -> Any:
        saw(step.info.attempt)
        return repr(await Interpreter(saw, step).run(program))

    return ExplainingStage(define(workflow, retry=retry), director=Chance(seed), slack_ms=seed % 3 * 2)


@given(program=programs, seed=seeds, retry=retries)
@settings(max_examples=EXAMPLES)
def test_every_pass_sees_what_the_passes_before_it_saw(program: Op, seed: int, retry: RetryPolicy | None):
    stage = staged(program, seed, retry).play()
    assert stage.store.status in {"succeeded", "failed"}, stage.store.message
    if stage.failure is not None:
        assert stage.failure.error_type.split(".")[-1] in {"StepError", "ExceptionGroup"}

    history = stage.store.history()
    whole = replay(stage).saw
    for one in stage.passes:
        # The record that ends a workflow attempt begins the next one, which sees other things.
        stored = one.stored
        if stored > one.found and isinstance(history[stored - 1], WorkflowAttemptFailed):
            stored -= 1
        recorded = replay(stage, stored).saw
        shared = min(len(recorded), len(one.saw))
        assert one.saw[:shared] == recorded[:shared]
        if not any(isinstance(record, WorkflowAttemptFailed) for record in history[stored:]):
            assert whole[: len(recorded)] == recorded


@given(program=programs, seed=seeds, retry=retries)
@settings(max_examples=EXAMPLES // 3)
def test_the_record_alone_gives_the_same_end_and_asks_for_nothing_new(
    program: Op, seed: int, retry: RetryPolicy | None
):
    stage = staged(program, seed, retry).play()
    [commit] = replay(stage).commands
    assert isinstance(commit, Commit)
    assert isinstance(commit.then, Finish)
    assert (commit.then.status, commit.then.payload) == (stage.store.status, stage.store.payload)
    assert not commit.extension.records


@given(program=programs, seed=seeds, retry=retries)
@settings(max_examples=EXAMPLES // 3)
def test_a_step_has_at_most_one_result(program: Op, seed: int, retry: RetryPolicy | None):
    stage = staged(program, seed, retry).play()
    results = [
        record.call.key
        for record in live_records(stage.store.history())
        if isinstance(record, StepSucceeded | StepFailed | TimerFired)
    ]
    assert len(results) == len(set(results))
