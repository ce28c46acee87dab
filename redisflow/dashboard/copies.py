"""A run as what somebody pastes elsewhere: into a terminal, a script, a test."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from redisflow.runs import WorkflowRun


@dataclass(frozen=True, slots=True)
class Copy:
    """One of them."""

    name: str
    says: str
    text: str


def copies_of(run: WorkflowRun, base_url: str) -> Sequence[Copy]:
    """`base_url` is where the dashboard is, as who looks at it reaches it. There is no secret in any of them."""
    name = re.sub(r"\W", "_", run.workflow, flags=re.ASCII)
    file = f"{name}-{run.id[-8:]}.json"
    test = f"""from redisflow.testing import assert_replays

from app import workflow  # yours: {run.workflow!a}


def test_{name}_{run.id[-8:]}_replays() -> None:
    assert_replays("{file}", workflow)
"""
    return [
        Copy("Command", "what is known of it, in a terminal", f"redisflow run trace {run.id}"),
        Copy("curl", "the same as JSON", f"curl --fail {shlex.quote(f'{base_url}api/v1/runs/{run.id}')}"),
        Copy("Export", "its whole record, payloads and all", f"redisflow run export {run.id} --to {file}"),
        Copy("pytest", "whether today's code still does what that record says", test),
    ]
