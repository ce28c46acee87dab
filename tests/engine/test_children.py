"""Child runs: ordered once, waited for without a worker, and looked after when nobody waits for them any more."""

from __future__ import annotations

import asyncio

import pytest

from redisflow import codec, define_workflow_spec
from redisflow.authoring.step import Step
from redisflow.engine.commands import Park, Raised
from redisflow.errors import ChildCanceled, ChildFailed, ChildTimedOut, InvalidInput
from redisflow.failure import Failure
from redisflow.retry import RetryPolicy
from tests.engine.director import Chance
from tests.engine.stage import Stage, define, ordered, replay, saw

double = define_workflow_spec("double", input=int, output=int)
RUN = "0199c0ffee007000800000000000" + "0000"
TWICE = RetryPolicy(maximum_attempts=2, initial_interval="1s", jitter=0)


@pytest.fixture(autouse=True)
def nothing_ordered():
    ordered.clear()


def has_parked(stage: Stage) -> bool:
    return stage.store.status == "waiting" and not stage.is_held


def end_all(stage: Stage) -> None:
    """Every child that was ordered and is waited for gives twice its input."""
    for order in ordered:
        stage.store.end_child(order.run_id, payload=2 * codec.decode(order.data))


async def parent(step: Step) -> int:
    first = await step.run_workflow(double, 1)
    saw(first)
    return await step.run_workflow(double, first + 1)


def test_a_parent_parks_until_its_child_has_ended_and_orders_it_once():
    stage = Stage(define(parent), run_id=RUN).play(until=has_parked)
    park = stage.commits[-1].then
    assert isinstance(park, Park)
    assert (park.reason, park.due_at_ms, park.wants) == ("child", None, "\nc\n")
    assert list(stage.store.kids) == [ordered[0].run_id]
    end_all(stage)
    stage.play(until=has_parked)
    end_all(stage)
    assert stage.play().output == 6
    assert [codec.decode(order.data) for order in ordered] == [1, 3]
    assert replay(stage).saw == [2]


def test_the_order_is_placed_only_when_it_is_recorded_that_it_will_be():
    stage = Stage(define(parent), run_id=RUN).play(until=lambda stage: stage.can_store)
    assert ordered == []
    stage.store_commit()
    assert stage.store.kids
    assert ordered == []
    stage.acknowledge()
    assert len(ordered) == 1


async def beside_a_signal(step: Step) -> tuple[int, str | None]:
    return await asyncio.gather(step.run_workflow(double, 1), step.wait_for_signal("go", str, timeout="50ms"))


def test_a_parent_says_that_a_child_is_still_to_be_started_also_when_something_else_is_due_first():
    stage = Stage(define(beside_a_signal), run_id=RUN).play(until=lambda stage: bool(stage.running()))
    stage.end_body("double", Raised(ConnectionError("the server is full")))
    park = stage.play(until=has_parked).commits[-1].then
    assert isinstance(park, Park)
    # Of who waits for a signal, all children were started: one that is not stored is told as lost (backend/outbox.py).
    assert (park.reason, park.due_at_ms) == ("retry", stage.store.due_at_ms)
    stage.play(until=lambda stage: len(ordered) == 2 and has_parked(stage))
    park = stage.commits[-1].then
    assert isinstance(park, Park)
    assert park.reason == "child"


async def catches(step: Step) -> str:
    try:
        await step.run_workflow(double, 1)
    except ChildFailed as error:
        saw((type(error).__name__, error.run_id == ordered[0].run_id, str(error).partition(": ")[2]))
    return "went on"


@pytest.mark.parametrize(
    ("kind", "status", "cause", "payload", "said"),
    [
        (ChildFailed, "failed", "", codec.encode(Failure("ValueError", "no", "").to_wire()), "ValueError: no"),
        (ChildCanceled, "canceled", "canceled", b"", "Canceled: the child run was canceled"),
        (ChildTimedOut, "failed", "deadline", b"", "DeadlineExceeded: the run did not end before its deadline"),
    ],
)
def test_a_child_that_does_not_succeed_is_an_error_of_its_own_type_on_every_pass(kind, status, cause, payload, said):
    stage = Stage(define(catches), run_id=RUN).play(until=has_parked)
    stage.store.end_child(ordered[0].run_id, status, payload, cause)
    assert stage.play().output == "went on"
    assert replay(stage).saw == stage.passes[-1].saw == [(kind.__name__, True, said)]


