"""Which scenarios there are, and in which order: each call site with each outcome, or a part that has all of both."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass

from tests.faults.outcomes import OUTCOMES, Outcome
from tests.faults.scenario import Scenario
from tests.faults.sites import Site
from tests.faults.workflows import WORKFLOWS
from tests.keyspace import Raw

AT_LEAST = 5
"""Scenarios of each outcome, in the part that has all of both: one may come to nothing, where its call is not made."""
SEED = 4
LOOKS = 2
"""Undisturbed runs of each workflow: which calls it makes varies a little with who is faster."""


@dataclass(frozen=True)
class Planned:
    """A scenario by the names of its parts."""

    workflow: str
    site: Site
    outcome: str

    @property
    def command(self) -> str:
        """What runs just this one."""
        return (
            f"python -m tests.faults.call_sites --workflow {self.workflow} --site {self.site} --outcome {self.outcome}"
        )

    def scenario(self, url: str, raw: Raw) -> Scenario:
        """To be played."""
        (outcome,) = (one for one in OUTCOMES if one.name == self.outcome)
        return Scenario(WORKFLOWS[self.workflow], url, raw, self.site, outcome)


async def find_sites(workflow: str, url: str, raw: Raw) -> list[Site]:
    """Its call sites, from undisturbed runs, which must be in order."""
    found: dict[Site, None] = {}
    for _ in range(LOOKS):
        played = await Scenario(WORKFLOWS[workflow], url, raw).play()
        if played.problems:
            msg = f"{workflow} fails without a fault: {played.problems}"
            raise AssertionError(msg)
        found |= dict.fromkeys(played.sites)
    return list(found)


def plan_all(
    sites: dict[str, list[Site]], outcomes: Sequence[Outcome] = OUTCOMES, *, seed: int = SEED
) -> list[Planned]:
    """Everything, in an order of chance, so that an even part of it is left where time is up."""
    planned = [
        Planned(workflow, site, outcome.name)
        for workflow, found in sites.items()
        for site in found
        for outcome in outcomes
        if _fits(outcome, site)
    ]
    random.Random(seed).shuffle(planned)
    return planned


def plan_some(sites: dict[str, list[Site]], outcomes: Sequence[Outcome] = OUTCOMES) -> list[Planned]:
    """Each call site of each workflow once, with one outcome after the other, so that all have their turn."""
    turn = 0
    planned: list[Planned] = []
    for workflow, found in sites.items():
        for site in found:
            fitting = [outcome for outcome in outcomes if _fits(outcome, site)]
            planned.append(Planned(workflow, site, fitting[turn % len(fitting)].name))
            turn += 1
    for outcome in outcomes:
        had = sum(one.outcome == outcome.name for one in planned)
        fitting_sites = (
            (workflow, site) for workflow, found in sites.items() for site in found if _fits(outcome, site)
        )
        for workflow, site in itertools.islice(fitting_sites, max(0, AT_LEAST - had)):
            planned.append(Planned(workflow, site, outcome.name))
    return planned


def _fits(outcome: Outcome, site: Site) -> bool:
    return outcome.applies(site.command)
