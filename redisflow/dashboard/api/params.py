"""What may stand behind the question mark: models like those of bodies, whose values come as text."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from starlette.datastructures import QueryParams

from redisflow.client.finding import PAGE_LIMIT
from redisflow.dashboard.filters import LONGEST, Query


class Params(BaseModel):
    """As they are sent: each once, but those that are lists; none that is not known."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def read(cls, given: QueryParams) -> Any:
        """From a query string; ValidationError."""
        values: dict[str, Any] = {}
        for name in dict.fromkeys(given.keys()):
            found = given.getlist(name)
            field = cls.model_fields.get(name)
            is_one = len(found) == 1 and (field is None or field.default_factory is None)
            values[name] = found[0] if is_one else found
        return cls.model_validate(values)


class NoParams(Params):
    """None."""


class FindRuns(Params):
    """Which runs: `q`, or the others."""

    q: Annotated[str | None, Field(max_length=LONGEST, description="a filter, as in the filter bar")] = None
    workflow: str | None = None
    version: str | None = None
    status: Annotated[list[str], Field(default_factory=list, description="any of them; `waiting:timer` is one, too")]
    tag: Annotated[list[str], Field(default_factory=list, description="NAME=VALUE; all of them")]
    created_after: Annotated[str | None, Field(description="an ISO 8601 instant, or a duration: so long ago")] = None
    created_before: str | None = None
    finished_after: str | None = None
    finished_before: str | None = None
    order: Literal["newest", "oldest"] = "newest"
    limit: Annotated[int, Field(ge=1, le=PAGE_LIMIT, description="a page may hold fewer")] = 100
    cursor: Annotated[str | None, Field(max_length=4096, description="of the page before, with the same filter")] = None

    def query(self) -> Query:
        """ValueError where both are said, or it cannot be meant."""
        said = self.model_fields_set - {"limit", "cursor"}
        if self.q is not None:
            if said != {"q"}:
                msg = f"q says which runs, so {', '.join(sorted(said - {'q'}))} cannot be said besides"
                raise ValueError(msg)
            return Query.parse(self.q)
        return Query(
            workflow=self.workflow,
            version=self.version,
            statuses=tuple(self.status),
            tags=tuple(map(_tag, self.tag)),
            created_after=self.created_after,
            created_before=self.created_before,
            finished_after=self.finished_after,
            finished_before=self.finished_before,
            order=self.order,
        )


class ReadEvents(Params):
    """From where on."""

    after: Annotated[str | None, Field(description="the id of an event: those behind it")] = None
    limit: Annotated[int, Field(ge=1, le=1000, description="of a stream it counts for nothing")] = 100


class ListWorkers(Params):
    """Which workers."""

    gone: Annotated[bool, Field(description="those of the last hour that ended without a word, too")] = False


class Detailed(Params):
    """How exactly."""

    detailed: Annotated[bool, Field(description="look at unfinished runs: about 100,000 in a second")] = False


class Since(Params):
    """How far back."""

    since: Annotated[str, Field(max_length=100, description="a duration; a day and an hour are kept")] = "1h"


def _tag(text: str) -> tuple[str, str]:
    name, is_pair, value = text.partition("=")
    if not is_pair:
        msg = f"a tag is written NAME=VALUE, not {text[:80]!r}"
        raise ValueError(msg)
    return name, value
