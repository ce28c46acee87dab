"""Leaves out of a failing plan what its failure does not need."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from tests.faults.simulation.plan import Plan, Rates


def shrink(plan: Plan, fails: Callable[[Plan], bool]) -> Plan:
    """The smallest plan that was found to fail still; the same one where it does not fail at all."""
    if not fails(plan):
        return plan
    goes_on = True
    while goes_on:
        goes_on = False
        for smaller in _smaller(plan):
            if fails(smaller):
                plan, goes_on = smaller, True
                break
    return plan


def _smaller(plan: Plan) -> Iterator[Plan]:
    for number in reversed(range(len(plan.faults))):
        yield replace(plan, faults=_without(plan.faults, number))
    for number in reversed(range(len(plan.acts))):
        yield replace(plan, acts=_without(plan.acts, number))
    for number in reversed(range(len(plan.runs))):
        # An empty program: the numbers of the others stay what they are.
        if plan.runs[number].program:
            yield _with_program(plan, number, [])
    if plan.rates != Rates(latency_s=plan.rates.latency_s):
        yield replace(plan, rates=Rates(latency_s=plan.rates.latency_s))
    for one in ("slow", "lost_request", "lost_reply", "ghost", "refusal"):
        if getattr(plan.rates, one):
            yield replace(plan, rates=replace(plan.rates, **{one: 0.0}))
    if plan.schedule_every_s is not None:
        yield replace(plan, schedule_every_s=None)
    if plan.workers > 1:
        yield replace(plan, workers=plan.workers - 1)
    for number, run in enumerate(plan.runs):
        for place in range(len(run.program)):
            yield _with_program(plan, number, [*run.program[:place], *run.program[place + 1 :]])
        if run.starters > 1:
            yield replace(plan, runs=_with(plan.runs, number, replace(run, starters=1)))


def _without(items: tuple[Any, ...], number: int) -> tuple[Any, ...]:
    return items[:number] + items[number + 1 :]


def _with(items: tuple[Any, ...], number: int, item: Any) -> tuple[Any, ...]:
    return (*items[:number], item, *items[number + 1 :])


def _with_program(plan: Plan, number: int, program: list[Any]) -> Plan:
    return replace(plan, runs=_with(plan.runs, number, replace(plan.runs[number], program=program)))