def test_a_bad_input_is_refused_at_the_call_and_orders_nothing():
    async def wrong(step: Step) -> str:
        with pytest.raises(InvalidInput, match="double"):
            step.run_workflow(double, "x")  # type: ignore[misc]  # wrong on purpose
        return "refused"

    assert Stage(define(wrong), run_id=RUN).play().output == "refused"
    assert ordered == []


def test_children_in_parallel_are_waited_for_together():
    async def many(step: Step) -> list[int]:
        return list(await asyncio.gather(*(step.run_workflow(double, n) for n in range(5))))

    stage = Stage(define(many), run_id=RUN).play(until=has_parked)
    assert len(ordered) == 5
    end_all(stage)
    assert stage.play().output == [0, 2, 4, 6, 8]


def test_a_run_with_a_parent_tells_it_of_its_end_in_the_step_that_ends_it():
    async def child(step: Step) -> None:
        return None

    stage = Stage(define(child), run_id=RUN)
    stage.store.parent = "parent-1"
    stage.play()
    assert stage.store.told == ["parent-1"]


def test_a_child_that_is_given_up_is_dropped_also_by_a_pass_that_gave_it_up_before():
    async def gives_up(step: Step) -> str:
        waiting = asyncio.ensure_future(step.run_workflow(double, 1))
        await step.run("between", lambda: 1)
        waiting.cancel()
        await step.sleep("then", "1h")
        return "done"

    stage = Stage(define(gives_up), run_id=RUN).play(until=has_parked)
    assert stage.store.canceled == [ordered[0].run_id]
    stage.play()
    assert stage.store.canceled == [ordered[0].run_id]


def test_children_that_a_run_leaves_behind_are_canceled_unless_they_are_to_be_left_alone():
    async def leaves(step: Step) -> str:
        tasks = [
            asyncio.ensure_future(step.run_workflow(double, 1)),
            asyncio.ensure_future(step.run_workflow(double, 2, on_parent_end="leave")),
        ]
        await step.run("between", lambda: 1)
        del tasks
        return "done"

    stage = Stage(define(leaves), run_id=RUN).play()
    assert stage.output == "done"
    assert len(stage.store.canceled) == 1


def test_another_workflow_attempt_orders_its_own_child():
    async def retried(step: Step) -> int:
        return await step.run_workflow(double, 1)

    stage = Stage(define(retried, retry=TWICE), run_id=RUN).play(until=has_parked)
    stage.store.end_child(ordered[0].run_id, "failed", codec.encode(Failure("ValueError", "no", "").to_wire()))
    stage.play(until=lambda stage: has_parked(stage) and len(ordered) == 2)
    assert ordered[0].run_id != ordered[1].run_id
    end_all(stage)
    assert stage.play().output == 2


def test_a_started_child_is_a_step_that_gives_its_id():
    async def starts(step: Step) -> str:
        child = await step.start_workflow(double, 1)
        saw(child)
        return child.id

    stage = Stage(define(starts), run_id=RUN).play()
    assert stage.output == ordered[0].run_id
    assert (ordered[0].parent, stage.store.kids) == (None, {})
    assert replay(stage).saw == stage.passes[-1].saw


@pytest.mark.parametrize("seed", range(60))
def test_whatever_happens_each_child_is_ordered_under_one_id_and_replay_sees_the_same(seed):
    async def mixed(step: Step) -> list[int]:
        async def chain(name: str) -> list[int]:
            found = []
            for number in range(3):
                found.append(await step.run_workflow(double, number, name=f"{name}-{number}"))
                found.append(await step.run(f"{name}-step-{number}", lambda: 7))
            return found

        both = await step.gather(chain("a"), chain("b"))
        saw(both)
        return [*both[0], *both[1]]

    director = Chance(seed)
    stage = Stage(define(mixed), director=director, run_id=RUN)
    chance = director._random

    def look(_: Stage) -> bool:
        open_orders = [order for order in ordered if order.run_id in stage.store.kids]
        if open_orders and (has_parked(stage) or chance.random() < 0.2):
            order = chance.choice(open_orders)
            stage.store.end_child(order.run_id, payload=2 * codec.decode(order.data))
            if stage.is_held and chance.random() < 0.5:
                stage.read_mail()
        return False

    stage.play(until=look)
    assert stage.output == [0, 7, 2, 7, 4, 7] * 2
    assert len({order.run_id for order in ordered}) == 6
    assert (stage.store.mail, stage.store.kids, stage.store.canceled) == ([], {}, [])
    assert replay(stage).saw == stage.passes[-1].saw[-1:]
