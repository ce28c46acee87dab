"""A run as what somebody pastes elsewhere: into a terminal, a script, a test."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from redisflow.dashboard.switching import Namespaces
from redisflow.flow import RedisFlow
from redisflow.runs import WorkflowRun

DEFAULT = "default"
"""The namespace of a command line that is told nothing."""


@dataclass(frozen=True, slots=True)
class Copy:
    """One of them."""

    name: str
    says: str
    text: str


def copies_of(run: WorkflowRun, base_url: str, namespace: str | None) -> Sequence[Copy]:
    """`base_url` is where the dashboard is, as who looks at it reaches it. There is no secret in any of them.

    `namespace` is that of the run where the command line has to be told it (`has_to_be_said`), else None.
    """
    where = "" if namespace is None else f" -n {shlex.quote(namespace)}"
    name = re.sub(r"\W", "_", run.workflow, flags=re.ASCII)
    file = f"{name}-{run.id[-8:]}.json"
    test = f"""from redisflow.testing import assert_replays

from app import workflow  # yours: {run.workflow!a}


def test_{name}_{run.id[-8:]}_replays() -> None:
    assert_replays("{file}", workflow)
"""
    return [
        Copy("Command", "what is known of it, in a terminal", f"redisflow run trace {run.id}{where}"),
        Copy("curl", "the same as JSON", f"curl --fail {shlex.quote(f'{base_url}api/v1/runs/{run.id}')}"),
        Copy("Export", "its whole record, payloads and all", f"redisflow run export {run.id} --to {file}{where}"),
        Copy("pytest", "whether today's code still does what that record says", test),
    ]


def has_to_be_said(flow: RedisFlow, namespaces: Namespaces | None) -> bool:
    """Whether a command that names no namespace would ask another one than this, as far as that is known here.

    Not where workflows are defined here: the command line has an app then, which says its namespace. To name one beside
    it is to look elsewhere, without the app's server and keys.
    """
    if namespaces is not None and namespaces.path:
        return True  # beside the one that it would ask
    return flow.namespace != DEFAULT and not flow.served().workflows
