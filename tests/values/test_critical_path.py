"""Which steps a run's end waited for."""

from __future__ import annotations

from redisflow.critical_path import critical_steps
from redisflow.runs import StepRun
from tests.values.test_timeline import a_run, at, attempt, body, sleep


def took(key: str, began: float, ended: float) -> StepRun:
    return body(key, attempt(1, began, ended))


def test_of_branches_the_one_that_ended_last_and_what_came_before_it():
    run = a_run(took("a", 0, 2), took("fast", 2, 3), took("slow", 2, 9), took("z", 9, 10), finished=10)
    assert critical_steps(run) == {"a", "slow", "z"}


def test_a_branch_of_several_steps_is_followed_back():
    steps = [took("x1", 0, 3), took("y1", 0, 5), took("x2", 3, 8), took("y2", 5, 6)]
    assert critical_steps(a_run(*steps, finished=8)) == {"x1", "x2"}


def test_a_sleep_is_waited_for_too():
    assert critical_steps(a_run(sleep(0, 8), took("a", 0, 5), finished=8)) == {"nap"}


def test_a_step_counts_from_its_first_attempt():
    tried = body("tried", attempt(1, 0, 1, fails=True), attempt(2, 5, 6))
    assert critical_steps(a_run(tried, took("beside", 0, 4), finished=6)) == {"tried"}


def test_where_one_step_follows_the_other_there_is_nothing_to_say():
    assert critical_steps(a_run(took("a", 0, 2), took("b", 2, 3), finished=3)) == frozenset()
    assert critical_steps(a_run(finished=3)) == frozenset()


def test_a_run_that_goes_on_has_none_yet():
    assert critical_steps(a_run(took("a", 0, 2), took("b", 0, 3))) == frozenset()


def test_what_had_not_ended_when_the_run_did_is_not_on_it():
    left = StepRun(key="left", kind="run", status="running", started_at=at(0))
    assert critical_steps(a_run(left, took("a", 0, 2), took("b", 0, 1), finished=3)) == {"a"}
