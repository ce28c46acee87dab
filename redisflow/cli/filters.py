"""Which runs are meant: the filters that `redisflow run list` and the commands about many runs share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from cyclopts import Parameter

from redisflow.cli.output import note
from redisflow.client.finding import RunQuery
from redisflow.durations import read_instant


@Parameter(name="*", group="Which runs")
@dataclass(frozen=True, kw_only=True)
class Filters:
    """As typed. All that is said must hold."""

    workflow: Annotated[str | None, Parameter(alias="-w", help="of this workflow")] = None
    version: Annotated[str | None, Parameter(help="of this version of it")] = None
    status: Annotated[
        list[str] | None,
        Parameter(
            alias="-s", help="pending, running, waiting, succeeded, failed, canceled; waiting:timer", negative=()
        ),
    ] = None
    tag: Annotated[list[str] | None, Parameter(alias="-t", help="NAME=VALUE; all of them", negative=())] = None
    created_after: Annotated[str | None, Parameter(help="so long ago at most (`1h`), or an instant")] = None
    created_before: Annotated[str | None, Parameter(help="so long ago at least, or an instant")] = None
    finished_after: Annotated[str | None, Parameter(help="ended so long ago at most, or an instant")] = None
    finished_before: Annotated[str | None, Parameter(help="ended so long ago at least, or an instant")] = None

    @property
    def query(self) -> RunQuery:
        """What was said, and no more. ValueError where a tag is none."""
        query = RunQuery()
        if self.workflow is not None:
            query["workflow"] = self.workflow
        if self.version is not None:
            query["version"] = self.version
        if self.status:
            query["status"] = self.status
        if self.tag:
            query["tags"] = read_tags(self.tag)
        for name in ("created_after", "created_before", "finished_after", "finished_before"):
            text: str | None = getattr(self, name)
            if text is not None:
                query[name] = read_instant(text)
        return query


ALL = Filters()


def check_limit(limit: int) -> None:
    """ValueError where it is no number of runs; 0 is all of them."""
    if limit < 0:
        msg = f"--limit is a whole number from 0, not {limit}"
        raise ValueError(msg)


def note_more(limit: int) -> None:
    """Say that a limit has cut the list short, whatever the form of the results: nobody is to take them for all."""
    note(f"the first {limit}; there are more: --limit 0 for all")


def read_tags(texts: list[str]) -> dict[str, str]:
    """`NAME=VALUE`, each."""
    tags: dict[str, str] = {}
    for text in texts:
        name, is_pair, value = text.partition("=")
        if not is_pair:
            msg = f"a tag is written NAME=VALUE, not {text!r}"
            raise ValueError(msg)
        tags[name] = value
    return tags
