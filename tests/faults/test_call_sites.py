"""Each call site of each workflow with one outcome, and each outcome many times; `make faults` plays all of them."""

from __future__ import annotations

import pytest

from tests.faults.outcomes import OUTCOMES
from tests.faults.plan import Planned, find_sites, plan_all, plan_some
from tests.faults.scenario import Played
from tests.faults.stage import open_stage
from tests.faults.workflows import WORKFLOWS


@pytest.mark.timeout(900)
async def test_a_fault_at_any_call_site_costs_nothing() -> None:
    failures: list[str] = []
    fired: set[str] = set()

    def report(one: Planned, played: Played) -> None:
        if played.fired:
            fired.add(one.outcome)
        if played.problems:
            failures.append(f"{one.command}\n    {played.problems}")

    async with open_stage() as stage:
        sites = {workflow: await find_sites(workflow, stage.url, stage.raw) for workflow in WORKFLOWS}
        planned = plan_some(sites)
        await stage.play(planned, report)
    assert not failures, "\n".join(failures)
    assert fired == {outcome.name for outcome in OUTCOMES}
    assert {(one.workflow, one.site) for one in planned} == {(one.workflow, one.site) for one in plan_all(sites)}
