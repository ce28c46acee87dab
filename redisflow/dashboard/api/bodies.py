"""What may be sent to the API: each body is a model that refuses what it does not know."""

from __future__ import annotations

from datetime import UTC
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from redisflow.dashboard.bulk_jobs import Verb
from redisflow.durations import Instant, read_instant

When: TypeAlias = Annotated[
    str,
    Field(
        max_length=100, description="an ISO 8601 instant (UTC, unless it says otherwise), or a duration from now: `90s`"
    ),
]
Key: TypeAlias = Annotated[str, Field(min_length=1, max_length=256)]


class Body(BaseModel):
    """As it is sent."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Nothing(Body):
    """No body, or an empty one."""


class Start(Body):
    """A run to be started."""

    workflow: str
    input: Any = None
    version: str | None = None
    queue: str | None = None
    key: Key | None = Field(None, description="idempotency key: a second start with it gives the same run")
    unique_key: Key | None = Field(None, description="one run of the workflow with it at a time")
    on_conflict: Literal["existing", "reject", "cancel_older"] | None = None
    available_at: When | None = None
    deadline_at: When | None = None
    expires_at: When | None = None
    tags: dict[str, str] | None = None
    priority: int | None = Field(None, ge=0, le=9)
    unknown: bool = Field(
        default=False, description="start it also where this dashboard knows others, and not this one"
    )

    def options(self) -> dict[str, Any]:
        """The keywords of `flow.run_workflow`."""
        said = self.model_dump(exclude={"workflow", "input", "key", "unknown"}, exclude_none=True)
        if self.key is not None:
            said["idempotency_key"] = self.key
        for name in ("available_at", "deadline_at", "expires_at"):
            if name in said:
                said[name] = read_when(said[name])
        return said


class Retry(Body):
    """How a run goes on."""

    deadline_at: When | None = Field(None, description="a new one, where the old one has passed")


class Rerun(Body):
    """How a run is started again."""

    key: Key | None = Field(None, description="idempotency key: a second rerun with it gives the same run")


class Fork(Body):
    """Where a new run leaves the way of another; a step, results, or both have to be said."""

    from_step: str | None = Field(None, description="the key of the first step that runs again")
    steps: dict[str, Any] = Field(default_factory=dict, description="other results of steps, by their keys")
    input: Any = Field(None, description="another input; left out, it is that of the run")
    key: Key | None = Field(None, description="idempotency key: a second fork with it gives the same run")


class Signal(Body):
    """A signal."""

    name: str
    data: Any = None
    key: Key | None = Field(None, description="idempotency key: a second signal with it is not sent")


class Broadcast(Body):
    """A signal to all that wait for its name, which stands in the path."""

    data: Any = None
    key: Key | None = Field(None, description="idempotency key: a second one with it is not sent")


class StartBulk(Body):
    """What is to be done to which runs: `ids`, or `q`."""

    verb: Verb
    ids: list[str] | None = Field(None, max_length=10_000)
    q: str | None = Field(None, max_length=4000, description="a filter, as in the filter bar")


def read_when(text: str) -> Instant:
    """An instant that names no time zone is in UTC: that of this machine is nobody's who calls from elsewhere."""
    return read_instant(text, UTC)
