"""`crash_matrix`: a workflow whose worker dies at every commit, before it is stored and before its answer is seen.

Whatever dies, the run must end in the same way. A step's body may run twice, where its worker died between the side
effect and the record: the report says which bodies did, so that somebody can ask what the second time costs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar, overload

from redisflow.client.workflow import Workflow
from redisflow.errors import RedisflowError
from redisflow.testing.inline import InlineRun, play
from redisflow.testing.inline_run import Crash, Inside

In = TypeVar("In")
Out = TypeVar("Out")


class EndsDiffer(RedisflowError, AssertionError):
    """A run that met a crash did not end as the one without."""


@dataclass(frozen=True, slots=True)
class CrashPoint:
    """One crash: at which commit, and what it cost."""

    commit: int
    phase: Literal["before", "after"]
    ran_twice: tuple[str, ...]
    """Keys of the steps whose body ran an attempt twice."""


@dataclass(frozen=True, slots=True)
class CrashReport(Generic[Out]):
    """Every crash point of one run."""

    undisturbed: InlineRun[Out]
    points: tuple[CrashPoint, ...]

    @property
    def ran_twice(self) -> tuple[str, ...]:
        """Keys of all steps whose body some crash made run twice, in the order of the code."""
        twice = {key for point in self.points for key in point.ran_twice}
        return tuple(step.key for step in self.undisturbed.steps if step.key in twice)

    def __str__(self) -> str:
        """For people: a line for each crash point."""
        lines = [f"{self.undisturbed.workflow}: {len(self.points)} crashes, all ended as without: {self._end()}"]
        for point in self.points:
            twice = f"ran twice: {', '.join(point.ran_twice)}" if point.ran_twice else "nothing ran twice"
            lines.append(f"  {point.phase} commit {point.commit}: {twice}")
        return "\n".join(lines)

    def _end(self) -> str:
        error = self.undisturbed.error
        return self.undisturbed.status if error is None else f"{self.undisturbed.status}, {error.error_type}"


@overload
async def crash_matrix(
    workflow: Workflow[None, Out],
    value: None = None,
    /,
    *,
    steps: Mapping[str, Any] | None = None,
    signals: Mapping[str, Any] | None = None,
    children: Mapping[str, Any] | None = None,
    resources: Any = None,
) -> CrashReport[Out]: ...
@overload
async def crash_matrix(
    workflow: Workflow[In, Out],
    value: In,
    /,
    *,
    steps: Mapping[str, Any] | None = None,
    signals: Mapping[str, Any] | None = None,
    children: Mapping[str, Any] | None = None,
    resources: Any = None,
) -> CrashReport[Out]: ...


async def crash_matrix(
    workflow: Workflow[Any, Any],
    value: Any = None,
    /,
    *,
    steps: Mapping[str, Any] | None = None,
    signals: Mapping[str, Any] | None = None,
    children: Mapping[str, Any] | None = None,
    resources: Any = None,
) -> CrashReport[Any]:
    """Run a workflow once undisturbed, then once for each commit with a crash before it, and once with one after it.

    Raises EndsDiffer (an AssertionError) where a run ends in another way. The arguments are those of `run_inline`.
    """
    inside = Inside(steps or {}, children or {}, resources)
    undisturbed = await play(workflow, value, inside, signals or {})
    points: list[CrashPoint] = []
    for commit in range(1, undisturbed.commits + 1):
        for phase in ("before", "after"):
            crash = Crash(commit, phase)
            run = await play(workflow, value, inside, signals or {}, crash)
            _compare(undisturbed, run, crash)
            twice = tuple(key for (key, _), count in Counter(run.starts).items() if count > 1)
            points.append(CrashPoint(commit, phase, twice))
    return CrashReport(undisturbed, tuple(points))


def _compare(expected: InlineRun[Any], run: InlineRun[Any], crash: Crash) -> None:
    error = None if run.error is None else run.error.error_type
    wanted = None if expected.error is None else expected.error.error_type
    if (run.status, run.output, error) == (expected.status, expected.output, wanted):
        return
    msg = (
        f"a crash {crash.phase} commit {crash.at} makes workflow {run.workflow!r} end in another way: "
        f"{run.status} ({error or 'an output'}) instead of {expected.status} ({wanted or 'an output'})"
        + ("; the outputs differ" if run.status == expected.status == "succeeded" else "")
        + ". What workflow code sees must come from steps (or step.now(), step.random), so that it is the same again"
    )
    raise EndsDiffer(msg)
